"""The step `train retriever`: fits the towers, stops by validation recall, and brings them up to the test window.

Two towers come out, because the ranker must learn from candidates of a retriever that has not seen its positives:
`retriever/for_ranker/` knows the events before the ranker's window, `retriever/` those before the test window.
"""

import copy
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tastemaker import names
from tastemaker.config import Config, RetrieverConfig
from tastemaker.errors import TastemakerError
from tastemaker.feature_tables import FEATURES_FOLDER
from tastemaker.home import Home
from tastemaker.imported_code import code_of
from tastemaker.moments import as_of_slug, from_microseconds, microseconds
from tastemaker.steps import StepReport, digest_files, run_step
from training.datasets.files import items_file, read_dataset, requests_file
from training.datasets.item_snapshots import DAY
from training.feature_tensors import column_of, query_tensors, request_timestamps
from training.retrieval.batches import Learning, Rows
from training.retrieval.examples import Pairs, Snapshots, pair_examples
from training.retrieval.item_graph import ItemGraph
from training.retrieval.item_space import item_space
from training.retrieval.recall import Ranking
from training.retrieval.tower_shape import TowerConfig
from training.retrieval.tower_vocabularies import tower_vocabularies
from training.retrieval.training_loop import TowerTraining
from training.retrieval.two_tower import TwoTower, candidate_tensors, log_popularity
from training.retrieval.warm_start import WarmStart, warm_start
from training.retrieval.window_judge import RECALLS, WindowJudge, taken
from training.splits import Window, Windows, plan_windows
from training.tensorboard_run import TensorBoardRun
from training.vocabulary import Vocabulary

STOPPING_K = 20
# What a refresh with the last 90 days gains on Online Retail as of 2011-11-12: recall@150 of the four weeks before, by
# the tower that stopped 42 days earlier .335, after 1, 2, 3 epochs .410, .412, .411; with all days .404, .410, .415 at
# 2.7 times the time. The ranker's tower: .371 → .393.
REFRESH_DAYS = 90
REFRESH_EPOCHS = 2

AfterEpoch = Callable[[int, float], None]


def retriever_folder(home: Home, as_of: datetime) -> Path:
    """The tower that is served: it has seen the events before the test window."""
    return home.training(as_of) / "retriever"


def for_ranker_folder(home: Home, as_of: datetime) -> Path:
    """The tower that makes the ranker's candidates: it has seen only the events before the ranker's window."""
    return retriever_folder(home, as_of) / "for_ranker"


def train_retriever(home: Home, config: Config, as_of: datetime) -> StepReport:
    """Makes `retriever/` and `retriever/for_ranker/` from the training sets; logs to `tensorboard/`.

    The facts hold recall by full ranking (`training.retrieval.recall`) beside that of the 30 days' best-sellers.
    Raises TastemakerError when the training sets are missing or a window holds nothing to learn or judge from.
    """
    requests, items = requests_file(home, as_of), items_file(home, as_of)
    start = _start(home, config, as_of) if config.retriever.warm_start else None
    return run_step(
        home,
        as_of,
        "train_retriever",
        lambda: RetrieverTraining(home, config, as_of, start).run(),
        inputs={
            "datasets": digest_files([requests, items]),
            "as_of": as_of.isoformat(),
            "split": config.split.model_dump_json(),
            "retriever": config.retriever.model_dump_json(),
            "warm_start": digest_files([start.folder]) if start else "",
        },
        outputs=[retriever_folder(home, as_of)],
        code=[*code_of(__name__), FEATURES_FOLDER],
    )


def _start(home: Home, config: Config, as_of: datetime) -> WarmStart | None:
    """The tower that a warm start begins with; what it does not know yet must be within a refresh's reach."""
    latest = plan_windows(config.split, as_of).ranker.start
    assert latest is not None
    within = for_ranker_folder(home, as_of).relative_to(home.training(as_of))
    earliest = latest - timedelta(days=REFRESH_DAYS)
    return warm_start(home, as_of, within, _shape(config.retriever, latest), earliest, latest)


def _shape(settings: RetrieverConfig, end: datetime) -> TowerConfig:
    return TowerConfig.declared(
        settings.embedding_dimension,
        microseconds(end),
        encoder=settings.encoder,
        graph_steps=settings.graph_steps,
        popularity=settings.popularity > 0,
    )


