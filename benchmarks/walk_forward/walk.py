"""One walk: every hour is answered with what was learnt from all before it, and then learnt from."""

import hashlib
from collections.abc import Iterator
from datetime import datetime

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.walk_forward.answers import Answers, ranker_rows, session_items, sessions_so_far
from benchmarks.walk_forward.cold_starts import cold_starts
from benchmarks.walk_forward.days import Days
from benchmarks.walk_forward.families import without
from benchmarks.walk_forward.news_tower import LEARNT_AGAIN_HOURS, NewsTower
from benchmarks.walk_forward.session_knn import Sessions, session_knn
from benchmarks.walk_forward.sessions import (
    ASKED,
    CLICKS,
    HOUR,
    HOUR_OF_SESSION,
    REPORTED,
    Site,
    latest_of_sessions,
    latest_rows,
    midnight,
    of_hour,
    session_numbers,
    wanted,
)
from tastemaker import names
from tastemaker.moments import microseconds
from training.datasets.item_snapshots import DAY
from training.evaluation.metrics import hits_of, ndcg, recall
from training.feature_tensors import request_timestamps
from training.ranking.fit import fit_trees
from training.ranking.rows import RankerRows
from training.release.fused_graph import FusedRecommender
from training.sources import user_knn
from training.sources.next_item import NextItem, Taken, Transitions
from training.sources.trained import TrainedSources
from training.sources.user_knn import UserKnn

K = 20
SESSIONS_AN_HOUR = 600  # that the ranker learns from; 1,000 had .001 more NDCG@20 than 400, in twice the time of a fit
RANKER_HOURS = 24
FITTED_EVERY = 6  # hours
LEAST_HOURS = 4  # of rows before the first ranker; until then the blend ranks
KNN_HOURS = 36
REMEMBERED = 24_000  # sessions that `user_knn` asks, the latest; an item has at most 128 of them
TAKEN = (
    names.USER_ID,
    names.SESSION_ID,
    HOUR_OF_SESSION,
    names.REQUEST_TIMESTAMP,
    names.SESSION_ITEM_IDS,
    names.POSITIVE_ITEM_IDS,
)  # columns that say what was taken after what
RANKED = "retriever + LightGBM"
KNN = "session k-NN"
TIES_OF_KNN = 2  # of what is drawn for an hour
ANSWERED = "answered"  # sessions; a line that has it is of a part of them
HOUR_MICROSECONDS = 3_600_000_000

Figures = dict[str, dict[str, float]]


