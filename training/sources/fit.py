"""The step `train sources`: what candidate sources learn offline, and the weights with which all are blended.

Two versions, as of the retriever: the ranker's candidates come from one that knows the requests before the ranker's
window, the served one knows those before the test window. The blend is tuned on requests of the ranker's window, which
the first version, and the retriever for the ranker, have not seen.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from tastemaker import names
from tastemaker.config import CandidatesConfig, Config
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import FEATURES_FOLDER
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.moments import as_of_slug, microseconds
from tastemaker.steps import StepReport, digest_files, digest_values, run_step
from training.datasets.files import items_file, read_dataset, requests_file
from training.feature_tensors import column_of, request_timestamps
from training.ranking.fit import thinned
from training.release.candidate_graph import CandidateGraph
from training.release.item_universe import ItemUniverse
from training.retrieval.fit import for_ranker_folder as retriever_for_ranker
from training.retrieval.two_tower import TwoTower
from training.sources.blend import Blend, tuned
from training.sources.blend_rows import blend_rows
from training.sources.matrix_factorization import ItemFactors
from training.sources.next_item import Taken, Transitions
from training.sources.trained import TrainedSources, for_ranker_folder, sources_folder
from training.sources.user_knn import Sessions
from training.splits import plan_windows
from training.tensorboard_run import TensorBoardRun

TUNING_REQUESTS = 400  # × 400 candidates: seconds for each weight that is tried
EVERYTHING = 1_000_000  # what the blend cuts off is not to be cut off while it is tuned


def train_sources(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Makes `sources/` and `sources/for_ranker/`: item factors, past sessions, the blend's weights.

    The facts hold the blend and its NDCG on the ranker's window, beside that of equal weights and of the nearest
    items alone. Raises TastemakerError when the training sets or the retriever are missing.
    """
    return run_step(
        home,
        as_of,
        "train_sources",
        lambda: _train(home, config, as_of),
        inputs={
            "datasets": digest_files([requests_file(home, as_of), items_file(home, as_of)]),
            "retriever": digest_files([retriever_for_ranker(home, as_of)]),
            "config": digest_values(
                [part.model_dump() for part in (config.candidates, config.features, config.split, config.evaluation)]
            ),
            "as_of": as_of.isoformat(),
        },
        outputs=[sources_folder(home, as_of)],
        code=[*code_of(__name__), FEATURES_FOLDER],
    )


def learnt(
    requests: pa.Table,
    universe: ItemUniverse,
    end: datetime,
    config: CandidatesConfig,
    blend: Blend,
    tell: Callable[[int, float], None] | None = None,
) -> TrainedSources:
    """What the sources that are on learn from the requests that happened, and were known, before `end`.

    `tell` is given the loss of the factors by iteration. Raises TastemakerError when there is none.
    """
    if not (config.user_knn or config.matrix_factorization or config.next_item):
        return TrainedSources(blend)
    known = pc.cast(pc.cast(requests[names.CREATED_TIMESTAMP], pa.timestamp("us")), pa.int64()).to_numpy()
    past = requests.filter(pa.array((request_timestamps(requests) < microseconds(end)) & (known <= microseconds(end))))
    lists = past[names.POSITIVE_ITEM_IDS].combine_chunks()
    owner = np.asarray(pc.list_parent_indices(lists)).astype(np.int64)
    items = universe.indices(pc.list_flatten(lists))
    owner, items = owner[items != universe.unknown], items[items != universe.unknown]
    if not len(items):
        raise TastemakerError(
            f"There is no (request, item) pair before {end:%Y-%m-%d} to train the candidate sources on; choose a later "
            "as_of, or set candidates.user_knn, candidates.matrix_factorization and candidates.next_item to 0 in the "
            "config file."
        )
    factors = sessions = transitions = None
    if config.matrix_factorization:
        users = column_of(past, names.USER_ID).dictionary_encode()
        rows = users.indices.to_numpy(zero_copy_only=False)[owner]
        shape = (len(users.dictionary), len(universe.item_ids))
        counts = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, items)), shape=shape)
        counts.sum_duplicates()
        factors = ItemFactors.fit(counts, universe.item_ids, config.factors, config.seed, tell)
    if config.user_knn:
        sessions = Sessions.fit(owner, items, request_timestamps(past), universe.item_ids, end)
    if config.next_item:
        if not len(column_of(past, names.SESSION_ITEM_IDS).flatten()):
            raise TastemakerError(
                f"No request before {end:%Y-%m-%d} says what was taken before it in its session: nothing to train the "
                "candidate source next_item on; set events.requests to next_item, or candidates.next_item to 0, in the "
                "config file."
            )
        transitions = Transitions.fit(Taken.of(past, universe), universe.item_ids, end, config.next_item_half_life_days)
    return TrainedSources(blend, factors, sessions, transitions)


