"""Whether a release may be loaded: somebody trusted signed it, every byte is as signed, and it can do no harm."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from serving.allowed_ops import require_allowed_ops
from serving.manifest import verify_files
from serving.release_keys import public_key_file, read_public_keys, signing_key
from serving.signature import sign_manifest, verify_manifest
from tastemaker.settings import Settings


@dataclass(frozen=True)
class Trust:
    """Whose signatures count, and whether a release without one will do."""

    public_keys: Sequence[Ed25519PublicKey]
    allow_unsigned: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "Trust":
        """As the settings say. Raises TastemakerError for a file that holds no key."""
        return cls(read_public_keys(public_key_file(settings)), settings.allow_unsigned_releases)

    def require(self, folder: Path) -> dict[str, Any]:
        """The manifest of a release that may be loaded.

        Raises UntrustedError for a signature or an operation that will not do, TastemakerError for a damaged file.
        The signature comes first: nothing is parsed before it is known from whom it is.
        """
        verify_manifest(folder, self.public_keys, self.allow_unsigned)
        manifest = verify_files(folder)
        require_allowed_ops(folder)
        return manifest


def sign_release(folder: Path, settings: Settings) -> None:
    """Signs a release that is about to be published, once its files and its operations have been checked.

    Raises TastemakerError also when the key that signs is not among those that are trusted: nobody could load it.
    """
    verify_files(folder)
    require_allowed_ops(folder)
    sign_manifest(folder, signing_key(settings))
    verify_manifest(folder, Trust.of(settings).public_keys, allow_unsigned=False)


def trust_flags(settings: Settings) -> list[str]:
    """The flags by which a model server trusts what the settings say. Raises TastemakerError for a file with no key."""
    flags = [f"--release_public_key_file={public_key_file(settings)}"]
    return [*flags, "--allow_unsigned_releases=true"] if settings.allow_unsigned_releases else flags
