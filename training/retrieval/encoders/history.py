"""What an encoder is given: a user's items, latest first, and when and how often each was taken."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

MINUTES = 1440.0  # of a day
LOG_MINUTES = 22  # floor(log2(1 + minutes)): the last is over four years


@dataclass(frozen=True)
class History:
    """Histories of a batch, latest first, padded anywhere.

    Args:
        items: the items' vectors, float32 `[batch, length, dimension]`; of padding any.
        present: bool `[batch, length]`: False is padding.
        age_days: how long before the request each was last taken, float32 `[batch, length]`, 0 or more.
        counts: how often, float32 `[batch, length]`, 0 or more.
    """

    items: tf.Tensor
    present: tf.Tensor
    age_days: tf.Tensor
    counts: tf.Tensor


@dataclass(frozen=True)
class Events:
    """The newest so many items of each history, latest first, padding (zeros) at the end: one shape whatever came in.

    Args:
        items: float32 `[batch, newest, dimension]`.
        present: bool `[batch, newest]`.
        age_minutes: float32 `[batch, newest]`.
    """

    items: tf.Tensor
    present: tf.Tensor
    age_minutes: tf.Tensor

    @classmethod
    def newest(cls, history: History, count: int) -> "Events":
        """The first `count` items that are present."""
        length = tf.shape(history.present)[1]
        present = tf.pad(history.present, [[0, 0], [0, count]])
        earlier_is_more = tf.range(length + count, 0, -1)[None, :]
        rank = tf.where(present, earlier_is_more + length + count, earlier_is_more)
        places = tf.math.top_k(rank, count).indices
        here = tf.gather(present, places, batch_dims=1)
        places = tf.minimum(places, length - 1)
        return cls(
            items=tf.where(here[:, :, None], tf.gather(history.items, places, batch_dims=1), 0.0),
            present=here,
            age_minutes=tf.where(here, tf.gather(history.age_days, places, batch_dims=1) * MINUTES, 0.0),
        )


def log_minutes(minutes: tf.Tensor) -> tf.Tensor:
    """Which of LOG_MINUTES buckets a span of time is in: int32, under a minute 0, under three 1, under seven 2, …"""
    bucket = tf.floor(tf.math.log1p(minutes) / np.log(2.0))
    return tf.cast(tf.clip_by_value(bucket, 0.0, LOG_MINUTES - 1.0), tf.int32)
