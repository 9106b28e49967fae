"""Who vouches for a release: an Ed25519 signature over its manifest, which in turn vouches for every other file.

The signature is detached: 64 bytes (RFC 8032) in `manifest.json.sig`, which `openssl pkeyutl -verify` can check too.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from serving.manifest import MANIFEST, SIGNATURE, UntrustedError
from tastemaker.steps import write_atomically


def sign_manifest(folder: Path, key: Ed25519PrivateKey) -> None:
    """Writes the signature beside the manifest of a release folder; one that is there is replaced."""
    write_atomically(folder / SIGNATURE, key.sign((folder / MANIFEST).read_bytes()))


def verify_manifest(folder: Path, public_keys: Sequence[Ed25519PublicKey], allow_unsigned: bool) -> None:
    """Checks that one of the keys has signed the manifest of a release folder.

    Args:
        public_keys: whose word counts; more than one while keys are being changed.
        allow_unsigned: whether a release without a signature will do. A signature that is there must be right all the
            same, where there is a key to tell.

    Raises UntrustedError.
    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise UntrustedError(
            f"{folder} has no {MANIFEST}, so nobody vouches for it; publish a release, or serve other models without "
            "--release_public_key_file."
        ) from None
    try:
        signature = (folder / SIGNATURE).read_bytes()
    except FileNotFoundError:
        if allow_unsigned:
            return
        raise UntrustedError(
            f"{folder} is not signed: it has no {SIGNATURE}; publish the release again, or allow such with "
            "TASTEMAKER_ALLOW_UNSIGNED_RELEASES=true."
        ) from None
    if not public_keys and allow_unsigned:
        return
    if not any(_fits(key, signature, manifest) for key in public_keys):
        raise UntrustedError(
            f"{folder / SIGNATURE} is no signature of {MANIFEST} by a key that is trusted here ({len(public_keys)} "
            "known): one of the two files was changed, or somebody else signed; publish the release again."
        )


def _fits(key: Ed25519PublicKey, signature: bytes, manifest: bytes) -> bool:
    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        return False
    return True
