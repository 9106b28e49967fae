"""Buy it again: the user's own items, latest first."""

import tensorflow as tf

from tastemaker import names
from training.release.item_snapshot import rows_at
from training.sources.source import Asked, Proposals


class OwnHistory:
    """Needs nothing but the request."""

    name = names.SOURCE_HISTORY

    def propose(self, asked: Asked, count: tf.Tensor | int) -> Proposals:
        """See `Source`; the score is the decayed weight of the last time, so that equals keep the order sent."""
        past = asked.past
        count = tf.minimum(tf.minimum(count, past.length), past.items.universe.rows)
        kept = past.first & rows_at(past.items.available, past.user.history)
        order = tf.argsort(tf.where(kept, past.weight, -1.0), axis=1, direction="DESCENDING", stable=True)[:, :count]
        kept = tf.gather(kept, order, batch_dims=1)
        items = tf.gather(past.user.history, order, batch_dims=1)
        weight = tf.gather(past.weight, order, batch_dims=1)
        return Proposals(tf.where(kept, items, past.items.universe.unknown), tf.where(kept, weight, 0.0))

    def refresh(self) -> None:
        """Nothing is kept."""
