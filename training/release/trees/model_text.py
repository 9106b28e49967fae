"""LightGBM's text model, read into plain arrays.

The format is what `Booster.save_model` and `Booster.model_to_string` write (LightGBM
`src/boosting/gbdt_model_text.cpp` and `Tree::ToString` in `src/io/tree.cpp`): a header of `key=value` lines, one
block a tree, the line `end of trees`, importances and parameters, and last, by LightGBM's Python package, the line
`pandas_categorical:`. A file without that end was cut, and is refused, although its trees are whole: without the
categories nobody can tell what the codes mean. Doubles are printed with 17 digits, so reading them back gives the same
bits.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from training.release.trees.refusal import ForestRefusedError

VERSIONS = ("v3", "v4")
END_OF_TREES = "end of trees"
END_OF_PARAMETERS = "end of parameters"
ENCODING = "pandas_categorical:"

MISSING_TYPES = 3  # none, zero, NaN: bits 2 and 3 of a decision type, above categorical and default-left
DECISION_TYPES = MISSING_TYPES << 2
WORD = 1 << 32  # one more than a word of a bit set may be

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class LinearLeaf:
    """`const + sum(coefficients * x[features])`, or the tree's plain leaf value where one of those features is NaN."""

    const: float
    features: tuple[int, ...]
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Tree:
    """One tree. A child `>= 0` is a node, a child `< 0` the leaf `~child`; node 0 is the root."""

    leaf_value: npt.NDArray[np.float64]  # [leaves]
    split_feature: npt.NDArray[np.int64]  # [leaves - 1], as are the next four
    threshold: npt.NDArray[np.float64]
    decision_type: npt.NDArray[np.int64]
    left_child: npt.NDArray[np.int64]
    right_child: npt.NDArray[np.int64]
    bitsets: tuple[
        tuple[int, ...], ...
    ] = ()  # categories that go left, 32 to a word, by a categorical node's threshold
    linear: tuple[LinearLeaf, ...] = ()  # [leaves], empty when the leaves are constant

    @property
    def leaves(self) -> int:
        """How many leaves the tree has, at least one."""
        return len(self.leaf_value)


@dataclass(frozen=True)
class Forest:
    """A whole model: its trees in the order they are summed, class by class within an iteration."""

    trees: tuple[Tree, ...]
    feature_names: tuple[str, ...]
    trees_per_iteration: int
    objective: str  # as LightGBM prints it, "binary sigmoid:1"; empty for a custom objective
    average_output: bool
    # Of a data frame's categorical columns, in their order, the categories whose places are the codes in the trees.
    encoding: tuple[tuple[Any, ...], ...] = ()

    @property
    def iterations(self) -> int:
        """How many boosting rounds, or trees of a random forest, there are."""
        return len(self.trees) // self.trees_per_iteration


def parse_model(text: str, source: str) -> Forest:
    """The forest that a text model describes; `source` names the model in error sentences.

    Raises:
        ForestRefusedError: the text is no LightGBM model, is cut short or damaged, or has a version not known here.
    """
    lines = text.split("\n")  # splitlines() would also cut at U+2028 and the like, inside a feature's name
    if lines[0].strip() != "tree":
        raise ForestRefusedError(
            f"{source} is not a LightGBM text model: it should begin with the line 'tree'; use Booster.save_model."
        )
    starts = [number for number, line in enumerate(lines) if line.startswith("Tree=")]
    end = next((number for number, line in enumerate(lines) if line.strip() == END_OF_TREES), None)
    header = _Fields.of(lines[1 : starts[0] if starts else end], source, "the header")
    version = header.values.get("version", "")
    if version not in VERSIONS:
        raise ForestRefusedError(
            f"{source} has model version {version or 'none'!r}, but this reader knows {' and '.join(VERSIONS)}; "
            "load it in LightGBM 4 and save it again, or extend the reader for the newer format."
        )
    promised = len(header.text("tree_sizes").split())
    if end is None or len(starts) != promised:
        raise ForestRefusedError(
            f"{source} is cut short: its header promises {promised} trees, {len(starts)} begin in the file"
            f"{'' if end is not None else f' and the line {END_OF_TREES!r} is missing'}; copy or save the model again."
        )
    encoding = _encoding(lines[end:], source)
    names = tuple(header.text("feature_names").split(" "))
    features = header.one(int, "max_feature_idx") + 1
    if len(names) != features:
        raise header.damaged(f"names {len(names)} features where there are {features}")
    per_iteration = header.one(int, "num_tree_per_iteration")
    if per_iteration < 1 or promised % per_iteration:
        raise header.damaged(f"gives {per_iteration} trees an iteration to {promised} trees")
    return Forest(
        trees=tuple(
            _parse_tree(_Fields.of(lines[start + 1 : stop], source, f"tree {index}"), features)
            for index, (start, stop) in enumerate(pairwise([*starts, end]))
        ),
        feature_names=names,
        trees_per_iteration=per_iteration,
        objective=header.values.get("objective", "").strip(),
        average_output="average_output" in header.values,
        encoding=encoding,
    )


