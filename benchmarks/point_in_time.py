"""The point-in-time join beside Feast's own DuckDB store and a bare DuckDB ASOF query, on the same files, in one run.

    make bench-pit      one JSON line, for tables of two shapes (SHAPES), which are told apart:
                        compare   seconds of every side, and both sides of every ratio
                        scale     seconds and peak memory from 1M to 10M labels, a process for each

                        took      seconds of the whole run: some eight minutes, half of them Feast's own store

The platform's shape is 'daily': `user_activity` and `item_activity`, which every training row is joined with, hold one
row a key and midnight (160 and 290 rows a key in Online Retail), and an hourly grain adds to them. Feast's store joins
a label with every earlier row of its key within the TTL, so that its cost grows with rows a key; ours does not.
'sparse' is the other end, told beside it: tables with a row only where something changed, as profiles and histories.

Wall and CPU seconds (of all threads) are both told: on a busy machine only the second compares.
All three sides take the same pandas frame of labels and give an Arrow table. The bare query is what one would write by
hand: three ASOF joins and the TTL, rows in no order, no check of anything, no tie broken. Its answers are compared
with ours, and Feast's too. `late` is our time on the same tables with 2% of rows created after their stamp, which the
bare query would answer wrongly.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, Int64, String
from feast.value_type import ValueType

from benchmarks.circumstances import beginning, circumstances, load, typed
from feature_repo.point_in_time.job import AsofRetrievalJob
from tastemaker.settings import PROJECT_ROOT

# Rows a key, of each view. 'daily': one row a key and day, as the platform's own activity tables have (160 to 290
# rows a key). 'sparse': rows at any microsecond, few of them a key.
SHAPES = {
    "daily": {"user": 180, "item": 180, "session": 180},
    "sparse": {"user": 20, "item": 100, "session": 10},
}
PARTS = ("compare", "scale")
ENTITIES = ("user", "item", "session")
FEATURES = {"score": Float64, "price": Float64, "visits": Int64, "country": String}
TTL = timedelta(days=60)
DAYS = 180
MICROSECONDS = 86_400_000_000
ONE_SCALE_POINT = """
import json, sys
from pathlib import Path
from benchmarks.point_in_time import one_scale_point
print(json.dumps(one_scale_point(Path(sys.argv[1]))))
"""
ASOF = "feature_repo.point_in_time.store.AsofOfflineStore"


def write_shop(folder: Path, *, shape: str, labels: int, rows: int, seed: int, late: float = 0.0) -> None:
    """One Parquet file per view, `<entity>.parquet`, and `labels.parquet`; the same bytes for the same arguments.

    A daily row of day d is stamped at the day's end and stands in the file day by day; a sparse one anywhere.
    """
    key_counts = {entity: max(1, rows // a_key) for entity, a_key in SHAPES[shape].items()}

    def draw(salt: str, size: int) -> str:
        return f"(hash(i, '{salt}', {seed}) % {size})::BIGINT"

    with duckdb.connect() as connection:
        for entity, keys in key_counts.items():
            if shape == "daily":
                key, stamp = f"i % {keys}", f"TIMESTAMP '2024-01-02' + to_days((i // {keys})::INTEGER)"
            else:
                key = draw(entity, keys)
                stamp = f"TIMESTAMP '2024-01-01' + to_microseconds({draw(entity + ' time', DAYS * MICROSECONDS)})"
            delay = f"CASE WHEN {draw(entity + ' late', 1000)} < {late * 1000} THEN 3 ELSE 0 END"
            connection.execute(f"""
                COPY (
                    SELECT '{entity}' || {key} AS {entity}_id, {stamp} AS event_timestamp,
                        event_timestamp + to_days({delay}) AS created_timestamp,
                        {draw(entity + " a", 10**6)} / 1e6 AS {entity}_score,
                        {draw(entity + " b", 10**4)} / 1e2 AS {entity}_price,
                        {draw(entity + " c", 500)} AS {entity}_visits,
                        'country ' || {draw(entity + " d", 40)} AS {entity}_country
                    FROM range({rows}) t(i)
                ) TO '{folder / entity}.parquet' (FORMAT parquet)
            """)
        ids = ", ".join(
            f"'{entity}' || {draw('label ' + entity, keys)} AS {entity}_id" for entity, keys in key_counts.items()
        )
        moment = f"TIMESTAMP '2024-02-01' + to_microseconds({draw('label time', (DAYS - 31) * MICROSECONDS)})"
        connection.execute(
            f"COPY (SELECT i AS label, {ids}, {moment} AS event_timestamp FROM range({labels}) t(i)) "
            f"TO '{folder}/labels.parquet' (FORMAT parquet)"
        )


def feast_store(folder: Path, offline_store: str) -> FeatureStore:
    """A Feast repository over the shop's files."""
    objects: list[Any] = []
    for name in ENTITIES:
        entity = Entity(name=name, join_keys=[f"{name}_id"], value_type=ValueType.STRING)
        fields = [Field(name=f"{name}_{feature}", dtype=dtype) for feature, dtype in FEATURES.items()]
        source = FileSource(
            path=str(folder / f"{name}.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        )
        schema = [Field(name=f"{name}_id", dtype=String), *fields]
        objects += [entity, FeatureView(name=f"{name}_view", entities=[entity], schema=schema, source=source, ttl=TTL)]
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / f"{offline_store}.registry"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": offline_store},
            entity_key_serialization_version=3,
        )
    )
    store.apply(objects)
    return store


