"""A ranker's training as TensorBoard shows it: what stops it and what it has learnt, tree by tree, and its settings."""

from datetime import datetime

import lightgbm as lgb
from lightgbm.callback import CallbackEnv

from tastemaker.config import RankerConfig
from tastemaker.moments import as_of_slug
from training.tensorboard_run import TensorBoardRun

EVERY = 10  # trees: NDCG of 333,000 rows takes about as long as a third of a tree


class TreeCurves:
    """A callback of one `lightgbm.train`, which must have a set to stop by.

    The stopping metric is noted at every tree, the same of the rows that are learnt from at the first and every
    EVERY-th.
    """

    def __init__(self) -> None:
        self._points: list[tuple[int, str, float]] = []

    def __call__(self, training: CallbackEnv) -> None:
        """Called by LightGBM after every tree."""
        tree = training.iteration + 1
        for _, metric, value, *_ in training.evaluation_result_list or ():
            self._points.append((tree, f"stopping/{called(metric)}", value))
        if tree == 1 or tree % EVERY == 0:
            assert isinstance(training.model, lgb.Booster)
            for _, metric, value, *_ in training.model.eval_train():
                self._points.append((tree, f"training/{called(metric)}", value))

    def show(self, log: TensorBoardRun, config: RankerConfig) -> None:
        """Writes the curves and the settings."""
        log.text("settings", f"```\n{config.model_dump_json(indent=1)}\n```")
        for tree, tag, value in self._points:
            log.scalars({tag: value}, tree)


def called(metric: str) -> str:
    """LightGBM's name of a metric as it is named here.

    >>> called("binary_logloss"), called("ndcg@20")
    ('log_loss', 'ndcg@20')
    """
    return {"binary_logloss": "log_loss"}.get(metric, metric)


def run_name(config: RankerConfig, as_of: datetime) -> str:
    """What TensorBoard calls a training with these settings.

    >>> run_name(RankerConfig(objective="lambdarank", seed=3), datetime.fromisoformat("2011-12-10T00:00Z"))
    'ranker lambdarank, 63 leaves, step 0.05, as of 20111210T000000Z, seed 3'
    """
    return (
        f"ranker {config.objective}, {config.leaves} leaves, step {config.learning_rate:g}, as of {as_of_slug(as_of)}, "
        f"seed {config.seed}"
    )
