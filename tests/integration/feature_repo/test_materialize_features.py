import json
import os
import random
import shutil
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from declared_warehouse import WriteWarehouse, feature_row, moment
from redis_process import client

from feature_repo.historical import historical_features
from feature_repo.lookup import online_features
from feature_repo.materialize import materialize
from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.home import Home

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("online_store")]
on_sqlite = pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)


def countries(home: Home, *users: str) -> list[object]:
    return [found["user_country"].value for found in online_features(home, "profile_v1", users)]


def stored(home: Home) -> dict[str, Any]:
    """Everything in the online store: rows by table, or hashes by key."""
    address = os.environ.get("TASTEMAKER_REDIS_URL")
    if address is not None:
        redis = client(address)
        return {repr(key): redis.hgetall(key) for key in sorted(redis.scan_iter(_type="hash"))}
    with sqlite3.connect(home.feast / "online_store.db") as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        return {t: connection.execute(f'select * from "{t}" order by __entity_key').fetchall() for t in sorted(tables)}


def lose_everything(home: Home) -> None:
    """The online store's own content; what the home remembers of it stays."""
    address = os.environ.get("TASTEMAKER_REDIS_URL")
    if address is not None:
        client(address).flushall()
    else:
        (home.feast / "online_store.db").unlink()


def some_history(seed: int) -> list[dict[str, object]]:
    """Rows of six users over ten days, some of them corrected up to three days later."""
    draw = random.Random(seed)
    rows = []
    for user in range(6):
        for stamp in range(1, 11):
            if draw.random() < 0.5:
                corrected = [stamp + late for late in (1, 2, 3) if draw.random() < 0.2]
                for created in [stamp, *corrected]:
                    value = draw.randrange(1000)
                    rows.append(
                        feature_row(f"u{user}", stamp, created, user_interactions_1d=value, user_country=str(value))
                    )
    return rows


def test_newest_stamp_wins_then_newest_version(home: Home, config: Config, write_warehouse: WriteWarehouse) -> None:
    rows = [
        feature_row("ann", 9, 13, user_country="an old stamp known last"),
        feature_row("ann", 10, 12, user_country="corrected"),
        feature_row("ann", 10, 10, user_country="first"),
    ]
    write_warehouse({"user_profile": rows})

    materialize(home, config, moment(11))
    assert countries(home, "ann") == ["first"], "what became known on day 12 is not known on day 11"
    materialize(home, config, moment(13))
    assert countries(home, "ann") == ["corrected"]


def test_an_older_day_leaves_what_is_served_and_sets_the_offline_store_back(
    home: Home, config: Config, write_warehouse: WriteWarehouse
) -> None:
    write_warehouse(
        {"user_profile": [feature_row("ann", 5, user_country="old"), feature_row("ann", 8, user_country="new")]}
    )
    materialize(home, config, moment(9))
    before = stored(home)

    materialize(home, config, moment(6))
    assert countries(home, "ann") == ["new"]
    assert stored(home) == before
    [(rows,)] = duckdb.sql(f"select count(*) from '{home.offline_store}/user_profile.parquet'").fetchall()
    assert rows == 1


@pytest.mark.parametrize("seed", range(3))
def test_day_by_day_is_the_same_as_at_once_in_any_order(
    home: Home, config: Config, write_warehouse: WriteWarehouse, seed: int
) -> None:
    history = some_history(seed)
    write_warehouse({"user_activity": history, "user_profile": history})
    materialize(home, config, moment(12))
    at_once = stored(home)
    assert any(at_once.values())

    lose_everything(home)
    (home.feast / "materialized.json").unlink()
    days = [4.0, 6.0, 5.0, 9.0, 12.0]
    for number in days:
        materialize(home, config, moment(number))
    assert stored(home) == at_once


def test_a_second_run_leaves_the_same_rows(home: Home, config: Config, write_warehouse: WriteWarehouse) -> None:
    history = some_history(7)
    write_warehouse({"user_activity": history, "user_profile": history})
    materialize(home, config, moment(12))
    before = stored(home)
    assert materialize(home, config, moment(12)).reused
    for report in home.run(moment(12)).glob("*.json"):
        report.unlink()
    assert not materialize(home, config, moment(12)).reused
    assert stored(home) == before


@pytest.mark.parametrize("later", [12, 13])
def test_what_the_online_store_has_lost_is_written_again(
    home: Home, config: Config, write_warehouse: WriteWarehouse, later: float
) -> None:
    history = some_history(7)
    write_warehouse({"user_activity": history, "user_profile": history})
    materialize(home, config, moment(12))
    before = countries(home, *(f"u{n}" for n in range(6)))
    lose_everything(home)
    with pytest.raises(TastemakerError, match="run 'tastemaker features materialize"):
        countries(home, "u1")
    materialize(home, config, moment(later))
    assert countries(home, *(f"u{n}" for n in range(6))) == before


