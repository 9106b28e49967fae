"""How the towers learn: requests against the items that compete for them, batch by batch."""

import json
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tastemaker import names
from training.feature_tensors import item_features, missing_tensors, user_features
from training.retrieval.batches import Learning, Rows, batches_of
from training.retrieval.examples import Pairs
from training.retrieval.prepared_ahead import prepared_ahead
from training.retrieval.row_adam import RowAdam
from training.retrieval.softmax_loss import ManyPositives
from training.retrieval.two_tower import TwoTower
from training.vocabulary import UNKNOWN

RANDOM = "random"


class TowerTraining:
    """Fits a tower's tastes to pairs, epoch by epoch, the same way for the same seed.

    Args:
        tower: whose weights change.
        learning_rate: Adam's step size.
        seed: of shuffling and of what is hidden.
        learning: what competes, and what counts how much.
        given: logits `[rows of the item table]` that an item has with everybody, whatever is learnt: tastes tell what
            these leave to tell. None: no item has any.
    """

    def __init__(
        self, tower: TwoTower, learning_rate: float, seed: int, learning: Learning, given: np.ndarray | None = None
    ) -> None:
        self._tower = tower
        self._learning = learning
        self._learning_rate = learning_rate
        self._unknown_user = unknown_user(tower)
        self._variables = tower.trainable_variables
        self._optimizer = RowAdam(self._variables, learning_rate)
        self._loss = ManyPositives(learning.temperature)
        self._given = None if given is None else tf.constant(given, tf.float32)
        self._random = np.random.default_rng(seed)
        self._step = tf.function(self._learn, input_signature=self._signature())

    def epoch(self, pairs: Pairs, rows: Rows, batch_size: int) -> float:
        """One shuffled pass over the pairs, whose row numbers point into `rows`; returns their mean loss."""
        losses, sizes = [], []
        for batch in prepared_ahead(batches_of(pairs, rows, self._learning, batch_size, self._random)):
            losses.append(self._step(**vars(batch)))
            sizes.append(len(batch.pairs))
        self._tower.settle()
        return float(np.average([float(loss) for loss in losses], weights=sizes))

    def state(self) -> dict[str, np.ndarray]:
        """Weights, moments and the place in the random numbers, for a process that goes on where this one ends."""
        variables = (*self._tower.weights.values(), *self._optimizer.own)
        arrays = {str(at): variable.numpy() for at, variable in enumerate(variables)}
        return {**arrays, RANDOM: np.array(json.dumps(self._random.bit_generator.state))}

    def go_on_from(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes what `state` gave of a training of the same tower with the same settings."""
        for at, variable in enumerate((*self._tower.weights.values(), *self._optimizer.own)):
            variable.assign(state[str(at)])
        self._random.bit_generator.state = json.loads(str(state[RANDOM]))

    def slow_down(self, share: float) -> None:
        """From now on steps have this share of the learning rate."""
        self._optimizer.learning_rate.assign(share * self._learning_rate)

    def _learn(
        self,
        user: dict[str, tf.Tensor],
        item: dict[str, tf.Tensor],
        log_probability: tf.Tensor,
        pairs: tf.Tensor,
        weight: tf.Tensor,
        ignored: tf.Tensor,
        hide_user: tf.Tensor,
        hide_item: tf.Tensor,
    ) -> tf.Tensor:
        """One step on a `Batch`; returns its loss."""
        user = hidden_users(user, self._unknown_user, hide_user)
        if self._given is not None:  # an item that hides its name is as popular as before
            log_probability -= tf.gather(self._given, item[names.ITEM_ID])
        item = {**item, names.ITEM_ID: tf.where(hide_item, tf.constant(UNKNOWN, tf.int64), item[names.ITEM_ID])}
        with tf.GradientTape() as tape:
            vectors = self._tower.learnt_item_vectors()
            loss = self._loss(
                self._tower.query_taste(user, vectors),
                self._tower.candidate_taste(item, vectors),
                log_probability,
                pairs,
                weight,
                ignored,
            )
        unconnected = tf.UnconnectedGradients.ZERO  # attributes, where a tower has no hidden layer
        self._optimizer.apply(tape.gradient(loss, self._variables, unconnected_gradients=unconnected))
        return loss

    def _signature(self) -> list[object]:
        item = {**missing_tensors(item_features(), 1), names.ITEM_ID: np.array([""], object)}
        moment = {names.REQUEST_TIMESTAMP: tf.zeros([1], tf.int64)}
        cells = tf.TensorSpec([None, 2], tf.int64)
        real, flag = tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.bool)
        user_specs, item_specs = _specs(self._unknown_user | moment), _specs(self._tower.item_indices(item))
        return [user_specs, item_specs, real, cells, real, cells, flag, flag]


def unknown_user(tower: TwoTower) -> dict[str, tf.Tensor]:
    """The looked-up tensors of one user of whom nothing is known, without a request's time."""
    nothing = {**missing_tensors(user_features(), 1), names.REQUEST_TIMESTAMP: np.zeros(1, np.int64)}
    looked_up = tower.user_indices(nothing)
    return {name: value for name, value in looked_up.items() if name != names.REQUEST_TIMESTAMP}


def hidden_users(
    user: Mapping[str, tf.Tensor], unknown: Mapping[str, tf.Tensor], hide: tf.Tensor
) -> dict[str, tf.Tensor]:
    """The users' tensors with those of the rows `hide` (bool `[batch]`) replaced by the unknown user's."""
    hidden = dict(user)
    for name, value in unknown.items():
        mask = hide if value.shape.rank == 1 else hide[:, None]
        hidden[name] = tf.where(mask, value, user[name])
    return hidden


def _specs(tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec([None] * value.shape.rank, value.dtype) for name, value in tensors.items()}
