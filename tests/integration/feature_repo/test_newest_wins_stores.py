"""One contract, both online stores."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from feast import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from redis_process import client

from feature_repo.definitions import definitions
from feature_repo.newest_wins import NewestWinsSqliteOnlineStore
from feature_repo.newest_wins_redis import NewestWinsRedisOnlineStore
from feature_repo.online_rows import entity_keys
from feature_repo.store import repo_config
from tastemaker.home import Home

pytestmark = pytest.mark.integration

START = datetime(2011, 12, 1, tzinfo=UTC)
ACTIVITY = ["user_sessions_90d", "user_value_1d"]


def key(user: str) -> EntityKey:
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])


class Shelf:
    """One view of one store."""

    def __init__(self, home: Home, address: str | None, view: str = "user_profile") -> None:
        self.view: FeatureView = definitions(home).views[view]
        self.config: RepoConfig = repo_config(home, address)
        self.store = NewestWinsRedisOnlineStore() if address else NewestWinsSqliteOnlineStore()
        home.feast.mkdir(parents=True, exist_ok=True)
        self.store.update(self.config, [], [self.view], [], [], partial=False)
        if isinstance(self.store, NewestWinsRedisOnlineStore):
            self.store.mark(self.config, START)

    def write(self, user: str, stamp: float, created: float | None, country: str) -> None:
        self.write_values(user, stamp, created, {"user_country": Value(string_val=country)})

    def write_values(self, user: str, stamp: float, created: float | None, values: dict[str, Value]) -> None:
        at = START + timedelta(days=stamp)
        known = None if created is None else START + timedelta(days=created)
        self.store.online_write_batch(self.config, self.view, [(key(user), values, at, known)], None)

    def read(self, *users: str) -> list[str | None]:
        found = self.store.online_read(self.config, self.view, [key(user) for user in users])
        countries = [values and values["user_country"].string_val for _, values in found]
        keys = entity_keys("user_id", users)
        [view], rows = self.store.read_rows(self.config, {"user_profile": ["user_country"]}, keys)
        held = [rows[k][1] for k in keys]
        assert countries == [row and view.value(row, "user_country") for row in held], "both ways to read agree"
        return countries


@pytest.fixture
def shelf(home: Home, online_store: str | None) -> Shelf:
    return Shelf(home, online_store)


WRITES = [("ann", 2.0, 2.0, "second"), ("ann", 1.0, 9.0, "first"), ("ann", 2.0, 4.0, "second, corrected")]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_newest_row_stays_whatever_the_order(shelf: Shelf, order: tuple[int, ...]) -> None:
    for i in order:
        shelf.write(*WRITES[i])
    assert shelf.read("ann") == ["second, corrected"]


def test_a_row_without_created_timestamp_counts_as_known_at_its_stamp(shelf: Shelf) -> None:
    shelf.write("ann", 1, 2, "corrected")
    shelf.write("ann", 1, None, "pushed")
    assert shelf.read("ann") == ["corrected"]
    shelf.write("ann", 3, None, "pushed later")
    assert shelf.read("ann") == ["pushed later"]


def test_a_microsecond_decides_before_and_after_1970(shelf: Shelf) -> None:
    microsecond = 1 / 86_400_000_000
    for stamp in (-40_000.0, 1.0):
        shelf.write("ann", stamp + microsecond, None, "newer")
        shelf.write("ann", stamp, None, "older")
        assert shelf.read("ann") == ["newer"]


def test_a_row_with_the_same_stamps_is_the_same_row_mended(shelf: Shelf) -> None:
    shelf.write("ann", 1, 1, "UK")
    shelf.write("ann", 1, 1, "DE")
    assert shelf.read("ann") == ["DE"]


def test_a_row_is_written_as_a_whole(home: Home, online_store: str | None) -> None:
    shelf = Shelf(home, online_store, "user_activity")
    shelf.write_values("ann", 1, 1, {"user_sessions_90d": Value(int64_val=4), "user_value_1d": Value(double_val=1)})
    shelf.write_values("ann", 2, 2, {"user_value_1d": Value(double_val=2)})
    [(stamped, values)] = shelf.store.online_read(shelf.config, shelf.view, [key("ann")], list(ACTIVITY))
    assert stamped == START + timedelta(days=2)
    assert values == {"user_sessions_90d": Value(), "user_value_1d": Value(double_val=2)}


def test_the_newest_of_many_writers_at_once_stays(home: Home, online_store: str | None) -> None:
    shelves = [Shelf(home, online_store) for _ in range(4)]

    def write(number: int) -> None:
        for stamp in range(number, 200, 4):
            shelves[number].write("ann", stamp, stamp, f"of day {stamp}")

    # the last day's writer is the first to end as often as not
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert shelves[0].read("ann") == ["of day 199"]


def test_replacing_forgets_the_view_only_when_it_ends_well(shelf: Shelf) -> None:
    shelf.write("ann", 5, 5, "UK")
    shelf.write("bob", 5, 5, "FR")
    with pytest.raises(RuntimeError), shelf.store.replacing(shelf.config, shelf.view):
        raise RuntimeError("before anything was written")
    assert shelf.read("ann", "bob") == ["UK", "FR"]
    with shelf.store.replacing(shelf.config, shelf.view):
        shelf.write("ann", 1, 1, "an older row")
        shelf.write("ann", 0, 0, "a yet older one")
    assert shelf.read("ann", "bob") == ["an older row", None]
    with shelf.store.replacing(shelf.config, shelf.view):
        pass
    assert shelf.read("ann") == [None]


def test_views_of_one_entity_do_not_touch_each_other(home: Home, online_store: str | None) -> None:
    profile, activity = Shelf(home, online_store), Shelf(home, online_store, "user_activity")
    profile.write("ann", 1, 1, "UK")
    activity.write_values("ann", 5, 5, {"user_sessions_90d": Value(int64_val=4)})
    assert profile.store.expire(profile.config, profile.view, START + timedelta(days=3)) == 1
    assert profile.read("ann") == [None]
    [(_, values)] = activity.store.online_read(activity.config, activity.view, [key("ann")], list(ACTIVITY))
    assert values is not None
    assert values["user_sessions_90d"].int64_val == 4


def test_reads_answer_every_key_in_order(shelf: Shelf) -> None:
    many = [f"user {n}" for n in range(40_000)]
    shelf.write("user 39999", 1, 1, "UK")
    assert shelf.read(*many, "user 39999")[-3:] == [None, "UK", "UK"]


def test_expiry_keeps_the_moment_itself(shelf: Shelf) -> None:
    shelf.write("ann", 1, 1, "before")
    shelf.write("bob", 2, 2, "at")
    shelf.write("cy", 2, 9, "at, corrected")
    assert shelf.store.expire(shelf.config, shelf.view, START + timedelta(days=2)) == 1
    assert shelf.read("ann", "bob", "cy") == [None, "at", "at, corrected"]


def test_a_view_that_is_gone_leaves_nothing(shelf: Shelf, online_store: str | None) -> None:
    shelf.write("ann", 1, 1, "UK")
    shelf.store.update(shelf.config, [shelf.view], [], [], [], partial=False)
    shelf.store.update(shelf.config, [], [shelf.view], [], [], partial=False)
    assert shelf.read("ann") == [None]
    if online_store:
        assert client(online_store).keys() == [b"tastemaker:materialized"]


# a SQLite file is one home's own
@pytest.mark.parametrize("online_store", ["redis"], indirect=True)
def test_another_project_is_left_alone(shelf: Shelf, online_store: str) -> None:
    other = shelf.config.model_copy(update={"project": "not_" + shelf.config.project})
    shelf.store.online_write_batch(other, shelf.view, [(key("ann"), {}, START, None)], None)
    shelf.store.expire(shelf.config, shelf.view, START + timedelta(days=99))
    assert len(client(online_store).keys("*not_tastemaker")) == 1


@pytest.mark.parametrize("user", ["ann", "", "שלום", "x" * 300])
def test_keys_are_encoded_as_feast_encodes_them(user: str) -> None:
    assert entity_keys("user_id", [user])[0] == serialize_entity_key(key(user), entity_key_serialization_version=3)
