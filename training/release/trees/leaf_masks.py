"""Bit masks of leaves: what remains reachable after a node's answer, and how the bits of all trees lie in int64 words.

Bit `l` of a tree's mask stands for LightGBM's leaf `l`. Small trees share words: every tree of a forest gets a *lane*
of 8, 16, 32 or 64 bits, the narrowest that holds its largest tree; past 64 leaves a tree gets several 64-bit lanes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.release.trees.model_text import Tree

Masks = npt.NDArray[np.unsignedinteger[Any]]

LANES: dict[int, type[np.unsignedinteger[Any]]] = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


@dataclass(frozen=True)
class Lanes:
    """How the masks of `trees` trees lie in `words` int64 words."""

    trees: int
    bits: int  # of a lane
    per_tree: int  # lanes, above one only for lanes of 64 bits

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> "Lanes":
        """The narrowest lanes that hold the largest of `trees`."""
        leaves = max((tree.leaves for tree in trees), default=1)
        bits = next((bits for bits in LANES if leaves <= bits), 64)
        return cls(len(trees), bits, -(-leaves // bits))

    @property
    def words(self) -> int:
        """Int64 words for one row."""
        return -(-self.trees * self.per_tree * self.bits // 64)

    def trees_in(self, words: int) -> int:
        """How many trees a block of `words` words holds, at least one; a block ends where a word does."""
        return max(words * 64 // self.bits // self.per_tree, 1)

    def blocks(self, words: int) -> Iterator[tuple[int, "Lanes"]]:
        """Blocks of neighbouring trees of about `words` words: the first tree of each, and its lanes."""
        width = self.trees_in(words)
        for start in range(0, self.trees, width):
            yield start, Lanes(min(width, self.trees - start), self.bits, self.per_tree)

    def full(self, rows: int) -> Masks:
        """Masks with every leaf reachable, `[rows, trees, per_tree]`, of the lane's unsigned type."""
        dtype = LANES[self.bits]
        return np.full((rows, self.trees, self.per_tree), np.iinfo(dtype).max, dtype)

    def lane_values(self, mask: int) -> Masks:
        """One tree's mask, given as an integer of any size, as its lanes `[per_tree]`."""
        low = (1 << self.bits) - 1
        return np.array([mask >> self.bits * lane & low for lane in range(self.per_tree)], LANES[self.bits])

    def packed(self, masks: Masks) -> npt.NDArray[np.int64]:
        """Masks `[rows, trees, per_tree]` as words `[rows, words]`, little-endian."""
        flat = masks.reshape(len(masks), -1)
        spare = self.words * 64 // self.bits - flat.shape[1]
        padded = np.pad(flat, ((0, 0), (0, spare)), constant_values=1)
        return np.ascontiguousarray(padded).view("<i8").reshape(len(masks), self.words)


def before_any_answer(trees: Sequence[Tree], lanes: Lanes) -> npt.NDArray[np.int64]:
    """The words `[words]` of a row no node has answered for: every leaf of every tree."""
    masks = lanes.full(1)
    for index, tree in enumerate(trees):
        masks[0, index] = lanes.lane_values((1 << tree.leaves) - 1)
    return lanes.packed(masks)[0]


def reachable_after(tree: Tree) -> tuple[list[int], list[int]]:
    """For every node the leaves still reachable once it has sent a row left, and once it has sent it right.

    Leaves that do not lie under the node stay reachable: other nodes speak for them. Over all the nodes' answers the
    AND leaves exactly the leaf that a walk from the root would reach.
    """
    nodes = tree.leaves - 1
    everything = (1 << tree.leaves) - 1
    under = [0] * nodes

    def leaves_of(child: int) -> int:
        return under[child] if child >= 0 else 1 << ~child

    after_left, after_right = [everything] * nodes, [everything] * nodes
    for node in reversed(range(nodes)):  # LightGBM numbers children after their parent
        left, right = leaves_of(int(tree.left_child[node])), leaves_of(int(tree.right_child[node]))
        under[node] = left | right
        after_left[node] = everything & ~right
        after_right[node] = everything & ~left
    return after_left, after_right
