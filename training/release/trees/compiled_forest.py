"""The compiled forest: LightGBM's predict as a TensorFlow module."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from training.release.trees import mask_block
from training.release.trees.leaf_masks import Lanes, before_any_answer
from training.release.trees.leaf_values import LeafValues, exit_leaves
from training.release.trees.model_text import Forest, parse_model
from training.release.trees.objective import objective_transform
from training.release.trees.rank_table import RankTable
from training.release.trees.refusal import ForestRefusedError, nearest
from training.release.trees.row_blocks import in_row_blocks


class CompiledForest(tf.Module):
    """A LightGBM model as core TensorFlow operations, exact to the leaf.

    Attributes:
        feature_names: the columns of `features`, in order.
        item_features, user_features, pair_features: the columns that `item_masks`, `user_masks` and
            `raw_scores_from_masks` take, each in the order of `feature_names`.
        trees, words: how many trees there are, and how many int64 words hold the masks of one row. A tree of up to
            64 leaves takes a lane of 8, 16, 32 or 64 bits (so `words` may be below `trees`), a larger one several.
    """

    def __init__(
        self,
        booster_or_path: Any,
        *,
        feature_names: Sequence[str] | None = None,
        num_iteration: int | None = None,
        item_only: Collection[str] = (),
        user_only: Collection[str] = (),
        encoding: Sequence[Sequence[Any]] = (),
    ) -> None:
        """Compiles a `lightgbm.Booster`, or the file that `Booster.save_model` wrote.

        Args:
            booster_or_path: the model.
            feature_names: a permutation of the model's names, the order in which the columns will come; by default the
                model's own order.
            num_iteration: use the first so many iterations; all when zero or less; by default the best iteration where
                the booster knows one, else all (a saved file has already been cut there).
            item_only: features that depend on the item alone.
            user_only: features that depend on the request alone.
            encoding: of a model trained on a data frame, the categories of each categorical column, in the columns'
                order: a code stands for the category at its place. LightGBM's Python package encodes by what the model
                says; here whoever calls does, and says how.

        Raises:
            ForestRefusedError: a file that is missing, cut short, damaged or of an unknown version; an objective or a
                feature name that is not known; another encoding than the model was trained with.
        """
        super().__init__(name="compiled_forest")
        text, source, best = _model_text(booster_or_path)
        forest = _first(parse_model(text, source), best if num_iteration is None else num_iteration)
        self.feature_names = tuple(forest.feature_names if feature_names is None else feature_names)
        _check_names(self.feature_names, forest.feature_names, item_only, user_only, source)
        _check_encoding(encoding, forest.encoding, source)
        self.item_features = tuple(name for name in self.feature_names if name in item_only)
        self.user_features = tuple(name for name in self.feature_names if name in user_only)
        self.pair_features = tuple(
            name for name in self.feature_names if name not in item_only and name not in user_only
        )
        self.trees, self.classes = len(forest.trees), forest.trees_per_iteration
        self._lanes = Lanes.of(forest.trees)
        self._blocks = tuple(self._lanes.blocks(mask_block.WIDTH))
        self.words = self._lanes.words
        self._transform = objective_transform(forest.objective, source)
        self._divisor = forest.iterations if forest.average_output else 1
        column = {name: index for index, name in enumerate(forest.feature_names)}
        self._model_order = [self.feature_names.index(name) for name in forest.feature_names]
        self._groups = [
            RankTable(forest.trees, [column[name] for name in names], self._lanes, f"{group}_table")
            for group, names in (
                ("item", self.item_features),
                ("user", self.user_features),
                ("pair", self.pair_features),
            )
        ]
        self._leaf_values = LeafValues(forest)
        # only a tree without a node depends on it: elsewhere every node's masks name leaves that exist
        self._start = None
        if any(tree.leaves == 1 for tree in forest.trees):
            start = before_any_answer(forest.trees, self._lanes)
            self._start = tf.Variable(start, trainable=False, name="before_any_answer")

    @tf.autograph.experimental.do_not_convert
    def raw_scores(self, features: tf.Tensor) -> tf.Tensor:
        """Features `[rows, F]`, float32 or float64, to `Booster.predict(raw_score=True)`.

        Returns:
            float64 `[rows]`, or `[rows, classes]`. As in LightGBM a random forest's are the sum of its trees, no mean.
        """
        features = self._checked(features, self.feature_names, "features")
        return self._squeezed(in_row_blocks(self._class_sums, [features]))

    @tf.autograph.experimental.do_not_convert
    def scores(self, features: tf.Tensor) -> tf.Tensor:
        """Features `[rows, F]` to `Booster.predict`: raw scores through the objective's transform, same shape."""
        return self.transformed(self.raw_scores(features))

    @tf.autograph.experimental.do_not_convert
    def transformed(self, raw: tf.Tensor) -> tf.Tensor:
        """Raw scores to scores: a random forest's are averaged, then the objective's transform is applied."""
        return self._transform(raw / self._divisor if self._divisor != 1 else raw)

    @tf.autograph.experimental.do_not_convert
    def leaf_indices(self, features: tf.Tensor) -> tf.Tensor:
        """Features `[rows, F]` to `Booster.predict(pred_leaf=True)`, int32 `[rows, trees]`."""
        return in_row_blocks(self._leaves, [self._checked(features, self.feature_names, "features")], tf.int32)

    @tf.autograph.experimental.do_not_convert
    def item_masks(self, item_features: tf.Tensor) -> tf.Tensor:
        """Item-only features `[N, F_item]` to the leaves they leave reachable, int64 `[N, words]`: once a release."""
        return self._groups[0].masks(self._checked(item_features, self.item_features, "item_features"))

    @tf.autograph.experimental.do_not_convert
    def user_masks(self, user_features: tf.Tensor) -> tf.Tensor:
        """User-only features `[B, F_user]` to the leaves they leave reachable, int64 `[B, words]`: once a request."""
        return self._groups[1].masks(self._checked(user_features, self.user_features, "user_features"))

    @tf.autograph.experimental.do_not_convert
    def raw_scores_from_masks(
        self, item_masks_gathered: tf.Tensor, user_masks: tf.Tensor, pair_features: tf.Tensor
    ) -> tf.Tensor:
        """The split form: the raw scores of candidates, from masks already made and the features of each pair.

        Args:
            item_masks_gathered: int64 `[B, C, words]`, rows of `item_masks`.
            user_masks: int64 `[B, words]`.
            pair_features: float `[B, C, F_pair]`, all other features.

        Returns:
            float64 `[B, C]`, or `[B, C, classes]`; the same bits as `raw_scores` of the whole rows.

        Raises:
            ForestRefusedError: a forest with linear leaves, which need the features themselves.
        """
        if self._leaf_values.linear:
            raise ForestRefusedError(
                "The forest has linear leaves, which read the features, so masks alone cannot score it; use raw_scores."
            )
        pair_features = self._checked(pair_features, self.pair_features, "pair_features", ("users", "candidates"))
        shape = tf.shape(item_masks_gathered)[:2]
        rows = shape[0] * shape[1]
        masks = tf.bitwise.bitwise_and(item_masks_gathered, user_masks[:, None, :])
        pairs = tf.reshape(pair_features, [rows, len(self.pair_features)])

        def class_sums(masks: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
            reachable = self._by_block(masks)
            if self._groups[2].positions:
                reachable = _both(reachable, self._groups[2].masks_by_block(pairs))
            return self._summed(reachable, tf.shape(masks)[0], None)

        raw = in_row_blocks(class_sums, [tf.reshape(masks, [rows, self.words]), pairs])
        return self._squeezed(tf.reshape(raw, [shape[0], shape[1], self.classes]))

    def _class_sums(self, features: tf.Tensor) -> tf.Tensor:
        return self._summed(self._reachable(features), tf.shape(features)[0], self._in_model_order(features))

    def _leaves(self, features: tf.Tensor) -> tf.Tensor:
        parts = zip(self._reachable(features), self._blocks, strict=True)
        leaves = [self._exit_leaves(reachable, start, lanes) for reachable, (start, lanes) in parts]
        return tf.concat([tf.zeros([tf.shape(features)[0], 0], tf.int32), *leaves], axis=1)

    def _reachable(self, features: tf.Tensor) -> list[tf.Tensor]:
        """The leaves that all of `features` `[rows, F]` leave reachable, int64 `[rows, words]` for each block."""
        names = (self.item_features, self.user_features, self.pair_features)
        reachable: list[tf.Tensor] = []
        for group, columns in zip(self._groups, names, strict=True):
            if group.positions:
                places = tf.constant([self.feature_names.index(name) for name in columns], tf.int32)
                whole = len(columns) == len(self.feature_names)
                masks = group.masks_by_block(features if whole else tf.gather(features, places, axis=1))
                reachable = _both(reachable, masks) if reachable else masks
        if not reachable:  # no tree has a node
            rows = tf.shape(features)[0]
            reachable = [tf.fill([rows, lanes.words], tf.constant(-1, tf.int64)) for _, lanes in self._blocks]
        return reachable

    def _summed(self, reachable: Sequence[tf.Tensor], rows: tf.Tensor, features: tf.Tensor | None) -> tf.Tensor:
        """Raw scores `[rows, classes]`. Up to the sum each block of trees is a chain of its own: two threads do two."""
        worth = [
            self._leaf_values.worth(self._exit_leaves(part, start, lanes), start, features)
            for part, (start, lanes) in zip(reachable, self._blocks, strict=True)
        ]
        return self._leaf_values.sums(worth, rows)

    def _exit_leaves(self, reachable: tf.Tensor, start: int, lanes: Lanes) -> tf.Tensor:
        if self._start is not None:
            word = start * self._lanes.per_tree * self._lanes.bits // 64
            reachable = tf.bitwise.bitwise_and(reachable, self._start[word : word + lanes.words])
        return exit_leaves(reachable, lanes)

    def _by_block(self, masks: tf.Tensor) -> list[tf.Tensor]:
        """Masks `[rows, words]` cut into the words of each block."""
        return list(tf.split(masks, [lanes.words for _, lanes in self._blocks], axis=1)) if self._blocks else []

    def _in_model_order(self, features: tf.Tensor) -> tf.Tensor:
        if self._model_order == list(range(len(self.feature_names))):
            return features
        return tf.gather(features, self._model_order, axis=1)

    def _squeezed(self, raw: tf.Tensor) -> tf.Tensor:
        return raw[..., 0] if self.classes == 1 else raw

    def _checked(self, features: Any, names: Sequence[str], what: str, axes: Sequence[str] = ("rows",)) -> tf.Tensor:
        """`features` as a tensor with the columns `names` last, after `axes`."""
        features = tf.convert_to_tensor(features)
        if features.dtype not in (tf.float32, tf.float64):
            raise ForestRefusedError(f"{what} has type {features.dtype.name}, expected float32 or float64; cast it.")
        if features.shape.rank != len(axes) + 1 or features.shape[-1] not in (None, len(names)):
            raise ForestRefusedError(
                f"{what} has shape {features.shape}, expected [{', '.join(axes)}, {len(names)}] with {len(names)} "
                f"columns last: {', '.join(names) or 'none'}; reshape it."
            )
        return tf.ensure_shape(features, [*features.shape[:-1], len(names)])


def _both(some: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.bitwise.bitwise_and(one, other) for one, other in zip(some, others, strict=True)]


def _model_text(booster_or_path: Any) -> tuple[str, str, int]:
    if isinstance(booster_or_path, str | Path):
        path = Path(booster_or_path)
        try:
            return path.read_text(encoding="utf-8"), str(path), 0
        except (OSError, UnicodeDecodeError) as problem:
            raise ForestRefusedError(
                f"The model {path} cannot be read as text: {problem}; name a file that Booster.save_model wrote."
            ) from problem
    if not hasattr(booster_or_path, "model_to_string"):
        raise ForestRefusedError(
            f"Expected a lightgbm.Booster or the path of its text model, got {type(booster_or_path).__name__}; "
            "of a scikit-learn estimator give booster_."
        )
    return booster_or_path.model_to_string(num_iteration=-1), "the booster", booster_or_path.best_iteration


def _first(forest: Forest, iterations: int) -> Forest:
    if iterations <= 0:
        return forest
    kept = forest.trees[: iterations * forest.trees_per_iteration]
    return replace(forest, trees=kept)


def _check_encoding(given: Sequence[Sequence[Any]], trained: Sequence[Sequence[Any]], source: str) -> None:
    if len(given) != len(trained):
        raise ForestRefusedError(
            f"{source} was trained with the categories of {len(trained)} columns, {len(given)} are given as encoding; "
            "give those that the release's codes stand for."
        )
    for column, (ours, theirs) in enumerate(zip(given, trained, strict=True)):
        if list(ours) != list(theirs):
            raise ForestRefusedError(
                f"{source} was trained with the categories {', '.join(map(repr, theirs))} in categorical column "
                f"{column}, the codes are of {', '.join(map(repr, ours))}; encode as it was trained, or train it again."
            )


def _check_names(
    given: Sequence[str], known: Sequence[str], item_only: Collection[str], user_only: Collection[str], source: str
) -> None:
    for name in given:
        if name not in known:
            raise ForestRefusedError(f"{source} has no feature {name!r}.{nearest(name, known)}")
    for name in known:
        if name not in given:
            raise ForestRefusedError(
                f"{source} needs the feature {name!r}, which feature_names does not give.{nearest(name, given)}"
            )
    if len(set(given)) != len(given):
        raise ForestRefusedError(
            f"feature_names gives {next(name for name in given if list(given).count(name) > 1)!r} twice, expected once."
        )
    for kind, names in (("item_only", item_only), ("user_only", user_only)):
        for name in names:
            if name not in given:
                raise ForestRefusedError(
                    f"{kind} names {name!r}, which is no feature of {source}.{nearest(name, given)}"
                )
    for name in item_only:
        if name in user_only:
            raise ForestRefusedError(
                f"The feature {name!r} is named both item_only and user_only; it can be only one of them."
            )
