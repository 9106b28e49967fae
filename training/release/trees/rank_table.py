"""A group of features as tables: from a value's rank among the forest's turning points to the masks of every tree."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from training.release.trees import mask_block
from training.release.trees.decision import rounded_down, turning_points
from training.release.trees.leaf_masks import Lanes
from training.release.trees.mask_block import MaskBlock
from training.release.trees.model_text import Tree

SEARCHED_AT_ONCE = 8  # features; a search of fewer is not worth a second operation


class RankTable(tf.Module):
    """The AND of the masks of all nodes that split on one group of features.

    For a feature with turning points `b0 < … < bn` over the whole forest there are `n + 3` ranks: one for each interval
    `(b[i-1], b[i]]`, one for `(bn, inf]`, and one for NaN.
    """

    def __init__(self, trees: Sequence[Tree], columns: Sequence[int], lanes: Lanes, name: str) -> None:
        super().__init__(name=name)
        self.words = lanes.words
        points: dict[int, set[float]] = {}
        for tree in trees:
            for node, column in enumerate(tree.split_feature.tolist()):
                points.setdefault(column, set()).update(turning_points(tree, node))
        # a feature that no tree splits on needs no rank
        self.positions = [position for position, column in enumerate(columns) if column in points]
        if not self.positions:
            return
        of_feature = [np.array(sorted(points[columns[position]])) for position in self.positions]
        sizes = np.array([len(turns) + 2 for turns in of_feature], np.int32)
        first = np.cumsum(sizes, dtype=np.int32) - sizes
        padded = np.full((len(sizes), sizes.max() - 2), np.inf)
        for row, turns in enumerate(of_feature):
            padded[row, : len(turns)] = turns
        self.points64 = tf.Variable(padded, trainable=False, name="points64")
        self.points32 = tf.Variable(rounded_down(padded), trainable=False, name="points32")
        self.first_rank = tf.Variable(first[:, None], trainable=False, name="first_rank")
        self.nan_rank = tf.Variable((first + sizes - 1)[:, None], trainable=False, name="nan_rank")

        used = [columns[position] for position in self.positions]
        self.blocks = [
            MaskBlock(trees[start : start + part.trees], used, of_feature, part, f"block_{start}")
            for start, part in lanes.blocks(mask_block.WIDTH)
        ]
        rows = np.zeros((sizes.sum(), len(self.blocks)), np.int32)
        for number, block in enumerate(self.blocks):
            for feature, row_of_rank in zip(block.features, block.row_of_rank, strict=True):
                rows[first[feature] : first[feature] + sizes[feature], number] = row_of_rank
        self.rows = tf.Variable(rows, trainable=False, name="rows")  # [ranks of all features, blocks]

    def masks(self, features: tf.Tensor) -> tf.Tensor:
        """Features `[rows, group]` to the AND of their nodes' masks, int64 `[rows, words]`; all ones without a node."""
        if not self.positions:
            return tf.fill([tf.shape(features)[0], self.words], tf.constant(-1, tf.int64))
        return tf.concat(self.masks_by_block(features), axis=1)

    def masks_by_block(self, features: tf.Tensor) -> list[tf.Tensor]:
        """The same in parts, `[rows, words]` for each of `Lanes.blocks`: what follows on each part can run beside the
        others. At least one feature must be split on."""
        count = tf.shape(features)[0]
        values = tf.gather(tf.transpose(features), self.positions)
        points = self.points32 if features.dtype == tf.float32 else self.points64
        rank = _searched(tf.convert_to_tensor(points), values, len(self.positions))
        rank = tf.where(tf.math.is_nan(values), self.nan_rank, self.first_rank + rank)
        by_block = tf.transpose(tf.gather(self.rows, rank), [2, 0, 1])  # [blocks, used, rows]
        by_block = tf.reshape(by_block, [len(self.blocks) * len(self.positions), count])
        needed = [number * len(self.positions) + f for number, block in enumerate(self.blocks) for f in block.features]
        parts = iter(tf.split(tf.gather(by_block, needed), [size for block in self.blocks for size in block.gathers]))
        made = []
        for block in self.blocks:
            if block.features:
                made.append(block.masks([next(parts) for _ in block.gathers]))
            else:
                made.append(tf.fill([count, block.words], tf.constant(-1, tf.int64)))
        return made


def _searched(points: tf.Tensor, values: tf.Tensor, features: int) -> tf.Tensor:
    """`LowerBound` `[features, n]` in two halves: the operation has one thread."""
    half = features // 2
    if half < SEARCHED_AT_ONCE:
        return tf.raw_ops.LowerBound(sorted_inputs=points, values=values, out_type=tf.int32)
    halves = [
        tf.raw_ops.LowerBound(sorted_inputs=some, values=asked, out_type=tf.int32)
        for some, asked in zip(
            tf.split(points, [half, features - half]), tf.split(values, [half, features - half]), strict=True
        )
    ]
    return tf.concat(halves, axis=0)
