"""Checksums and signature: one flipped byte anywhere, and the release is refused before anything of it is loaded."""

import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from toys.bare_release import bare_model, list_files, write_release

from serving.manifest import MANIFEST, SIGNATURE, UntrustedError
from serving.release_keys import public_key_file, read_public_keys, signing_key
from serving.trust import Trust, sign_release
from tastemaker.errors import TastemakerError
from tastemaker.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def release(tmp_path: Path, settings: Settings) -> Path:
    folder = write_release(tmp_path / "release", as_of="2011-12-10")
    sign_release(folder, settings)
    return folder


def pem_pair(folder: Path, name: str) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_signed_is_trusted_and_tells_its_manifest(release: Path, settings: Settings) -> None:
    assert Trust.of(settings).require(release)["as_of"] == "2011-12-10"


def test_a_flipped_bit_in_any_file_is_refused(release: Path, settings: Settings) -> None:
    trust = Trust.of(settings)
    assert {path.name for path in files_of(release)} >= {MANIFEST, SIGNATURE, "saved_model.pb", "variables.index"}
    for path in files_of(release):
        right = path.read_bytes()
        for at in (0, len(right) // 2, len(right) - 1):
            wrong = bytearray(right)
            wrong[at] ^= 1
            path.write_bytes(wrong)
            with pytest.raises(TastemakerError):
                trust.require(release)
        path.write_bytes(right)
        trust.require(release)


@pytest.mark.parametrize("cut", [0, 1])
def test_a_file_that_is_missing_or_cut_short_is_refused(release: Path, settings: Settings, cut: int) -> None:
    trust = Trust.of(settings)
    for path in files_of(release):
        right = path.read_bytes()
        path.unlink() if cut == 0 else path.write_bytes(right[:-1])
        with pytest.raises(TastemakerError):
            trust.require(release)
        path.write_bytes(right)


def test_changed_weights_with_new_checksums_are_refused_for_their_signature(release: Path, settings: Settings) -> None:
    (release / "variables" / "variables.index").write_text("other")
    list_files(release, as_of="2011-12-10")
    with pytest.raises(UntrustedError, match=r"is no signature of manifest\.json by a key that is trusted here"):
        Trust.of(settings).require(release)


@pytest.mark.parametrize("name", ["more", "saved_model.pbtxt", "assets.extra/more"])
def test_a_file_that_nobody_listed_is_refused(release: Path, settings: Settings, name: str) -> None:
    (release / name).parent.mkdir(exist_ok=True)
    (release / name).write_text("")
    with pytest.raises(TastemakerError, match="is not listed"):
        Trust.of(settings).require(release)


def test_a_link_is_refused_wherever_it_leads(release: Path, settings: Settings, tmp_path: Path) -> None:
    index = release / "variables" / "variables.index"
    index.rename(tmp_path / "elsewhere")
    index.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TastemakerError, match="is a link"):
        Trust.of(settings).require(release)


def test_an_unsigned_release_passes_only_where_the_setting_says_so(release: Path, settings: Settings) -> None:
    (release / SIGNATURE).unlink()
    with pytest.raises(UntrustedError, match="is not signed"):
        Trust.of(settings).require(release)
    lax = settings.model_copy(update={"allow_unsigned_releases": True})
    Trust.of(lax).require(release)
    (release / SIGNATURE).write_bytes(bytes(64))  # a wrong signature is worse than none
    with pytest.raises(UntrustedError, match="is no signature"):
        Trust.of(lax).require(release)


def test_an_unsigned_release_is_checked_otherwise_all_the_same(release: Path) -> None:
    (release / SIGNATURE).unlink()
    lax = Trust((), allow_unsigned=True)
    lax.require(release)
    (release / "variables" / "variables.index").write_text("indeX")
    with pytest.raises(TastemakerError, match="was damaged or changed"):
        lax.require(release)


