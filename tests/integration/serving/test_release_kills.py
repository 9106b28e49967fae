"""A kill, or a full disk, wherever an act changes the disk; then the act again: same bytes, no duplicate, none lost."""

import errno
import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from toys.built_release import AS_OF, FIRST, build, is_copy, no_server, says

from serving.manifest import verify_files
from serving.releases import canary as canary_step
from serving.releases import verify as verify_step
from serving.releases import versions
from serving.releases.canary import canary
from serving.releases.labels import read_served
from serving.releases.promote import make_stable, promote
from serving.releases.prune import prune
from serving.releases.quarantine import lift, put_away
from serving.releases.rollback import roll_back
from serving.releases.verify import verify
from serving.releases.versions import published_versions, version_folder
from tastemaker import journal
from tastemaker.config import Config
from tastemaker.errors import BusyError
from tastemaker.home import Home

pytestmark = pytest.mark.integration

LATER = AS_OF + timedelta(days=1)
SECOND = FIRST + 1_00_00_00
# What makes a file or a name last. A kill in the place of one of them leaves all before it and nothing after.
CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir")
# What a full disk refuses; bytes that find no room are told of at their sync at the latest.
CALLS_FOR_ROOM = ("fsync", "mkdir")
Fault = Callable[[Callable[[], Any], int], bool]
FULL = 28  # how a child ends that the full disk has stopped


@pytest.fixture(autouse=True)
def _without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_step, "model_server", no_server)
    monkeypatch.setattr(verify_step, "_rules", lambda *_: [])
    monkeypatch.setattr(verify_step, "recorded_requests", lambda *_: [])


@pytest.fixture
def shop(home: Home) -> Home:
    """One release that is stable, and the next one's candidate."""
    build(home)
    release(home, AS_OF)
    build(home, "two", LATER)
    return home


def release(home: Home, as_of: Any = LATER) -> None:
    canary(home, as_of, None)
    verify(home, Config(version=1), as_of, None)
    promote(home, as_of, None)


