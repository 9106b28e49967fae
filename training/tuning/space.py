"""What `tastemaker tune` varies: the retriever's keys, and between which values."""

from typing import Any, get_args

import optuna

from tastemaker.config import EncoderName, RetrieverConfig

DIMENSIONS = (32, 64, 96, 128)
BATCH_SIZES = (512, 1024, 2048, 4096)
LEARNING_RATES = (5e-4, 2e-2)
TUNED = ("encoder", "embedding_dimension", "batch_size", "learning_rate")


def suggested(trial: optuna.Trial, now: RetrieverConfig) -> dict[str, Any]:
    """Values for one trial, by key. What the config says now is always among the choices."""
    lowest, highest = (pick(edge, now.learning_rate) for pick, edge in zip((min, max), LEARNING_RATES, strict=True))
    return {
        "encoder": trial.suggest_categorical("encoder", get_args(EncoderName)),
        "embedding_dimension": trial.suggest_categorical(
            "embedding_dimension", sorted({*DIMENSIONS, now.embedding_dimension})
        ),
        "batch_size": trial.suggest_categorical("batch_size", sorted({*BATCH_SIZES, now.batch_size})),
        "learning_rate": trial.suggest_float("learning_rate", lowest, highest, log=True),
    }
