"""All models of a server: which are configured, what their labels mean, and the thread that keeps them up to date.

The counterpart of TF-Serving's `ServerCore`; wording of its refusals from model_servers/server_core.cc.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.server.model_config import check_model_config, label_refused, read_model_config
from serving.server.status import ServingError, invalid_argument, not_found
from serving.server.versions import LoadRetries, State, Version, Versions

log = logging.getLogger("tastemaker.serving")

# How soon a version that waits for its last requests is looked at again.
_DRAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Polling:
    """How often the disk is looked at, in seconds. Folders: 0 is once, negative never. Config file: 0 is once."""

    folder_seconds: float = 1.0
    config_file: Path | None = None
    config_file_seconds: float = 0.0


class Models:
    """The models by name. Start with `reload`, then `start` the background thread; end with `close`."""

    def __init__(
        self,
        load: Callable[[str, Path], Any],
        polling: Polling,
        retries: LoadRetries,
        labels_may_name_unavailable: bool = False,
    ) -> None:
        """Args: `load` takes a model's name and a version's folder, and returns the model or raises ServingError."""
        self._load = load
        self._polling = polling
        self._retries = retries
        self._labels_may_name_unavailable = labels_may_name_unavailable
        self._models: dict[str, Versions] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._leaving: list[Versions] = []
        self._reloading = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._reload_done = threading.Condition()
        self._looked = False
        self._thread = threading.Thread(target=self._keep_up_to_date, name="model-versions", daemon=True)

    @contextmanager
    def acquire(self, spec: Any) -> Iterator[Version]:
        """Holds the version a ModelSpec names. Raises ServingError when there is none."""
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        number = self._number(spec)
        versions = self._models.get(spec.name)
        if versions is None:
            wanted = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
            raise not_found(f"Servable not found for request: {wanted}")
        with versions.acquire(number) as version:
            yield version

    def has(self, name: str) -> bool:
        """Whether a model of that name is configured."""
        return name in self._models

    def states(self, spec: Any) -> list[tuple[int, State, ServingError | None]]:
        """State and last error of a model's versions, or of the one the spec names, newest first."""
        versions = self._models.get(spec.name)
        states = versions.states() if versions else []
        number = self._number(spec)
        if number is None:
            if not states:
                raise not_found(f"Could not find any versions of model {spec.name}")
            return states
        found = [entry for entry in states if entry[0] == number]
        if not found:
            raise not_found(f"Could not find version {number} of model {spec.name}")
        return found

    @property
    def settled(self) -> bool:
        """Whether the disk was looked at and every model serves or cannot be loaded."""
        return self._looked and all(versions.settled for versions in self._models.values())

    def reload(self, config: Any) -> None:
        """Takes a new ModelServerConfig: adds, keeps or withdraws models, and moves labels.

        Raises ServingError, with nothing changed, when the config or a label in it is refused.
        """
        check_model_config(config)
        with self._reloading:
            self._labels = self._checked_labels(config)
            before, after = self._models, {}
            for model in config.model_config_list.config:
                policy = model.model_version_policy
                kept = before.get(model.name)
                if kept is not None and kept.base_path == Path(model.base_path):
                    kept.policy = policy
                    after[model.name] = kept
                else:
                    after[model.name] = Versions(
                        model.name, Path(model.base_path), policy, self._loader(model.name), self._retries
                    )
            leaving = [versions for versions in before.values() if versions not in after.values()]
            for versions in leaving:
                versions.withdraw()
            self._leaving += leaving
            self._models = after
        self._looked = False
        self._wake.set()

    def wait_until_settled(self, seconds: float) -> bool:
        """Waits until `settled`; returns whether it came to that in time."""
        with self._reload_done:
            return self._reload_done.wait_for(lambda: self.settled, timeout=seconds)

    def start(self) -> None:
        """Begins loading and polling."""
        self._thread.start()

    def close(self) -> None:
        """Stops polling; the versions are left to the end of the process."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _loader(self, name: str) -> Callable[[Path], Any]:
        return lambda folder: self._load(name, folder)

    def _number(self, spec: Any) -> int | None:
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return int(spec.version.value)
        if choice == "version_label":
            number = self._labels.get(spec.name, {}).get(spec.version_label)
            if number is None:
                raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
            return number
        return None

    def _checked_labels(self, config: Any) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for model in config.model_config_list.config:
            versions = self._models.get(model.name)
            for label, number in model.version_labels.items():
                there = versions is not None and versions.is_available(number)
                unused = self._labels.get(model.name, {}).get(label, number) == number
                if not there and not (self._labels_may_name_unavailable and unused):
                    raise label_refused(model.name, number)
                labels.setdefault(model.name, {})[label] = number
        return labels

    def _keep_up_to_date(self) -> None:
        next_folder_look = next_config_look = 0.0
        if self._polling.config_file_seconds > 0:
            next_config_look = time.monotonic() + self._polling.config_file_seconds
        while not self._stopping.is_set():
            now = time.monotonic()
            if self._polling.config_file is not None and 0 < next_config_look <= now:
                self._read_config_again(self._polling.config_file)
                next_config_look = now + self._polling.config_file_seconds
            look = self._polling.folder_seconds >= 0 and (not self._looked or 0 < next_folder_look <= now)
            if look and self._polling.folder_seconds > 0:
                next_folder_look = now + self._polling.folder_seconds
            loaded = self._step_all(look)
            self._leaving = [versions for versions in self._leaving if not versions.gone]
            with self._reload_done:
                self._reload_done.notify_all()
            if not loaded:
                self._wake.wait(self._pause())
                self._wake.clear()

    def _step_all(self, look: bool) -> bool:
        loaded = False
        models = self._models
        for versions in [*models.values(), *self._leaving]:
            try:
                loaded |= versions.step(look)
            except Exception:
                log.exception("Keeping servable %s up to date failed; what serves goes on serving", versions.name)
        if look and models is self._models:
            self._looked = True
        return loaded

    def _pause(self) -> float:
        if any(versions.draining for versions in [*self._models.values(), *self._leaving]):
            return _DRAIN_SECONDS
        waits = [s for s in (self._polling.folder_seconds, self._polling.config_file_seconds) if s > 0]
        return min([*waits, max(0.05, self._retries.seconds), 1.0])

    def _read_config_again(self, path: Path) -> None:
        try:
            self.reload(read_model_config(path))
        except ServingError as problem:
            log.error("Polling %s: the config is not taken: %s", path, problem.message)
