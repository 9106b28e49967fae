"""What every encoder of a history owes the query tower and the served graph, whichever the config names."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from toys import two_tastes as toy
from toys.by_retrieval import ByRetrieval

from serving.allowed_ops import require_allowed_ops
from serving.server.saved_model import SavedModel, SessionOptions
from tastemaker.config import CandidatesConfig
from tastemaker.moments import microseconds
from training.feature_tensors import item_features, missing_tensors, query_tensors
from training.ranking.calibration import Calibration
from training.release.fused_graph import FusedRecommender
from training.release.saved_model import write_saved_model
from training.retrieval.encoders import ENCODERS, Events, History, history_encoder
from training.retrieval.two_tower import TwoTower
from training.vocabulary import Vocabulary

pytestmark = pytest.mark.integration

DIMENSION, INTERESTS = 6, 3
SEQUENTIAL = tuple(name for name in ENCODERS if name != "mean")
HISTORIES = ("history_item_ids", "history_timestamps", "history_counts")


@pytest.fixture(scope="module", params=ENCODERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(name):
    """With weights that no initial zero hides."""
    made = history_encoder(name, DIMENSION, INTERESTS, seed=3)
    random = np.random.default_rng(0)
    for weight in made.weights.values():
        weight.assign_add(random.normal(0, 0.3, weight.shape).astype(np.float32))
    return made


@pytest.fixture(scope="module")
def items():
    return toy.all_days()


@pytest.fixture(scope="module")
def tower(name, items):
    return toy.tower(items, encoder=name)


@pytest.fixture(scope="module")
def users():
    """40 requests of the toy shop; the first user has no history."""
    user = query_tensors(toy.requests().slice(0, 40))
    user["history_item_ids"][0] = ""
    return {feature: tf.constant(values) for feature, values in user.items()}


def history(lengths=(70, 9, 1, 0), width=72, seed=1) -> History:
    """One history of each length, latest first."""
    random = np.random.default_rng(seed)
    present = np.arange(width)[None, :] < np.array(lengths)[:, None]
    shape = (len(lengths), width)
    ages = np.sort(random.exponential(20, shape), axis=1)
    return of_arrays(random.normal(size=(*shape, DIMENSION)), present, ages, random.integers(1, 5, shape))


def of_arrays(vectors, present, ages, counts) -> History:
    floats = (tf.constant(values, tf.float32) for values in (vectors, ages, counts))
    vectors, ages, counts = floats
    return History(vectors, tf.constant(present), ages, counts)


def changed(past: History, change) -> History:
    """Every array of a history, batch and length first, through one function."""
    return of_arrays(*(change(values) for values in arrays(past)))


def arrays(past: History) -> list[np.ndarray]:
    return [tensor.numpy().copy() for tensor in (past.items, past.present, past.age_days, past.counts)]


def test_the_shape_is_the_contracts_and_every_value_finite(encoder):
    found = encoder(history()).numpy()
    assert found.shape == (4, INTERESTS, DIMENSION)
    assert np.isfinite(found).all()
    assert np.abs(found[:3]).max(axis=2).min() > 0.01


@pytest.mark.parametrize("interests", [1, 2])
def test_there_may_be_one_vector_or_two(name, interests):
    assert history_encoder(name, DIMENSION, interests, seed=3)(history()).shape == (4, interests, DIMENSION)


def test_an_empty_history_gives_zeros(encoder):
    assert not encoder(history()).numpy()[3].any()
    assert not encoder(history(lengths=(0, 0), width=1)).numpy().any()


def test_padding_does_not_matter_wherever_it_lies(encoder):
    past = history(lengths=(9, 5, 1), width=9)
    plain = encoder(past).numpy()
    holes = np.array([0, 3, 4, 11, 15, 16, 17, 30, 31])  # where the nine places go

    def spread(values):
        wide = np.full((values.shape[0], 40, *values.shape[2:]), 7).astype(values.dtype)
        if values.dtype == bool:
            wide[:] = False
        wide[:, holes] = values
        return wide

    def longer(values):
        return np.concatenate([values, np.zeros_like(values), np.zeros_like(values)], axis=1)

    np.testing.assert_allclose(encoder(changed(past, longer)).numpy(), plain, atol=1e-6)
    np.testing.assert_allclose(encoder(changed(past, spread)).numpy(), plain, atol=1e-6)


def test_what_lies_in_padding_does_not_matter_to_the_bit(encoder):
    past = history()
    absent = ~past.present.numpy()
    items, ages = past.items.numpy(), past.age_days.numpy()
    items[absent], ages[absent] = 1e6, 3e4
    other = of_arrays(items, past.present.numpy(), ages, past.counts.numpy())
    np.testing.assert_array_equal(encoder(other).numpy(), encoder(past).numpy())


def test_a_row_does_not_depend_on_its_company(encoder):
    past, others = history(lengths=(12, 3, 0, 7)), history(lengths=(0, 70, 2, 1), seed=9)
    together = encoder(past).numpy()

    moved = []
    for own, theirs in zip(arrays(past), arrays(others), strict=True):
        theirs[1] = own[1]
        moved.append(theirs)
    np.testing.assert_array_equal(encoder(of_arrays(*moved)).numpy()[1], together[1])
    alone = encoder(changed(past, lambda values: values[1:2])).numpy()[0]
    np.testing.assert_allclose(alone, together[1], atol=1e-6)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_the_order_matters_also_within_one_moment(name):
    encoder = history_encoder(name, DIMENSION, INTERESTS, seed=3)
    past = history(lengths=(5,), width=5)
    same_time = History(past.items, past.present, tf.ones([1, 5]), tf.ones([1, 5]))
    backwards = History(past.items[:, ::-1], past.present, tf.ones([1, 5]), tf.ones([1, 5]))
    assert np.abs(encoder(same_time).numpy() - encoder(backwards).numpy()).max() > 0.01


@pytest.mark.parametrize(
    ("name", "weight", "rows_of_older"),
    [
        ("cnn", "encoder/convolution_1/kernel", slice(DIMENSION, None)),
        ("cnn", "encoder/convolution_8/kernel", slice(DIMENSION, None)),
        ("lstm", "encoder/recurrent", slice(None)),
        ("attention", "encoder/block_0/query/kernel", slice(None)),
        ("attention", "encoder/block_1/query/kernel", slice(None)),
    ],
)
def test_after_one_item_what_would_weigh_older_ones_has_no_say(name, weight, rows_of_older):
    encoder = history_encoder(name, DIMENSION, INTERESTS, seed=3)
    random = np.random.default_rng(0)
    for path, values in encoder.weights.items():
        if path.endswith(("shift", "bias")):  # a place that is empty would speak through these
            values.assign(random.normal(0, 1, values.shape).astype(np.float32))
    one, two = history(lengths=(1,), width=2), history(lengths=(2,), width=2)
    before = encoder(one).numpy(), encoder(two).numpy()
    changed_weight = encoder.weights[weight].numpy()
    changed_weight[rows_of_older] += random.normal(0, 1, changed_weight[rows_of_older].shape)
    encoder.weights[weight].assign(changed_weight)
    np.testing.assert_allclose(encoder(one).numpy(), before[0], atol=1e-6)
    if weight != "encoder/convolution_8/kernel":  # which sees no second item
        assert np.abs(encoder(two).numpy() - before[1]).max() > 1e-3


def test_time_matters_where_the_order_is_the_same(encoder):
    past = history(lengths=(5,), width=5)
    longer_ago = History(past.items, past.present, past.age_days * [[1, 1, 9, 9, 9]], past.counts)
    assert np.abs(encoder(past).numpy() - encoder(longer_ago).numpy()).max() > 1e-3


def test_every_weight_learns_and_a_query_of_nobody_too(tower, users):
    item = tower.candidates({**_nothing_of_items(), "item_id": tf.constant([toy.item_id(3)])})
    weights = {path: weight for path, weight in tower.weights.items() if weight.trainable}
    with tf.GradientTape(persistent=True) as tape:
        queries = tower.query(users)
        loss = tf.reduce_sum(tf.math.exp(queries @ tf.transpose(item)))
        nobody = tf.reduce_sum(queries[:1] @ tf.transpose(item))
    of_queries = [path for path in weights if not path.startswith("candidate/")]
    for path in of_queries:
        if path.startswith("embedding/") and path != "embedding/item_id" and path != "embedding/user_country":
            continue  # words, categories and brands are the other tower's
        gradient = tape.gradient(loss, weights[path])
        assert gradient is not None and np.abs(tf.convert_to_tensor(gradient).numpy()).max() > 0, path
    assert np.isfinite(queries.numpy()[0]).all()
    assert np.abs(tape.gradient(nobody, weights["query/out/bias"]).numpy()).max() > 0


def test_the_seed_decides_and_the_rest_of_the_tower_is_every_encoders(name, items, tower):
    again, other, mean = toy.tower(items, encoder=name), toy.tower(items, 2, name), toy.tower(items)
    for path, weight in tower.weights.items():
        np.testing.assert_array_equal(again.weights[path].numpy(), weight.numpy(), err_msg=path)
        if path in mean.weights and not path.startswith("query/recency") and not path.startswith("query/count"):
            np.testing.assert_array_equal(mean.weights[path].numpy(), weight.numpy(), err_msg=path)
    drawn = [path for path in tower.weights if path.endswith(("kernel", "recurrent", "item_id"))]
    assert all(np.abs(other.weights[path].numpy() - tower.weights[path].numpy()).max() > 0.01 for path in drawn)


def test_saved_and_loaded_towers_agree_to_the_bit(tmp_path, name, tower, users):
    tower.save(tmp_path)
    again = TwoTower.load(tmp_path)
    assert again.config.encoder == name
    np.testing.assert_array_equal(again.query(users).numpy(), tower.query(users).numpy())


def test_a_grown_tower_reads_a_known_history_as_before(tower, users):
    known = tower.vocabularies["item_id"].tokens
    more = {**tower.vocabularies, "item_id": Vocabulary.of([*known, "a-new-item", "item-00-b"])}
    grown = tower.grown(more, as_of=microseconds(toy.AS_OF), seed=9)
    np.testing.assert_array_equal(grown.query(users).numpy(), tower.query(users).numpy())


def test_the_served_graph_answers_as_the_tower_in_memory_does(tmp_path, tower, items, users):
    length, neighbours = toy.CONFIG.features.history_length, toy.CONFIG.features.neighbours
    alone = CandidatesConfig(two_tower=20, history=0, popular=0)  # so that `retrieve` has the tower's own order
    graph = FusedRecommender(tower, items, alone, length, neighbours)
    graph.load_snapshot(toy.items_table(toy.items_of(toy.AS_OF)), toy.AS_OF)
    graph.attach_ranker(ByRetrieval(), Calibration("platt"), "toy")
    asked = {**users, "exclude_item_ids": tf.constant([[""]]), "k": tf.constant(5)}
    answer = {output: value.numpy() for output, value in graph.recommend(asked).items()}
    query, vectors = tower.query(users).numpy(), graph.snapshot.vectors.numpy()[:-1]
    products = query @ vectors.T
    nearest = graph.retrieve({**users, "k": tf.constant(5)})["item_ids"].numpy()
    found = graph.universe.indices(pa.array(nearest.ravel(), pa.binary()).cast(pa.string()))
    found = np.take_along_axis(products, found.reshape(-1, 5), axis=1)
    np.testing.assert_allclose(found, np.sort(products, axis=1)[:, ::-1][:, :5], atol=1e-5)

    for row in (0, 7, 39):  # whoever else asks at the same time
        one = {feature: tensor[row : row + 1] for feature, tensor in users.items()}
        alone = graph.recommend({**asked, **one})
        assert alone["item_ids"].numpy()[0].tolist() == answer["item_ids"][row].tolist()
        np.testing.assert_array_equal(alone["scores"].numpy()[0], answer["scores"][row])

    write_saved_model(graph, tmp_path / "1")
    require_allowed_ops(tmp_path / "1")
    served = SavedModel(tmp_path / "1", SessionOptions())  # as TF-Serving runs it
    known = served.signatures["recommend"]
    feeds = {known.inputs[given].name: tensor.numpy() for given, tensor in asked.items()}
    answers = served.run(feeds, [known.outputs[output].name for output in answer])
    served.close()
    for (output, expected), found in zip(answer.items(), answers, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=output)


def _nothing_of_items():
    return {feature: tf.constant(values) for feature, values in missing_tensors(item_features(), 1).items()}


def attention_of(zeros: tuple[str, ...] = ()):
    """The attention encoder without means beside it, no weight zero but those named."""
    made = history_encoder("attention", DIMENSION, 1, seed=3)
    random = np.random.default_rng(0)
    for path, weight in made.weights.items():
        drawn = random.normal(0, 0.5, weight.shape).astype(np.float32)
        weight.assign(np.zeros(weight.shape) if path.startswith(zeros) and zeros else weight + drawn)
    return made


def at_one_moment(past: History, days: float = 2.0) -> History:
    return History(past.items, past.present, tf.fill(past.age_days.shape, days), tf.ones_like(past.counts))


@pytest.mark.parametrize("block", [0, 1])
def test_what_an_event_has_come_to_does_not_know_a_later_one(block):
    """Before the newest place is taken: of each place what the block makes of it, with two newest events."""
    encoder = attention_of()
    past = history(lengths=(9, 4), width=9)
    items, present, ages, counts = arrays(past)
    items[:, 0], ages[:, 0] = -3 * items[:, 1], 0.0
    other = of_arrays(items, present, ages, counts)
    state = encoder._state
    made = []
    for given in (past, other):
        events = Events.newest(given, state.newest)
        made.append(state._block(f"encoder/block_{block}", events.items, events, state.newest).numpy())
    np.testing.assert_array_equal(made[1][:, 1:], made[0][:, 1:])
    assert np.abs(made[1][:, 0] - made[0][:, 0]).max() > 0.1
    older = of_arrays(*(np.concatenate([v[:, :3], v[:, 3:][:, ::-1]], axis=1) for v in arrays(past)))
    assert np.abs(encoder(older).numpy() - encoder(past).numpy()).max() > 1e-3  # what is later does know


@pytest.mark.parametrize(("weights", "matters"), [((), True), (("encoder/position",), False)])
def test_the_places_of_older_events_matter_because_of_what_is_learnt_of_places(weights, matters):
    """Nothing passes between events below the top block, whose newest place reads all: only places tell their order."""
    encoder = attention_of(("encoder/block_0/value", *weights))
    past = at_one_moment(history(lengths=(6,), width=6))
    swapped = changed(past, lambda values: values[:, [0, 1, 4, 3, 2, 5]])
    apart = np.abs(encoder(swapped).numpy() - encoder(past).numpy()).max()
    assert apart > 1e-2 if matters else apart < 1e-5


@pytest.mark.parametrize(
    ("weights", "matters"),
    [
        ((), True),
        (("encoder/age",), True),  # by the time between two events alone
        (("encoder/block_0/interval", "encoder/block_1/interval"), True),  # by each event's age alone
        (("encoder/age", "encoder/block_0/interval", "encoder/block_1/interval"), False),
    ],
)
def test_the_time_between_events_matters_by_their_ages_and_by_the_intervals(weights, matters):
    encoder = attention_of(weights)
    past = at_one_moment(history(lengths=(6,), width=6), days=0.0)
    gaps = tf.constant([[0.0, 0.001, 0.2, 3.0, 40.0, 500.0]])
    spread = History(past.items, past.present, gaps, past.counts)
    apart = np.abs(encoder(spread).numpy() - encoder(past).numpy()).max()
    assert apart > 1e-2 if matters else apart == 0