class RetrieverTraining:
    """One training: the data in memory, up to `until` (by default to the test window), and the stages that read it."""

    def __init__(
        self,
        home: Home,
        config: Config,
        as_of: datetime,
        start: WarmStart | None = None,
        until: datetime | None = None,
    ) -> None:
        self.home = home
        self.start = start
        self.settings: RetrieverConfig = config.retriever
        self.windows: Windows = plan_windows(config.split, as_of)
        # what is judged by others later is not even read
        until = until or self.windows.test.start
        self.requests = _before(until, read_dataset(requests_file(home, as_of)), names.REQUEST_TIMESTAMP)
        self.items = _before(until, read_dataset(items_file(home, as_of)), DAY)
        self.user_tensors = tf.nest.map_structure(
            tf.constant, query_tensors(self.requests, config.features.history_length)
        )
        self.item_tensors = tf.nest.map_structure(tf.constant, candidate_tensors(self.items))
        self.snapshots = Snapshots.of(self.items)
        self.moments = request_timestamps(self.requests)
        self.pairs = pair_examples(self.requests, self.snapshots)
        self._judge = WindowJudge.of(self.requests, self.items, self.snapshots, self.settings.seed)
        tf.config.experimental.enable_op_determinism()

    def varied(self, settings: RetrieverConfig) -> "RetrieverTraining":
        """A training with the same data and other settings."""
        other = copy.copy(self)
        other.settings = settings
        other._judge = replace(self._judge, seed=settings.seed)
        return other

    def run(self) -> Mapping[str, Any]:
        """Every stage, to be followed in TensorBoard; returns the step's facts."""
        with TensorBoardRun(self.home.training(self.windows.as_of) / "tensorboard" / self.run_name()) as log:
            return self._stages(log)

    def _stages(self, log: TensorBoardRun) -> Mapping[str, Any]:
        windows, start = self.windows, self.start
        if start:
            tower, facts = TwoTower.load(start.folder), {"warm_start_from": start.run, "epochs": 0}
            _tell(f"begins with the tower of {start.run}, and learns what came since")
            self._tell_settings(log)
            self._judge_what_it_does_not_know(tower, log)
        else:
            tower, facts = self._from_nothing(log)
        for_ranker = self.refreshed(tower, windows.ranker.start, log)
        facts |= self._judged(windows.ranker, for_ranker, log)
        published = self.refreshed(for_ranker, windows.test.start, log)
        log.project(*item_space(published, self.items.take(pa.array(self.snapshots.existing(-1)))))
        self._save(for_ranker, published.settled())  # nobody learns on with what is served
        return facts

    def _from_nothing(self, log: TensorBoardRun) -> tuple[TwoTower, dict[str, Any]]:
        """A tower taught by every request before validation, and the facts of it."""
        windows = self.windows
        tower, epochs, curve = self.fit_until_it_stops(log)
        train = self._pairs_before(windows.retriever_train.end)
        facts: dict[str, Any] = {
            "requests": int(windows.retriever_train.contains(self.moments).sum()),
            "pairs": len(train.request),
            "pairs_without_a_snapshot": self.pairs.dropped,
            "items_in_vocabulary": len(tower.vocabularies[names.ITEM_ID].tokens),
            "epochs": epochs,
            "validation_recall@20_by_epoch": [round(value, 4) for value in curve],
        }
        return tower, facts | self._judged(windows.validation, tower)

    def _judge_what_it_does_not_know(self, tower: TwoTower, log: TensorBoardRun) -> None:
        """Recall of a tower to begin with in the requests that it is about to learn, while it has not seen them.

        They stand for the validation window, of which it may know a part. Where it knows all, nothing is told.
        """
        end = self.windows.ranker.start
        assert end is not None
        unseen = Window("validation", from_microseconds(tower.config.as_of), end)
        if self._judge.has_positives(unseen):
            recall = self._judge.recall(unseen, tower, self._rows(tower))
            log.scalars({f"validation/recall_at_{k}": value for k, value in recall.items()}, 0)

    def _tell_settings(self, log: TensorBoardRun) -> None:
        log.text("settings", f"```\n{self.settings.model_dump_json(indent=1)}\n```")

    def fit_until_it_stops(
        self, log: TensorBoardRun, after_epoch: AfterEpoch = lambda epoch, recall: None
    ) -> tuple[TwoTower, int, list[float]]:
        """The tower of the epoch with the best validation recall@20, that epoch, and recall by epoch.

        `after_epoch` is told an epoch's number, from 1, and its validation recall@20; it may raise to end the training.
        """
        settings, end = self.settings, self.windows.retriever_train.end
        train = self._pairs_before(end)
        self._tell_settings(log)
        if not len(train.request):
            raise TastemakerError(
                f"There is no (request, item) pair before {end:%Y-%m-%d} to train the retriever on; "
                "choose a later as_of or shorter windows under 'split' in the config file."
            )
        validation = self.windows.validation
        if not self._judge.has_positives(validation):
            raise TastemakerError(
                f"No request between {validation.start:%Y-%m-%d} and {validation.end:%Y-%m-%d} says when to stop "
                "training the retriever; lengthen 'split.validation_days' in the config file."
            )
        tower = TwoTower(_shape(self.settings, end), self._vocabularies(train, end), settings.seed)
        self._connect(tower, train)
        self._favor(tower, train)
        known = np.flatnonzero(self.windows.retriever_train.contains(self.moments))
        tower.fit_scales(taken(self.user_tensors, known), taken(self.item_tensors, np.unique(train.snapshot)))
        rows, fitting = self._rows(tower), self._training(tower, train)
        curve: list[float] = []
        best: dict[str, np.ndarray] = {}
        for epoch in range(1, settings.max_epochs + 1):
            began = time.monotonic()
            loss = fitting.epoch(train, rows, settings.batch_size)
            seconds = time.monotonic() - began
            recall = self._judge.recall(self.windows.validation, tower, rows)
            log.scalars({"loss/train": loss, "seconds/epoch": seconds}, epoch)
            log.scalars({f"validation/recall_at_{k}": value for k, value in recall.items()}, epoch)
            curve.append(recall[STOPPING_K])
            _tell(f"epoch {epoch}/{settings.max_epochs}: loss {loss:.4f}, " + _recalls(recall))
            if curve[-1] == max(curve) and curve.index(max(curve)) == epoch - 1:
                best = {name: weight.numpy() for name, weight in tower.weights.items()}
            after_epoch(epoch, curve[-1])
            if epoch - 1 - int(np.argmax(curve)) >= settings.patience:
                break
        for name, weight in best.items():
            tower.weights[name].assign(weight)
        return tower, int(np.argmax(curve)) + 1, curve

    def refreshed(self, tower: TwoTower, until: datetime | None, log: TensorBoardRun) -> TwoTower:
        """The tower taught for some more epochs by the last requests before `until`, with the items that came since."""
        assert until is not None
        pairs = self._pairs_before(until)
        grown = tower.grown(self._vocabularies(pairs, until), microseconds(until), self.settings.seed)
        since = microseconds(until - timedelta(days=REFRESH_DAYS))
        self._connect(grown, pairs)
        self._favor(grown, pairs)
        rows, fitting = self._rows(grown), self._training(grown, pairs)
        pairs = pairs.select((self.moments >= since)[pairs.request])
        for epoch in range(1, REFRESH_EPOCHS + 1):
            loss = fitting.epoch(pairs, rows, self.settings.batch_size)
            log.scalars({f"loss/refresh_until_{until:%Y-%m-%d}": loss}, epoch)
            _tell(f"refresh with requests before {until:%Y-%m-%d}, epoch {epoch}/{REFRESH_EPOCHS}: loss {loss:.4f}")
        return grown

    def ranked(self, window: Window, tower: TwoTower, k: int) -> Iterator[Ranking]:
        """For every request of the window with a positive the tower's k best items and its positives."""
        return self._judge.ranked(window, tower, self._rows(tower), k)

    def _judged(self, window: Window, tower: TwoTower, log: TensorBoardRun | None = None) -> dict[str, Any]:
        """Recall in a window that the tower has not seen, beside that of the best-sellers; in the log, one point."""
        ours = self._judge.recall(window, tower, self._rows(tower))
        popular = self._judge.popularity_recall(window)
        _tell(f"{window.name} window: {_recalls(ours)}; best-sellers: {_recalls(popular)}")
        if log is not None:
            log.scalars({f"{window.name}/recall_at_{k}": ours[k] for k in RECALLS}, 0)
        found: dict[str, Any] = {}
        for k in RECALLS:
            found[f"{window.name}_recall@{k}"] = round(ours[k], 4)
            found[f"{window.name}_popularity_recall@{k}"] = round(popular[k], 4)
        return found

    def _connect(self, tower: TwoTower, pairs: Pairs) -> None:
        """Gives a tower that learns over the item graph that of these pairs, by their users."""
        if not tower.config.graph_steps:
            return
        users = column_of(self.requests, names.USER_ID).dictionary_encode("encode")
        person = users.indices.to_numpy(zero_copy_only=False)[pairs.request].astype(np.int64)
        known = tower.vocabularies[names.ITEM_ID]
        tower.connect(ItemGraph.of(person, known.indices(self.snapshots.items)[pairs.item], known.size))

    def _favor(self, tower: TwoTower, pairs: Pairs) -> None:
        """Fills the coordinate of popularity, where a tower has one, from these pairs; learning does not read it."""
        if tower.config.popularity:
            tower.favor(self._visits(tower, pairs), self.settings.popularity * self.settings.temperature)

    def _visits(self, tower: TwoTower, pairs: Pairs) -> np.ndarray:
        """How many of the pairs have an item, int64 `[rows of the item table]`."""
        known = tower.vocabularies[names.ITEM_ID]
        return np.bincount(known.indices(self.snapshots.items)[pairs.item], minlength=known.size)

    def _training(self, tower: TwoTower, pairs: Pairs) -> TowerTraining:
        """To go on with a tower that knows these pairs, of which it may be taught the last alone."""
        s = self.settings
        given = s.popularity_given * log_popularity(self._visits(tower, pairs)) if s.popularity_given else None
        return TowerTraining(tower, s.learning_rate, s.seed, Learning(s.loss, s.temperature), given)

    def _rows(self, tower: TwoTower) -> Rows:
        return Rows.of(tower, self.user_tensors, self.item_tensors)

    def _pairs_before(self, end: datetime) -> Pairs:
        return self.pairs.select((self.moments < microseconds(end))[self.pairs.request])

    def _vocabularies(self, pairs: Pairs, end: datetime) -> dict[str, Vocabulary]:
        requests = _before(end, self.requests, names.REQUEST_TIMESTAMP)
        return tower_vocabularies(_shape(self.settings, end), requests, self.items, pairs, self.snapshots)

    def run_name(self) -> str:
        """What TensorBoard calls a training with these settings; a warm one is another run than a cold one."""
        s = self.settings
        beyond = [f"{s.graph_steps} graph steps"] if s.graph_steps else []
        beyond += [f"popularity {s.popularity:g}"] if s.popularity else []
        beyond += [f"{s.popularity_given:g} given"] if s.popularity_given else []
        begun = f"warm from {self.start.run}, " if self.start else ""
        return (
            f"two_tower {', '.join([s.encoder, *beyond])}, {s.embedding_dimension} dimensions, "
            f"{s.loss} softmax at {s.temperature:g}, batch {s.batch_size}, step {s.learning_rate:g}, "
            f"{begun}as of {as_of_slug(self.windows.as_of)}, seed {s.seed}"
        )

    def _save(self, for_ranker: TwoTower, published: TwoTower) -> None:
        """Replaces the folder whole: a reader never meets one tower of this training and one of the last."""
        folder = retriever_folder(self.home, self.windows.as_of)
        beside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(beside, ignore_errors=True)
        published.save(beside)
        for_ranker.save(beside / for_ranker_folder(self.home, self.windows.as_of).name)
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)


def _before(end: datetime | None, table: pa.Table, column: str) -> pa.Table:
    assert end is not None
    moments = column_of(table, column).cast(pa.timestamp("us")).cast(pa.int64())
    return table.filter(pc.less(moments, microseconds(end)))


def _recalls(recall: Mapping[int, float]) -> str:
    return ", ".join(f"recall@{k} {value:.4f}" for k, value in recall.items())


def _tell(line: str) -> None:
    print(f"retriever: {line}", file=sys.stderr, flush=True)
