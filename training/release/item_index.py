"""Which items have the largest dot product with a query: all of them asked, or, in a large catalogue, the likely cells.

An inverted file: items that lie close together share a cell and lie side by side in memory; a query asks the cells that
promise most and no others. Jégou, Douze & Schmid, "Product quantization for nearest neighbor search" (2011), without
the quantization. ScaNN's and FAISS's own operations are in no stock TF-Serving binary; these are core operations.

A cell promises, for a query q, the product of q with the cell's mean plus REACH deviations of the cell's own items:
with a Gaussian spread inside the cell, about the best that one of them can have. It works for vectors of any length,
as a cell of longer vectors has a longer mean and a wider spread. How many cells are asked is measured when the items
are loaded (`choose_probes`); where too many would have to be, or a longer list is asked for than was measured, every
item is asked.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tastemaker.config import CandidatesConfig
from training.release.block_top_k import block_top_k
from training.release.kmeans import two_level_cells
from training.release.probe_choice import ProbeChoice, choose_probes
from training.release.row_blocks import in_row_blocks

LENGTHS = (200, 800, 3_200)  # of lists; each has its number of probes
CELLS_PER_ROOT = 16  # cells = 16 √items: 16,000 of 62 items for a million. Twice as many scan less, but ask more means
REACH = 3.0  # at 1M × 64, recall@200 .99: scanned 5.8 % with 0, 4.1 % with 2, 3.8 % with 3, 4.0 % with 5
# A scanned item costs 3 to 4 times what it costs in one product with all items: it is copied, and by one query only.
WORTH_SCANNING = 0.2
# One query's products with 50,000 × 64, of NumPy's time: blocks of 32 items 1.24, of 64 1.08, of 128 1.45; rows 1.43.
SIDE_BY_SIDE = 64
FEWEST_QUERIES = 50  # no recall is measured with fewer; every item is asked
SEED = 20111210


class Items(Protocol):
    """What is indexed; see `ItemSnapshot`: `vectors` float32 `[rows, D]`, `available` bool `[rows]`."""

    vectors: tf.Variable
    available: tf.Variable


class ItemIndex(Protocol):
    """Nearest items by dot product."""

    def nearest(self, query: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores float32 and items int32 `[B, count]`, best first, of queries `[B, D]`; `count` is at most `rows`.

        Where fewer items are available the rest is unavailable items.
        """

    def refresh(self, queries: Callable[[], np.ndarray]) -> None:
        """Follows the items, which have changed; `queries` makes sample queries float32 `[Q, D]` if they are needed."""

    def described(self) -> dict[str, Any]:
        """For the manifest: kind, items and, of an inverted file, its cells, probes and measured recall."""


def item_index(items: Items, sources: CandidatesConfig) -> ItemIndex:
    """An inverted file for a catalogue of more than `exact_up_to_items`, else an exact index."""
    if items.vectors.shape[0] - 1 <= sources.exact_up_to_items:
        return ExactIndex(items)
    return InvertedFile(items, sources.exact_up_to_items, sources.index_recall)


