"""What TensorBoard would read of a run's folder."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util


def curves_of(run: Path) -> dict[str, dict[int, float]]:
    """Tag → step → value, of the curves."""
    return {tag: {step: float(value) for step, value in points} for tag, points in _read(run) if not _is_text(points)}


def notes_of(run: Path) -> dict[str, str]:
    """Tag → text, of the notes beside the curves."""
    return {tag: points[0][1].item().decode() for tag, points in _read(run) if _is_text(points)}


def _read(run: Path):
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    events.Reload()
    return [
        (tag, [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)])
        for tag in events.Tags()["tensors"]
    ]


def _is_text(points) -> bool:
    return points[0][1].dtype == object