class Walk:
    """The towers, the graph, the ranker's rows and the rankers, as they are when the next hour is to be answered.

    Args:
        site: the home.
        seed: of the towers, the trees and of ties.
        reported: which half of the sessions is answered.
        families: each has a ranker that lacks that family of features, too.
    """

    def __init__(self, site: Site, seed: int, reported: bool, families: tuple[str, ...] = ()) -> None:
        self.site, self.seed, self.families = site, seed, families
        self._reported = reported
        self.rows: list[Answers] = []
        self.rankers: dict[str, lgb.Booster] = {}
        self._days = Days(site)
        self._graphs: dict[datetime, FusedRecommender] = {}
        settings = site.config.retriever.model_copy(update={"seed": seed})
        self._begins = self._days.begin
        self.news = NewsTower(settings, *site.everything(), self._begins)

    def hours(self, first: datetime, end: datetime) -> Iterator[tuple[datetime, Figures]]:
        """Each hour of `[first, end)` with the figures of its lines, means over the hour's sessions."""
        hour = first
        while hour < end:
            yield hour, self._one(hour)
            hour += HOUR

    def _one(self, hour: datetime) -> Figures:
        requests, items = self._days.of(midnight(hour))
        snapshot = of_hour(items, hour, DAY)
        if not len(snapshot):
            return {}
        self.news.meet(snapshot)
        past = self._days.past(hour, LEARNT_AGAIN_HOURS)
        self.news.learn(past, wanted(past), snapshot)
        begun = of_hour(requests, hour)
        asked = pc.and_(begun[ASKED], pc.equal(begun[REPORTED], self._reported)).to_numpy()
        if not asked.any():
            return {}
        graph = self._graph_of(midnight(hour), items)
        graph.load_snapshot(snapshot, hour)
        recent = self._days.past(hour, KNN_HOURS, TAKEN)
        known = latest_of_sessions(recent)
        sessions = sessions_so_far(known, graph.universe)
        remember(graph, sessions, request_timestamps(known), hour)
        follow(graph, recent, hour, self.site.config.candidates.next_item_half_life_days)
        learnt = self._learnt_from(begun, hour)
        needed = np.flatnonzero(asked | learnt)
        found = Answers.of(graph, begun.take(needed))
        answers = found.take(np.flatnonzero(asked[needed]))
        self._fit(hour)
        random = self._random(hour, 0)
        lists = {line: answers.best(scores, K, random) for line, scores in self._scores(answers, graph).items()}
        asking, random = session_items(begun.filter(asked), graph.universe), self._random(hour, TIES_OF_KNN)
        lists[KNN] = session_knn(sessions, hours_since(known, hour), asking, graph.universe.rows, K, random)
        figures = {line: judged(best, answers.wanted) for line, best in lists.items()}
        for called, rows in cold_starts(begun.filter(asked), snapshot).items():
            if rows.any():
                of = judged(lists[RANKED][rows], answers.wanted[rows])
                figures[f"{RANKED}, {called}"] = {**of, ANSWERED: float(rows.sum())}
        figures["candidates"] = {"recall": float((answers.items == answers.wanted[:, None]).any(axis=1).mean())}
        figures["sessions"] = {ANSWERED: float(asked.sum())}
        self.rows = [*self.rows[-RANKER_HOURS + 1 :], found.take(np.flatnonzero(learnt[needed]))]
        return figures

    def _learnt_from(self, begun: pa.Table, hour: datetime) -> np.ndarray:
        """bool `[requests]`: what a later fit will learn of a random share of the hour's sessions, of both halves.

        That is of each session its latest request by then (`Answers.known`): the last before each fit, of which one
        session has seldom two. The share is such that the hour before would have given SESSIONS_AN_HOUR: how many this
        hour will have is not known yet.
        """
        known = latest_of_sessions(of_hour(self._days.past(hour, 1, TAKEN), hour - HOUR))
        share = SESSIONS_AN_HOUR / max(len(known), SESSIONS_AN_HOUR)
        sessions = begun[names.SESSION_ID].to_pylist()
        lot = {session: drawn(f"{self.seed}/{session}") for session in set(sessions)}
        rows = np.flatnonzero([lot[session] < share for session in sessions])
        moments = request_timestamps(begun)[rows]
        fit = (moments - microseconds(self._begins)) // (FITTED_EVERY * HOUR_MICROSECONDS)
        learnt = np.zeros(len(begun), bool)
        learnt[rows[latest_rows(session_numbers(begun)[rows] * (fit.max(initial=0) + 1) + fit, moments)]] = True
        return learnt

    def _graph_of(self, day: datetime, items: pa.Table) -> FusedRecommender:
        """Of a day's items: a list goes through all that a graph has, and few of the whole walk's items are news."""
        if day not in self._graphs:
            config = self.site.config
            universe = items.group_by(["item_title", "item_category", "item_brand", names.ITEM_ID]).aggregate([])
            universe = universe.sort_by(names.ITEM_ID)
            graph = FusedRecommender(
                self.news.tower,
                universe,
                config.candidates,
                config.features.history_length,
                config.features.neighbours,
                trained=_nothing_yet(tuple(universe[names.ITEM_ID].to_pylist())),
            )
            self._graphs = {day: graph}
        return self._graphs[day]

    def _scores(self, answers: Answers, graph: FusedRecommender) -> dict[str, np.ndarray]:
        """Of every line but the k-NN, `[requests, C]`."""
        sources = graph.sources
        popular = -sources.popularity.rank.numpy()[np.maximum(answers.items, 0)]
        lines = {
            "two-tower": _listed(answers.column("retrieval_rank"), names.SOURCE_TWO_TOWER, graph),
            "co-visitation": _listed(answers.column("co_visitation_rank"), names.SOURCE_CO_VISITATION, graph),
            "popularity": popular,
            "user_knn": _listed(answers.column("user_knn_rank"), names.SOURCE_USER_KNN, graph),
            "next item": _listed(answers.column("next_item_rank"), names.SOURCE_NEXT_ITEM, graph),
            "blend": answers.column("blend_score"),
        }
        for line in (RANKED, *(f"without {family}" for family in self.families)):
            lines[line] = self._ranked(line, answers) if line in self.rankers else lines["blend"]
        return lines

    def _ranked(self, line: str, answers: Answers) -> np.ndarray:
        scores = np.full(answers.items.shape, -np.inf)
        features = without(answers.features[answers.valid], _family(line))
        scores[answers.valid] = np.asarray(self.rankers[line].predict(features, raw_score=True))
        return scores

    def _fit(self, hour: datetime) -> None:
        """Rankers from the last hours' answers, as far as one knows by now what was taken."""
        if len(self.rows) < LEAST_HOURS or (hour - self._begins) // HOUR % FITTED_EVERY:
            return
        rows = ranker_rows(self.rows, hour, self._random(hour, 1))
        config = self.site.config.ranker.model_copy(update={"seed": self.seed})
        for line in (RANKED, *(f"without {family}" for family in self.families)):
            features = without(rows.features, _family(line))
            self.rankers[line], _ = fit_trees(RankerRows(**{**vars(rows), "features": features}), config)

    def _random(self, hour: datetime, purpose: int) -> np.random.Generator:
        return random_of(self.seed, (hour - self._begins) // HOUR, purpose)


def random_of(seed: int, hour: int, purpose: int) -> np.random.Generator:
    """Of this hour and purpose alone: what was drawn before, and how often, must not show in what comes after."""
    return np.random.default_rng((seed, hour, purpose))


def hours_since(known: pa.Table, hour: datetime) -> np.ndarray:
    """float `[requests]`, from each request to an hour."""
    hours: np.ndarray = (microseconds(hour) - request_timestamps(known)) / HOUR_MICROSECONDS
    return hours


def judged(best: np.ndarray, taken: np.ndarray) -> dict[str, float]:
    """Mean HR@k and NDCG@k of lists int `[requests, k]`, each with one relevant item.

    >>> figures = judged(np.array([[5, 3], [4, 6], [7, -1], [1, 2]]), np.array([3, 4, 9, 0]))
    >>> figures["hr@2"], round(figures["ndcg@2"], 4)
    (0.5, 0.4077)
    """
    hits, one = hits_of(best, np.arange(len(taken)), taken), np.ones(len(taken), np.int64)
    k = best.shape[1]
    return {f"hr@{k}": float(recall(hits, one).mean()), f"ndcg@{k}": float(ndcg(hits, one).mean())}


def drawn(session: str) -> float:
    """A number in [0, 1) for a session, the same whatever other sessions there are.

    >>> [round(drawn(f"{seed}/1507657384234390"), 3) for seed in (1, 2)]
    [0.296, 0.086]
    """
    return int.from_bytes(hashlib.blake2b(session.encode(), digest_size=4).digest()) / 2**32


def remember(graph: FusedRecommender, sessions: Sessions, moments: np.ndarray, hour: datetime) -> None:
    """Gives the source `user_knn`, where it is on, the sessions known by the hour, by their latest clicks."""
    universe = graph.universe
    for source in graph.sources.made:
        if isinstance(source, UserKnn):
            source.load(
                user_knn.Sessions.fit(sessions.owner, sessions.items, moments, universe.item_ids, hour, REMEMBERED)
            )


def follow(graph: FusedRecommender, past: pa.Table, hour: datetime, half_life_days: float) -> None:
    """Gives the source `next_item`, where it is on, what was taken after what before the hour."""
    for source in graph.sources.made:
        if isinstance(source, NextItem):
            taken = Taken.of(past, graph.universe)
            source.load(Transitions.fit(taken, graph.universe.item_ids, hour, half_life_days))


def _nothing_yet(item_ids: tuple[str, ...]) -> TrainedSources:
    nothing = np.empty(0, np.int32)
    shares = nothing.astype(np.float32)
    return TrainedSources(
        sessions=user_knn.Sessions(item_ids, np.zeros(1, np.int64), nothing, shares, REMEMBERED, CLICKS),
        transitions=Transitions(item_ids, np.zeros(len(item_ids) + 1, np.int64), nothing, shares),
    )


def _listed(place: np.ndarray, source: str, graph: FusedRecommender) -> np.ndarray:
    """Scores of a source's list from its places `[requests, C]`."""
    lengths = dict(zip((one.name for one in graph.sources.made), graph.sources.lengths, strict=True))
    return np.where(place < lengths.get(source, 0), -place, -np.inf)  # NaN, of a source that is off, is not below


def _family(line: str) -> str | None:
    return line.removeprefix("without ") if line.startswith("without ") else None
