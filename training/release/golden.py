"""Golden requests: what the graph answered before it was saved, so that what is loaded can be held to the same bits.

Some are drawn from the newest requests there were, with their features and without the user's name; the strange ones
are what a caller should never send and will.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tastemaker import names
from training.feature_tensors import NUMERIC_TYPES, column_of, missing_tensors, query_tensors, user_features
from training.release.inputs import DEFAULT_K, SIGNATURE_INPUTS, input_defaults

DRAWN = 250
SEED = 20111210
EACH = 20  # of them also put to `retrieve`, `rank` and `similar_items`
SEVERAL = 7  # an odd batch, which fills no block of rows
# Exclusions and lists as long as the catalogue, up to a size at which they are still answered in seconds.
WHOLE_CATALOGUE = 20_000
FAR_AWAY = 253_402_300_799_000_000  # the last second of the year 9999, in microseconds since 1970

Tensors = Mapping[str, np.ndarray]
Answer = Callable[[str, Tensors], Tensors]


@dataclass(frozen=True)
class Golden:
    """One request: what it is about, and the inputs that are sent; the signature's defaults stand for the others."""

    about: str
    signature: str
    inputs: Tensors


def write_golden(folder: Path, asked: Iterator[Golden], answer: Answer) -> int:
    """Writes requests with their answers into a release, as a TFRecord of PredictionLog; returns how many there are.

    Args:
        folder: of the SavedModel.
        answer: a signature's name and all of its inputs → outputs: the graph as it is in memory.
    """
    path = folder / names.GOLDEN_REQUESTS
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for golden in asked:
            outputs = answer(golden.signature, {**input_defaults(golden.signature), **golden.inputs})
            writer.write(_log(golden, outputs).SerializeToString(deterministic=True))
            count += 1
    return count


def answers_of(graph: Any) -> Answer:
    """The answers of a `FusedRecommender` that is not saved yet."""

    def answer(signature: str, inputs: Tensors) -> Tensors:
        specs = SIGNATURE_INPUTS[signature]
        outputs = getattr(graph, signature)(
            {name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()}
        )
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return answer


def golden_requests(requests: pa.Table, item_ids: list[str], popular: list[str]) -> Iterator[Golden]:
    """The drawn requests, then the strange ones.

    Args:
        requests: rows of `requests.parquet`, of the newest window; may be none.
        item_ids: everything the release knows.
        popular: its most popular items, best first; at least one.
    """
    rows = np.sort(np.random.default_rng(SEED).choice(len(requests), min(DRAWN, len(requests)), replace=False))
    drawn = requests.take(pa.array(rows))
    yield from _drawn(drawn, popular)
    yield from _strange_users(popular)
    yield from _strange_lists(item_ids, popular)
    if len(drawn) >= SEVERAL:
        yield from _batches(query_tensors(drawn.slice(0, SEVERAL)), popular)


def _drawn(drawn: pa.Table, popular: list[str]) -> Iterator[Golden]:
    taken = column_of(drawn, names.POSITIVE_ITEM_IDS).to_pylist()
    for row in range(len(drawn)):
        user = query_tensors(drawn.slice(row, 1))
        seen = [item for item in user["history_item_ids"][0].tolist() if item][
            : row % 4
        ]  # every fourth excludes nothing
        yield _recommend("drawn", user, exclude=seen or [""])
        if row < EACH:
            yield Golden("drawn", names.SIGNATURE_RETRIEVE, {**user, names.INPUT_K: _int(DEFAULT_K)})
            yield _rank("drawn", user, [*taken[row], *popular[:DEFAULT_K]])
            yield _similar("drawn", taken[row] or popular[:1], DEFAULT_K)


def _strange_users(popular: list[str]) -> Iterator[Golden]:
    nobody = missing_tensors(user_features(), 1)
    numbers = [feature.name for feature in user_features() if feature.dtype in NUMERIC_TYPES]
    strange: dict[str, dict[str, np.ndarray]] = {
        "strange: no feature is sent": {},
        "strange: an unknown user": nobody,
        "strange: a history, and nothing else": {**nobody, **_history(popular[:3])},
        "strange: a history of items that nobody knows": {**nobody, **_history(["no such item", "", "\N{SNOWMAN}"])},
        "strange: the same item all over the history": {**nobody, **_history(popular[:1] * 30)},
        "strange: a history longer than any": {**nobody, **_history((popular * 500)[:500])},
        "strange: a history without times and counts": {**nobody, "history_item_ids": _texts([popular[:3]])},
        "strange: a country that nobody knows": {**nobody, "user_country": _texts(["Atlantis"])},
    }
    for told, value in (("NaN", np.nan), ("infinite", np.inf), ("negative", -1e30), ("huge", 3e38), ("zero", 0.0)):
        all_the_same = {name: np.array([value], np.float32) for name in numbers}
        strange[f"strange: every number is {told}"] = {**nobody, **all_the_same}
    for told, moment in (("1970", 1), ("9999", FAR_AWAY), ("long before 1970", -FAR_AWAY)):
        strange[f"strange: asked in {told}"] = {names.REQUEST_TIMESTAMP: np.array([moment], np.int64)}
    for about, user in strange.items():
        yield _recommend(about, user)
        yield Golden(about, names.SIGNATURE_RETRIEVE, user)
        yield _rank(about, user, popular[:3])


