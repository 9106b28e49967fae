"""What the towers are compared with on Gowalla, run here by the same protocol, features-free like them.

    python -m benchmarks.gowalla.rivals --data <folder> --date 2026-11-29 [--tune valid|late] [--only ALS]

- popularity: how many visited an item.
- item co-visitation: who visited both (Sarwar et al., WWW 2001), divided by a power of both items' visitors, the
  NEIGHBOURS nearest of each.
- graph filter: the linear part of GF-CF (Shen et al., CIKM 2021).
- ALS: implicit feedback (Hu, Koren & Volinsky, ICDM 2008) with `implicit`, of the towers' 64 dimensions.
- EASE: items as ridge regressions on the others (Steck, WWW 2019); nine gigabytes and a quarter of an hour.

A few settings of each were tried on `valid`; `benchmarks/LOG.md` has them, and how often `test` was judged.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from benchmarks.circumstances import beginning, circumstances, typed
from benchmarks.gowalla.ease import RIDGE, Ease
from benchmarks.gowalla.towers import progress
from benchmarks.gowalla.visits import Visits, extent, full_ranking, parts
from tastemaker.settings import PROJECT_ROOT

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "gowalla_rivals.json"
SEED = 1
NEIGHBOURS, POWER = 200, 0.35  # of item co-visitation; a power of .5 makes cosines
FACTORS = 64
REGULARIZATION, ALPHA, ITERATIONS = 3.0, 20.0, 15  # of ALS: `implicit`'s alternating least squares
ROWS = 1024  # of a matrix of items by items at a time

Scores = Callable[[np.ndarray], np.ndarray]


def popularity(taken: sp.csr_matrix) -> Scores:
    """Visitors of each item."""
    visitors = np.asarray(taken.sum(axis=0), np.float32).ravel()
    return lambda asked: np.tile(visitors, (len(asked), 1))


def covisitation(taken: sp.csr_matrix) -> Scores:
    """Sums of similarities to the user's items."""
    unit = (taken @ sp.diags(_inverse(_sums(taken, 0) ** POWER))).tocsr()
    turned, nearest = unit.T.tocsr(), []
    for first in range(0, taken.shape[1], ROWS):
        alike = (turned[first : first + ROWS] @ unit).toarray()
        at = np.arange(len(alike))
        alike[at, first + at] = 0
        kept = min(NEIGHBOURS, alike.shape[1])
        alike[alike < np.partition(alike, -kept, axis=1)[:, -kept, None]] = 0
        nearest.append(sp.csr_matrix(alike))
    neighbours = sp.vstack(nearest).tocsr()
    return lambda asked: (taken[asked] @ neighbours).toarray()


def graph_filter(taken: sp.csr_matrix) -> Scores:
    """`R D^-½ (R~ᵀ R~) D^½`: visits, by the root of each item's visitors, through the normalized ones and back."""
    root = np.sqrt(_sums(taken, 0))
    normal = sp.diags(_inverse(np.sqrt(_sums(taken, 1)))) @ taken @ sp.diags(_inverse(root))
    normal = normal.tocsr().astype(np.float32)
    turned, even = normal.T.tocsr(), (taken @ sp.diags(_inverse(root))).tocsr()
    return lambda asked: ((even[asked] @ turned) @ normal).toarray() * root


def als(taken: sp.csr_matrix) -> Scores:
    """Products of the vectors."""
    with threadpool_limits(1, "blas"):  # `implicit` runs threads of its own
        model = AlternatingLeastSquares(
            factors=FACTORS,
            regularization=REGULARIZATION,
            alpha=ALPHA,
            iterations=ITERATIONS,
            random_state=SEED,
            num_threads=os.cpu_count() or 1,
        )
        model.fit(taken, show_progress=False)
    users, items = model.user_factors, model.item_factors
    return lambda asked: np.asarray(users[asked] @ items.T)


RIVALS: dict[str, Callable[[sp.csr_matrix], Scores]] = {
    "popularity": popularity,
    "item co-visitation": covisitation,
    "graph filter": graph_filter,
    "ALS": als,
    "EASE": lambda taken: Ease(taken).scores,
}


def matrix(visits: Visits, users: int, items: int) -> sp.csr_matrix:
    """Ones `[users, items]` where somebody visited something, float32."""
    return sp.csr_matrix((np.ones(len(visits.user), np.float32), (visits.user, visits.item)), (users, items))


def main() -> None:
    """Measures; prints the result as one JSON line, and keeps it where test was judged of all."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="folder of train.txt, valid.txt and test.txt")
    options.add_argument("--date", required=True, help="the day of the measurement, to stand in the result")
    options.add_argument("--tune", choices=["valid", "late"], help="judge on this part of train, keep nothing")
    options.add_argument("--only", choices=list(RIVALS), nargs="+", default=list(RIVALS), help="some of them")
    given = options.parse_args()
    users, items = extent(given.data)
    known, wanted = parts(given.data, given.tune)
    before, found = beginning(), dict[str, Any]()
    for name in given.only:
        began = time.monotonic()
        scores_of = RIVALS[name](matrix(known, users, items))
        learnt = time.monotonic()
        figures = full_ranking(scores_of, known, wanted, users, items, SEED)
        found[name] = {**figures, "training_seconds": round(learnt - began, 1)}
        progress(f"{name}: {found[name]}")
    result = {
        **circumstances(typed("benchmarks.gowalla.rivals", given.data), given.date, before, "implicit", "scipy"),
        "judged_on": given.tune or "test",
        "seed": SEED,
        "settings": {
            "covisitation": {"neighbours": NEIGHBOURS, "power": POWER},
            "als": {"factors": FACTORS, "regularization": REGULARIZATION, "alpha": ALPHA, "iterations": ITERATIONS},
            "ease": {"ridge": RIDGE},
        },
        "rivals": found,
    }
    if not given.tune and given.only == list(RIVALS):
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


def _sums(taken: sp.csr_matrix, axis: int) -> np.ndarray:
    return np.asarray(taken.sum(axis=axis), np.float32).ravel()


def _inverse(values: np.ndarray) -> np.ndarray:
    return np.divide(1, values, out=np.zeros_like(values), where=values > 0)


if __name__ == "__main__":
    main()
