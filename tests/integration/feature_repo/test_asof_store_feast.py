"""The offline store as Feast reads through it: historical features, snapshots, sources."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    PrimitiveFeastType,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)
from toy_feast_store import (
    ASOF,
    DAY,
    ITEM,
    MICROSECONDS,
    MONDAY,
    USER,
    asked,
    feast_store,
    source,
    user_view,
    values,
    write_rows,
)

from feature_repo.point_in_time.job import AsofRetrievalJob
from feature_repo.point_in_time.oracle import Version, answer
from tastemaker.errors import TastemakerError

pytestmark = pytest.mark.integration


def test_duplicates_order_null_keys_and_late_rows(tmp_path):
    write_rows(
        tmp_path / "f.parquet", [("u", 0, 0, 1), ("u", 1, 1, 2), ("u", 0, 3, 10), ("u", 1, 4, 20), ("v", 0, 0, 7)]
    )
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet", ttl=2 * DAY)])
    labels = asked(("u", 3), ("v", 9), (None, 1), ("u", 0), ("u", 3), ("nobody", 1), ("v", 2), ("u", -1))
    job = store.get_historical_features(entity_df=labels, features=["counts:n"])
    result = job.to_df()
    assert result["label"].tolist() == list(range(8))
    assert values(job) == [2, None, None, 1, 2, None, 7, None]


def test_a_folder_and_a_glob_read_as_one_table(tmp_path):
    write_rows(tmp_path / "days" / "a.parquet", [("u", 0, 0, 1)])
    write_rows(tmp_path / "days" / "deeper" / "b.parquet", [("u", 0, 0, 2), ("u", 1, 1, 3)])
    for path, expected in [("days", [2, 3]), ("days/*.parquet", [1, 1])]:
        store = feast_store(tmp_path, [USER, user_view(path)])
        job = store.get_historical_features(entity_df=asked(("u", 0), ("u", 1)), features=["counts:n"])
        assert values(job) == expected


def random_shop(seed):
    chance = random.Random(seed)
    rows = []
    for _ in range(3000):
        day = chance.randrange(40)
        late = chance.choice([0, 0, 0, 1, 2, 5])
        rows.append((f"u{chance.randrange(60)}", day, day + late, chance.randrange(10**6)))
    # Feast's own store leaves ties of both stamps open, so there are none here.
    rows = list({(user, event, created): (user, event, created, n) for user, event, created, n in rows}.values())
    labels = [(f"u{chance.randrange(70)}", chance.randrange(-2, 50)) for _ in range(400)]
    return rows, [*labels, *labels[:20]]


@pytest.mark.parametrize("known", [True, False])
def test_equal_to_feasts_duckdb_store_where_that_is_right(tmp_path, known):
    rows, labels = random_shop(7)
    write_rows(tmp_path / "f.parquet", rows)
    objects = [USER, user_view(tmp_path / "f.parquet", ttl=10 * DAY)]
    ours = feast_store(tmp_path, objects, type=ASOF, filter_by_created_timestamp=known)
    feasts = feast_store(tmp_path, objects, type="duckdb")
    found = ours.get_historical_features(entity_df=asked(*labels), features=["counts:n"]).to_df()
    theirs = feasts.get_historical_features(
        entity_df=asked(*labels), features=["counts:n"], filter_by_created_timestamp=known
    ).to_df()
    theirs = theirs.sort_values("label").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, theirs, check_dtype=False)
    versions = [Version((u,), MONDAY + e * DAY, MONDAY + c * DAY, n) for u, e, c, n in rows]
    expected = [
        answer(versions, (u,), MONDAY + day * DAY, ttl=10 * DAY, created_must_be_known=known) for u, day in labels
    ]
    assert [None if pd.isna(n) else int(n) for n in found["n"]] == expected
    assert len({n is None for n in expected}) == 2


def test_types_lists_and_zones_come_back_as_written(tmp_path):
    moment = datetime(2024, 1, 1, 6, 30, 0, 123456, tzinfo=UTC)
    columns = {
        "i32": (Int32, pa.int32(), 7),
        "i64": (Int64, pa.int64(), 2**62 + 1),
        "f32": (Float32, pa.float32(), 0.5),
        "f64": (Float64, pa.float64(), 0.1),
        "text": (String, pa.string(), "naïve ☂"),
        "flag": (Bool, pa.bool_(), True),
        "raw": (Bytes, pa.binary(), b"\x00\xff"),
        "seen": (UnixTimestamp, pa.timestamp("us", "UTC"), moment),
        "texts": (Array(String), pa.list_(pa.string()), ["a", None, ""]),
        "ints": (Array(Int64), pa.list_(pa.int64()), []),
        "reals": (Array(Float64), pa.list_(pa.float64()), [1.5, float("inf")]),
        "moments": (Array(UnixTimestamp), pa.list_(pa.timestamp("us")), [moment.replace(tzinfo=None)]),
        "i32s": (Array(Int32), pa.list_(pa.int32()), [-(2**31), None]),
        "f32s": (Array(Float32), pa.list_(pa.float32()), [0.5]),
        "flags": (Array(Bool), pa.list_(pa.bool_()), [True, False]),
        "raws": (Array(Bytes), pa.list_(pa.binary()), [b"", b"\x00"]),
        "grid": (Array(Array(Int64)), pa.list_(pa.list_(pa.int64())), [[1], []]),
        "set": (Set(Int64), pa.list_(pa.int64()), [2**62 + 1]),
        "pdf": (PdfBytes, pa.binary(), b"%PDF"),
        "image": (ImageBytes, pa.binary(), b"\x89PNG"),
        "map": (Map, pa.map_(pa.string(), pa.string()), [("a", "b")]),
        "maps": (Array(Map), pa.list_(pa.map_(pa.string(), pa.string())), [[("a", None)]]),
        "json": (Json, pa.string(), '{"a": [1]}'),
        "uuid": (Uuid, pa.string(), "6f1e1a3c-0000-4000-8000-000000000000"),
        "time_uuid": (TimeUuid, pa.string(), "6f1e1a3c-0000-1000-8000-000000000000"),
        "decimal": (Decimal, pa.string(), "1.10"),
        "struct": (Struct({"a": Int64}), pa.struct([("a", pa.int64())]), {"a": 2**62 + 1}),
        "scalars": (ScalarMap, pa.map_(pa.int64(), pa.string()), [(1, "b")]),
        "zoned": (ZonedTimestamp, pa.struct([("at", pa.int64()), ("zone", pa.string())]), {"at": 1, "zone": "UTC"}),
    }
    tried = {dtype for dtype, _, _ in columns.values() if isinstance(dtype, PrimitiveFeastType)}
    assert tried == set(PrimitiveFeastType) - {PrimitiveFeastType.INVALID}, "every type that Feast has"
    zoned = pa.timestamp("us", "Europe/Berlin")
    fixed = {"user_id": pa.array(["u", "u"]), "event_timestamp": pa.array([MONDAY, MONDAY + DAY], zoned)}
    data = {name: pa.array([value, None], dtype) for name, (_, dtype, value) in columns.items()}
    pq.write_table(pa.table({**fixed, **data}), tmp_path / "f.parquet")
    schema = [Field(name="user_id", dtype=String), *(Field(name=n, dtype=d) for n, (d, _, _) in columns.items())]
    view = FeatureView(
        name="every",
        entities=[USER],
        schema=schema,
        source=source(tmp_path / "f.parquet", created_timestamp_column=None),
        ttl=None,
    )
    store = feast_store(tmp_path, [USER, view])
    refs = [f"every:{name}" for name in columns]
    result = store.get_historical_features(entity_df=asked(("u", 0.5), ("u", 1), ("x", 1)), features=refs).to_arrow()
    for name, (_, _, value) in columns.items():
        assert result.column(name).to_pylist() == [value, None, None], name


def test_nanosecond_stamps_never_show_before_their_time(tmp_path):
    stamps = np.array(["2024-01-01T00:00:00.000000100", "2024-01-01T00:00:00.000000200"], dtype="datetime64[ns]")
    table = pa.table({"user_id": ["u", "u"], "event_timestamp": stamps, "created_timestamp": stamps, "n": [1, 2]})
    pq.write_table(table, tmp_path / "f.parquet")
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet", ttl=DAY)])
    labels = asked(("u", 0), ("u", 0), ("u", 1), ("u", 2))
    labels.loc[1, "event_timestamp"] += pd.Timedelta(microseconds=1)
    assert values(store.get_historical_features(entity_df=labels, features=["counts:n"])) == [None, 2, 2, None]


def test_several_keys_aliases_mappings_projections_and_on_demand_views(tmp_path):
    naive = MONDAY.replace(tzinfo=None)
    pairs = pa.table(
        {
            "user_id": ["1", "12"],
            "item_id": [23, 3],
            "ts": pa.array([naive, naive], MICROSECONDS),
            "raw_score": [0.25, 0.75],
        }
    )
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    write_rows(tmp_path / "counts.parquet", [("1", 0, 0, 5), ("12", 0, 0, 6)])
    pair_view = FeatureView(
        name="pairs",
        entities=[USER, ITEM],
        schema=[
            Field(name="user_id", dtype=String),
            Field(name="item_id", dtype=Int64),
            Field(name="score", dtype=Float64),
        ],
        source=FileSource(
            path=str(tmp_path / "pairs.parquet"), timestamp_field="ts", field_mapping={"raw_score": "score"}
        ),
        ttl=timedelta(0),
    )
    counts = user_view(tmp_path / "counts.parquet")
    request = RequestSource(name="asked", schema=[Field(name="label", dtype=Int64)])

    @on_demand_feature_view(sources=[counts, request], schema=[Field(name="n_plus", dtype=Int64)])
    def plus(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"n_plus": inputs["n"] + inputs["label"]})

    mine = counts.with_name("mine")
    friend = counts.with_name("friend").with_join_key_map({"user_id": "friend_id"})[["n"]]
    service = FeatureService(
        name="all_of_it", features=[pair_view[["score"]].with_name("pairs"), mine, friend, plus.with_name("plus")]
    )
    store = feast_store(tmp_path, [USER, ITEM, pair_view, counts, plus, service])
    labels = asked(("1", 1), ("12", 1), ("1", 1))
    labels["item_id"] = [23, 3, 3]
    labels["friend_id"] = ["12", "1", "nobody"]
    job = store.get_historical_features(entity_df=labels, features=service, full_feature_names=True)
    result = job.to_arrow()
    assert result.column("pairs__score").to_pylist() == [0.25, 0.75, None]
    assert result.column("mine__n").to_pylist() == [5, 6, 5]
    assert result.column("friend__n").to_pylist() == [6, 5, None]
    assert result.column("plus__n_plus").to_pylist() == [5, 7, 7]
    assert isinstance(job, AsofRetrievalJob)
    stored = pq.read_table(job.to_parquet(tmp_path / "out.parquet"))
    assert stored.to_pydict() == result.to_pydict()


def test_labels_as_sql_and_as_arrow(tmp_path):
    write_rows(tmp_path / "f.parquet", [("u", 0, 0, 1), ("u", 1, 1, 2)])
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet")])
    query = f"""
        SELECT user_id, event_timestamp + INTERVAL 1 HOUR AS event_timestamp
        FROM read_parquet('{tmp_path}/f.parquet') ORDER BY n DESC
    """
    assert values(store.get_historical_features(entity_df=query, features=["counts:n"])) == [2, 1]
    rows = pa.Table.from_pandas(asked(("u", 1), ("u", 0)), preserve_index=False)
    assert values(store.get_historical_features(entity_df=rows, features=["counts:n"])) == [2, 1]


def test_no_labels_at_all_is_a_snapshot(tmp_path):
    write_rows(tmp_path / "f.parquet", [("u", 0, 0, 1), ("u", 5, 5, 2), ("v", 1, 1, 3)])
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet")])
    job = store.get_historical_features(
        entity_df=None, features=["counts:n"], start_date=MONDAY, end_date=MONDAY + 2 * DAY
    )
    assert dict(zip(values(job, "user_id"), values(job), strict=True)) == {"u": 1, "v": 3}


def test_an_empty_label_set_has_every_column(tmp_path):
    write_rows(tmp_path / "f.parquet", [("u", 0, 0, 1)])
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet")])
    job = store.get_historical_features(entity_df=asked().astype({"user_id": "string"}), features=["counts:n"])
    assert job.to_arrow().num_rows == 0
    assert "n" in job.to_arrow().column_names
    assert isinstance(job, AsofRetrievalJob)
    assert pq.read_table(job.to_parquet(tmp_path / "out.parquet")).num_rows == 0


def test_a_feature_stamped_at_its_events_own_time_is_seen(tmp_path):
    """The join is inclusive: a count stamped with its own event holds the label; stamped at the next midnight, not."""
    events = [("u", 0.25), ("u", 0.5), ("u", 1.5)]
    labels = asked(*events)
    before = [0, 1, 2]
    leaking = [("u", day, day, n + 1) for n, (_, day) in enumerate(events)]
    midnights = [("u", 1, 1, 2), ("u", 2, 2, 3)]
    given = {}
    for name, rows in [("leaking", leaking), ("midnights", midnights)]:
        write_rows(tmp_path / f"{name}.parquet", rows)
        store = feast_store(tmp_path, [USER, user_view(tmp_path / f"{name}.parquet")])
        given[name] = values(store.get_historical_features(entity_df=labels, features=["counts:n"]))
    assert not [n for n, known in zip(given["midnights"], before, strict=True) if (n or 0) > known]
    assert [n for n, known in zip(given["leaking"], before, strict=True) if (n or 0) > known] == [1, 2, 3]


def test_a_file_rewritten_under_the_run_is_noticed(tmp_path):
    write_rows(tmp_path / "f.parquet", [("u", 0, 0, 1)])
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet")])
    job = store.get_historical_features(entity_df=asked(("u", 1)), features=["counts:n"])
    write_rows(tmp_path / "f.parquet", [("u", 0, 0, 1), ("u", 0, 0, 2)])
    with pytest.raises(TastemakerError, match=r"f\.parquet changed while it was being read"):
        job.to_arrow()
    with pytest.raises(TastemakerError, match="changed"):
        job.to_parquet(tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def retyped(folder, **columns):
    table = pq.read_table(folder / "f.parquet")
    for name, column in columns.items():
        index = table.column_names.index(name)
        table = table.remove_column(index) if column is None else table.set_column(index, name, [column])
    pq.write_table(table, folder / "f.parquet")


@pytest.mark.parametrize(
    ("change", "labels", "sentence"),
    [
        ({"n": None}, asked(("u", 1)), "counts: .* has no column 'n'"),
        ({"n": ["one"]}, asked(("u", 1)), "counts: the column 'n' is VARCHAR in the source but .* declared Int64"),
        ({"event_timestamp": ["2024"]}, asked(("u", 1)), "'event_timestamp' is VARCHAR, but a stamp must be"),
        ({"created_timestamp": None}, asked(("u", 1)), "has no column 'created_timestamp'"),
        ({}, asked((1, 1)), "The join key 'user_id' is BIGINT in the label rows but VARCHAR in 'counts'"),
        ({}, asked(("u", 1)).drop(columns="user_id"), "no column 'user_id', the join key of 'counts'"),
        ({}, asked(("u", 1)).rename(columns={"label": "n"}), "would be named 'n'; ask with full_feature_names=True"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_it_runs(tmp_path, change, labels, sentence):
    write_rows(tmp_path / "f.parquet", [("u", 0, 0, 1)])
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet")])
    retyped(tmp_path, **change)
    with pytest.raises(TastemakerError, match=sentence):
        store.get_historical_features(entity_df=labels, features=["counts:n"])


def test_a_source_is_validated(tmp_path):
    write_rows(tmp_path / "f.parquet", [("u", 0, 0, 1)])
    store = feast_store(tmp_path, [USER, user_view(tmp_path / "f.parquet")])
    provider = store._get_provider()
    provider.validate_data_source(store.config, source(tmp_path / "f.parquet"))
    with pytest.raises(TastemakerError, match="no file or folder"):
        provider.validate_data_source(store.config, source(tmp_path / "missing.parquet"))
    with pytest.raises(TastemakerError, match=r"no column 'event_time'\. Did you mean 'event_timestamp'"):
        provider.validate_data_source(store.config, source(tmp_path / "f.parquet", timestamp_field="event_time"))
