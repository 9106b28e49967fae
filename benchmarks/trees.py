"""Trees in a TensorFlow graph against LightGBM itself and against a level-by-level traversal, in one run.

    python -m benchmarks.trees [--rounds 60]

Prints one JSON line: milliseconds a call (median and best), and ratios as the median over rounds in which every side
ran once, one after the other, so that a busy machine weighs on all sides alike. 500 trees of 63 leaves on 40 features,
binary objective, 5 % of values missing; 2 threads each. `make bench-serve` runs it too.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.release.trees import CompiledForest
from training.release.trees.model_text import Forest, parse_model

TREES, LEAVES, FEATURES, THREADS, SEED = 500, 63, 40, 2, 7
# After a call LightGBM's OpenMP threads and TensorFlow's spin for a while, and would burn the next side's core.
PAUSE_S = 0.02
Rows = npt.NDArray[np.float32]


def train() -> tuple[lgb.Booster, Rows]:
    """The booster under test and 500 rows to score, seeded."""
    rng = np.random.default_rng(SEED)
    features = rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    signal = features @ rng.normal(size=FEATURES) / 6 + np.sin(features[:, 0] * features[:, 1])
    label = (signal + rng.normal(size=len(features)) > 0).astype(float)
    features[rng.random(features.shape) < 0.05] = np.nan
    params = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05, "seed": SEED, "verbose": -1}
    return lgb.train({**params, "num_threads": THREADS}, lgb.Dataset(features, label), TREES), features[:500]


def traversal(forest: Forest) -> Callable[[tf.Tensor], tf.Tensor]:
    """The plain way: every row of every tree one level down at a time, with gathers; numerical splits only."""
    nodes = max(tree.leaves for tree in forest.trees) - 1

    def stacked(name: str, dtype: type) -> tf.Tensor:
        return tf.constant(
            np.stack([np.pad(getattr(tree, name), (0, nodes - tree.leaves + 1)) for tree in forest.trees]).astype(dtype)
        )

    column, threshold, kind = (
        stacked("split_feature", np.int32),
        stacked("threshold", np.float64),
        stacked("decision_type", np.int32),
    )
    left, right = stacked("left_child", np.int32), stacked("right_child", np.int32)
    values = tf.constant(np.stack([np.pad(tree.leaf_value, (0, nodes + 1 - tree.leaves)) for tree in forest.trees]))
    first = tf.range(len(forest.trees)) * nodes

    def score(features: tf.Tensor) -> tf.Tensor:
        rows = tf.shape(features)[0]

        def step(node: tf.Tensor) -> tuple[tf.Tensor]:
            place = tf.maximum(node, 0) + first
            value = tf.gather(features, tf.gather(tf.reshape(column, [-1]), place), batch_dims=1)
            code = tf.gather(tf.reshape(kind, [-1]), place)
            by_value = tf.cast(value, tf.float64) <= tf.gather(tf.reshape(threshold, [-1]), place)
            missing = tf.math.is_nan(value)
            by_value |= missing & ~tf.equal(code // 4, 2) & (tf.gather(tf.reshape(threshold, [-1]), place) >= 0)
            goes_left = tf.where(missing & tf.equal(code // 4, 2), tf.equal(code // 2 % 2, 1), by_value)
            after = tf.where(
                goes_left, tf.gather(tf.reshape(left, [-1]), place), tf.gather(tf.reshape(right, [-1]), place)
            )
            return (tf.where(node >= 0, after, node),)

        start = tf.zeros([rows, len(forest.trees)], tf.int32)
        (node,) = tf.while_loop(lambda node: tf.reduce_any(node >= 0), step, [start])
        leaf = tf.bitwise.invert(node) + tf.range(len(forest.trees)) * (nodes + 1)
        return tf.reduce_sum(tf.gather(tf.reshape(values, [-1]), leaf), axis=1)

    return score


def measure(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, npt.NDArray[np.float64]]:
    """Milliseconds of every call, `[rounds]` a side, the sides taking turns."""
    for side in sides.values():
        side()
    spent = {name: np.zeros(rounds) for name in sides}
    for turn in range(rounds):
        for name, side in sides.items():
            time.sleep(PAUSE_S)
            started = time.perf_counter()
            side()
            spent[name][turn] = (time.perf_counter() - started) * 1e3
    return spent


def fetched(function: Callable[..., tf.Tensor], *arguments: object) -> npt.NDArray[np.float64]:
    """What a compiled function answers, as an array: the call is over only then."""
    return np.asarray(function(*arguments))


def main() -> None:
    """Trains, checks that all sides agree, measures, prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    # Operations of a prediction take 20 to 150 µs and waking a thread for half of one takes 50: whole operations are
    # given to the threads instead.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)

    booster, features = train()
    names = booster.feature_name()
    started = time.perf_counter()
    forest = CompiledForest(booster)
    compiled = time.perf_counter() - started
    split = CompiledForest(booster, item_only=names[:20], user_only=names[20:30])
    spec = [tf.TensorSpec([None, FEATURES], tf.float32)]
    whole = tf.function(forest.raw_scores, input_signature=spec)
    walk = tf.function(
        traversal(parse_model(booster.model_to_string(), "the booster")), input_signature=spec, autograph=False
    )
    baked = tf.function(
        lambda masks, request, pairs: split.raw_scores_from_masks(masks, split.user_masks(request), pairs),
        autograph=False,
    )

    result: dict[str, object] = {
        "benchmark": "trees",
        "trees": TREES,
        "leaves": LEAVES,
        "features": FEATURES,
        "threads": THREADS,
        "rounds": rounds,
        "compile_s": round(compiled, 2),
        "table_mb": round(sum(v.numpy().nbytes for v in forest.variables) / 1e6, 1),
    }
    for count in (200, 500):
        rows = features[:count]
        masks = split.item_masks(rows[:, :20])[None]
        request, pairs = rows[:1, 20:30], rows[None, :, 30:]
        expected = booster.predict(rows, raw_score=True)
        for answer in (whole(rows), walk(rows)):
            np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-12)
        sides: dict[str, Callable[[], object]] = {
            "lightgbm": partial(booster.predict, rows, raw_score=True, num_threads=THREADS),
            "graph": partial(fetched, whole, rows),
            "split": partial(fetched, baked, masks, request, pairs),
        }
        spent = measure(sides, rounds)
        slow: dict[str, Callable[[], object]] = {
            "graph again": sides["graph"],
            "traversal": partial(fetched, walk, rows),
        }
        spent |= measure(slow, max(3, rounds // 10))
        result[f"rows_{count}"] = {
            "median_ms": {name: round(float(np.median(times)), 2) for name, times in spent.items()},
            "best_ms": {name: round(float(times.min()), 2) for name, times in spent.items()},
            "graph_to_lightgbm": round(float(np.median(spent["graph"] / spent["lightgbm"])), 2),
            "split_to_lightgbm": round(float(np.median(spent["split"] / spent["lightgbm"])), 2),
            "traversal_to_graph": round(float(np.median(spent["traversal"] / spent["graph again"])), 1),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
