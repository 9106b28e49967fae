"""Who proposed an item: from the release's answer to the client, and to the person who asks for it with `--sources`."""

import json

import pytest
from typer.testing import CliRunner

from serving.client import Recommender
from tastemaker.cli import app
from tastemaker.cli.options import settings

pytestmark = pytest.mark.integration

PROPOSED = {"mug": ("two_tower", "popular"), "cup": ("history",), "jar": ()}


@pytest.fixture(scope="module")
def release_that_tells(tmp_path_factory):
    """A SavedModel whose every answer is PROPOSED, in its order."""
    import tensorflow as tf

    class Telling(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "age"), tf.TensorSpec([], tf.int32, "k")])
        def recommend(self, age, k):
            batch, count = tf.shape(age)[0], tf.minimum(k, len(PROPOSED))
            named = [",".join(sources) for sources in PROPOSED.values()]
            return {
                "item_ids": tf.tile(tf.constant([list(PROPOSED)])[:, :count], [batch, 1]),
                "scores": tf.tile(tf.constant([[0.9, 0.5, 0.1]])[:, :count], [batch, 1]),
                "sources": tf.tile(tf.constant([named])[:, :count], [batch, 1]),
                "release": tf.fill([batch], "telling"),
            }

    telling = Telling()
    folder = tmp_path_factory.mktemp("telling") / "release"
    tf.saved_model.save(telling, str(folder), signatures={"recommend": telling.recommend})
    return folder


@pytest.fixture
def asked(release_that_tells, server_in, place_version, tmp_path, monkeypatch):
    """Whatever home is asked for its recommender has one of the server of that release."""
    folder = tmp_path / "toy"
    folder.mkdir()
    place_version(release_that_tells, folder, 1)
    server = server_in(folder)
    server.wait_for_state(1, "AVAILABLE")

    def of_home(*_, **__) -> Recommender:
        return Recommender(server.grpc_address, lambda user, at: {"age": 9.0}, model="toy", deadline_seconds=10)

    monkeypatch.setattr(Recommender, "of_home", of_home)
    monkeypatch.setenv("TASTEMAKER_HOME", str(tmp_path / "home"))
    settings.cache_clear()

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["recommend", "anybody", "-k", "3", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    yield of_home, run
    settings.cache_clear()


def test_sources_come_with_each_item_and_are_shown_where_they_are_asked_for(asked):
    of_home, run = asked
    with of_home() as recommender:
        assert {one.item_id: one.sources for one in recommender.recommend("anybody", k=3)} == PROPOSED
    rows = json.loads(run("--sources", "--json"))
    assert {row["item_id"]: row["sources"] for row in rows} == {
        "mug": "two_tower, popular",
        "cup": "history",
        "jar": "",
    }
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert all("sources" not in row for row in json.loads(run("--json")))
    table = run("--sources")
    assert "sources" in table.splitlines()[0] and "two_tower, popular" in table
    assert "two_tower" not in run()


def test_a_release_that_does_not_tell_says_of_none(toy_server):
    with Recommender(toy_server.grpc_address, lambda user, at: {}, model="toy", deadline_seconds=10) as recommender:
        assert [one.sources for one in recommender.recommend("anybody", k=2)] == [(), ()]
