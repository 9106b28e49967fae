"""`attention`: causal self-attention over the newest items, which knows places and the time between them.

After Kang & McAuley, "Self-attentive sequential recommendation" (SASRec, ICDM 2018), and Li, Wang & McAuley, "Time
interval aware self-attention for sequential recommendation" (TiSASRec, WSDM 2020); intervals are biases, log-scaled.
"""

import numpy as np
import tensorflow as tf

from training.retrieval.encoders.history import LOG_MINUTES, Events, log_minutes
from training.retrieval.encoders.sequence import add_ages, add_norm, kept, normalized, with_ages
from training.retrieval.named_weights import NamedWeights

NEWEST = 50  # SASRec's own length for the Amazon histories
BLOCKS = 2


class CausalAttention(tf.Module):
    """Blocks of attention and a feed-forward layer, normalized before each; of the last only the newest place is made.

    One head, so the maps of query and key act only through their product, and those of value and output too: one
    matrix each.
    """

    newest = NEWEST

    def __init__(self, dimension: int, weights: NamedWeights) -> None:
        super().__init__(name="causal_attention")
        self._weights = weights
        self._dimension = dimension
        add_ages(weights, dimension)
        weights.add("encoder/position", np.zeros((NEWEST, dimension)))
        for block in range(BLOCKS):
            at = f"encoder/block_{block}"
            for part in ("attention", "feed_forward"):
                add_norm(weights, f"{at}/{part}/norm", dimension)
            for part in ("query", "value", "hidden", "out"):
                weights.add_layer(f"{at}/{part}", dimension, dimension)
            weights.add(f"{at}/interval", np.zeros(LOG_MINUTES))

    def __call__(self, events: Events) -> tf.Tensor:
        """`[batch, dimension]`: the top block's value at the newest event."""
        x = kept(with_ages(self._weights, events) + self._weights["encoder/position"], events.present)
        for block in range(BLOCKS):
            x = self._block(f"encoder/block_{block}", x, events, 1 if block == BLOCKS - 1 else NEWEST)
        return x[:, 0]

    def _block(self, at: str, x: tf.Tensor, events: Events, asked: int) -> tf.Tensor:
        """The block's values at the newest `asked` places: `[batch, asked, dimension]`."""
        w, minutes = self._weights, events.age_minutes
        seen = normalized(w, f"{at}/attention/norm", x)
        query = w.layer_of_each(f"{at}/query", seen[:, :asked])
        logits = tf.linalg.matmul(query, seen, transpose_b=True) / np.sqrt(self._dimension)
        apart = log_minutes(tf.maximum(minutes[:, None, :] - minutes[:, :asked, None], 0.0))
        logits += tf.gather(w[f"{at}/interval"], apart)
        not_later = tf.range(NEWEST)[None, :] >= tf.range(asked)[:, None]  # latest first
        allowed = events.present[:, None, :] & not_later[None, :, :]
        shares = tf.nn.softmax(tf.where(allowed, logits, tf.constant(-1e9, tf.float32)), axis=2)
        x = x[:, :asked] + w.layer_of_each(f"{at}/value", tf.linalg.matmul(shares, seen))
        hidden = w.layer_of_each(f"{at}/hidden", normalized(w, f"{at}/feed_forward/norm", x))
        x += w.layer_of_each(f"{at}/out", tf.nn.relu(hidden))
        return kept(x, events.present[:, :asked])
