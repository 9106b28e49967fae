"""The champion put to the candidate's test window: as its models would have answered then, or as it was published.

*Replayed*: the champion's retriever and ranker in one graph with the items of each day, as the candidate is judged; it
must answer as the published SavedModel does, else it is another model. *As served*: the SavedModel itself, where its
models are not in the home or know other features. The items in it are those of its own moment, so it is asked only what
came later: before that it would know what the day had yet to bring.

Neither is asked about a request that it may have learnt from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tastemaker import names
from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import microseconds
from tastemaker.steps import digest_files
from training.datasets.item_snapshots import snapshot_of
from training.evaluation.answers import Champion, ChampionAnswers, item_indices, probabilities_of
from training.evaluation.as_served import difference
from training.evaluation.current_champion import AS_SERVED, INCOMPARABLE, REPLAYED, Published
from training.evaluation.shop_day import pairs_of
from training.feature_tensors import column_of, query_tensors, request_timestamps
from training.ranking.calibration import Calibration
from training.ranking.features import FEATURE_NAMES
from training.ranking.fit import CALIBRATION, ranker_folder
from training.ranking.rows import RankerRows, ranker_rows
from training.release.build import assembled
from training.release.fused_graph import FusedRecommender
from training.release.inputs import SIGNATURE_INPUTS
from training.release.item_universe import ItemUniverse
from training.release.manifest import described_service, described_signatures
from training.release.ranker_forest import ranker_forest
from training.retrieval.fit import retriever_folder
from training.sources.trained import sources_folder

ASKED = (names.SIGNATURE_RECOMMEND, names.SIGNATURE_RANK)

# What a SavedModel of another time may do when it is loaded or asked: none of it keeps a candidate from being judged.
_CANNOT_ANSWER = (tf.errors.OpError, TastemakerError, OSError, ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True)
class Contender:
    """A champion that is ready to be asked, or the reason why there is none.

    Attributes:
        how: REPLAYED, AS_SERVED or INCOMPARABLE.
        why: a sentence; empty for REPLAYED.
        champion: None when INCOMPARABLE.
    """

    how: str
    why: str
    champion: Champion | None


class ReplayedChampion:
    """The champion's models, with the items of each day."""

    def __init__(self, graph: FusedRecommender, ranker: Path, since: int) -> None:
        self._graph, self._since = graph, since
        self._probabilities = probabilities_of(ranker_forest(ranker), Calibration.load(ranker / CALIBRATION))

    def answers(self, today: pa.Table, items: pa.Table, rows: RankerRows, k: int) -> ChampionAnswers:
        """Its own lists; of the candidate's pairs the probabilities of those that it would have ranked too."""
        theirs = ranker_rows(self._graph, today, items)  # leaves the day's items in the graph
        width = self._graph.universe.rows
        keys = theirs.request.astype(np.int64) * width + theirs.items
        found = np.full(len(rows.items), np.nan, np.float32)
        asked = request_timestamps(today) >= self._since
        if len(keys):
            order = np.argsort(keys, kind="stable")
            wanted = rows.request.astype(np.int64) * width + rows.items
            at = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
            both = (keys[at] == wanted) & asked[rows.request]
            found[both] = self._probabilities(tf.constant(theirs.features)).numpy()[at[both]]
        user = {name: tf.constant(values) for name, values in query_tensors(today).items()}
        told = {names.INPUT_EXCLUDE_ITEM_IDS: tf.constant([[""]]), names.INPUT_K: tf.constant(k)}
        listed = self._graph.recommend({**user, **told})[names.OUTPUT_ITEM_IDS].numpy()
        return ChampionAnswers(item_indices(listed, self._graph.universe, k), asked, found)


