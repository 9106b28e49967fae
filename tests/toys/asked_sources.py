"""Users put to candidate sources without a request: histories of the shop of two tastes, and a source of each kind."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
from toys import two_tastes as toy

from tastemaker import names
from tastemaker.config import CandidatesConfig
from tastemaker.moments import microseconds
from training.ranking.past import DAY, Fading, Past, UserRows
from training.release.item_index import item_index
from training.release.item_snapshot import ItemSnapshot
from training.release.item_universe import ItemUniverse
from training.sources.co_visitation import CoVisitation
from training.sources.content import Content
from training.sources.matrix_factorization import ItemFactors, MatrixFactorization
from training.sources.nearest_items import NearestItems
from training.sources.next_item import NextItem, Taken, Transitions
from training.sources.own_history import OwnHistory
from training.sources.popularity import Popularity
from training.sources.source import Asked, Source
from training.sources.user_knn import Sessions, UserKnn

LENGTH = 8
DIMENSION = 4


def snapshot(count: int = toy.ITEMS) -> ItemSnapshot:
    """The shop's items as of its last day."""
    items = toy.all_days(count)
    loaded = ItemSnapshot(ItemUniverse.of(items[names.ITEM_ID].to_pylist()), items, 8, neighbours=4)
    loaded.load(toy.items_table(toy.items_of(toy.AS_OF, count)), toy.AS_OF, toy.tower(items))
    return loaded


def asked(items: ItemSnapshot, histories: Sequence[Sequence[int]], seed: int = 3) -> Asked:
    """A user for each history of item indices, latest first, one day apart; query vectors are random."""
    unknown = items.universe.unknown
    rows = [[*history, *[unknown] * (LENGTH - len(history))] for history in histories]
    ages = np.tile(np.arange(1, LENGTH + 1), (len(rows), 1))
    now = microseconds(toy.AS_OF)
    user = UserRows(
        numbers=tf.zeros([len(rows), 0]),
        history=tf.constant(rows, tf.int32),
        last_seen=tf.constant(now - ages * DAY, tf.int64),
        counts=tf.constant(np.tile(1 + np.arange(LENGTH) % 3, (len(rows), 1)), tf.float32),
        requested=tf.fill([len(rows)], tf.constant(now, tf.int64)),
    )
    query = np.random.default_rng(seed).normal(size=(len(rows), 8)).astype(np.float32)
    return Asked(Past.of(user, items, Fading()), tf.constant(query))


def of_row(one: Asked, row: int) -> Asked:
    """The same user alone."""
    user = one.past.user
    alone = UserRows(*(getattr(user, name)[row : row + 1] for name in user.__dataclass_fields__))
    return Asked(Past.of(alone, one.past.items, Fading()), one.query[row : row + 1])


def sessions(count: int = toy.ITEMS) -> Sessions:
    """Forty sessions of two colors, a day apart."""
    random = np.random.default_rng(11)
    owner, items = [], []
    for session in range(40):
        own = [n for n in range(count) if n % 2 == session % 2] or [0]
        chosen = random.permutation(own)[:4]
        owner += [session] * len(chosen)
        items += chosen.tolist()
    moments = np.array([microseconds(toy.AS_OF - timedelta(days=40 - s)) for s in range(40)])
    ids = tuple(toy.item_id(n) for n in range(count))
    return Sessions.fit(np.array(owner), np.array(items), moments, ids, toy.AS_OF)


def transitions(count: int = toy.ITEMS) -> Transitions:
    """After each item the next two of its color, a day before the shop's last."""
    earlier = np.repeat(np.arange(count), 2)
    apart = np.tile([1, 2], count)
    later = (earlier + 2 * apart) % count
    one = earlier != later
    moments = np.full(int(one.sum()), microseconds(toy.AS_OF - timedelta(days=1)))
    ids = tuple(toy.item_id(n) for n in range(count))
    return Transitions.fit(Taken(earlier[one], later[one], apart[one], moments), ids, toy.AS_OF, 1.0)


def counts(count: int = toy.ITEMS) -> sp.csr_matrix:
    """How often each of 24 users took each item: those of the user's color."""
    random = np.random.default_rng(5)
    taken = random.integers(0, 3, (toy.USERS, count)) * (
        np.arange(count)[None, :] % 2 == np.arange(toy.USERS)[:, None] % 2
    )
    return sp.csr_matrix(taken.astype(np.float32))


def _factors(items: ItemSnapshot) -> Source:
    count = len(items.universe.item_ids)
    return MatrixFactorization(items, ItemFactors.fit(counts(count), items.universe.item_ids, DIMENSION, seed=1))


SOURCES: dict[str, Callable[[ItemSnapshot], Source]] = {
    names.SOURCE_TWO_TOWER: lambda items: NearestItems(items, item_index(items, CandidatesConfig())),
    names.SOURCE_HISTORY: lambda items: OwnHistory(),
    names.SOURCE_POPULAR: lambda items: Popularity(items, 5, 3.0),
    names.SOURCE_CO_VISITATION: lambda items: CoVisitation(),
    names.SOURCE_USER_KNN: lambda items: UserKnn(items, sessions(len(items.universe.item_ids)), 30.0),
    names.SOURCE_MATRIX_FACTORIZATION: _factors,
    names.SOURCE_CONTENT: Content,
    names.SOURCE_NEXT_ITEM: lambda items: NextItem(items, transitions(len(items.universe.item_ids))),
}