def _strange_lists(item_ids: list[str], popular: list[str]) -> Iterator[Golden]:
    everything = item_ids[:WHOLE_CATALOGUE]
    above = min(len(item_ids) + 1, WHOLE_CATALOGUE)
    yield _recommend("strange: exclusions that nobody knows", {}, exclude=["no such item", "\N{SNOWMAN}", "0"])
    yield _recommend("strange: the same exclusion five times", {}, exclude=popular[:1] * 5)
    yield _recommend("strange: the best is excluded", {}, exclude=popular[:1])
    yield _recommend("strange: everything is excluded", {}, exclude=everything)
    yield _recommend(
        "strange: all but one are excluded", {}, exclude=[item for item in everything if item != popular[0]]
    )
    for told, k in (("k of 1", 1), ("k above the catalogue", above)):
        yield _recommend(f"strange: {told}", {}, k=k)
        yield Golden(f"strange: {told}", names.SIGNATURE_RETRIEVE, {names.INPUT_K: _int(k)})
        yield _similar(f"strange: {told}", popular[:1], k)
    yield _rank("strange: items that nobody knows", {}, ["no such item", "", popular[0]])
    yield _rank("strange: the same item twice", {}, popular[:1] * 2)
    yield _rank("strange: one item", {}, popular[:1])
    yield _similar("strange: an item that nobody knows", ["no such item"], DEFAULT_K)
    yield _similar("strange: known and unknown items, one twice", [popular[0], "", popular[0], popular[-1]], DEFAULT_K)


def _batches(users: Tensors, popular: list[str]) -> Iterator[Golden]:
    about = f"strange: {SEVERAL} users at once"
    one_moment = {**users, names.REQUEST_TIMESTAMP: users[names.REQUEST_TIMESTAMP][:1]}
    yield _recommend(about, users)
    yield _recommend(f"{about}, one moment and one exclusion for all", one_moment, exclude=popular[:1])
    yield Golden(about, names.SIGNATURE_RETRIEVE, users)
    yield _rank(about, users, popular[:5])
    yield _similar(f"strange: {SEVERAL} items at once", (popular * SEVERAL)[:SEVERAL], DEFAULT_K)


def _recommend(about: str, user: Tensors, *, exclude: list[str] | None = None, k: int | None = None) -> Golden:
    inputs = dict(user)
    if exclude is not None:
        inputs[names.INPUT_EXCLUDE_ITEM_IDS] = _texts([exclude])
    if k is not None:
        inputs[names.INPUT_K] = _int(k)
    return Golden(about, names.SIGNATURE_RECOMMEND, inputs)


def _rank(about: str, user: Tensors, item_ids: list[str]) -> Golden:
    return Golden(about, names.SIGNATURE_RANK, {**user, names.INPUT_ITEM_IDS: _texts([item_ids])})


def _similar(about: str, item_ids: list[str], k: int) -> Golden:
    inputs = {names.INPUT_ITEM_IDS: _texts(item_ids), names.INPUT_K: _int(k)}
    return Golden(about, names.SIGNATURE_SIMILAR_ITEMS, inputs)


def _history(item_ids: list[str]) -> dict[str, np.ndarray]:
    return {
        "history_item_ids": _texts([item_ids]),
        "history_timestamps": np.arange(len(item_ids), 0, -1, dtype=np.int64)[None, :] * 86_400_000_000,
        "history_counts": np.ones((1, len(item_ids)), np.int64),
        "history_event_types": _texts([["purchase"] * len(item_ids)]),
    }


def _texts(values: Any) -> np.ndarray:
    return np.array(values, object)


def _int(value: int) -> np.ndarray:
    return np.array(value, np.int32)


def _log(golden: Golden, outputs: Tensors) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    log.log_metadata.request_origin = golden.about
    request: predict_pb2.PredictRequest = log.predict_log.request
    request.model_spec.name = names.MODEL_NAME
    request.model_spec.signature_name = golden.signature
    specs = SIGNATURE_INPUTS[golden.signature]
    for name, value in golden.inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, specs[name].dtype))
    for name, value in outputs.items():
        log.predict_log.response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log
