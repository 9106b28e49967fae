"""A LightGBM forest as core TensorFlow operations, exact to the leaf: no custom kernel, no Python at serving time.

`CompiledForest(booster)` is a `tf.Module` whose methods are LightGBM's predict. It needs TensorFlow and NumPy alone;
a stock model server runs what it saves. It takes any numeric model: numerical and categorical splits, every kind of
missing value, `linear_tree`, dart, random forests, many classes, any number of leaves.

The method is QuickScorer turned into table look-ups: Lucchese, Nardini, Orlando, Perego, Tonellotto and Venturini,
"QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees", SIGIR 2015.

*Masks.* Give every leaf of a tree one bit. A node's answer for a row, left or right, rules out the leaves of the
other subtree, so it is a mask with those bits cleared (`leaf_masks`). The AND of the answers of **all** nodes of a
tree, asked in any order, leaves exactly one bit: the leaf a walk from the root would reach, for the walk's own nodes
rule out everything beside their path and no other node can rule out its end. (QuickScorer masks left turns only and
takes the lowest bit; with both, the one bit is the answer and bits may be numbered as LightGBM numbers leaves.)

*Ranks.* A node's answer depends on one feature, and changes at a few points of the real line: at its threshold,
around zero where zero counts as missing, at the edges of runs of categories (`decision`). Sort these points of all
nodes that split on a feature, `b0 < b1 < … < bn`: on each interval `(b[i-1], b[i]]` every one of those nodes answers
the same, so the AND of their masks over each tree can be tabulated at build, a row of masks for each interval and one
for NaN (`mask_block`). A prediction is then, per feature, a binary search for the interval and one gathered row, and
per tree the AND over features (`rank_table`). Missing values, default directions, zeros and categories cost nothing:
they are in the tables.

*Leaves.* With one bit `m` left, `popcount(m - 1)` is its number; look the leaf's value up and sum (`leaf_values`),
then apply the objective's transform (`objective`). Trees of at most 8, 16 or 32 leaves share an int64; a tree of more
than 64 takes several, of which one is not zero.

*Exactness.* Thresholds are doubles. A float32 `x` satisfies `x <= t` just when `x <= t'`, with `t'` the largest
float32 not above `t`: tables are the same for both types and only the searched points are rounded. LightGBM replaces
`|x| <= 1e-35` by zero before it looks; the points are placed outside that range, so a kernel that flushes subnormals
decides alike. Leaf indices are identical. Raw scores differ by the order of a float64 sum: by less than
`n · 2^-52` of the sum of the row's `n` leaf values without their signs, which is under 1e-12 where that sum is below 9
and there are 500 trees, and in proportion more where leaves are worth millions (`leaf_values`).

*Split features.* AND is associative: masks over the features of an item alone are made once a release (`item_masks`),
those over a request's own once a request (`user_masks`), and only features of the pair are looked up per candidate
(`raw_scores_from_masks`).

    forest = CompiledForest("model.txt", item_only=["price"], user_only=["age"])
    serve = tf.function(forest.scores, input_signature=[tf.TensorSpec([None, 3], tf.float32)])

What cannot be done exactly is refused with a `ForestRefusedError` (`refusal`). The package imports nothing of ours.
"""

from training.release.trees.compiled_forest import CompiledForest
from training.release.trees.refusal import ForestRefusedError

__all__ = ["CompiledForest", "ForestRefusedError"]
