"""The objective's own transform, from raw scores to what `Booster.predict` returns.

Each is `ConvertOutput` of the objective of that name in LightGBM's `src/objective/`.
"""

from collections.abc import Callable

import tensorflow as tf

from training.release.trees.refusal import ForestRefusedError, nearest

Transform = Callable[[tf.Tensor], tf.Tensor]

IDENTITY = ("huber", "lambdarank", "rank_xendcg")
SQUARABLE = (
    "regression",
    "regression_l1",
    "fair",
    "quantile",
    "mape",
)  # reg_sqrt trains these on the root of the label
EXPONENTIAL = ("poisson", "gamma", "tweedie")
KNOWN = (
    *IDENTITY,
    *SQUARABLE,
    *EXPONENTIAL,
    "binary",
    "cross_entropy",
    "cross_entropy_lambda",
    "multiclass",
    "multiclassova",
)


def objective_transform(objective: str, source: str) -> Transform:
    """The function from raw scores (float64, `[...]` or `[..., classes]`) to scores of the same shape.

    `objective` is the header line of the model, such as `"binary sigmoid:1"`; empty, for a model trained with a custom
    objective, means no transform, as in LightGBM.

    Raises:
        ForestRefusedError: an objective whose transform is not known here.
    """
    name, _, rest = objective.partition(" ")
    options = dict(option.partition(":")[::2] for option in rest.split())
    if not name or name in IDENTITY:
        return tf.identity
    if name in SQUARABLE:
        return _signed_square if "sqrt" in options else tf.identity
    if name in EXPONENTIAL:
        return tf.exp
    if name in ("binary", "multiclassova"):
        return _sigmoid(_slope(options.get("sigmoid", "1"), source))
    if name == "cross_entropy":
        return _sigmoid(1.0)
    if name == "cross_entropy_lambda":
        return _softplus
    if name == "multiclass":
        return _softmax
    raise ForestRefusedError(
        f"{source} has the objective {name!r}, whose transform the compiler does not know.{nearest(name, KNOWN)} "
        f"It knows {', '.join(KNOWN)} and models without an objective line."
    )


def _slope(written: str, source: str) -> float:
    try:
        return float(written)
    except ValueError:
        raise ForestRefusedError(
            f"{source} has the sigmoid {written!r} in its objective, expected a number; copy or save the model again."
        ) from None


def _sigmoid(slope: float) -> Transform:
    return lambda raw: 1.0 / (1.0 + tf.exp(-slope * raw))


def _signed_square(raw: tf.Tensor) -> tf.Tensor:
    return tf.sign(raw) * raw * raw


def _softplus(raw: tf.Tensor) -> tf.Tensor:
    return tf.math.log1p(tf.exp(raw))


def _softmax(raw: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(raw, axis=-1)
