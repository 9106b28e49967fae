"""Lookups by item or word as dense rows: a scatter and a gather instead of comparing everything with everything."""

import tensorflow as tf


def by_row(columns: tf.Tensor) -> tf.Tensor:
    """Scatter indices `[B · n, 2]` for int32 columns `[B, n]`, row by row."""
    rows = tf.range(tf.shape(columns)[0])[:, None] + tf.zeros_like(columns)
    return tf.reshape(tf.stack([rows, columns], axis=2), [-1, 2])


def marked(codes: tf.Tensor, size: int) -> tf.Tensor:
    """float32 `[B, size]`: 1 for each code that occurs in int32 `[B, n]`."""
    empty = tf.zeros([tf.shape(codes)[0], size])
    return tf.tensor_scatter_nd_max(empty, by_row(codes), tf.ones([tf.size(codes)]))