@on_sqlite
def test_a_second_run_leaves_the_same_bytes(home: Home, config: Config, write_warehouse: WriteWarehouse) -> None:
    history = some_history(7)
    write_warehouse({"user_activity": history, "user_profile": history})
    files = [
        home.feast / "online_store.db",
        *(home.offline_store / f"{t}.parquet" for t in ("user_activity", "user_profile")),
    ]

    first = materialize(home, config, moment(12))
    bytes_then = [path.read_bytes() for path in files]
    assert materialize(home, config, moment(12)).reused
    for report in home.run(moment(12)).glob("*.json"):
        report.unlink()
    again = materialize(home, config, moment(12))
    assert not again.reused
    assert [path.read_bytes() for path in files] == bytes_then
    assert again.outputs["offline_store"] == first.outputs["offline_store"]


def test_a_row_whose_time_to_live_has_ended_is_not_written(
    home: Home, config: Config, write_warehouse: WriteWarehouse
) -> None:
    # user_activity lives for 2 days
    rows = [feature_row("fresh", 10, user_sessions_90d=1), feature_row("last day", 8, user_sessions_90d=2)]
    write_warehouse({"user_activity": [*rows, feature_row("gone", 7.99, user_sessions_90d=3)]})
    materialize(home, config, moment(10))
    found = online_features(home, "profile_v1", ["fresh", "last day", "gone"])
    assert [row["user_sessions_90d"].value for row in found] == [1, 2, None]
    assert found[2]["user_sessions_90d"].status == "not_found"

    materialize(home, config, moment(11))
    found = online_features(home, "profile_v1", ["fresh", "last day"])
    assert [row["user_sessions_90d"].value for row in found] == [1, None]
    assert [row["user_sessions_90d"].status for row in found] == ["present", "not_found"], "the second is purged"


def test_a_changed_past_is_written_again(home: Home, config: Config, write_warehouse: WriteWarehouse) -> None:
    write_warehouse(
        {"user_profile": [feature_row("ann", 1, user_country="UK"), feature_row("bob", 1, user_country="FR")]}
    )
    materialize(home, config, moment(20))
    # the same stamps, other values: a feature's SQL was mended, and bob was a test account
    write_warehouse({"user_profile": [feature_row("ann", 1, user_country="DE")]})
    materialize(home, config, moment(30))
    assert countries(home, "ann", "bob") == ["DE", None]

    write_warehouse({})
    materialize(home, config, moment(31))
    assert countries(home, "ann") == [None]


def test_values_of_every_type_survive(home: Home, config: Config, write_warehouse: WriteWarehouse) -> None:
    history: dict[str, Any] = {
        "history_item_ids": ["85123A", "שלום", "quote\"'", "x" * 100_000],
        "history_timestamps": [2**53 + 1, 0],
        "history_event_types": [],
        "history_counts": None,
    }
    activity: dict[str, Any] = {
        "user_interactions_1d": 3,
        "user_value_1d": -0.1,
        "user_value_7d": float("inf"),
        "user_value_30d": None,
    }
    write_warehouse(
        {"user_history": [feature_row("ann", 10, **history)], "user_activity": [feature_row("ann", 10, **activity)]}
    )
    materialize(home, config, moment(10))
    [found] = online_features(home, "recommend_v1", ["ann"])
    for name, value in {**history, **activity}.items():
        assert found[name].value == value, name
    assert found["user_value_30d"].status == "null"
    assert type(found["user_interactions_1d"].value) is int


@on_sqlite
def test_offline_timestamps_are_microseconds_without_a_zone(
    home: Home, config: Config, write_warehouse: WriteWarehouse
) -> None:
    write_warehouse({"user_profile": [feature_row("ann", 1)]})
    materialize(home, config, moment(2))
    described = duckdb.sql(f"describe select * from '{home.offline_store}/user_profile.parquet'").fetchall()
    assert {row[0]: row[1] for row in described}["event_timestamp"] == "TIMESTAMP"


