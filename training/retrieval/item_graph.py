"""Which items are taken by the same people: the graph over which item vectors are smoothed.

The edges are those of the linear filter of Shen et al., "How powerful is graph convolution for recommendation?" (GF-CF,
CIKM 2021): `R~ᵀ R~` of the interactions `R~ = D_u^-1/2 R D_i^-1/2`, of which each item keeps its strongest. A step over
it is what two layers of LightGCN (He et al., SIGIR 2020) do, from items to their people and back, without a vector for
each person: the towers know nobody by id.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
from tensorflow.python.ops.linalg.sparse import sparse_csr_matrix_ops as csr

from training.vocabulary import RESERVED

NEIGHBOURS = 20
ROWS = 512  # of the item-item product at a time: 41,000 items' rows take 84 MB
LANES = 16  # numbers side by side: a product with 63 columns takes twice as long as with 64


@dataclass(frozen=True)
class ItemGraph:
    """`neighbours` int32 and `share` float32, `[rows, NEIGHBOURS]`: of each row of the embedding table.

    Shares of a row sum to 1; they are 0 where there is no neighbour, and in the whole row of an item without one.
    """

    neighbours: np.ndarray
    share: np.ndarray

    @classmethod
    def unconnected(cls, rows: int) -> "ItemGraph":
        """Nobody has a neighbour."""
        return cls(np.zeros((rows, NEIGHBOURS), np.int32), np.zeros((rows, NEIGHBOURS), np.float32))

    @classmethod
    def of(cls, person: np.ndarray, item: np.ndarray, rows: int) -> "ItemGraph":
        """The graph of who took what.

        Args:
            person: whose, int64 `[n]`, any numbers from 0 on.
            item: what, int64 `[n]`: a row of the embedding table; the reserved ones are passed over. A pair named
                twice counts once.
            rows: of the embedding table.
        """
        known = item >= RESERVED
        taken = sp.csr_matrix(
            (np.ones(known.sum(), np.float32), (person[known], item[known])), (int(person.max(initial=0)) + 1, rows)
        )
        taken.data[:] = 1  # what was named twice has been added up
        normal = sp.diags(_inverse_root(taken.sum(axis=1))) @ taken @ sp.diags(_inverse_root(taken.sum(axis=0)))
        normal = normal.tocsr().astype(np.float32)
        turned = normal.T.tocsr()
        graph = cls.unconnected(rows)
        kept = min(NEIGHBOURS, rows)
        for first in range(0, rows, ROWS):
            likeness = (turned[first : first + ROWS] @ normal).toarray()
            at = np.arange(len(likeness))
            likeness[at, first + at] = 0
            best = np.argpartition(-likeness, kept - 1, axis=1)[:, :kept]
            graph.neighbours[first + at, :kept] = best
            graph.share[first + at, :kept] = np.take_along_axis(likeness, best, axis=1)
        graph.share[:] /= np.maximum(graph.share.sum(axis=1, keepdims=True), 1e-12)
        return graph


class Smoothing:
    """Each vector and the means of its neighbours' 1, 2, … `steps` steps away, added up.

    With the graph's shares as a matrix S: `vectors + S vectors + S² vectors + …`, `[rows, dimension]` to the same,
    differentiable and the same to the bit each time.
    """

    def __init__(self, graph: ItemGraph, steps: int) -> None:
        rows = len(graph.share)
        row, place = np.nonzero(graph.share)
        shares = sp.csr_matrix((graph.share[row, place], (row, graph.neighbours[row, place])), (rows, rows))
        self._steps = steps
        self._forth = _sparse_tensor(shares)
        # as a matrix of its own: TensorFlow's product with an adjoint adds up in any order
        self._back = _sparse_tensor(shares.T.tocsr())

    def __call__(self, vectors: tf.Tensor) -> tf.Tensor:
        """The vectors, smoothed."""
        forth, back = (csr.sparse_tensor_to_csr_sparse_matrix(*parts) for parts in (self._forth, self._back))

        @tf.custom_gradient
        def step(x: tf.Tensor) -> tuple[tf.Tensor, object]:
            return csr.sparse_matrix_mat_mul(forth, x), lambda upstream: csr.sparse_matrix_mat_mul(back, upstream)

        width = vectors.shape[1]
        total = reached = tf.pad(vectors, [[0, 0], [0, -width % LANES]])
        for _ in range(self._steps):
            reached = step(reached)
            total = total + reached
        return total[:, :width]


def _sparse_tensor(matrix: sp.csr_matrix) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Indices int64 `[n, 2]` in order, values `[n]`, shape."""
    matrix.sort_indices()
    entries = matrix.tocoo()
    places = np.stack([entries.row, entries.col], axis=1).astype(np.int64)
    return tf.constant(places), tf.constant(entries.data), tf.constant(matrix.shape, tf.int64)


def _inverse_root(sums: np.ndarray) -> np.ndarray:
    """1 / √x of a column or row of sums, 0 for 0: `[n]`."""
    flat = np.asarray(sums, np.float64).ravel()
    return np.divide(1, np.sqrt(flat), out=np.zeros_like(flat), where=flat > 0)
