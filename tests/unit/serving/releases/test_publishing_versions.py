import errno
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from toys.built_release import AS_OF, FIRST, build, is_copy

from serving.manifest import read_manifest, verify_files
from serving.releases import versions
from serving.releases.versions import place, published_versions, version_folder, version_of
from tastemaker.errors import TastemakerError
from tastemaker.home import Home


def publish(home: Home, candidate: Path) -> int:
    version = version_of(home, AS_OF, read_manifest(candidate))
    if not version_folder(home, version).exists():
        place(home, candidate, version)
    return version


def test_a_candidate_becomes_the_version_of_its_moment_byte_for_byte(home):
    candidate = build(home)
    assert publish(home, candidate) == FIRST
    assert published_versions(home) == [FIRST]
    assert is_copy(version_folder(home, FIRST), candidate)
    assert (version_folder(home, FIRST) / "assets").is_dir()


def test_the_same_content_is_the_same_version_and_other_content_the_next_revision(home):
    publish(home, build(home))
    file = version_folder(home, FIRST) / "saved_model.pb"
    before = file.stat()
    assert publish(home, build(home)) == FIRST
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert publish(home, build(home, "another graph")) == FIRST + 1
    assert publish(home, build(home)) == FIRST
    assert published_versions(home) == [FIRST + 1, FIRST]


def test_a_later_moment_is_a_higher_version(home):
    manifest = read_manifest(build(home))
    assert version_of(home, AS_OF + timedelta(minutes=1), manifest) > version_of(home, AS_OF, manifest) == FIRST


def test_what_a_killed_publisher_left_is_cleared_and_is_no_version(home):
    candidate = build(home)
    left = version_folder(home, FIRST).with_name(f".{FIRST}.part")
    left.mkdir(parents=True)
    (left / "saved_model.pb").write_text("gr")
    assert publish(home, candidate) == FIRST
    assert [path.name for path in left.parent.iterdir()] == [str(FIRST)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("nth", range(1, 9))
def test_a_full_disk_at_any_sync_is_a_sentence_and_leaves_nothing(home, monkeypatch, nth, code):
    candidate = build(home)
    calls = []

    def full(_: int) -> None:
        calls.append(1)
        if len(calls) == nth:
            raise OSError(code, "No space left on device")

    monkeypatch.setattr(versions.os, "fsync", full)
    with pytest.raises(TastemakerError, match="The disk is full"):
        place(home, candidate, FIRST)
    assert list(version_folder(home, FIRST).parent.iterdir()) == []
    assert verify_files(candidate)


def test_a_damaged_version_is_replaced_by_the_sound_candidate(home):
    candidate = build(home)
    publish(home, candidate)
    (version_folder(home, FIRST) / "saved_model.pb").write_text("grap")
    place(home, candidate, FIRST)
    assert is_copy(version_folder(home, FIRST), candidate)
    assert [path.name for path in version_folder(home, FIRST).parent.iterdir()] == [str(FIRST)]


def test_a_slow_copy_is_never_seen_half_done(home, monkeypatch):
    candidate = build(home)
    target = version_folder(home, FIRST)
    sync, seen, done = versions.os.fsync, [], threading.Event()
    monkeypatch.setattr(versions.os, "fsync", lambda handle: (time.sleep(0.02), sync(handle)))

    def look() -> None:
        while not done.is_set():
            if target.exists():
                seen.append(verify_files(target)["release"])

    looking = threading.Thread(target=look)
    looking.start()
    try:
        place(home, candidate, FIRST)
    finally:
        done.set()
        looking.join()
    assert set(seen) <= {"graph"}
    assert verify_files(target)