def test_a_run_that_died_in_the_middle_is_made_good(
    home: Home, config: Config, write_warehouse: WriteWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feature_repo import materialize as room

    write_warehouse(
        {"user_profile": [feature_row("ann", 1, user_country="UK")], "item_profile": [feature_row("pen", 1)]}
    )
    write_online, written = room._write_online, []

    def dies_at_the_third(*args: object) -> None:
        written.append(args)
        if len(written) == 3:
            raise OSError("No space left on device")
        write_online(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "_write_online", dies_at_the_third)
    with pytest.raises(OSError, match="No space left"):
        materialize(home, config, moment(2))
    with pytest.raises(TastemakerError, match="tastemaker features materialize"):
        online_features(home, "profile_v1", ["ann"])
    monkeypatch.undo()
    materialize(home, config, moment(2))
    assert countries(home, "ann") == ["UK"]


@on_sqlite
def test_a_warehouse_that_is_not_as_declared_is_a_sentence(
    home: Home, config: Config, write_warehouse: WriteWarehouse
) -> None:
    with pytest.raises(TastemakerError, match="run 'tastemaker transform' first"):
        materialize(home, config, moment(1))
    write_warehouse({})
    with duckdb.connect(str(home.warehouse)) as warehouse:
        warehouse.execute("alter table item_profile alter item_price type varchar")
    with pytest.raises(TastemakerError, match=r"item_profile\.item_price is varchar, declared is double"):
        materialize(home, config, moment(1))
    with duckdb.connect(str(home.warehouse)) as warehouse:
        warehouse.execute("alter table item_profile alter item_price type double")
        warehouse.execute("alter table item_profile rename to item_profiles")
    with pytest.raises(TastemakerError, match=r"no table 'item_profile'\. Did you mean 'item_profiles'"):
        materialize(home, config, moment(1))
    with duckdb.connect(str(home.warehouse)) as warehouse:
        warehouse.execute("alter table item_profiles rename to item_profile")
        warehouse.execute("alter table user_profile drop user_country")
    with pytest.raises(TastemakerError, match=r"user_profile\.user_country is missing, declared is varchar"):
        materialize(home, config, moment(1))
    assert not list(home.offline_store.glob("*")), "no table is written when one is wrong"
    assert not (home.feast / "online_store.db").exists(), "nothing reaches the online store"
    home.warehouse.write_bytes(b"no database")
    with pytest.raises(TastemakerError, match="can't be read"):
        materialize(home, config, moment(1))


def test_the_state_tells_both_moments(home: Home, config: Config, write_warehouse: WriteWarehouse) -> None:
    write_warehouse({})
    materialize(home, config, moment(9))
    materialize(home, config, moment(6))
    state = json.loads((home.feast / "materialized.json").read_text())
    assert datetime.fromisoformat(state["offline_as_of"]) == moment(6)
    assert datetime.fromisoformat(state["online_as_of"]) == moment(9)


def test_a_number_beyond_what_a_double_holds_survives_beside_a_null(
    home: Home, config: Config, write_warehouse: WriteWarehouse
) -> None:
    odd, many = 2**53 + 1, [2**62 + 1, -(2**62) - 1]
    known: dict[str, Any] = {"user_sessions_90d": odd, "user_value_1d": float("nan")}
    history: dict[str, Any] = {"history_timestamps": many, "history_counts": [odd]}
    write_warehouse(
        {
            "user_activity": [feature_row("ann", 10, **known), feature_row("bob", 10)],
            "user_history": [feature_row("ann", 10, **history), feature_row("bob", 10)],
        }
    )
    materialize(home, config, moment(10))
    ann, bob = online_features(home, "recommend_v1", ["ann", "bob"])
    assert ann["user_sessions_90d"].value == odd
    assert repr(ann["user_value_1d"].value) == "nan", "what is not a number is no null"
    assert (ann["history_timestamps"].value, ann["history_counts"].value) == (many, [odd])
    assert {bob[name].status for name in (*known, *history)} == {"null"}


def test_a_list_with_a_missing_element_is_a_sentence(
    home: Home, config: Config, write_warehouse: WriteWarehouse
) -> None:
    write_warehouse({"user_history": [feature_row("ann", 10, history_item_ids=["pen", None])]})
    with pytest.raises(TastemakerError, match=r"user_history\.history_item_ids can't be put online .*missing element"):
        materialize(home, config, moment(10))


@on_sqlite
def test_a_copied_home_is_never_answered_from_the_files_of_the_first(
    home: Home, config: Config, write_warehouse: WriteWarehouse, tmp_path: Path
) -> None:
    write_warehouse({"user_profile": [feature_row("ann", 1, user_country="Chile")]})
    materialize(home, config, moment(2))
    copied = Home(tmp_path / "copied")
    shutil.copytree(home.root, copied.root)
    write_warehouse({"user_profile": [feature_row("ann", 1, user_country="Peru")]})
    materialize(home, config, moment(2))
    asked = pa.table({"user_id": ["ann"], "event_timestamp": [moment(2)]})
    with pytest.raises(TastemakerError, match="this one was copied or moved"):
        historical_features(copied, "profile_v1", asked)
    materialize(copied, config, moment(2))
    assert historical_features(copied, "profile_v1", asked)["user_country"].to_pylist() == ["Chile"]