def _train(home: Home, config: Config, as_of: datetime) -> Mapping[str, Any]:
    windows = plan_windows(config.split, as_of)
    requests = read_dataset(requests_file(home, as_of))
    items = read_dataset(items_file(home, as_of))
    universe = ItemUniverse.of(items[names.ITEM_ID].to_pylist())
    sources = [name for name, count in config.candidates.counts().items() if count]
    ranker, test = windows.ranker.start, windows.test.start
    assert ranker is not None and test is not None
    for_ranker = learnt(requests, universe, ranker, config.candidates, Blend())
    graph = CandidateGraph(
        TwoTower.load(retriever_for_ranker(home, as_of)),
        items,
        config.candidates.model_copy(update={"ranked": EVERYTHING}),
        config.features.history_length,
        config.features.neighbours,
        trained=for_ranker,
    )
    k, seed = config.evaluation.k, config.candidates.seed
    rows = blend_rows(graph, thinned(windows.ranker.select(requests), TUNING_REQUESTS, seed), items)
    default = rows.worth(Blend().offset)
    facts = {
        f"ndcg@{k}_equal_weights": rows.ndcg(default.sum(axis=1), k, seed),
        f"ndcg@{k}_two_tower": rows.ndcg(default[:, 0], k, seed),
        **{f"recall_{name}": value for name, value in rows.recalls(sources).items()},
    }
    with TensorBoardRun(home.training(as_of) / "tensorboard" / run_name(config.candidates, as_of)) as log:
        log.text("settings", f"```\n{config.candidates.model_dump_json(indent=1)}\n```")
        blend, found = tuned(
            rows, sources, k, seed, lambda tried, best: log.scalars({f"blend/best_ndcg@{k}": best}, tried)
        )
        served = learnt(
            requests, universe, test, config.candidates, blend, lambda step, loss: log.scalars({"als/loss": loss}, step)
        )
        log.scalars({f"blend/{name}": value for name, value in facts.items()}, 0)
        log.scalars({f"weight/{source}": weight for source, weight in blend.weights.items()}, 0)
    folder = sources_folder(home, as_of)
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    served.save(beside)
    replace(for_ranker, blend=blend).save(beside / for_ranker_folder(home, as_of).name)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return {
        "blend": dict(blend.weights),
        "blend_offset": blend.offset,
        f"ndcg@{k}": round(found, 4),
        **{name: round(value, 4) for name, value in facts.items()},
        "tuned_on_requests": len(rows.positives),
    }


def run_name(config: CandidatesConfig, as_of: datetime) -> str:
    """What TensorBoard calls a training of these sources.

    >>> run_name(CandidatesConfig(user_knn=100, seed=3), datetime.fromisoformat("2011-12-10T00:00Z"))
    'sources two_tower 150, history 100, popular 50, user_knn 100, as of 20111210T000000Z, seed 3'
    """
    counts = ", ".join(f"{source} {count}" for source, count in config.counts().items() if count)
    return f"sources {counts}, as of {as_of_slug(as_of)}, seed {config.seed}"