def joined_by_feast(store: FeatureStore, labels: pd.DataFrame | str) -> Any:
    """The retrieval job of all twelve features."""
    refs = [f"{name}_view:{name}_{feature}" for name in ENTITIES for feature in FEATURES]
    return store.get_historical_features(entity_df=labels, features=refs, filter_by_created_timestamp=True)


def joined_bare(folder: Path, labels: pd.DataFrame) -> pa.Table:
    """The same columns by three ASOF joins, in no order."""
    columns = ", ".join(
        f"CASE WHEN {name}.event_timestamp + to_days({TTL.days}) >= l.event_timestamp THEN {name}_{feature} END "
        f"AS {name}_{feature}"
        for name in ENTITIES
        for feature in FEATURES
    )
    joins = " ".join(
        f"ASOF LEFT JOIN '{folder / name}.parquet' {name} "
        f"ON l.{name}_id = {name}.{name}_id AND l.event_timestamp >= {name}.event_timestamp"
        for name in ENTITIES
    )
    with duckdb.connect() as connection:
        connection.execute("SET asof_loop_join_threshold = 0")
        connection.register("labels", labels)
        return connection.execute(f"SELECT l.*, {columns} FROM labels l {joins}").to_arrow_table()


def different_rows(ours: pa.Table, theirs: pa.Table) -> int:
    """How many labels were given other features, whatever the order of rows."""
    columns = ["label", *(f"{name}_{feature}" for name in ENTITIES for feature in FEATURES)]
    ours, theirs = ours.select(columns), theirs.select(columns)
    with duckdb.connect() as connection:
        connection.register("ours", ours)
        connection.register("theirs", theirs)
        found = connection.execute("SELECT count(*) FROM (FROM ours EXCEPT ALL FROM theirs)").fetchone()
    assert found is not None
    return int(found[0]) + abs(ours.num_rows - theirs.num_rows)