class ExactIndex(tf.Module):
    """Every item is asked.

    Two items whose products differ in the last bit may change places with the size of the batch (the matrix product's
    blocking), so what a feature is made of is computed again, pair by pair (`NearestItems.scores`), which does not.

    Args:
        items: call `refresh` after they have changed.
        one_at_a_time: whether it is to be fast for a single query, for which the vectors are held a second time.
    """

    def __init__(self, items: Items, one_at_a_time: bool = True) -> None:
        super().__init__(name="exact_index")
        self._items = items
        # What is not available is put last by an addition: half as long as choosing from two, 20 µs of 50,000.
        self.handicap = tf.Variable(self._handicap(), trainable=False, name="handicap")
        self.columns = tf.Variable(self._columns(), trainable=False, name="columns") if one_at_a_time else None

    def nearest(self, query: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ItemIndex`."""
        if self.columns is None:
            products = self._together(query)
        else:
            products = tf.cond(
                tf.equal(tf.shape(query)[0], 1), lambda: self._alone(query), lambda: self._together(query)
            )
        return block_top_k(tf.ensure_shape(products, [None, None]) + self.handicap, count)

    def refresh(self, queries: Callable[[], np.ndarray]) -> None:
        """Follows the items and what is available."""
        self.handicap.assign(self._handicap())
        if self.columns is not None:
            self.columns.assign(self._columns())

    def described(self) -> dict[str, Any]:
        """See `ItemIndex`."""
        return {"kind": "exact", "items": int(np.sum(self._items.available.numpy()))}

    def _together(self, query: tf.Tensor) -> tf.Tensor:
        return tf.linalg.matmul(query, self._items.vectors, transpose_b=True)

    def _alone(self, query: tf.Tensor) -> tf.Tensor:
        """The products of a query `[1, D]`."""
        return _products(query, self.columns)[None, : self._items.vectors.shape[0]]

    def _columns(self) -> tf.Tensor:
        return _as_columns(self._items.vectors)

    def _handicap(self) -> tf.Tensor:
        return tf.where(self._items.available, 0.0, tf.float32.min)


class InvertedFile(tf.Module):
    """The likely cells are asked, query by query: an answer has the same bits whatever it is batched with.

    Holds the available items' vectors a second time, cell after cell: at 1M × 64 another 256 MB. Gathered from where
    they are, they take a tenth to a third longer.

    Args:
        items: call `refresh` after they have changed.
        exact_up_to_items: with no more available items than this every item is asked.
        recall: share of the exact list that the probed cells must hold.
    """

    def __init__(self, items: Items, exact_up_to_items: int, recall: float) -> None:
        super().__init__(name="item_index")
        self._items, self._exact = items, ExactIndex(items, one_at_a_time=False)
        self._exact_up_to, self._recall = exact_up_to_items, recall
        self._choices: tuple[ProbeChoice, ...] = ()
        width = int(items.vectors.shape[1])

        def variable(name: str, dtype: tf.DType, *inner: int) -> tf.Variable:
            value = tf.zeros([0, *inner], dtype)
            return tf.Variable(value, trainable=False, shape=tf.TensorShape([None, *inner]), name=name)

        self.means = variable("means", tf.float32, width + 1, SIDE_BY_SIDE)  # of the cells, columns; the spread last
        self.starts = variable("starts", tf.int32)  # [cells + 1]
        self.vectors = variable("vectors", tf.float32, width)  # [available, D], cell after cell
        self.members = variable("members", tf.int32)  # [available], what the rows of `vectors` are in the items
        self.probes = tf.Variable(tf.zeros([len(LENGTHS) + 1], tf.int32), trainable=False, name="probes")

    def nearest(self, query: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `ItemIndex`."""
        probes = tf.gather(self.probes, tf.searchsorted(LENGTHS, [count])[0])  # the last is for longer lists: 0

        def probed() -> tuple[tf.Tensor, tf.Tensor]:
            outputs = {"scores": tf.float32, "items": tf.int32}
            found = in_row_blocks(lambda one: self._probed(one["query"], probes, count), {"query": query}, 1, outputs)
            return found["scores"], found["items"]

        scores, items = tf.cond(probes > 0, probed, lambda: self._exact.nearest(query, count))
        return tf.ensure_shape(scores, [None, None]), tf.ensure_shape(items, [None, None])

    def refresh(self, queries: Callable[[], np.ndarray]) -> None:
        """Cells of the items as they are now: a function of the items and the sample queries alone."""
        self._exact.refresh(queries)
        available = np.flatnonzero(self._items.available.numpy()).astype(np.int32)
        self._choices = ()
        self.probes.assign(tf.zeros_like(self.probes))
        if len(available) > max(self._exact_up_to, LENGTHS[0]):
            sample = queries()
            if len(sample) >= FEWEST_QUERIES:
                self._build(available, self._items.vectors.numpy()[available], sample)
        if not self.probes.numpy().any():
            for kept in (self.means, self.starts, self.vectors, self.members):
                kept.assign(tf.zeros([0, *kept.shape[1:]], kept.dtype))

    def described(self) -> dict[str, Any]:
        """See `ItemIndex`. Lists longer than the last of `lists` are exact, and so is one whose probes are 0."""
        kind = "inverted_file" if self.probes.numpy().any() else "exact"
        described: dict[str, Any] = {"kind": kind, "items": int(np.sum(self._items.available.numpy()))}
        if self._choices:
            described["recall_wanted"] = self._recall
            described["lists"] = [
                {"up_to": c.length, "probes": c.probes, "recall": round(c.recall, 4), "scanned": round(c.scanned, 4)}
                for c in self._choices
            ]
        if kind == "inverted_file":
            described["cells"] = int(tf.shape(self.starts)[0]) - 1
        return described

    def _build(self, available: np.ndarray, vectors: np.ndarray, queries: np.ndarray) -> None:
        cells = round(CELLS_PER_ROOT * len(available) ** 0.5)
        means, cell_of = two_level_cells(vectors, min(cells, len(available)), SEED)
        sizes = np.bincount(cell_of)
        apart = ((vectors - means[cell_of]) ** 2).mean(axis=1)
        spread = np.sqrt(np.bincount(cell_of, weights=apart) / sizes).astype(np.float32)
        by_cell = np.argsort(cell_of, kind="stable")
        vectors = vectors[by_cell]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        of_cells = tf.concat([means, spread[:, None]], axis=1)
        promise = tf.linalg.matmul(_reaching(tf.constant(queries)), of_cells, transpose_b=True).numpy()
        lengths = [length for length in LENGTHS if length <= len(available)]
        self._choices = tuple(choose_probes(queries, vectors, starts, promise, lengths, self._recall, WORTH_SCANNING))
        self.means.assign(_as_columns(of_cells))
        self.starts.assign(starts)
        self.vectors.assign(vectors)
        self.members.assign(available[by_cell])
        self.probes[: len(lengths)].assign([choice.probes for choice in self._choices])

    def likely_cells(self, query: tf.Tensor, probes: tf.Tensor) -> tf.Tensor:
        """The `probes` cells int64 `[probes]` that promise a query `[1, D]` most, in the order of memory.

        To a query of zeros all promise the same: no more are asked for that, and which of equals is left open.
        """
        promise = _products(_reaching(query), self.means)[: tf.shape(self.starts)[0] - 1]
        last = tf.raw_ops.NthElement(input=promise, n=probes - 1, reverse=True)
        return tf.where(promise >= last)[:probes, 0]

    def _probed(self, query: tf.Tensor, probes: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        """Of one query `[1, D]`: scores and items `[1, count]`."""
        cells = self.likely_cells(query, probes)
        places = tf.ragged.range(tf.gather(self.starts, cells), tf.gather(self.starts, cells + 1)).flat_values
        products = tf.linalg.matmul(query, tf.gather(self.vectors, places), transpose_b=True)
        scores, at = block_top_k(products, count)
        return {"scores": scores, "items": tf.gather(self.members, tf.gather(places, at))}


def _reaching(query: tf.Tensor) -> tf.Tensor:
    """Queries `[B, D]` as `[B, D + 1]`, whose product with a cell's mean and spread is what the cell promises."""
    return tf.concat([query, REACH * tf.norm(query, axis=1, keepdims=True)], axis=1)


def _as_columns(rows: tf.Tensor) -> tf.Tensor:
    """Vectors `[n, W]` as blocks `[n / SIDE_BY_SIDE, W, SIDE_BY_SIDE]` of columns, the last filled up with zeros."""
    count, width = rows.shape
    padded = tf.pad(rows, [[0, -count % SIDE_BY_SIDE], [0, 0]])
    return tf.transpose(tf.reshape(padded, [-1, SIDE_BY_SIDE, width]), [0, 2, 1])


def _products(query: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The products of a query `[1, W]` with all columns, and with what they are filled up with."""
    return tf.reshape(tf.raw_ops.BatchMatMulV2(x=query[None], y=columns), [-1])
