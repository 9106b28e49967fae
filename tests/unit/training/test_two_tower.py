"""The towers: what is missing, what is new, and the same answers after save and restore."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import feature_tables
from training.feature_tensors import item_features, item_specs, missing_tensors, query_specs, user_features
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.two_tower import WORDS, TwoTower
from training.vocabulary import Vocabulary

DAY = 86_400_000_000
AS_OF = 1_323_475_200_000_000  # 2011-12-10


def tower(seed: int = 1) -> TwoTower:
    config = TowerConfig.declared(8, as_of=AS_OF, hidden=16)
    known = {
        "item_id": Vocabulary.of(["mug", "plate", "rose"]),
        WORDS: Vocabulary.of(["red", "mug", "rose", "garden"]),
        "user_country": Vocabulary.of(["France", "Norway"]),
    }
    empty = {name: Vocabulary.of([]) for name in config.item_texts}
    return TwoTower(config, {**empty, **known}, seed)


def users(batch: int = 3) -> dict[str, np.ndarray]:
    """A user with a history, one with another, and one of whom nothing is known."""
    tensors = missing_tensors(user_features(), batch)
    tensors["history_item_ids"] = np.array([["mug", "rose"], ["plate", ""], ["", ""]], dtype=object)[:batch]
    tensors["history_timestamps"] = np.array([[AS_OF - DAY, AS_OF - 90 * DAY], [AS_OF - DAY, 0], [0, 0]])[:batch]
    tensors["history_counts"] = np.array([[1, 4], [2, 0], [0, 0]])[:batch]
    tensors["user_country"] = np.array(["France", "Atlantis", ""], dtype=object)[:batch]
    tensors["user_interactions_30d"] = np.array([5, 2, math.nan], np.float32)[:batch]
    tensors["request_timestamp"] = np.full(batch, AS_OF)
    return tensors


def items() -> dict[str, np.ndarray]:
    tensors = missing_tensors(item_features(), 4)
    tensors["item_id"] = np.array(["mug", "rose", "red mug of tomorrow", "nothing known"], dtype=object)
    tensors["item_title"] = np.array(["RED MUG", "garden rose", "Red mug, new", ""], dtype=object)
    tensors["item_price"] = np.array([2.5, 1.0, 2.5, math.nan], np.float32)
    return tensors


def test_vectors_have_the_width_and_length_one():
    for vectors in (tower().query(users()), tower().candidates(items())):
        assert vectors.shape[1] == 8
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_an_unknown_user_is_the_user_of_all_declared_defaults():
    declared = {
        f.name: f.default for table in ("user_profile", "user_activity") for f in feature_tables()[table].features
    }
    missing = {**missing_tensors(user_features(), 1), "request_timestamp": np.array([AS_OF])}
    defaults = dict(missing)
    for name, value in declared.items():
        if value is not None:
            defaults[name] = np.array([value], dtype=object if isinstance(value, str) else np.float32)
    found = tower().query(missing).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, tower().query(defaults).numpy())


@pytest.mark.parametrize("value", [math.inf, -math.inf, 3e38, -3e38])
def test_no_number_makes_a_vector_unfinite(value):
    user, item = users(), items()
    user["user_value_30d"] = np.full(3, value, np.float32)
    item["item_price"] = np.full(4, value, np.float32)
    assert np.isfinite(tower().query(user)).all()
    assert np.isfinite(tower().candidates(item)).all()


def test_a_row_is_the_same_alone_and_with_more_padding():
    together = tower().query(users()).numpy()
    alone = {name: values[1:2] for name, values in users().items()}
    for name in ("history_item_ids", "history_timestamps", "history_counts"):
        alone[name] = alone[name][:, :1]
    np.testing.assert_allclose(tower().query(alone).numpy()[0], together[1], atol=1e-6)


def test_a_request_of_no_time_is_asked_at_as_of():
    timeless = {**users(), "request_timestamp": np.zeros(3, np.int64)}
    np.testing.assert_array_equal(tower().query(timeless), tower().query(users()))


def test_recency_counts_and_country_move_the_query():
    before = tower().query(users()).numpy()
    for name, values in (
        ("history_timestamps", users()["history_timestamps"][:, ::-1]),
        ("history_counts", users()["history_counts"][:, ::-1]),
        ("user_country", np.array(["Norway", "Norway", "Norway"], dtype=object)),
    ):
        after = tower().query({**users(), name: np.ascontiguousarray(values)}).numpy()
        assert np.abs(after[0] - before[0]).max() > 1e-4, name


def test_saved_and_loaded_towers_agree_to_the_bit(tmp_path):
    first = tower()
    first.save(tmp_path / "tower")
    again = TwoTower.load(tmp_path / "tower")
    np.testing.assert_array_equal(again.query(users()), first.query(users()))
    np.testing.assert_array_equal(again.candidates(items()), first.candidates(items()))
    again.save(tmp_path / "again")
    for file in sorted((tmp_path / "tower").iterdir()):
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_a_saved_model_looks_strings_up_by_itself(tmp_path):
    first = tower()
    module = tf.Module()
    module.tower = first
    module.query = tf.function(first.query, input_signature=[query_specs()])
    module.candidates = tf.function(first.candidates, input_signature=[item_specs()])
    tf.saved_model.save(module, str(tmp_path / "m"))
    restored = tf.saved_model.load(str(tmp_path / "m"))
    as_tensors = {name: tf.constant(values) for name, values in users().items()}
    np.testing.assert_allclose(restored.query(as_tensors), first.query(users()), atol=1e-6)
    as_tensors = {name: tf.constant(values) for name, values in items().items()}
    np.testing.assert_allclose(restored.candidates(as_tensors), first.candidates(items()), atol=1e-6)


def test_a_grown_tower_keeps_what_it_knew_and_starts_new_items_as_unknown():
    first = tower()
    more = {**first.vocabularies, "item_id": Vocabulary.of(["apron", "mug", "plate", "rose"])}
    grown = first.grown(more, as_of=AS_OF + DAY, seed=9)
    np.testing.assert_array_equal(grown.candidates(items()), first.candidates(items()))
    apron = {**items(), "item_id": np.array(["apron"] * 4, dtype=object)}
    np.testing.assert_array_equal(grown.candidates(apron), first.candidates(apron))


def test_a_folder_without_a_tower_is_told(tmp_path):
    with pytest.raises(TastemakerError, match="train retriever"):
        TwoTower.load(tmp_path)
