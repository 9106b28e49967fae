import os
import random
from datetime import timedelta

import pandas as pd
import pytest
from declared_warehouse import WriteWarehouse, feature_row, moment
from feast.online_response import OnlineResponse
from redis_process import client

from feature_repo.lookup import online_features
from feature_repo.materialize import materialize
from feature_repo.store import open_store
from tastemaker import names
from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import FeatureTable, feature_tables, service_features
from tastemaker.home import Home

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("online_store")]


@pytest.fixture
def shop(home: Home, config: Config, write_warehouse: WriteWarehouse) -> Home:
    write_warehouse(
        {
            "user_profile": [feature_row("ann", 1, user_country="UK")],
            "user_activity": [feature_row("ann", 10, user_sessions_90d=4)],
            "item_profile": [feature_row("pen", 1, item_title="Pen"), feature_row("ink", 1, item_title="Ink")],
        }
    )
    materialize(home, config, moment(10))
    return home


def test_a_value_is_told_with_its_stamp_and_status(shop: Home) -> None:
    ann, nobody = online_features(shop, names.PROFILE_V1, ["ann", "nobody"])
    assert list(ann) == [feature.name for feature in service_features(names.PROFILE_V1)]
    assert (ann["user_country"].value, ann["user_country"].stamped) == ("UK", moment(1))
    assert (ann["user_sessions_90d"].value, ann["user_sessions_90d"].status) == (4, "present")
    assert (ann["user_value_1d"].value, ann["user_value_1d"].status) == (None, "null")
    assert {(found.value, found.stamped, found.status) for found in nobody.values()} == {(None, None, "not_found")}


def test_time_to_live_is_held_against_the_moment_of_the_lookup(shop: Home) -> None:
    # user_activity lives 2 days, user_profile for ever
    [last] = online_features(shop, names.PROFILE_V1, ["ann"], at=moment(12))
    assert last["user_sessions_90d"].value == 4
    [late] = online_features(shop, names.PROFILE_V1, ["ann"], at=moment(12.001))
    assert (late["user_sessions_90d"].value, late["user_sessions_90d"].status) == (None, "stale")
    assert late["user_sessions_90d"].stamped == moment(10)
    assert late["user_country"].value == "UK"
    with pytest.raises(TastemakerError, match="ask for historical features"):
        online_features(shop, names.PROFILE_V1, ["ann"], at=moment(9))


def test_keys_keep_their_order_and_may_repeat(shop: Home) -> None:
    found = online_features(shop, names.ITEM_V1, ["ink", "nothing", "pen", "ink"])
    assert [row["item_title"].value for row in found] == ["Ink", None, "Pen", "Ink"]
    nobody = online_features(shop, names.ITEM_V1, [])
    assert (list(nobody), nobody.columns()["item_title"]) == ([], [])
    assert [row["item_title"].value for row in found[1:3]] == [None, "Pen"]
    [pair] = online_features(shop, names.RANK_V1, [("ann", "pen")])
    assert (pair["user_country"].value, pair["item_title"].value) == ("UK", "Pen")


