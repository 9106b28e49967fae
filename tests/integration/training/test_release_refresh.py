"""Refreshing the items of a published release: the models stay, the items move, the manifest and the answers say so."""

import json
import shutil
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from toys import two_tastes as toy

from feature_repo.materialize import materialize
from serving.manifest import read_manifest
from serving.releases.labels import Served, read_served, write_served
from serving.releases.versions import place, version_of
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home
from training.datasets.files import items_file, read_dataset
from training.datasets.item_snapshots import item_snapshots
from training.feature_tensors import query_tensors
from training.release.build import assembled
from training.release.refresh import newest_published, refresh_release

pytestmark = pytest.mark.integration

LATER = toy.AS_OF + timedelta(days=1)
NEW = "item-new"
GONE = toy.item_id(39)  # training knows it, the feature store no longer
LEFT = {toy.item_id(n) for n in range(toy.ITEMS)} - {GONE}


@pytest.fixture(scope="module")
def home(two_tastes_release, tmp_path_factory) -> Home:
    """A published release as of AS_OF, and features that are materialized up to a day later, with one item more and
    one less."""
    home = Home(shutil.copytree(two_tastes_release.root, tmp_path_factory.mktemp("refresh") / "home"))
    publish(home, toy.AS_OF)
    newcomer = {**toy.items_of(LATER)[1], names.ITEM_ID: NEW, "item_title": "RED unheard-of", "item_category": "hats"}
    rows = [*toy.items_of(toy.AS_OF), *toy.items_of(LATER), newcomer]
    _write_warehouse(home, [row for row in rows if row[names.ITEM_ID] != GONE])
    materialize(home, toy.CONFIG, LATER)
    return home


@pytest.fixture(scope="module")
def refreshed(home):
    return refresh_release(home, LATER)


@pytest.fixture(scope="module")
def served(home, refreshed):
    """Both releases, loaded once: it takes longer than asking."""
    return {at: tf.saved_model.load(str(home.candidate(at))) for at in (toy.AS_OF, LATER)}


def publish(home: Home, as_of: datetime) -> int:
    """Makes a candidate a version, and stable, without a server."""
    candidate = home.candidate(as_of)
    version = version_of(home, as_of, read_manifest(candidate))
    place(home, candidate, version)
    write_served(home, Served({"stable": version}))
    return version


def _write_warehouse(home: Home, rows: list[dict]) -> None:
    with duckdb.connect(str(home.warehouse)) as warehouse:
        warehouse.register("given", pa.Table.from_pylist(rows))
        for name, table in feature_tables().items():
            of_items = table.entity == "item"
            values = [f"{f.name if of_items else 'null'}::{f.dtype} as {f.name}" for f in table.features]
            source = "given" if of_items else "(select 'nobody' as user_id, day from given limit 1)"
            stamps = ["day as event_timestamp", "day as created_timestamp"]
            columns = ", ".join([f"{table.key}::varchar as {table.key}", *stamps, *values])
            warehouse.execute(f"create table {name} as select {columns} from {source}")


def _recommend(release):
    user = {name: tf.constant(values) for name, values in query_tensors(toy.requests().slice(0, 40)).items()}
    return release.signatures["recommend"](**user, exclude_item_ids=tf.constant([[""]]), k=tf.constant(1_000))


def test_the_manifest_and_the_answer_say_how_fresh_the_items_are(home, served):
    built, now = (json.loads((home.candidate(at) / "manifest.json").read_text()) for at in (toy.AS_OF, LATER))
    assert (now["as_of"], now["item_snapshot"]) == (toy.AS_OF.isoformat(), LATER.isoformat())
    assert now["release"].startswith(f"{built['release']}+20260302T000000Z-")
    assert now["windows"] == built["windows"]
    assert now["metrics"] == built["metrics"]
    assert now["items"]["available"] == len(LEFT) + 1
    answer = _recommend(served[LATER])
    assert set(answer["release"].numpy()) == {now["release"].encode()}
    bound = LATER + timedelta(hours=toy.CONFIG.candidates.item_fresh_hours)
    assert now["items_fresh_until"] == bound.isoformat()
    assert set(answer["items_fresh_until"].numpy()) == {int(bound.timestamp()) * 1_000_000}


def test_a_new_item_of_a_new_category_has_a_place(served):
    ids = {name.decode() for name in _recommend(served[LATER])["item_ids"].numpy().ravel()}
    assert ids == LEFT | {NEW}


