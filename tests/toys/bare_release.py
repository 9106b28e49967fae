"""A release of a few bytes: a real SavedModel message with one constant, a manifest, and no TensorFlow."""

import json
from pathlib import Path
from typing import Any

from serving.manifest import MANIFEST, SIGNATURE, file_digest
from serving.protocol import saved_model_pb2


def bare_model(content: str = "graph") -> Any:
    """A SavedModel whose one node is a constant named after `content`."""
    model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    model.meta_graphs.add().graph_def.node.add(name=content, op="Const")
    return model


def write_release(folder: Path, model: Any = None, **manifest: Any) -> Path:
    """Writes the files and lists them; `manifest` is what it says besides."""
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes((model or bare_model()).SerializeToString(deterministic=True))
    (folder / "variables" / "variables.index").write_text("index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(range(256)))
    return list_files(folder, **manifest)


def list_files(folder: Path, **manifest: Any) -> Path:
    """Writes the manifest anew, as somebody does who has changed files and wants nobody to notice."""
    listed = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, SIGNATURE)
    }
    (folder / MANIFEST).write_text(json.dumps({**manifest, "files": listed}, indent=1, sort_keys=True))
    return folder
