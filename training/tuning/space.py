"""What `tastemaker tune` varies: keys of the config, and between which values."""

from typing import Any, get_args

import optuna

from tastemaker.config import EncoderName, RankerConfig, RetrieverConfig, RetrieverLoss

DIMENSIONS = (32, 64, 96, 128)
BATCH_SIZES = (512, 1024, 2048, 4096)
RETRIEVER_RATES = (5e-4, 2e-2)
TEMPERATURES = (0.04, 0.25)
RETRIEVER = ("encoder", "embedding_dimension", "loss", "temperature", "batch_size", "learning_rate")

LEAVES = (7, 15, 31, 63)  # up to 64 fit one mask of the compiled trees
RANKER_RATES = (0.02, 0.2)
FRACTIONS = (0.3, 1.0)
ROWS_IN_LEAF = (20, 50, 100, 200, 400)
RANKER = ("leaves", "learning_rate", "feature_fraction", "min_rows_in_leaf")


def retriever_settings(trial: optuna.Trial, now: RetrieverConfig) -> dict[str, Any]:
    """Values for one trial, by key. What the config says now is always among the choices."""
    return {
        "encoder": trial.suggest_categorical("encoder", get_args(EncoderName)),
        "embedding_dimension": _one_of(trial, "embedding_dimension", DIMENSIONS, now.embedding_dimension),
        "loss": trial.suggest_categorical("loss", get_args(RetrieverLoss)),
        "temperature": _between(trial, "temperature", TEMPERATURES, now.temperature),
        "batch_size": _one_of(trial, "batch_size", BATCH_SIZES, now.batch_size),
        "learning_rate": _between(trial, "learning_rate", RETRIEVER_RATES, now.learning_rate),
    }


def ranker_settings(trial: optuna.Trial, now: RankerConfig) -> dict[str, Any]:
    """Values for one trial, by key. What the config says now is always among the choices."""
    return {
        "leaves": _one_of(trial, "leaves", LEAVES, now.leaves),
        "learning_rate": _between(trial, "learning_rate", RANKER_RATES, now.learning_rate),
        "feature_fraction": _between(trial, "feature_fraction", FRACTIONS, now.feature_fraction),
        "min_rows_in_leaf": _one_of(trial, "min_rows_in_leaf", ROWS_IN_LEAF, now.min_rows_in_leaf),
    }


def _one_of(trial: optuna.Trial, key: str, choices: tuple[int, ...], now: int) -> Any:
    return trial.suggest_categorical(key, sorted({*choices, now}))


def _between(trial: optuna.Trial, key: str, edges: tuple[float, float], now: float) -> float:
    return trial.suggest_float(key, min(edges[0], now), max(edges[1], now), log=True)