def test_an_item_that_vanished_is_no_longer_recommended(served):
    before, after = (
        {name.decode() for name in _recommend(served[at])["item_ids"].numpy().ravel()} for at in (toy.AS_OF, LATER)
    )
    assert GONE in before
    assert GONE not in after
    similar = served[LATER].signatures["similar_items"](item_ids=tf.constant([GONE]), k=tf.constant(3))
    assert similar["item_ids"].numpy().tolist() == [[b""] * 3]


def test_what_the_trees_make_of_the_items_is_made_anew(home, served):
    """The masks are those of a graph that never knew the older items, and not the older ones."""
    made = assembled(home, toy.CONFIG, toy.AS_OF, item_snapshots(home, [LATER]), LATER, "anew")
    assert made.item_masks is not None and made.item_masks.baked
    masks, old = (served[at].item_masks.table.numpy() for at in (LATER, toy.AS_OF))
    np.testing.assert_array_equal(masks, made.item_masks.table.numpy())

    places = {item: place for place, item in enumerate(made.universe.item_ids)}
    was = {toy.item_id(n): old[n] for n in range(toy.ITEMS)}
    moved = [item for item in LEFT if not np.array_equal(masks[places[item]], was[item])]
    assert len(moved) > len(LEFT) // 4


def test_a_request_without_a_time_is_of_the_new_moment(served):
    assert int(served[LATER].snapshot.as_of.numpy()) == int(LATER.timestamp()) * 1_000_000


def test_it_is_published_as_a_later_version_and_can_be_refreshed_again(home, refreshed):
    assert publish(home, LATER) == 202603020000_00
    again = newest_published(home, LATER + timedelta(days=1))
    assert again["item_snapshot"] == LATER.isoformat()
    assert refresh_release(home, LATER).facts["release"] == refreshed.facts["release"]


def test_what_cannot_be_refreshed_is_a_sentence(home, tmp_path):
    with pytest.raises(TastemakerError, match="has the items of that moment"):
        refresh_release(home, toy.AS_OF)
    with pytest.raises(TastemakerError, match="none whose items could be refreshed"):
        refresh_release(Home(tmp_path), LATER)
    with pytest.raises(TastemakerError, match="run 'tastemaker features materialize' for a later moment"):
        refresh_release(home, LATER + timedelta(days=9))
    tower = home.training(toy.AS_OF) / "retriever" / "tower.json"
    kept = tower.read_text()
    tower.write_text(kept + " ")
    try:
        with pytest.raises(TastemakerError, match="are not those of the published release"):
            refresh_release(home, LATER + timedelta(hours=1))
    finally:
        tower.write_text(kept)


def test_a_feature_the_models_do_not_know_is_named(home):
    [path] = (home.models / "recommender").glob("2026030100*/manifest.json")
    kept = path.read_text()
    manifest = json.loads(kept)
    del manifest["item_service"]["features"]["item_price"]
    manifest["item_service"]["schema_hash"] = "another"
    path.write_text(json.dumps(manifest))
    stable = read_served(home)
    write_served(home, Served({"stable": int(path.parent.name)}))
    try:
        with pytest.raises(TastemakerError, match=r"item_v1 have changed .* \(item_price\)"):
            refresh_release(home, LATER + timedelta(hours=2))
    finally:
        path.write_text(kept)
        write_served(home, stable)


def test_the_models_that_answer_are_refreshed_not_the_newest(home, refreshed):
    folder = home.models / "recommender" / "20260303000000"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"as_of": LATER.isoformat(), "item_snapshot": LATER.isoformat()}))
    try:
        assert newest_published(home, LATER + timedelta(days=2))["as_of"] == toy.AS_OF.isoformat()
    finally:
        shutil.rmtree(folder)


def test_the_items_are_what_the_feature_store_says(home):
    then = item_snapshots(home, [toy.AS_OF])
    assert set(then["item_id"].to_pylist()) == LEFT
    built = read_dataset(items_file(home, toy.AS_OF))
    last = built.filter(pa.compute.equal(built["day"], pa.scalar(toy.AS_OF.replace(tzinfo=None), pa.timestamp("us"))))
    last = last.filter(pa.compute.not_equal(last["item_id"], GONE))
    for name in ("item_price", "item_interactions_30d", "item_title", "neighbour_item_ids"):
        assert then.sort_by("item_id")[name].to_pylist() == last.sort_by("item_id")[name].to_pylist()