def compare(
    folder: Path, shape: str, *, labels: int, rows: int, seed: int, runs: int, feast_runs: int
) -> dict[str, Any]:
    """Seconds of every side, in turns; answers compared."""
    late_folder = folder / "late"
    late_folder.mkdir(parents=True)
    write_shop(folder, shape=shape, labels=labels, rows=rows, seed=seed)
    write_shop(late_folder, shape=shape, labels=labels, rows=rows, seed=seed, late=0.02)
    frame = duckdb.execute(f"FROM '{folder}/labels.parquet' ORDER BY label").df()
    ours, late, feasts = (feast_store(folder, ASOF), feast_store(late_folder, ASOF), feast_store(folder, "duckdb"))
    sides: dict[str, tuple[int, Callable[[], pa.Table]]] = {
        "ours": (runs, lambda: joined_by_feast(ours, frame).to_arrow()),
        "bare": (runs, lambda: joined_bare(folder, frame)),
        "late": (runs, lambda: joined_by_feast(late, frame).to_arrow()),
        "feast": (feast_runs, lambda: joined_by_feast(feasts, frame.copy()).to_arrow()),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    results: dict[str, pa.Table] = {}
    for turn in range(max(runs, feast_runs)):
        for side, (times, join) in sides.items():
            if turn < times:
                began, began_cpu = time.perf_counter(), time.process_time()
                results[side] = join()
                seconds[side].append(round(time.perf_counter() - began, 3))
                cpu[side].append(round(time.process_time() - began_cpu, 3))
    assert results["ours"].column("label").to_pylist() == list(range(labels)), "ours is out of order"
    return {
        "load_after": load(),
        "labels": labels,
        "rows_per_view": rows,
        "rows_a_key": SHAPES[shape],
        "views": len(ENTITIES),
        "seconds": _told(seconds),
        "cpu_seconds": _told(cpu),
        "labels_answered_differently": {
            s: different_rows(results["ours"], results[s]) for s in ("bare", "feast") if s in results
        },
    }


def _told(runs: dict[str, list[float]]) -> dict[str, Any]:
    medians = {side: round(statistics.median(times), 3) for side, times in runs.items() if times}
    pairs = [(a, b) for a, b in [("feast", "ours"), ("ours", "bare"), ("late", "bare")] if a in medians]
    return {
        "median": medians,
        "runs": runs,
        "ratios": {f"{a}/{b}": round(medians[a] / medians[b], 2) for a, b in pairs},
    }


def scale(folder: Path, shape: str, *, sizes: list[int], rows: int, seed: int) -> list[dict[str, Any]]:
    """Seconds and peak memory of each size, written to Parquet, each in a process of its own."""
    points = []
    for size in sizes:
        write_shop(folder, shape=shape, labels=size, rows=rows, seed=seed)
        done = subprocess.run(
            [sys.executable, "-c", ONE_SCALE_POINT, str(folder.absolute())],
            check=True,
            capture_output=True,
            text=True,
            cwd=PROJECT_ROOT,
        )
        points.append({"labels": size, **json.loads(done.stdout.splitlines()[-1])})
        (folder / "joined.parquet").unlink()
    return points


def one_scale_point(folder: Path) -> dict[str, float]:
    """Joins the folder's labels, as SQL, into a Parquet file."""
    store = feast_store(folder, ASOF)
    began, began_cpu = time.perf_counter(), time.process_time()
    job = joined_by_feast(store, f"FROM read_parquet('{folder}/labels.parquet')")
    assert isinstance(job, AsofRetrievalJob)
    job.to_parquet(folder / "joined.parquet")
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_memory_mib": round(peak_memory_mib())}


def peak_memory_mib() -> float:
    """Most memory that this process has held since its program began, MiB.

    Not `ru_maxrss`: that begins with what the parent held when it forked.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024


def main() -> None:
    """Prints one JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--labels", type=int, default=500_000)
    options.add_argument("--rows", type=int, default=2_000_000, help="feature rows of each of the three views")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--feast-runs", type=int, default=1, help="Feast's own store takes minutes each")
    options.add_argument("--seed", type=int, default=20111210)
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    options.add_argument("--scale-labels", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    options.add_argument("--shapes", choices=SHAPES, nargs="+", default=list(SHAPES))
    given, before = options.parse_args(), beginning()
    began = time.perf_counter()
    found: dict[str, dict[str, Any]] = {part: {} for part in given.parts}
    with tempfile.TemporaryDirectory(prefix="bench_pit_") as folder:
        for shape in given.shapes:
            shop = Path(folder) / shape
            if "compare" in found:
                found["compare"][shape] = compare(
                    shop,
                    shape,
                    labels=given.labels,
                    rows=given.rows,
                    seed=given.seed,
                    runs=given.runs,
                    feast_runs=given.feast_runs,
                )
            if "scale" in found:
                shop.mkdir(exist_ok=True)
                found["scale"][shape] = scale(shop, shape, sizes=given.scale_labels, rows=given.rows, seed=given.seed)
            shutil.rmtree(shop)
    facts = {
        "benchmark": "point_in_time",
        **circumstances(typed("benchmarks.point_in_time"), given.date, before, "duckdb", "feast"),
        "seed": given.seed,
    }
    print(json.dumps({**facts, **found, "took": round(time.perf_counter() - began)}))


if __name__ == "__main__":
    main()
