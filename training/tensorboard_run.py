"""One training as TensorBoard shows it: curves by epoch, the settings, and at the end the items in space.

`tensorboard --logdir var/training/<as_of>/tensorboard` shows the runs of one `as_of`, `--logdir var/training` all.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins.projector import projector_config_pb2

from tastemaker.steps import write_atomically

PROJECTOR = "projector_config.pbtxt"  # the name that TensorBoard looks for in a run's folder
VECTORS = "item_vectors.tsv"
LABELS = "items.tsv"


class TensorBoardRun:
    """Writes a run's folder anew; a context manager, so that what was said is on the disk at the end.

    Args:
        folder: of this run alone; its name is the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of the curves named by the tags; readable at once, while the training goes on."""
        with self._writer.as_default():
            for tag, value in values.items():
                tf.summary.scalar(tag, value, step=step)
        self._writer.flush()

    def text(self, tag: str, markdown: str) -> None:
        """A note beside the curves."""
        with self._writer.as_default():
            tf.summary.text(tag, markdown, step=0)

    def project(self, vectors: np.ndarray, labels: Mapping[str, Sequence[object]]) -> None:
        """The embedding projector's files.

        Args:
            vectors: `[n, dimension]`.
            labels: at least two columns of n values each, by their names.
        """
        columns = list(labels)
        rows = ["\t".join(columns), *("\t".join(map(_in_one_cell, row)) for row in zip(*labels.values(), strict=True))]
        write_atomically(self._folder / LABELS, "\n".join(rows) + "\n")
        lines = ("\t".join(f"{value:.6g}" for value in vector) for vector in vectors.tolist())
        write_atomically(self._folder / VECTORS, "\n".join(lines) + "\n")
        shown = projector_config_pb2.ProjectorConfig()
        shown.embeddings.add(tensor_name="items", tensor_shape=vectors.shape, tensor_path=VECTORS, metadata_path=LABELS)
        write_atomically(self._folder / PROJECTOR, text_format.MessageToString(shown))


def _in_one_cell(value: object) -> str:
    """A value as one cell of one line: a title may hold tabs and line ends of any kind."""
    return " ".join(str("" if value is None else value).split())
