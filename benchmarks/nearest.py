"""The 200 nearest of 50,000 items × 64 dimensions in the graph, beside NumPy's product and `argpartition`.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.nearest 1

Prints one JSON line, milliseconds a query. `graph` and `numpy`: IN_A_ROW queries, one after the other, in one call, as
in a request the search is one operation of many. `call`: one query a call from Python, beside `numpy_alone`, and
`empty_call`: what such a call takes that does nothing. The number is that of TensorFlow's threads; a request has one.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.item_index import COUNT, Catalogue, one_by_one, trained_like
from benchmarks.trees import fetched
from benchmarks.trees import measure as in_turns
from training.release.item_index import ExactIndex

ITEMS, DIMENSIONS, SEED = 50_000, 64, 7
IN_A_ROW, ROUNDS = 64, 60  # a call from Python takes as long as two searches


def measure(rounds: int) -> dict[str, Any]:
    """All sides answer the same queries, in turns, and find the same items."""
    vectors, queries = trained_like(ITEMS, DIMENSIONS, IN_A_ROW, SEED)
    index = ExactIndex(Catalogue(vectors))

    def one(query: tf.Tensor) -> tf.Tensor:
        return index.nearest(query[None], tf.constant(COUNT))[1][0]

    def by_numpy(query: Any) -> Any:
        products = query @ vectors.T
        return np.argpartition(-products, COUNT)[:COUNT]

    nearest, empty = (tf.function(f, autograph=False) for f in (one, lambda query: query[:1]))
    in_a_row = one_by_one(index, DIMENSIONS)
    asked = tf.constant(queries)
    for query, found, alone in zip(queries, in_a_row(queries), map(nearest, asked), strict=True):
        assert found.tolist() == alone.numpy().tolist() and set(found.tolist()) == set(by_numpy(query).tolist())
    sides: dict[str, Callable[[], object]] = {
        "numpy": lambda: [by_numpy(query) for query in queries],
        "graph": partial(in_a_row, queries),
        "numpy_alone": partial(by_numpy, queries[0]),
        "call": partial(fetched, nearest, asked[0]),
        "empty_call": partial(fetched, empty, asked[0]),
    }
    spent = in_turns(sides, rounds)
    for side in ("numpy", "graph"):
        spent[side] /= IN_A_ROW
    told = {
        side: {"p50_ms": round(float(np.median(times)), 3), "best_ms": round(float(times.min()), 3)}
        for side, times in spent.items()
    }
    ratios = {"graph_to_numpy": ("graph", "numpy"), "call_to_numpy": ("call", "numpy_alone")}
    return {
        **told,
        **{name: round(float(np.median(spent[ours] / spent[theirs])), 2) for name, (ours, theirs) in ratios.items()},
    }


def main() -> None:
    """Measures and prints one JSON line."""
    threads, rounds = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    print(json.dumps({"threads": threads, **measure(rounds)}))


if __name__ == "__main__":
    main()
