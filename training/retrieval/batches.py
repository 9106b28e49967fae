"""What one step of training reads: requests, the distinct items that compete, and whose positives those are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tastemaker import names
from tastemaker.config import RetrieverLoss
from training.retrieval.examples import MISSING, Pairs, epoch_batches
from training.retrieval.two_tower import DAY, HISTORY_ITEM_IDS, TwoTower
from training.vocabulary import RESERVED

PER_REQUEST = 8  # positives of one request side by side: 2,048 pairs then cost about 300 queries


@dataclass(frozen=True)
class Learning:
    """How the towers learn, beside the step size and the seed.

    On Online Retail, recall@20 of the four weeks after validation: plain dot products .138, cosines at a temperature of
    .1 .151, and with old pairs weighing less .160 (plain with the half-life alone .149; at .07 .158). On its validation
    window, with a user's past as negatives .159, without .175; with a full softmax .161 and .167.
    """

    loss: RetrieverLoss = "sampled"
    temperature: float = 0.1  # of the softmax over cosines
    half_life_days: float = 90.0  # in which a pair loses half its weight
    request_weight: float = -0.5  # a pair weighs (positives of its request) ** this: a wholesaler's 500 are one opinion
    unknown_users: float = 0.05  # share of queries from which everything known of the user is taken
    unknown_items: float = 0.1  # share of positives that must be told by their attributes alone
    history_competes: bool = False  # what a user has had already is a negative of theirs like any other item


@dataclass(frozen=True)
class Rows:
    """The tensors of every request and of every item snapshot, strings looked up."""

    user: dict[str, tf.Tensor]
    item: dict[str, tf.Tensor]

    @classmethod
    def of(cls, tower: TwoTower, user: Mapping[str, tf.Tensor], item: Mapping[str, tf.Tensor]) -> "Rows":
        """Looks the strings of all requests' and all items' tensors up in the tower's vocabularies."""
        return cls(tower.user_indices(user), tower.item_indices(item))


@dataclass(frozen=True)
class Batch:
    """One step's arrays; `pairs` and `ignored` are int64 `[n, 2]`, (row of `user`, row of `item`), distinct."""

    user: dict[str, np.ndarray]  # of distinct requests
    item: dict[str, np.ndarray]  # of distinct items; one of which the id is hidden is another
    log_probability: np.ndarray  # float32 [items], of being in the batch
    pairs: np.ndarray
    weight: np.ndarray  # float32 [pairs], summing to 1
    ignored: np.ndarray  # what is neither positive nor negative
    hide_user: np.ndarray  # bool [requests]
    hide_item: np.ndarray  # bool [items]


