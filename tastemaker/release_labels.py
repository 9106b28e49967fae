"""Which version a label names, for rooms that must know what is served and serve nothing themselves.

`models/model_config.txtpb` is TF-Serving's ModelServerConfig in protobuf's text format; `serving.releases` writes it.
Of its messages only the few fields that tell a label are declared here, so that neither TensorFlow nor `serving` is
imported; whatever else stands in the file is skipped.
"""

from functools import lru_cache
from typing import Any, Final

from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home

STABLE: Final = "stable"


def labelled_version(home: Home, label: str) -> int | None:
    """The version that a label names; None where nothing is published or nothing has the label.

    Raises TastemakerError for a file that is no ModelServerConfig.
    """
    from google.protobuf import text_format

    try:
        text = home.model_config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        config = text_format.Parse(text, _config_message()(), allow_unknown_field=True)
    except text_format.ParseError as problem:
        raise TastemakerError(
            f"{home.model_config} is no ModelServerConfig in protobuf's text format ({problem}); mend it by hand, or "
            "put back the last one that was."
        ) from None
    found = [
        int(entry.value)
        for model in config.model_config_list.config
        if model.name == names.MODEL_NAME
        for entry in model.version_labels
        if entry.key == label
    ]
    return found[-1] if found else None  # of a map's entries with one key the last counts


@lru_cache(maxsize=1)
def _config_message() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    package = "tastemaker.release_labels"
    declared: dict[str, list[tuple[str, Any, bool]]] = {
        "Label": [("key", field.TYPE_STRING, False), ("value", field.TYPE_INT64, False)],
        "Model": [("name", field.TYPE_STRING, False), ("version_labels", "Label", True)],
        "ModelList": [("config", "Model", True)],
        "ModelServerConfig": [("model_config_list", "ModelList", False)],
    }
    file = descriptor_pb2.FileDescriptorProto(name="tastemaker/release_labels.proto", package=package, syntax="proto3")
    for name, fields in declared.items():
        message = file.message_type.add(name=name)
        for number, (field_name, kind, many) in enumerate(fields, start=1):
            label = field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
            added = message.field.add(name=field_name, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.ModelServerConfig"))
