"""What `tastemaker tune` varies: keys of the config, and between which values."""

from typing import Any, get_args

import optuna

from tastemaker.config import EncoderName, RankerConfig, RankerObjective, RetrieverConfig, RetrieverLoss

ENCODERS: tuple[str, ...] = get_args(EncoderName)
DIMENSIONS = (32, 64, 96, 128)
GRAPH_STEPS = (0, 1, 2)  # two is as far as the product's own trials went: on Gowalla a third gained nothing
LOSSES: tuple[str, ...] = get_args(RetrieverLoss)
BATCH_SIZES = (512, 1024, 2048, 4096)
RETRIEVER_RATES = (5e-4, 2e-2)
TEMPERATURES = (0.04, 0.25)
POPULARITIES = (0.0, 1.0)
RETRIEVER = (
    "encoder",
    "embedding_dimension",
    "graph_steps",
    "loss",
    "temperature",
    "popularity",
    "popularity_given",
    "batch_size",
    "learning_rate",
)

OBJECTIVES: tuple[str, ...] = get_args(RankerObjective)
LEAVES = (7, 15, 31, 63)  # up to 64 fit one mask of the compiled trees
RANKER_RATES = (0.02, 0.2)
FRACTIONS = (0.3, 1.0)
ROWS_IN_LEAF = (20, 50, 100, 200, 400)
RANKER = ("objective", "leaves", "learning_rate", "feature_fraction", "min_rows_in_leaf")


def retriever_settings(trial: optuna.Trial, now: RetrieverConfig) -> dict[str, Any]:
    """Values for one trial, by key. What the config says now is always among the choices."""
    return {
        "encoder": trial.suggest_categorical("encoder", ENCODERS),
        "embedding_dimension": _one_of(trial, "embedding_dimension", DIMENSIONS, now.embedding_dimension),
        "graph_steps": _one_of(trial, "graph_steps", GRAPH_STEPS, now.graph_steps),
        "loss": trial.suggest_categorical("loss", LOSSES),
        "temperature": _between(trial, "temperature", TEMPERATURES, now.temperature),
        "popularity": _between(trial, "popularity", POPULARITIES, now.popularity, log=False),
        "popularity_given": _between(trial, "popularity_given", POPULARITIES, now.popularity_given, log=False),
        "batch_size": _one_of(trial, "batch_size", BATCH_SIZES, now.batch_size),
        "learning_rate": _between(trial, "learning_rate", RETRIEVER_RATES, now.learning_rate),
    }


def ranker_settings(trial: optuna.Trial, now: RankerConfig) -> dict[str, Any]:
    """Values for one trial, by key. What the config says now is always among the choices."""
    return {
        "objective": trial.suggest_categorical("objective", OBJECTIVES),
        "leaves": _one_of(trial, "leaves", LEAVES, now.leaves),
        "learning_rate": _between(trial, "learning_rate", RANKER_RATES, now.learning_rate),
        "feature_fraction": _between(trial, "feature_fraction", FRACTIONS, now.feature_fraction),
        "min_rows_in_leaf": _one_of(trial, "min_rows_in_leaf", ROWS_IN_LEAF, now.min_rows_in_leaf),
    }


def _one_of(trial: optuna.Trial, key: str, choices: tuple[int, ...], now: int) -> Any:
    return trial.suggest_categorical(key, sorted({*choices, now}))


def _between(trial: optuna.Trial, key: str, edges: tuple[float, float], now: float, *, log: bool = True) -> float:
    return trial.suggest_float(key, min(edges[0], now), max(edges[1], now), log=log)
