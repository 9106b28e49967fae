"""`cnn`: causal dilated convolutions over the newest items.

After Yuan et al., "A simple convolutional generative network for next item recommendation" (WSDM 2019), and Tang &
Wang, "Personalized top-N sequential recommendation via convolutional sequence embedding" (WSDM 2018).
"""

import tensorflow as tf

from training.retrieval.encoders.history import Events
from training.retrieval.encoders.sequence import add_ages, add_norm, kept, normalized, with_ages
from training.retrieval.named_weights import NamedWeights

WIDTH = 3  # events that one convolution sees
DILATIONS = (1, 2, 4, 8)


class DilatedConvolutions(tf.Module):
    """A stack of residual blocks, each a convolution of width 3, with dilations of 1, 2, 4 and 8 events.

    Only the newest place is read. Of the block below it needs every eighth place, of that every fourth, and so on: a
    dilated convolution of which every second place is needed is one of stride 2, and a quarter of the work.
    """

    newest = 1 + (WIDTH - 1) * sum(DILATIONS)

    def __init__(self, dimension: int, weights: NamedWeights) -> None:
        super().__init__(name="dilated_convolutions")
        self._weights = weights
        add_ages(weights, dimension)
        for dilation in DILATIONS:
            add_norm(weights, f"encoder/norm_{dilation}", dimension)
            weights.add_layer(f"encoder/convolution_{dilation}", WIDTH * dimension, dimension)
            weights.add_layer(f"encoder/block_{dilation}", dimension, dimension)

    def __call__(self, events: Events) -> tf.Tensor:
        """`[batch, dimension]`: the top block's value at the newest event."""
        w = self._weights
        x, present = with_ages(w, events), events.present
        for dilation in DILATIONS:
            seen = kept(normalized(w, f"encoder/norm_{dilation}", x), present)
            seen = tf.concat([seen[:, :-2:2], seen[:, 1:-1:2], seen[:, 2::2]], axis=2)
            x, present = x[:, :-2:2], present[:, :-2:2]
            learnt = tf.nn.relu(w.layer_of_each(f"encoder/convolution_{dilation}", seen))
            x = kept(x + w.layer_of_each(f"encoder/block_{dilation}", learnt), present)
        return x[:, 0]
