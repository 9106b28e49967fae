"""Which versions are served, and what the labels `stable` and `canary` mean: one file that the model server polls.

`models/model_config.txtpb` is TF-Serving's ModelServerConfig in text format. The versions that have a label are served,
and one more while it is on its way to a label: TF-Serving lets a label move only to a version that has loaded. The
file's first line, a comment to TF-Serving, is the act that left it so; a journal that a kill cut short is mended by it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import text_format

from serving.protocol import model_server_config_pb2
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.steps import write_atomically

STABLE: Final = "stable"
CANARY: Final = "canary"
PLATFORM = "tensorflow"
_ACT = "# act: "


@dataclass(frozen=True)
class Served:
    """Label → version, and the versions that are to be loaded without one yet; `act` is what left it so."""

    labels: Mapping[str, int] = field(default_factory=dict)
    loading: frozenset[int] = frozenset()
    act: Mapping[str, Any] | None = None

    @property
    def versions(self) -> list[int]:
        """Every version that the server is to have, in ascending order."""
        return sorted({*self.labels.values(), *self.loading})

    @property
    def stable(self) -> int | None:
        """The version that callers are answered by."""
        return self.labels.get(STABLE)

    @property
    def canary(self) -> int | None:
        """The version that is being tried; at rest the stable one."""
        return self.labels.get(CANARY)

    def labels_of(self, version: int) -> list[str]:
        """The labels of a version, in alphabetical order."""
        return sorted(label for label, number in self.labels.items() if number == version)


def read_served(home: Home) -> Served:
    """What the file says; nothing is served where there is none. Raises TastemakerError for a file that is no such."""
    path = home.model_config
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Served()
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(text, config)
        first = text.partition("\n")[0]
        act = json.loads(first.removeprefix(_ACT)) if first.startswith(_ACT) else None
    except (text_format.ParseError, ValueError) as problem:
        raise TastemakerError(
            f"{path} is no ModelServerConfig in text format ({problem}); mend it, or remove it and run "
            "'tastemaker release promote VERSION'."
        ) from None
    for model in config.model_config_list.config:
        if model.name == names.MODEL_NAME:
            labels = dict(model.version_labels)
            versions = frozenset(model.model_version_policy.specific.versions)
            return Served(labels, versions - frozenset(labels.values()), act)
    return Served(act=act)


def write_served(home: Home, served: Served) -> None:
    """Writes the file, whole or not at all."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    if served.versions:
        folder = home.models / names.MODEL_NAME
        model = config.model_config_list.config.add(
            name=names.MODEL_NAME, base_path=str(folder), model_platform=PLATFORM
        )
        model.model_version_policy.specific.versions.extend(served.versions)
        for label, version in served.labels.items():
            model.version_labels[label] = version
    act = f"{_ACT}{json.dumps(served.act, sort_keys=True)}\n" if served.act is not None else ""
    write_atomically(home.model_config, act + text_format.MessageToString(config))


def ensure_model_config(home: Home) -> None:
    """Writes a file that serves nothing where there is none yet: a server polls only a file that it could read once."""
    if not home.model_config.exists():
        write_served(home, Served())
