"""Items of the sessions most like the user's past: session-based nearest neighbours.

V-SkNN of Ludewig & Jannach, "Evaluation of session-based recommendation algorithms" (2018), with the history in place
of the current session: what is long ago counts less, rare items more. Whose session it was is not kept.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tastemaker import names
from tastemaker.moments import microseconds
from training.ranking.past import DAY
from training.ranking.row_scatter import by_row
from training.release.block_top_k import BLOCK, block_top_k
from training.release.item_snapshot import ItemSnapshot, rows_at
from training.sources.source import Asked, Proposals, best_of

RECENT = 30  # entries of the history that look for sessions
SESSIONS_OF_AN_ITEM = 128  # its latest; best-sellers have more than a thousand
ITEMS_OF_A_SESSION = 60  # nine of ten Online Retail sessions have fewer than 47
SESSIONS = 50_000  # the latest; what a release keeps of them is bounded: 12 MB
NEIGHBOURS = 200
FILE = "sessions.npz"


@dataclass(frozen=True)
class Sessions:
    """Past sessions, latest first.

    Attributes:
        item_ids: of the items that occur.
        starts: int64 `[sessions + 1]`, where each session starts in `members`.
        members: int32, places in `item_ids`, session after session.
        days: float32 `[sessions]`, age at the end of the training window.
        room: how many sessions there may be when others take their place (`UserKnn.load`); these, if less.
        longest: how many items one of those may have; as many as the longest of these, if less.
    """

    item_ids: tuple[str, ...]
    starts: np.ndarray
    members: np.ndarray
    days: np.ndarray
    room: int = 0
    longest: int = 0

    @classmethod
    def fit(
        cls,
        owner: np.ndarray,
        items: np.ndarray,
        moments: np.ndarray,
        item_ids: tuple[str, ...],
        end: datetime,
        room: int = 0,
    ) -> "Sessions":
        """From pairs of a session and an item.

        Args:
            owner, items: `[pairs]`, indices into `moments` and `item_ids`.
            moments: int64 `[sessions]`, microseconds since 1970 UTC.
            end: of the training window.
            room: see the attribute; no more than these, or SESSIONS, are kept.
        """
        width = len(item_ids)
        once = np.unique(owner.astype(np.int64) * width + items)  # an item counts once in a session
        pairs = np.stack([once // width, once % width], axis=1)
        present = np.unique(pairs[:, 0])
        latest = present[np.lexsort((-present, -moments[present]))][: room or SESSIONS]
        rank = np.full(len(moments), -1, np.int64)
        rank[latest] = np.arange(len(latest))
        pairs = pairs[rank[pairs[:, 0]] >= 0]
        pairs = pairs[np.lexsort((pairs[:, 1], rank[pairs[:, 0]]))]
        sizes = np.bincount(rank[pairs[:, 0]], minlength=len(latest))
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        days = ((microseconds(end) - moments[latest]) / DAY).astype(np.float32)
        return cls(item_ids, starts, pairs[:, 1].astype(np.int32), days, room)

    def save(self, folder: Path) -> None:
        """Writes `sessions.npz`."""
        ids = np.array(self.item_ids, np.str_)
        np.savez(folder / FILE, item_ids=ids, starts=self.starts, members=self.members, days=self.days)

    @classmethod
    def load(cls, folder: Path) -> "Sessions":
        """What `save` wrote."""
        with np.load(folder / FILE) as file:
            return cls(tuple(file["item_ids"].tolist()), file["starts"], file["members"], file["days"])


class UserKnn(tf.Module):
    """The sessions as tables: of each item its latest sessions, of each session its items."""

    name = names.SOURCE_USER_KNN

    def __init__(self, items: ItemSnapshot, trained: Sessions, half_life_days: float) -> None:
        super().__init__(name=names.SOURCE_USER_KNN)
        self._items, self._half_life_days = items, half_life_days
        self.sessions = max(trained.room, len(trained.days))
        rows, unknown = items.universe.rows, items.universe.unknown
        longest = int(np.diff(trained.starts).max(initial=max(trained.longest, 1)))
        room = self.sessions + 1 + -(self.sessions + 1) % BLOCK  # or else `block_top_k` copies the row to fill it up
        self.items_of = _filled([room, min(longest, ITEMS_OF_A_SESSION)], unknown, "items_of")
        self.sessions_of = _filled([rows, SESSIONS_OF_AN_ITEM], self.sessions, "sessions_of")
        self.weight = _filled([room], 0.0, "weight")
        self.rarity = _filled([rows], 0.0, "rarity")
        self.load(trained)

    def load(self, trained: Sessions) -> None:
        """Takes other sessions, no more than there is room for: the newest of a walk, without tracing a graph again."""
        universe = self._items.universe
        at = universe.indices(pa.array(trained.item_ids, pa.string()))
        sizes = np.diff(trained.starts)
        session = np.repeat(np.arange(len(sizes)), sizes)
        item = at[trained.members]
        known = item != universe.unknown
        session, item = session[known], item[known]
        occurs = np.bincount(item, minlength=universe.rows)
        _fill(self.items_of, session, item, universe.unknown)
        _fill(self.sessions_of, item, session, self.sessions)
        weight = np.zeros(self.weight.shape[0], np.float32)
        weight[: len(sizes)] = 0.5 ** (trained.days / self._half_life_days) / np.sqrt(np.maximum(sizes, 1))
        self.weight.assign(weight)
        self.rarity.assign(np.log((len(sizes) + 1) / (occurs + 1)).astype(np.float32))

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the votes of the nearest sessions."""
        return best_of(asked.once(self.name, lambda: self._votes(asked)), self._items, count)

    def scores(self, asked: Asked, candidates: tf.Tensor) -> tf.Tensor:
        """See `ScoringSource`."""
        return tf.gather(asked.once(self.name, lambda: self._votes(asked)), candidates, batch_dims=1)

    def refresh(self) -> None:
        """The sessions stay as they were trained."""

    def _votes(self, asked: Asked) -> tf.Tensor:
        """float32 `[B, N + 1]`."""
        past = asked.past
        batch = tf.shape(past.weight)[0]
        history, weight = past.user.history[:, :RECENT], past.weight[:, :RECENT]
        holding = rows_at(self.sessions_of, history)
        shared = tf.broadcast_to(weight[:, :, None], tf.shape(holding))
        similarity = tf.tensor_scatter_nd_add(
            tf.zeros([batch, self.weight.shape[0]]),
            by_row(tf.reshape(holding, [batch, -1])),
            tf.reshape(shared, [-1]),
        )
        likeness, nearest = block_top_k(similarity * self.weight, tf.constant(min(NEIGHBOURS, self.weight.shape[0])))
        voted = rows_at(self.items_of, nearest)
        votes = tf.broadcast_to(likeness[:, :, None], tf.shape(voted))
        summed = tf.tensor_scatter_nd_add(
            tf.zeros([batch, self._items.universe.rows]),
            by_row(tf.reshape(voted, [batch, -1])),
            tf.reshape(votes, [-1]),
        )
        return summed * self.rarity


def _filled(shape: list[int], value: float, name: str) -> tf.Variable:
    return tf.Variable(tf.fill(shape, value), trainable=False, name=name)


def _fill(table: tf.Variable, row: np.ndarray, value: np.ndarray, padding: int) -> None:
    """Writes int32 `[rows, width]`: the first `width` values of each row, in the order given, then `padding`."""
    order = np.argsort(row, kind="stable")
    row, value = row[order], value[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    filled = np.full(table.shape, padding, np.int32)
    kept = place < filled.shape[1]
    filled[row[kept], place[kept]] = value[kept]
    table.assign(filled)