def batches_of(
    pairs: Pairs, rows: Rows, learning: Learning, batch_size: int, random: np.random.Generator
) -> Iterator[Batch]:
    """One shuffled pass over the pairs, `batch_size` of them at a time.

    In a `sampled` softmax the items of the batch's pairs compete; in a `full` one every item that has a pair does, as
    it was last known, and a request's positives stay together.
    """
    user, item = ({name: tensor.numpy() for name, tensor in side.items()} for side in (rows.user, rows.item))
    moments = user[names.REQUEST_TIMESTAMP]
    pair_weight = pair_weights(pairs, moments, learning)
    drawn = sampling_probability(pairs.item)
    catalogue, latest = latest_snapshots(pairs, moments)
    full, share = learning.loss == "full", learning.unknown_items
    for chosen in epoch_batches(pairs, batch_size, len(pairs.request) if full else PER_REQUEST, random):
        requests, row = np.unique(pairs.request[chosen], return_inverse=True)
        # an item told by its attributes alone is another competitor than the same item by name
        keys = 2 * pairs.item[chosen].astype(np.int64) + (random.random(len(chosen)) < share)
        competing, first = np.unique(keys, return_index=True)
        snapshots = pairs.snapshot[chosen[first]]
        if full:
            competing = np.union1d(2 * catalogue, competing)
            snapshots = latest[np.searchsorted(catalogue, competing // 2)]
        nameless = competing % 2 == 1
        log_probability = log_presence(drawn[competing // 2] * np.where(nameless, share, 1 - share), len(chosen))
        users = {name: values[requests] for name, values in user.items()}
        items = {name: values[snapshots] for name, values in item.items()}
        own = np.stack([row, np.searchsorted(competing, keys)], axis=1).astype(np.int64)
        ignored = [_other_form(competing, keys, row)]
        if not learning.history_competes:
            ignored += [_history(users, items[names.ITEM_ID], nameless == form) for form in (False, True)]
        yield Batch(
            users,
            items,
            np.where(nameless, log_probability, 0).astype(np.float32) if full else log_probability,
            own,
            (pair_weight[chosen] / pair_weight[chosen].sum()).astype(np.float32),
            _without(np.concatenate(ignored), own, len(competing)),
            random.random(len(requests)) < learning.unknown_users,
            nameless,
        )


def pair_weights(pairs: Pairs, moments: np.ndarray, learning: Learning) -> np.ndarray:
    """How much each pair counts, float64 `[pairs]`: less in a long request, less the older it is.

    Args:
        pairs: the examples.
        moments: each request's time, int64 `[requests]`, microseconds since 1970 UTC.
        learning: says how much less.
    """
    age_days = (moments[pairs.request].max() - moments[pairs.request]) / DAY
    length = np.bincount(pairs.request).astype(np.float64)[pairs.request]
    return length**learning.request_weight * 0.5 ** (age_days / learning.half_life_days)


def sampling_probability(items: np.ndarray) -> np.ndarray:
    """The share of pairs with each item, float64 `[highest item + 1]`: how probably a slot of a batch holds it.

    >>> sampling_probability(np.array([0, 2, 2, 2])).tolist()
    [0.25, 0.0, 0.75]
    """
    return np.bincount(items) / len(items)


def log_presence(probability: np.ndarray, slots: int) -> np.ndarray:
    """The log of the probability that an item is in a batch at all, float32, from that of each slot to hold it.

    >>> np.exp(log_presence(np.array([0.25, 1.0]), 2)).tolist()
    [0.4375, 1.0]
    """
    with np.errstate(divide="ignore"):  # log(0) where every slot holds the item
        return np.log(-np.expm1(slots * np.log1p(-probability))).astype(np.float32)


def latest_snapshots(pairs: Pairs, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items that have a pair, ascending, and the snapshot row of the latest request of each."""
    order = np.argsort(moments[pairs.request], kind="stable")[::-1]
    items, first = np.unique(pairs.item[order], return_index=True)
    return items, pairs.snapshot[order[first]]


def _other_form(competing: np.ndarray, keys: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(request, item) of every pair's item in its other form, by name or nameless, where that competes too."""
    column = np.minimum(np.searchsorted(competing, keys ^ 1), len(competing) - 1)
    there = competing[column] == keys ^ 1
    return np.stack([row[there], column[there]], axis=1)


def _history(user: Mapping[str, np.ndarray], tokens: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(request, item) wherever one of the items `among` (bool `[items]`) is in the request's history."""
    history = user[HISTORY_ITEM_IDS]
    column_of = np.full(1 + max(int(tokens.max()), int(history.max())), MISSING, np.int64)
    column_of[tokens[among]] = np.flatnonzero(among)
    column_of[:RESERVED] = MISSING
    column = column_of[history]
    row = np.broadcast_to(np.arange(len(history))[:, None], history.shape)
    return np.stack([row[column != MISSING], column[column != MISSING]], axis=1)


def _without(cells: np.ndarray, own: np.ndarray, width: int) -> np.ndarray:
    """The distinct cells `[n, 2]` of a table `width` wide that are none of `own`."""
    keys = np.setdiff1d(cells[:, 0] * width + cells[:, 1], own[:, 0] * width + own[:, 1])
    return np.stack([keys // width, keys % width], axis=1)
