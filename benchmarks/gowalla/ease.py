"""EASE, the closed form of Steck (WWW 2019), for as many items as memory holds a square of.

OpenBLAS' LAPACK ended in a segmentation fault where it inverted a matrix of 41,000 items in place. So the matrix is
swept block by block (Goodnight, The American Statistician 1979): products of BLAS do nearly all of it, in half of the
square.
"""

import numpy as np
import scipy.linalg
import scipy.sparse as sp

# What is added to the diagonal. Recall@20 of `valid` among Gowalla's 10,000 most visited items with 20, 100, 200, 500,
# 1,000: .295, .311, .312, .302, .289.
RIDGE = 200.0
BLOCK = 4096  # items; a column of blocks of Gowalla's 40,981 is 670 MB, the square 6.7 GB


class Ease:
    """Weights `[items, items]` of the other items, float32, in one square of that size."""

    def __init__(self, taken: sp.csr_matrix, ridge: float = RIDGE, block: int = BLOCK) -> None:
        """Learns from ones `[users, items]`.

        Raises:
            numpy.linalg.LinAlgError: the ridge is too small for the rounding of single precision.
        """
        weights = _gram(taken, ridge, block)
        _sweep(weights, block)
        for rows in _blocks(len(weights), block):
            weights[rows, rows.stop :] = weights[rows.stop :, rows].T
        scale = -np.diag(weights)
        np.fill_diagonal(weights, 0)
        weights /= scale
        self._taken, self.weights = taken, weights

    def scores(self, asked: np.ndarray) -> np.ndarray:
        """float `[asked, items]` for users `[asked]`."""
        return np.asarray(self._taken[asked] @ self.weights)


def _gram(taken: sp.csr_matrix, ridge: float, block: int) -> np.ndarray:
    turned = taken.T.tocsr()
    gram = np.empty((taken.shape[1],) * 2, np.float32)
    for rows in _blocks(len(gram), block):
        (turned[rows] @ taken).toarray(out=gram[rows])
    gram[np.diag_indices_from(gram)] += ridge
    return gram


def _sweep(matrix: np.ndarray, block: int) -> None:
    """Puts the inverse, negated, into the blocks on and below the diagonal; those above are left behind."""
    blocks = _blocks(len(matrix), block)
    for pivot in blocks:
        column = np.concatenate([matrix[pivot, : pivot.start].T, matrix[pivot.start :, pivot]])
        inverse = scipy.linalg.inv(column[pivot], assume_a="pos")
        swept = column @ inverse
        for rows in blocks:
            if rows is not pivot:  # the pivot's column goes along: it is written last
                matrix[rows, : rows.stop] -= swept[rows] @ column[: rows.stop].T
        matrix[pivot, : pivot.start] = swept[: pivot.start].T
        matrix[pivot.stop :, pivot] = swept[pivot.stop :]
        matrix[pivot, pivot] = -inverse


def _blocks(length: int, block: int) -> list[slice]:
    return [slice(first, min(first + block, length)) for first in range(0, length, block)]
