"""LightGBM's text model, read into plain arrays.

The format is what `Booster.save_model` and `Booster.model_to_string` write (LightGBM
`src/boosting/gbdt_model_text.cpp` and `Tree::ToString` in `src/io/tree.cpp`): a header of `key=value` lines, one
block a tree, the line `end of trees`, and then what predicting does not need. Doubles are printed with 17 digits, so
reading them back gives the same bits.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tastemaker.errors import TastemakerError

VERSIONS = ("v3", "v4")
END_OF_TREES = "end of trees"
ENCODING = "pandas_categorical:"

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
        TastemakerError: the text is no LightGBM model, is cut short or damaged, or has a version not known here.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != "tree":
        raise TastemakerError(
            f"{source} is not a LightGBM text model: it should begin with the line 'tree'; use Booster.save_model."
        )
    starts = [number for number, line in enumerate(lines) if line.startswith("Tree=")]
    end = next((number for number, line in enumerate(lines) if line.strip() == END_OF_TREES), None)
    header = _Fields.of(lines[1 : starts[0] if starts else end], source, "the header")
    version = header.values.get("version", "")
    if version not in VERSIONS:
        raise TastemakerError(
            f"{source} has model version {version or 'none'!r}, but this reader knows {' and '.join(VERSIONS)}; "
            "load it in LightGBM 4 and save it again, or extend the reader for the newer format."
        )
    promised = len(header.text("tree_sizes").split())
    if end is None or len(starts) != promised:
        raise TastemakerError(
            f"{source} is cut short: its header promises {promised} trees, {len(starts)} begin in the file"
            f"{'' if end is not None else f' and the line {END_OF_TREES!r} is missing'}; copy or save the model again."
        )
    if "parameters:" in lines and "end of parameters" not in lines:
        raise TastemakerError(f"{source} is cut short inside its parameters; copy or save the model again.")

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
        encoding=_encoding(lines[end:], source),
    )


def _parse_tree(fields: "_Fields", features: int) -> Tree:
    leaves = fields.one(int, "num_leaves")
    if leaves < 1:
        raise fields.damaged(f"has {leaves} leaves")
    nodes = leaves - 1
    is_linear = fields.values.get("is_linear", "0").strip() == "1"
    tree = Tree(
        leaf_value=np.array(fields.many(float, "leaf_value", leaves), np.float64),
        split_feature=np.array(fields.many(int, "split_feature", nodes), np.int64),
        threshold=np.array(fields.many(float, "threshold", nodes), np.float64),
        decision_type=np.array(fields.many(int, "decision_type", nodes), np.int64),
        left_child=np.array(fields.many(int, "left_child", nodes), np.int64),
        right_child=np.array(fields.many(int, "right_child", nodes), np.int64),
        bitsets=_bitsets(fields),
        linear=_linear_leaves(fields, leaves, features) if is_linear else (),
    )
    children = np.concatenate([tree.left_child, tree.right_child])
    forward = bool(np.all((children < 0) | (children > np.tile(np.arange(nodes), 2))))
    if nodes and (not forward or sorted(children.tolist()) != [*range(-leaves, 0), *range(1, nodes)]):
        raise fields.damaged("has children that make no tree")
    if np.any((tree.split_feature < 0) | (tree.split_feature >= features)):
        raise fields.damaged("splits on a feature that is not there")
    if np.any((tree.decision_type & 1 == 1) & ~((tree.threshold >= 0) & (tree.threshold < len(tree.bitsets)))):
        raise fields.damaged("has a categorical split without categories")
    return tree


def _encoding(lines: Sequence[str], source: str) -> tuple[tuple[Any, ...], ...]:
    written = next((line.removeprefix(ENCODING) for line in lines if line.startswith(ENCODING)), "null")
    try:
        return tuple(map(tuple, json.loads(written) or ()))
    except (ValueError, TypeError) as problem:
        raise TastemakerError(
            f"{source} has a line {ENCODING!r} that cannot be read ({problem}); copy or save the model again."
        ) from problem


def _bitsets(fields: "_Fields") -> tuple[tuple[int, ...], ...]:
    count = fields.one(int, "num_cat")
    if count == 0:
        return ()
    bounds = fields.many(int, "cat_boundaries", count + 1)
    words = fields.many(int, "cat_threshold", bounds[-1])
    return tuple(tuple(words[start:stop]) for start, stop in pairwise(bounds))


def _linear_leaves(fields: "_Fields", leaves: int, features: int) -> tuple[LinearLeaf, ...]:
    const = fields.many(float, "leaf_const", leaves)
    sizes = fields.many(int, "num_features", leaves)
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

    def damaged(self, what: str) -> TastemakerError:
        return TastemakerError(
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
