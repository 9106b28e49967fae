"""Items whose factors fit the user's: implicit-feedback matrix factorization.

Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets" (2008). Item factors are trained offline
with `implicit`; a user's vector is solved inside the graph from the history that came with the request, so a user who
was never trained on has one, and the last click counts.

The factors are stored whitened: with `RᵀR = YᵀY + λI`, `Y' = Y R⁻¹` and `x' = R x` the products stay as they were, and
the equations of Hu et al., `(YᵀY + λI + Yᵀ(C − I)Y) x = YᵀC p`, become `(I + Y'ᵀ(C − I)Y') x' = Y'ᵀC p`: no Gram
matrix in the graph, and so well conditioned that a few steps of conjugate gradients (Takács, Pilászy & Tikk, 2011)
solve them. Everything is summed row by row, never as a matrix product: the same bits whatever a row is batched with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.linalg
import scipy.sparse as sp
import tensorflow as tf
from implicit.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from tastemaker import names
from training.release.block_top_k import block_top_k
from training.release.item_snapshot import ItemSnapshot, rows_at
from training.sources.source import Asked, Proposals

ALPHA = 2.0  # confidence of an item taken once
REGULARIZATION = 10.0
ITERATIONS = 15
HALF_LIFE_DAYS = 60.0
STEPS = 6
FILE = "matrix_factorization.npz"


@dataclass(frozen=True)
class ItemFactors:
    """`factors` float32 `[items, F]`, whitened, of the items with the ids `item_ids`."""

    item_ids: tuple[str, ...]
    factors: np.ndarray

    @classmethod
    def fit(
        cls,
        counts: sp.csr_matrix,
        item_ids: tuple[str, ...],
        dimension: int,
        seed: int,
        tell: Callable[[int, float], None] | None = None,
    ) -> "ItemFactors":
        """Trains on how often each user took each item, `[users, items]`.

        `tell` is called after each iteration, from 1, with its loss, which only then is computed.
        """
        with threadpool_limits(1, "blas"):  # else `implicit`, which runs threads of its own, warns
            model = AlternatingLeastSquares(
                factors=dimension,
                regularization=REGULARIZATION,
                alpha=ALPHA,
                iterations=ITERATIONS,
                random_state=seed,
                num_threads=2,
                calculate_training_loss=tell is not None,
            )
            told = None if tell is None else lambda iteration, _, loss: tell(iteration + 1, loss)
            model.fit(counts.astype(np.float32), show_progress=False, callback=told)
        return cls(item_ids, whitened(np.asarray(model.item_factors, np.float64)).astype(np.float32))

    def save(self, folder: Path) -> None:
        """Writes `matrix_factorization.npz`."""
        np.savez(folder / FILE, item_ids=np.array(self.item_ids, np.str_), factors=self.factors)

    @classmethod
    def load(cls, folder: Path) -> "ItemFactors":
        """What `save` wrote."""
        with np.load(folder / FILE) as file:
            return cls(tuple(file["item_ids"].tolist()), file["factors"])


def whitened(factors: np.ndarray) -> np.ndarray:
    """`Y R⁻¹` for factors `Y` float64 `[items, F]`, where `RᵀR = YᵀY + λI`."""
    gram = factors.T @ factors + REGULARIZATION * np.eye(factors.shape[1])
    upper = scipy.linalg.cholesky(gram)
    return np.asarray(scipy.linalg.solve_triangular(upper, factors.T, trans="T").T)


class MatrixFactorization(tf.Module):
    """Every available item is asked; an item that came after the training has no factors and is not proposed."""

    name = names.SOURCE_MATRIX_FACTORIZATION

    def __init__(self, items: ItemSnapshot, trained: ItemFactors) -> None:
        super().__init__(name=names.SOURCE_MATRIX_FACTORIZATION)
        self._items = items
        at = items.universe.indices(pa.array(trained.item_ids, pa.string()))
        known = at != items.universe.unknown
        factors = np.zeros((items.universe.rows, trained.factors.shape[1]), np.float32)
        factors[at[known]] = trained.factors[known]
        self.factors = tf.Variable(factors, trainable=False, name="factors")

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the product of the vectors, about 1 for what the user is sure to take."""
        user = asked.once(self.name, lambda: self._users(asked))
        count = tf.minimum(count, self._items.universe.rows)
        products = tf.linalg.matmul(user, self.factors, transpose_b=True)
        _, nearest = block_top_k(tf.where(self._items.available[None, :], products, 0.0), count)
        # The matrix product's last bit depends on the batch: what is shown is computed again, pair by pair.
        exact = tf.where(rows_at(self._items.available, nearest), self._products(user, nearest), 0.0)
        found = tf.math.top_k(exact, count)
        kept = found.values > 0.0
        items = tf.gather(nearest, found.indices, batch_dims=1)
        return Proposals(tf.where(kept, items, self._items.universe.unknown), tf.where(kept, found.values, 0.0))

    def scores(self, asked: Asked, candidates: tf.Tensor) -> tf.Tensor:
        """See `ScoringSource`."""
        return self._products(asked.once(self.name, lambda: self._users(asked)), candidates)

    def refresh(self) -> None:
        """The factors stay as they were trained."""

    def _products(self, user: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(user[:, None, :] * rows_at(self.factors, items), axis=2)

    def _users(self, asked: Asked) -> tf.Tensor:
        """The users' vectors float32 `[B, F]`; zero without a known history."""
        past = asked.past
        decay = tf.pow(0.5, tf.maximum(past.days, 0.0) / HALF_LIFE_DAYS)
        confidence = tf.where(past.first, ALPHA * past.user.counts * decay, 0.0)
        confidence = tf.where(tf.math.is_finite(confidence), tf.clip_by_value(confidence, 0.0, 1e6), 0.0)
        factors = rows_at(self.factors, past.user.history)
        beyond = tf.where(past.first, confidence - 1.0, 0.0)

        def product(vector: tf.Tensor) -> tf.Tensor:
            fit = tf.reduce_sum(factors * vector[:, None, :], axis=2)
            return vector + tf.reduce_sum(factors * (beyond * fit)[:, :, None], axis=1)

        wanted = tf.reduce_sum(factors * confidence[:, :, None], axis=1)
        residual, direction, steps = wanted, wanted, []
        error = tf.reduce_sum(residual * residual, axis=1, keepdims=True)
        for _ in range(STEPS):
            image = product(direction)
            step = tf.math.divide_no_nan(error, tf.reduce_sum(direction * image, axis=1, keepdims=True))
            steps.append(step * direction)
            residual -= step * image
            smaller = tf.reduce_sum(residual * residual, axis=1, keepdims=True)
            direction = residual + tf.math.divide_no_nan(smaller, error) * direction
            error = smaller
        # one operation: a chain of additions is put in another order by TensorFlow in some graphs, not in all
        return tf.reduce_sum(tf.stack(steps, axis=2), axis=2)
