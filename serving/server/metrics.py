"""Counts and latencies in Prometheus's text format, under TF-Serving's metric names and our own.

TF-Serving's counters do not end in `_total`, which prometheus-client insists on, so the page is written here.
"""

import bisect
import threading
from collections import defaultdict

# monitoring::Buckets::Exponential(10, 1.8, 33): microseconds, up to about 20 minutes
_BOUNDS = [10 * 1.8**power for power in range(33)]

REQUEST_COUNT = ":tensorflow:serving:request_count"
REQUEST_LATENCY = ":tensorflow:serving:request_latency"
OUTCOMES = "tastemaker_serving_requests_total"

DEFAULT_PATH = "/monitoring/prometheus/metrics"


class Metrics:
    """Thread-safe. Latency in microseconds; only requests that went well are timed, as in TF-Serving."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._outcomes: dict[tuple[str, str, str, str], int] = defaultdict(int)
        self._latencies: dict[tuple[str, str, str], list[float]] = {}

    def record(
        self,
        model: str,
        version: int | None,
        signature: str,
        api: str,
        entrypoint: str,
        status: str,
        microseconds: float,
    ) -> None:
        """One request that has ended.

        Args:
            model: "" for one that is not configured here.
            version: None for a request that no version has seen, as one that was refused at the door.
            signature: "" where there is none of that name, or nobody looked.
        """
        with self._lock:
            self._counts[(model, status)] += 1
            self._outcomes[(model, "" if version is None else str(version), signature, status)] += 1
            if status == "OK":
                cells = self._latencies.setdefault((model, api, entrypoint), [0.0] * (len(_BOUNDS) + 2))
                cells[bisect.bisect_left(_BOUNDS, microseconds)] += 1
                cells[-1] += microseconds

    def page(self) -> str:
        """The page Prometheus reads."""
        with self._lock:
            counts, outcomes = dict(self._counts), dict(self._outcomes)
            latencies = {key: list(cells) for key, cells in self._latencies.items()}
        lines = [f"# TYPE {REQUEST_COUNT} counter"]
        for (model, status), requests in sorted(counts.items()):
            lines.append(f'{REQUEST_COUNT}{{model_name="{_text(model)}",status="{status}"}} {requests}')
        lines.append(f"# TYPE {OUTCOMES} counter")
        for (model, version, signature, status), requests in sorted(outcomes.items()):
            labels = f'model="{_text(model)}",version="{version}",signature="{_text(signature)}",status="{status}"'
            lines.append(f"{OUTCOMES}{{{labels}}} {requests}")
        lines.append(f"# TYPE {REQUEST_LATENCY} histogram")
        for (model, api, entrypoint), cells in sorted(latencies.items()):
            labels = f'model_name="{_text(model)}",API="{api}",entrypoint="{entrypoint}"'
            running = 0
            for bound, count in zip([*_BOUNDS, float("inf")], cells[:-1], strict=True):
                running += int(count)
                le = "+Inf" if bound == float("inf") else f"{bound:.6g}"
                lines.append(f'{REQUEST_LATENCY}_bucket{{{labels},le="{le}"}} {running}')
            lines.append(f"{REQUEST_LATENCY}_sum{{{labels}}} {cells[-1]:.0f}")
            lines.append(f"{REQUEST_LATENCY}_count{{{labels}}} {running}")
        return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