def in_child(act: Callable[[], Any], calls: tuple[str, ...], before: Callable[[int], None]) -> int:
    """Runs an act in a process where `before` is told the number of each call; returns how the process ended."""
    child = os.fork()
    if child == 0:
        count = 0

        def telling(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal count
                count += 1
                before(count)
                return real(*arguments, **named)

            return call

        for name in calls:
            setattr(os, name, telling(getattr(os, name)))
        try:
            act()
        except BaseException as problem:
            cause = problem.__cause__ or problem
            if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
                os._exit(FULL)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def killed(act: Callable[[], Any], nth: int) -> bool:
    """Runs an act in a process that kills itself at the nth call; returns whether it came to that."""

    def kill(count: int) -> None:
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    ended = in_child(act, CALLS, kill)
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


def filled(act: Callable[[], Any], nth: int) -> bool:
    """Runs an act in a process whose disk is full from the nth call for room on; returns whether it came to that."""

    def refuse(count: int) -> None:
        if count >= nth:
            raise OSError(errno.ENOSPC, "No space left on device")

    ended = in_child(act, CALLS_FOR_ROOM, refuse)
    assert ended in (0, FULL)
    return ended != 0


@pytest.fixture(params=[killed, filled])
def fault(request: pytest.FixtureRequest) -> Fault:
    """What happens to an act at its nth call; returns whether the act was long enough for that."""
    fault: Fault = request.param
    return fault


def at_every_call(shop: Home, act: Callable[[Home], Any], fault: Fault) -> Iterator[Home]:
    """A fresh copy of the shop for each call of the act, after the act has met the fault there."""
    for nth in range(1, 200):
        home = Home(shop.root.with_name(f"{fault.__name__}{nth}"))
        shutil.copytree(shop.root, home.root)
        home.model_config.write_text(home.model_config.read_text().replace(str(shop.models), str(home.models)))
        if not fault(lambda here=home: act(here), nth):
            assert nth > 3, "the act changed nothing, so nothing was tested"
            return
        yield home
        shutil.rmtree(home.root)
    raise AssertionError("the act never came to its end")


def everything_is_whole(home: Home) -> None:
    """What a model server may rely on at any moment: whole versions, and labels that name one of them."""
    for version in published_versions(home):
        verify_files(version_folder(home, version))
    assert set(read_served(home).labels.values()) <= set(published_versions(home))


def nothing_is_left_over(home: Home) -> None:
    folder = home.models / "recommender"
    assert sorted(path.name for path in folder.iterdir()) == sorted(map(str, published_versions(home)))
    assert list(home.models.glob("**/*.part")) == []


def acts(home: Home) -> "Counter[tuple[str, int]]":
    return Counter((act["act"], act["version"]) for act in journal.read(home))


def test_publishing(shop: Home, fault: Fault) -> None:
    for home in at_every_call(shop, release, fault):
        everything_is_whole(home)
        assert read_served(home).stable in (FIRST, SECOND)
        release(home)
        assert read_served(home).labels == {"canary": SECOND, "stable": SECOND}
        assert published_versions(home) == [SECOND, FIRST]
        assert is_copy(version_folder(home, SECOND), home.candidate(LATER))
        assert is_copy(version_folder(home, FIRST), home.candidate(AS_OF))
        assert {number for (_, version), number in acts(home).items() if version == SECOND} == {1}
        assert {act for act, version in acts(home) if version == SECOND} == {"publish", "canary", "verify", "promote"}
        nothing_is_left_over(home)


def in_process(act: Callable[[], Any]) -> int:
    """Starts an act in a process of its own; it exits with 0 when the act ends, with 4 when it meets another."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BusyError:
            os._exit(BusyError.exit_code)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


@pytest.mark.parametrize(("patience", "codes"), [("20", {0}), ("0", {0, 4})])
def test_publishers_at_once_make_one_version(shop: Home, monkeypatch, patience: str, codes: set[int]) -> None:
    monkeypatch.setenv("TASTEMAKER_LOCK_WAIT_SECONDS", patience)
    copy = versions._copy_tree
    monkeypatch.setattr(versions, "_copy_tree", lambda *paths: (time.sleep(0.3), copy(*paths)))
    children = [in_process(lambda: release(shop)) for _ in range(4)]
    ended = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    assert ended == codes
    assert published_versions(shop) == [SECOND, FIRST]
    assert is_copy(version_folder(shop, SECOND), shop.candidate(LATER))
    assert set(acts(shop).values()) == {1}
    assert read_served(shop).labels == {"canary": SECOND, "stable": SECOND}
    nothing_is_left_over(shop)


def test_a_promotion_and_a_rollback_at_once_leave_what_one_of_them_wanted(shop: Home) -> None:
    release(shop)
    build(shop, "three", AS_OF + timedelta(days=2))
    third = canary(shop, AS_OF + timedelta(days=2), None).facts["version"]
    both = [in_process(lambda: make_stable(shop, third, None)), in_process(lambda: roll_back(shop, None))]
    assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in both} == {0}
    served = read_served(shop)
    assert served.labels == {"canary": served.stable, "stable": served.stable}
    assert journal.read(shop)[-1]["version"] == served.stable
    assert Counter(act["act"] for act in journal.read(shop))["rollback"] == 1


def test_rollback(shop: Home, fault: Fault) -> None:
    release(shop)
    for home in at_every_call(shop, lambda here: roll_back(here, None), fault):
        everything_is_whole(home)
        assert read_served(home).stable in (FIRST, SECOND)
        done = roll_back(home, None)
        assert (done.left, done.stable) == (SECOND, FIRST)
        assert read_served(home).labels == {"canary": FIRST, "stable": FIRST}
        assert acts(home)["rollback", FIRST] == 1


def test_quarantine_and_lift(shop: Home, fault: Fault) -> None:
    canary(shop, LATER, None)
    away = Path("quarantine") / str(SECOND)
    for home in at_every_call(shop, lambda here: put_away(here, SECOND, "worse"), fault):
        if SECOND in read_served(home).labels.values():
            everything_is_whole(home)
        put_away(home, SECOND, "worse")
        assert says(home.models / away, "two")
        assert published_versions(home) == [FIRST]
        assert read_served(home).labels == {"canary": FIRST, "stable": FIRST}
        assert acts(home)["quarantine", SECOND] == 1
    put_away(shop, SECOND, "worse")
    for home in at_every_call(shop, lambda here: lift(here, SECOND), fault):
        everything_is_whole(home)
        if (home.quarantined_releases / f"{SECOND}.json").exists():
            lift(home, SECOND)
        release(home)
        assert read_served(home).stable == SECOND
        assert acts(home)["lift", SECOND] == 1
        assert list(home.quarantined_releases.iterdir()) == []


def test_prune(shop: Home, fault: Fault) -> None:
    release(shop)
    for day in (2, 3, 4):
        build(shop, str(day), AS_OF + timedelta(days=day))
        release(shop, AS_OF + timedelta(days=day))
    for home in at_every_call(shop, lambda here: prune(here, keep=1), fault):
        everything_is_whole(home)
        prune(home, keep=1)
        assert published_versions(home) == [FIRST + 4_00_00_00, FIRST + 3_00_00_00]
        assert {number for (act, _), number in acts(home).items() if act == "prune"} == {1}
        nothing_is_left_over(home)
