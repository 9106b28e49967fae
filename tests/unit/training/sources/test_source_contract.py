"""What every candidate source promises, whatever it does inside."""

import numpy as np
import pytest
import tensorflow as tf
from toys import asked_sources as toy
from toys import two_tastes

from serving.allowed_ops import require_allowed_ops
from tastemaker import names
from training.ranking.past import Fading
from training.sources.source import Asked, Past

HISTORIES = [[2, 4, 6], [1, 3, 5, 7, 9], [], [0], [2, 2, 4], list(range(8))]


@pytest.fixture(scope="module")
def items():
    return toy.snapshot()


@pytest.fixture(params=names.CANDIDATE_SOURCES)
def source(request, items):
    made = toy.SOURCES[request.param](items)
    made.refresh()
    return made


@pytest.fixture(scope="module")
def asked(items):
    return toy.asked(items, HISTORIES)


def _checked(found, items, count):
    """The list's own promises; returns the rows without padding."""
    listed, scores = found.items.numpy(), found.scores.numpy()
    assert listed.shape == scores.shape
    assert listed.dtype == np.int32
    assert scores.dtype == np.float32
    assert listed.shape[1] <= min(count, items.universe.rows)
    rows = []
    for row, score in zip(listed, scores, strict=True):
        kept = row != items.universe.unknown
        assert not kept[np.argmin(kept) :].any() or kept.all()  # padding only at the end
        assert len(set(row[kept])) == kept.sum()
        assert items.available.numpy()[row[kept]].all()
        assert np.isfinite(score).all()
        assert (np.diff(score[kept]) <= 0).all()
        assert (score[~kept] == 0).all()
        rows.append(row[kept].tolist())
    return rows


def test_every_name_has_a_source_that_bears_it(source, items):
    assert set(toy.SOURCES) == set(names.CANDIDATE_SOURCES)
    assert source.name in names.CANDIDATE_SOURCES


@pytest.mark.parametrize("count", [1, 5, two_tastes.ITEMS, 10_000])
def test_lists_are_distinct_available_items_best_first(source, items, asked, count):
    rows = _checked(source.propose(asked, count), items, count)
    assert any(rows)


def test_a_longer_list_begins_with_the_shorter(source, items, asked):
    short, long = (_checked(source.propose(asked, count), items, count) for count in (3, 9))
    assert [row[:3] for row in long] == short


def test_a_row_is_the_same_to_the_bit_whatever_it_is_batched_with(source, asked):
    together = source.propose(asked, 9)
    for row in range(len(HISTORIES)):
        alone = source.propose(toy.of_row(asked, row), 9)
        np.testing.assert_array_equal(alone.items.numpy()[0], together.items.numpy()[row])
        np.testing.assert_array_equal(alone.scores.numpy()[0], together.scores.numpy()[row])


def test_scores_of_given_items_are_those_of_the_list(source, items, asked):
    if not hasattr(source, "scores"):
        pytest.skip("proposes only")
    found = source.propose(asked, 9)
    again = source.scores(asked, found.items).numpy()
    kept = found.items.numpy() != items.universe.unknown
    np.testing.assert_array_equal(again[kept], found.scores.numpy()[kept])


@pytest.mark.parametrize("history", [[], [two_tastes.ITEMS] * 3])
def test_who_has_no_history_gets_what_suits_everybody_or_nothing(source, items, history):
    rows = _checked(source.propose(toy.asked(items, [history]), 5), items, 5)
    personal = source.name not in (names.SOURCE_TWO_TOWER, names.SOURCE_POPULAR)
    assert len(rows[0]) == (0 if personal else 5)


def test_a_catalogue_of_one():
    items = toy.snapshot(1)
    for name, make in toy.SOURCES.items():
        source = make(items)
        source.refresh()
        for rows in (_checked(source.propose(toy.asked(items, h), 7), items, 7) for h in ([[0]], [[]])):
            assert rows in ([[0]], [[]]), name


def test_an_item_that_is_gone_is_not_proposed():
    items = toy.snapshot()
    made = {name: make(items) for name, make in toy.SOURCES.items()}
    rows = two_tastes.items_of(two_tastes.AS_OF)
    items.load(two_tastes.items_table(rows[6:]), two_tastes.AS_OF, two_tastes.tower(two_tastes.all_days()))
    for source in made.values():
        source.refresh()
        found = _checked(source.propose(toy.asked(items, HISTORIES), 40), items, 40)
        assert not set(range(6)) & {item for row in found for item in row}, source.name


def test_saved_and_restored_it_proposes_the_same_with_allowed_operations(source, items, asked, tmp_path):
    module = tf.Module()
    module.source, module.items = source, items  # as the release holds them
    module.propose = tf.function(
        lambda *parts: vars(source.propose(_from(parts, items), 7)),
        input_signature=[tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in _parts(asked)],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"propose": module.propose})
    require_allowed_ops(tmp_path)
    restored = tf.saved_model.load(str(tmp_path))
    found, expected = restored.propose(*_parts(asked)), module.propose(*_parts(asked))
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), tensor.numpy())


def _parts(asked):
    user = asked.past.user
    return [user.numbers, user.history, user.last_seen, user.counts, user.requested, asked.query]


def _from(parts, items):
    *user, query = parts
    return Asked(Past.of(toy.UserRows(*user), items, Fading()), query)