class ServedChampion:
    """The published SavedModel, asked through its own signatures about requests later than its items.

    Raises TastemakerError when it needs what nobody has, KeyError, OSError or one of TensorFlow's when it cannot be
    loaded.
    """

    def __init__(self, published: Published, universe: ItemUniverse, since: int) -> None:
        assert published.manifest is not None
        self._given: dict[str, list[str]] = {}
        self._defaults: dict[str, dict[str, tf.Tensor]] = {}
        for name in ASKED:
            described = published.manifest["signatures"][name]["inputs"]
            self._given[name], self._defaults[name] = _inputs(name, described)
        self._model = tf.saved_model.load(str(published.folder))  # signatures live as long as it does
        self._signatures = {name: self._model.signatures[name] for name in ASKED}
        self._universe, self._since = universe, since

    def answers(self, today: pa.Table, items: pa.Table, rows: RankerRows, k: int) -> ChampionAnswers:
        """Its own lists, and its probabilities of the candidate's pairs whose items it knows."""
        asked = request_timestamps(today) >= self._since
        lists = np.full((len(today), k), -1, np.int64)
        probabilities = np.full(len(rows.items), np.nan, np.float32)
        if asked.any():
            lists[asked] = self._lists(today.filter(pa.array(asked)), k)
            pairs = np.flatnonzero(asked[rows.request])
            place = np.cumsum(asked) - 1  # of a request among those that are asked
            probabilities[pairs] = self._ranked(
                today.filter(pa.array(asked)), place[rows.request[pairs]], rows.items[pairs]
            )
        return ChampionAnswers(lists, asked, probabilities)

    def _lists(self, today: pa.Table, k: int) -> np.ndarray:
        given = {names.INPUT_K: np.array(k, np.int32), names.INPUT_EXCLUDE_ITEM_IDS: np.array([[""]], object)}
        found = self._ask(names.SIGNATURE_RECOMMEND, today, given)[names.OUTPUT_ITEM_IDS].numpy()
        return item_indices(found, self._universe, k)

    def _ranked(self, today: pa.Table, owner: np.ndarray, items: np.ndarray) -> np.ndarray:
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=len(today))
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        ids = np.full((len(today), max(1, int(counts.max(initial=0)))), "", object)
        named = np.array([*self._universe.item_ids, ""], object)
        ids[owner[order], within] = named[items[order]]
        found = self._ask(names.SIGNATURE_RANK, today, {names.INPUT_ITEM_IDS: ids})
        scores = np.where(found[names.OUTPUT_KNOWN].numpy(), found[names.OUTPUT_SCORES].numpy(), np.nan)
        result = np.empty(len(owner), np.float32)
        result[order] = scores[owner[order], within]
        return result

    def _ask(self, signature: str, today: pa.Table, given: Mapping[str, np.ndarray]) -> Mapping[str, tf.Tensor]:
        ours = {**query_tensors(today), **given}
        inputs = {
            name: tf.constant(ours[name], SIGNATURE_INPUTS[signature][name].dtype) for name in self._given[signature]
        }
        return dict(self._signatures[signature](**inputs, **self._defaults[signature]))


def _inputs(signature: str, described: Mapping[str, Any]) -> tuple[list[str], dict[str, tf.Tensor]]:
    """Which of a signature's inputs we still have, as they were; the others with the default that the manifest states.

    Raises TastemakerError when an input is neither.
    """
    given, defaults = [], {}
    for name, spec in described.items():
        ours = SIGNATURE_INPUTS[signature].get(name)
        kind = tf.as_dtype(spec["dtype"])
        if ours is not None and ours.dtype == kind and len(ours.shape) == len(spec["shape"]):
            given.append(name)
        elif "default" in spec:
            defaults[name] = tf.constant(np.array(spec["default"], kind.as_numpy_dtype), kind)
        else:
            raise TastemakerError(f"its signature {signature} needs {name}, which nobody has any more")
    return given, defaults


def contender(
    home: Home, published: Published, universe: ItemUniverse, requests: pa.Table, items: pa.Table, k: int
) -> Contender:
    """The champion, ready for these requests in the best way that can be had.

    Args:
        universe: that of the candidate's graph.
        requests: the judged rows of `requests.parquet`, earliest first.
        items: the item snapshots of every day in question.
    """
    manifest = published.manifest
    if manifest is None:
        return Contender(INCOMPARABLE, f"Version {published.version} has no manifest that can be read.", None)
    try:
        learnt_until = microseconds(datetime.fromisoformat(manifest["windows"]["test"]["start"]))
        since = max(learnt_until, microseconds(datetime.fromisoformat(manifest["item_snapshot"])))
        _require_later(requests, learnt_until, "it may have learnt from the others")
        try:
            return Contender(REPLAYED, "", _replayed(home, published, requests, items, k, learnt_until))
        except _CANNOT_ANSWER as problem:
            reason = _told(problem)
        _require_later(requests, since, f"it could not be replayed ({reason}), and the items in it are of that moment")
        champion = ServedChampion(published, universe, since)
        champion.answers(requests.slice(len(requests) - 1), items, _no_pairs(), k)  # what cannot answer shows it here
        why = f"It was not replayed ({reason}) but asked as it was published, about requests later than its items."
        return Contender(AS_SERVED, why, champion)
    except _CANNOT_ANSWER as problem:
        return Contender(INCOMPARABLE, f"The champion cannot answer: {_told(problem)}.", None)