def test_without_a_manifest_nobody_vouches_for_anything(release: Path) -> None:
    (release / MANIFEST).unlink()
    with pytest.raises(UntrustedError, match="nobody vouches"):
        Trust((), allow_unsigned=True).require(release)


def test_another_homes_key_is_a_stranger(release: Path, tmp_path: Path) -> None:
    with pytest.raises(UntrustedError, match="somebody else signed"):
        Trust.of(Settings(home=tmp_path / "another")).require(release)


def test_keys_of_the_settings_and_two_of_them_while_they_are_changed(tmp_path: Path) -> None:
    old, old_public = pem_pair(tmp_path, "old")
    new, new_public = pem_pair(tmp_path, "new")
    both = tmp_path / "both.pub"
    both.write_text(old_public.read_text() + new_public.read_text())
    at_old = Settings(home=tmp_path / "home", release_signing_key=old)
    by_old, by_new = (write_release(tmp_path / name, bare_model(name)) for name in ("by_old", "by_new"))
    sign_release(by_old, at_old)
    changing = Settings(home=tmp_path / "home", release_signing_key=new, release_public_key=both)
    sign_release(by_new, changing)
    for folder in (by_old, by_new):
        Trust.of(changing).require(folder)
    with pytest.raises(UntrustedError):
        Trust.of(at_old).require(by_new)
    assert not (tmp_path / "home" / "release_key.pem").exists()


def test_signing_with_a_key_that_no_server_trusts_is_told_at_once(tmp_path: Path) -> None:
    private, _ = pem_pair(tmp_path, "mine")
    _, others = pem_pair(tmp_path, "others")
    apart = Settings(home=tmp_path / "home", release_signing_key=private, release_public_key=others)
    with pytest.raises(UntrustedError, match="by a key that is trusted here"):
        sign_release(write_release(tmp_path / "release"), apart)


def test_a_release_that_may_do_harm_is_not_signed(tmp_path: Path, settings: Settings) -> None:
    model = bare_model()
    model.meta_graphs[0].graph_def.node.add(name="leak", op="WriteFile")
    folder = write_release(tmp_path / "release", model)
    with pytest.raises(UntrustedError, match="operation WriteFile"):
        sign_release(folder, settings)
    assert not (folder / SIGNATURE).exists()


def test_a_signed_release_that_may_do_harm_is_not_trusted(tmp_path: Path, settings: Settings) -> None:
    from serving.signature import sign_manifest

    model = bare_model()
    model.meta_graphs[0].graph_def.node.add(name="leak", op="ReadFile")
    folder = write_release(tmp_path / "release", model)
    sign_manifest(folder, signing_key(settings))
    with pytest.raises(UntrustedError, match="operation ReadFile"):
        Trust.of(settings).require(folder)


def test_a_copied_release_is_as_good(release: Path, settings: Settings, tmp_path: Path) -> None:
    Trust.of(settings).require(shutil.copytree(release, tmp_path / "copy"))


def test_the_homes_own_key_is_made_once_and_is_its_owners(settings: Settings) -> None:
    first = signing_key(settings).sign(b"x")
    assert signing_key(settings).sign(b"x") == first
    key = settings.paths.release_key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in key.parent.iterdir()] == [key.name]
    read_public_keys(public_key_file(settings))[0].verify(first, b"x")


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_that_holds_no_key_is_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "file.pem"
    file.write_text(content)
    with pytest.raises(TastemakerError, match="openssl genpkey -algorithm ed25519"):
        signing_key(Settings(home=tmp_path / "home", release_signing_key=file))
    with pytest.raises(TastemakerError, match="openssl genpkey -algorithm ed25519"):
        public_key_file(Settings(home=tmp_path / "home", release_public_key=file))
    with pytest.raises(TastemakerError, match="cannot be read"):
        signing_key(Settings(home=tmp_path / "home", release_signing_key=tmp_path / "nowhere"))
