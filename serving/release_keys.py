"""The keys of releases: one that signs, kept secret, and those whose signatures a server trusts. PEM files.

Where no setting names a key, the home makes its own at its first use, so that releases are signed on a laptop too.
"""

import os
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tastemaker.errors import TastemakerError
from tastemaker.settings import Settings
from tastemaker.steps import write_atomically

_END = "-----END PUBLIC KEY-----"


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """The key of the setting, else the home's own. Raises TastemakerError for a file that is no Ed25519 key."""
    path = settings.release_signing_key or settings.paths.release_key
    if settings.release_signing_key is None and not path.exists():
        _make_key(path)
    try:
        key = load_pem_private_key(_read(path, "TASTEMAKER_RELEASE_SIGNING_KEY"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise _no_key(path, f"private key without a passphrase ({problem})") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private key")
    return key


def public_key_file(settings: Settings) -> Path:
    """The file with the keys that a server of this home trusts.

    That of the setting, else `release_key.pub` in the home, made here: the public half of `signing_key`.
    Raises TastemakerError for a file that holds no Ed25519 key.
    """
    if settings.release_public_key is not None:
        read_public_keys(settings.release_public_key)
        return settings.release_public_key.expanduser().resolve()
    path = settings.paths.release_public_key
    half = signing_key(settings).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not path.exists() or path.read_bytes() != half:
        write_atomically(path, half)
    return path


def read_public_keys(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """Every public key of a PEM file, one after the other. Raises TastemakerError for one that is none, or for none."""
    text = _read(path, "TASTEMAKER_RELEASE_PUBLIC_KEY").decode(errors="replace")
    blocks = [block + _END for block in text.split(_END)[:-1]]
    keys: list[Ed25519PublicKey] = []
    for block in blocks:
        try:
            key = load_pem_public_key(block.encode())
        except (ValueError, UnsupportedAlgorithm) as problem:
            raise _no_key(path, f"public key ({problem})") from None
        if not isinstance(key, Ed25519PublicKey):
            raise _no_key(path, "public key")
        keys.append(key)
    if not keys:
        raise _no_key(path, "public key")
    return tuple(keys)


def _make_key(path: Path) -> None:
    """Makes a key that only its owner may read. Of two processes that do so at once the first one's stays."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return
    finally:
        Path(beside).unlink()


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as problem:
        raise TastemakerError(
            f"The key {path} cannot be read ({problem.strerror}); name a PEM file with {setting}, or leave it out for "
            "the home's own key."
        ) from None


def _no_key(path: Path, what: str) -> TastemakerError:
    return TastemakerError(
        f"{path} holds no Ed25519 {what} in PEM; make a pair with 'openssl genpkey -algorithm ed25519'."
    )