def _require_later(requests: pa.Table, since: int, why: str) -> None:
    if not (request_timestamps(requests) >= since).any():
        moment = datetime.fromtimestamp(since / 1_000_000, UTC)
        raise TastemakerError(f"no judged request is as late as {moment:%Y-%m-%d %H:%M} UTC; {why}")


def _replayed(
    home: Home, published: Published, requests: pa.Table, items: pa.Table, k: int, since: int
) -> ReplayedChampion:
    manifest = published.manifest
    assert manifest is not None
    _require_same_schema(manifest)
    trained = datetime.fromisoformat(manifest["as_of"])
    made_of = {"retriever": retriever_folder, "sources": sources_folder, "ranker": ranker_folder}
    for part, folder in ((part, where(home, trained)) for part, where in made_of.items()):
        if digest_files([folder]) != manifest["made_of"][part]:
            raise TastemakerError(f"its {part} is not in the home any more as it was published")
    config = Config.model_validate(manifest["parameters"])
    moment = datetime.fromisoformat(manifest["item_snapshot"])
    if not pc.any(pc.equal(items["day"], pa.scalar(moment.replace(tzinfo=None), items["day"].type))).as_py():
        raise TastemakerError(f"there is no snapshot of the items of {moment:%Y-%m-%d %H:%M} to compare it by")
    graph = assembled(home, config, trained, items, moment, str(manifest["release"]))
    differs = difference(graph, published.folder, _known_then(requests, items, moment), k)
    if differs:
        raise TastemakerError(f"today's code does not answer as it does: {differs}")
    return ReplayedChampion(graph, ranker_folder(home, trained), since)


def _known_then(requests: pa.Table, items: pa.Table, moment: datetime) -> pa.Table:
    """The requests whose histories name only items of a moment.

    To the release of that moment a later item is a name like any other; to today's graph it has features. Raises
    TastemakerError when there is no such request.
    """
    then = ItemUniverse.of(column_of(snapshot_of(items, moment), names.ITEM_ID).to_pylist())
    owner, item = pairs_of(column_of(requests, "history_item_ids"), then)
    known = requests.filter(pa.array(~np.isin(np.arange(len(requests)), owner[item == then.unknown])))
    if not len(known):
        raise TastemakerError(f"every judged request tells of items that came after {moment:%Y-%m-%d %H:%M} UTC")
    return known


def _require_same_schema(manifest: Mapping[str, Any]) -> None:
    for key, service in (("feature_service", names.RECOMMEND_V1), ("item_service", names.ITEM_V1)):
        then, now = manifest[key], described_service(service)
        if then["schema_hash"] != now["schema_hash"]:
            changed = _some(set(then["features"]) ^ set(now["features"])) or "a type or the order"
            raise TastemakerError(f"the features of {service} have changed since: {changed}")
    if list(manifest["ranker_features"]) != list(FEATURE_NAMES):
        changed = _some(set(manifest["ranker_features"]) ^ set(FEATURE_NAMES)) or "their order"
        raise TastemakerError(f"the ranker's features have changed since: {changed}")
    if manifest["signatures"] != described_signatures():
        raise TastemakerError("its signatures are others")


def _some(changed: set[str], shown: int = 5) -> str:
    told = ", ".join(sorted(changed)[:shown])
    return told if len(changed) <= shown else f"{told} and {len(changed) - shown} more"


def _no_pairs() -> RankerRows:
    nothing = np.empty(0, np.int32)
    return RankerRows(np.empty((0, len(FEATURE_NAMES)), np.float32), np.empty(0, np.int8), nothing, nothing, 0, 0, 0, 0)


def _told(problem: BaseException) -> str:
    """An exception as the rest of a sentence: TensorFlow's are many lines long."""
    first = (str(problem).strip() or type(problem).__name__).splitlines()[0]
    return (f"no {first} in it" if isinstance(problem, KeyError) else first).rstrip(".")[:300]