def _parse_tree(fields: "_Fields", features: int) -> Tree:
    leaves = fields.one(int, "num_leaves")
    if leaves < 1:
        raise fields.damaged(f"has {leaves} leaves")
    nodes = leaves - 1
    bitsets = _bitsets(fields)
    is_linear = fields.values.get("is_linear", "0").strip() == "1"
    tree = Tree(
        leaf_value=np.array(fields.many(float, "leaf_value", leaves), np.float64),
        split_feature=np.array(fields.many(int, "split_feature", nodes), np.int64),
        threshold=np.array(fields.many(float, "threshold", nodes), np.float64),
        decision_type=np.array(fields.many(int, "decision_type", nodes), np.int64),
        left_child=np.array(fields.many(int, "left_child", nodes), np.int64),
        right_child=np.array(fields.many(int, "right_child", nodes), np.int64),
        bitsets=bitsets,
        linear=_linear_leaves(fields, leaves, features) if is_linear else (),
    )
    children = np.concatenate([tree.left_child, tree.right_child])
    forward = bool(np.all((children < 0) | (children > np.tile(np.arange(nodes), 2))))
    if nodes and (not forward or sorted(children.tolist()) != [*range(-leaves, 0), *range(1, nodes)]):
        raise fields.damaged("has children that make no tree")
    if np.any((tree.split_feature < 0) | (tree.split_feature >= features)):
        raise fields.damaged("splits on a feature that is not there")
    _check_nodes(tree, fields)
    return tree


def _check_nodes(tree: Tree, fields: "_Fields") -> None:
    """Refuses a node whose answer LightGBM 4 would not know, or would read past an array's end to find."""
    last, sets = DECISION_TYPES - 1, len(tree.bitsets)
    for node, (kind, threshold) in enumerate(zip(tree.decision_type.tolist(), tree.threshold.tolist(), strict=True)):
        if not 0 <= kind <= last:
            raise fields.damaged(f"has the decision type {kind} in node {node}, where 0 to {last} are known")
        if kind & 1 and threshold not in range(sets):
            raise fields.damaged(
                f"has a categorical split without categories: node {node} names set {threshold:g} of {sets}"
            )
        if np.isnan(threshold):
            raise fields.damaged(f"has no number for a threshold in node {node}")


def _encoding(lines: Sequence[str], source: str) -> tuple[tuple[Any, ...], ...]:
    """The categories of each categorical column of a data frame, from `lines` after the trees, which must be whole."""
    if END_OF_PARAMETERS not in lines:
        raise ForestRefusedError(
            f"{source} is cut short after its trees: the line {END_OF_PARAMETERS!r} is missing; copy or save the model "
            "again."
        )
    after = lines[lines.index(END_OF_PARAMETERS) :]
    written = next((line.removeprefix(ENCODING) for line in after if line.startswith(ENCODING)), None)
    if written is None:
        raise ForestRefusedError(
            f"{source} is cut short after its parameters: the line {ENCODING!r}, which LightGBM's Python package "
            "writes last, is missing; copy it again, or load it with lightgbm.Booster and save it."
        )
    try:
        columns = json.loads(written)
    except ValueError as problem:
        raise ForestRefusedError(
            f"{source} has a line {ENCODING!r} that cannot be read ({problem}); copy or save the model again."
        ) from problem
    if columns is not None and not (isinstance(columns, list) and all(isinstance(one, list) for one in columns)):
        raise ForestRefusedError(
            f"{source} has a line {ENCODING!r} that is no list of lists of categories; copy or save the model again."
        )
    return tuple(map(tuple, columns or ()))


def _bitsets(fields: "_Fields") -> tuple[tuple[int, ...], ...]:
    count = fields.one(int, "num_cat")
    if count == 0:
        return ()
    if count < 0:
        raise fields.damaged(f"has {count} sets of categories")
    bounds = fields.many(int, "cat_boundaries", count + 1)
    if bounds[0] != 0 or any(stop < start for start, stop in pairwise(bounds)):
        raise fields.damaged("has values in 'cat_boundaries' that do not begin at 0 and rise")
    words = fields.many(int, "cat_threshold", bounds[-1])
    for word in words:
        if not 0 <= word < WORD:
            raise fields.damaged(f"has {word} in 'cat_threshold', which is no word of 32 bits")
    return tuple(tuple(words[start:stop]) for start, stop in pairwise(bounds))


def _linear_leaves(fields: "_Fields", leaves: int, features: int) -> tuple[LinearLeaf, ...]:
    const = fields.many(float, "leaf_const", leaves)
    sizes = fields.many(int, "num_features", leaves)
    if any(size < 0 for size in sizes):
        raise fields.damaged("has a negative number in 'num_features'")
    columns = fields.many(int, "leaf_features", sum(sizes))
    coefficients = fields.many(float, "leaf_coeff", sum(sizes))
    if any(not 0 <= column < features for column in columns):
        raise fields.damaged("has a linear leaf on a feature that is not there")
    parts = [slice(start, stop) for start, stop in pairwise([0, *accumulate(sizes)])]
    return tuple(
        LinearLeaf(value, tuple(columns[part]), tuple(coefficients[part]))
        for value, part in zip(const, parts, strict=True)
    )


@dataclass(frozen=True)
class _Fields:
    """The `key=value` lines of one part of the file, read with errors that say where."""

    values: dict[str, str]
    source: str
    part: str

    @classmethod
    def of(cls, lines: Sequence[str], source: str, part: str) -> "_Fields":
        pairs = (line.partition("=") for line in lines)
        return cls({key.strip(): value for key, _, value in pairs if key.strip()}, source, part)

    def damaged(self, what: str) -> ForestRefusedError:
        return ForestRefusedError(
            f"{self.source}: {self.part} {what}, so the file is cut short or damaged; copy or save the model again."
        )

    def text(self, key: str) -> str:
        if key not in self.values:
            raise self.damaged(f"lacks {key!r}")
        return self.values[key]

    def many(self, kind: type[Number], key: str, size: int) -> list[Number]:
        try:
            numbers = [kind(word) for word in self.text(key).split()]
        except ValueError as problem:
            raise self.damaged(f"has an unreadable number in {key!r} ({problem})") from problem
        if len(numbers) != size:
            raise self.damaged(f"has {len(numbers)} values in {key!r} where {size} are due")
        return numbers

    def one(self, kind: type[Number], key: str) -> Number:
        return self.many(kind, key, 1)[0]