def test_the_answer_does_not_depend_on_the_time_zone(shop: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        [ann] = online_features(shop, names.PROFILE_V1, ["ann"])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert ann["user_sessions_90d"].stamped == moment(10)


def test_what_can_not_be_looked_up_is_a_sentence(shop: Home) -> None:
    with pytest.raises(TastemakerError, match=r"no feature service 'rank_v2'\. Did you mean 'rank_v1'"):
        online_features(shop, "rank_v2", ["ann"])
    with pytest.raises(TastemakerError, match="rank_v1 is asked by user_id and item_id; 1 given: ann"):
        online_features(shop, names.RANK_V1, ["ann"])
    with pytest.raises(
        TastemakerError, match=r"No features were materialized in .* run 'tastemaker features materialize"
    ):
        online_features(Home(shop.root / "elsewhere"), names.PROFILE_V1, ["ann"])


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
def test_an_unknown_name_is_a_sentence_through_feasts_sdk_too(shop: Home) -> None:
    store, ann = open_store(shop), {"user_id": ["ann"]}
    labels = pd.DataFrame({"user_id": ["ann"], "event_timestamp": [moment(5)]})
    for reference, told in {
        "user_profile:user_county": r"no feature of user_profile 'user_county'\. Did you mean 'user_country'",
        "user_profil:user_country": r"no feature view 'user_profil'\. Did you mean 'user_profile'",
    }.items():
        with pytest.raises(TastemakerError, match=told):
            store.get_online_features([reference], ann)
        with pytest.raises(TastemakerError, match=told):
            store.get_historical_features(labels, [reference])
    with pytest.raises(TastemakerError, match=r"no feature service 'rank_v2'\. Did you mean 'rank_v1'"):
        store.get_feature_service("rank_v2")
    assert store.get_online_features(["user_profile:user_country"], ann).to_dict()["user_country"] == ["UK"]
    known = store.get_historical_features(labels, ["user_profile:user_country"]).to_arrow()
    assert known.column("user_country").to_pylist() == ["UK"]


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
def test_a_missing_or_damaged_store_is_a_sentence(shop: Home, config: Config) -> None:
    store = shop.feast / "online_store.db"
    online_features(shop, names.PROFILE_V1, ["ann"])
    store.unlink()
    with pytest.raises(TastemakerError, match=r"online_store\.db is missing; run 'tastemaker features materialize"):
        online_features(shop, names.PROFILE_V1, ["ann"])
    store.write_bytes(b"this is no database" * 1000)
    with pytest.raises(TastemakerError, match=r"online_store\.db can't be read \(.*\); remove it and run"):
        online_features(shop, names.PROFILE_V1, ["ann"])
    with pytest.raises(TastemakerError, match="can't be read"):
        materialize(shop, config, moment(10))
    store.unlink()
    materialize(shop, config, moment(10))
    [ann] = online_features(shop, names.PROFILE_V1, ["ann"])
    assert ann["user_country"].value == "UK"


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
def test_a_file_with_the_number_of_an_earlier_one_is_read_and_not_the_damaged_one_between(shop: Home) -> None:
    """File systems give a removed file's number to the next one; here a second name keeps the first file's."""
    store, kept = shop.feast / "online_store.db", shop.feast / "kept.db"
    online_features(shop, names.PROFILE_V1, ["ann"])
    os.link(store, kept)
    store.unlink()
    store.write_bytes(b"this is no database" * 1000)
    with pytest.raises(TastemakerError, match="can't be read"):
        online_features(shop, names.PROFILE_V1, ["ann"])
    store.unlink()
    kept.rename(store)
    [ann] = online_features(shop, names.PROFILE_V1, ["ann"])
    assert ann["user_country"].value == "UK"


@pytest.mark.parametrize("online_store", ["redis"], indirect=True)
def test_a_redis_that_is_gone_or_emptied_is_a_sentence(
    shop: Home, online_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(online_store).flushall()
    with pytest.raises(TastemakerError, match=rf"Redis at {online_store} holds no features; run 'tastemaker features"):
        online_features(shop, names.PROFILE_V1, ["ann"])
    monkeypatch.delenv("TASTEMAKER_REDIS_URL")
    with pytest.raises(TastemakerError, match="materialized into another online store"):
        online_features(shop, names.PROFILE_V1, ["ann"])


def test_an_address_where_no_redis_answers_is_a_sentence(
    home: Home, config: Config, write_warehouse: WriteWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_warehouse({})
    monkeypatch.setenv("TASTEMAKER_REDIS_URL", "127.0.0.1:1,password=secret")
    with pytest.raises(TastemakerError, match=r"Redis at 127\.0\.0\.1:1 doesn't answer") as told:
        materialize(home, config, moment(1))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_answers_as_feasts_sdk(home: Home, config: Config, write_warehouse: WriteWarehouse, seed: int) -> None:
    """Every feature of random keys, some of them unknown; Feast tells stale values, which here are withheld."""
    draw = random.Random(seed)
    write_warehouse({name: random_rows(table, draw) for name, table in feature_tables().items()})
    materialize(home, config, moment(10))
    pairs = [(f"k{draw.randrange(30)}", f"k{draw.randrange(30)}") for _ in range(60)]
    at = moment(10 + draw.choice([0, 1, 3, 40]))

    store = open_store(home)
    users, items = zip(*pairs, strict=True)
    feast = store.get_online_features(
        store.get_feature_service(names.RANK_V1), {"user_id": list(users), "item_id": list(items)}
    )
    told = OnlineResponse(feast.proto).to_dict(include_event_timestamps=True)
    statuses = set()
    answer = online_features(home, names.RANK_V1, pairs, at)
    assert repr(answer.columns()) == repr({f: [row[f].value for row in answer] for f in answer[0]})
    for i, found in enumerate(answer):
        for table in feature_tables().values():
            for feature in table.features:
                value, seconds = found[feature.name], told[feature.name + "__ts"][i]
                statuses.add(value.status)
                if value.stamped is None:
                    assert (value.status, told[feature.name][i], seconds) == ("not_found", None, 0)
                    continue
                assert value.stamped.timestamp() == seconds
                if table.ttl_days and value.stamped < at - timedelta(days=table.ttl_days):
                    assert (value.status, value.value) == ("stale", None)
                else:
                    expected = told[feature.name][i]
                    assert repr(value.value) == repr(expected), "a type or a NaN would differ in its text"
                    assert value.status == ("null" if expected is None else "present")
    assert statuses >= {"not_found", "null", "present"}


def random_rows(table: FeatureTable, draw: random.Random) -> list[dict[str, object]]:
    """Of some of thirty keys, now and then without a value."""
    return [
        feature_row(
            f"k{number}",
            draw.randrange(1, 11),
            **{f.name: random_value(f.dtype, draw) for f in table.features if draw.random() < 0.8},
        )
        for number in draw.sample(range(30), 20)
    ]


def random_value(dtype: str, draw: random.Random) -> object:
    """Of one of the declared types."""
    if dtype.endswith("[]"):
        return [random_value(dtype[:-2], draw) for _ in range(draw.randrange(5))]
    return {
        "varchar": draw.choice(["", "a\x1fb", "שלום", "pen"]),
        "bigint": draw.choice([0, -1, 2**53]),
        "double": draw.choice([0.0, -0.0, 0.1, 5.0, float("inf")]),
        "boolean": draw.random() < 0.5,
    }[dtype]
