"""TF-Serving's published messages, importable without TensorFlow.

`tensorflow_serving.apis` imports message modules from inside the `tensorflow` package, and that package's own import
takes seconds (2.2 s warm, 5 s cold on 2 cores) for what a client needs in 0.1 s. Where TensorFlow is not in the
process yet, its packages are stood in for by bare ones while the messages load; a later `import tensorflow` is the
real one and finds the same message classes.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_STAND_INS = (
    "tensorflow",
    "tensorflow.core",
    "tensorflow.core.example",
    "tensorflow.core.framework",
    "tensorflow.core.protobuf",
    "tensorflow.tsl",
    "tensorflow.tsl.protobuf",
)
_LOADING = threading.Lock()


@contextmanager
def _bare_packages() -> Iterator[None]:
    with _LOADING:
        if "tensorflow" in sys.modules:
            yield
            return
        found = importlib.util.find_spec("tensorflow")
        if found is None or not found.submodule_search_locations:
            raise ModuleNotFoundError("The model server's messages need the package tensorflow; install it.")
        root = Path(next(iter(found.submodule_search_locations)))
        for name in _STAND_INS:
            package = ModuleType(name)
            package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = package
        try:
            yield
        finally:
            for name in _STAND_INS:
                del sys.modules[name]


with _bare_packages():
    classification_pb2: Any = importlib.import_module("tensorflow_serving.apis.classification_pb2")
    get_model_metadata_pb2: Any = importlib.import_module("tensorflow_serving.apis.get_model_metadata_pb2")
    get_model_status_pb2: Any = importlib.import_module("tensorflow_serving.apis.get_model_status_pb2")
    inference_pb2: Any = importlib.import_module("tensorflow_serving.apis.inference_pb2")
    input_pb2: Any = importlib.import_module("tensorflow_serving.apis.input_pb2")
    model_management_pb2: Any = importlib.import_module("tensorflow_serving.apis.model_management_pb2")
    model_pb2: Any = importlib.import_module("tensorflow_serving.apis.model_pb2")
    predict_pb2: Any = importlib.import_module("tensorflow_serving.apis.predict_pb2")
    prediction_log_pb2: Any = importlib.import_module("tensorflow_serving.apis.prediction_log_pb2")
    regression_pb2: Any = importlib.import_module("tensorflow_serving.apis.regression_pb2")
    model_service_pb2_grpc: Any = importlib.import_module("tensorflow_serving.apis.model_service_pb2_grpc")
    prediction_service_pb2_grpc: Any = importlib.import_module("tensorflow_serving.apis.prediction_service_pb2_grpc")
    model_server_config_pb2: Any = importlib.import_module("tensorflow_serving.config.model_server_config_pb2")
    example_pb2: Any = importlib.import_module("tensorflow.core.example.example_pb2")
    tensor_pb2: Any = importlib.import_module("tensorflow.core.framework.tensor_pb2")
    types_pb2: Any = importlib.import_module("tensorflow.core.framework.types_pb2")
    config_pb2: Any = importlib.import_module("tensorflow.core.protobuf.config_pb2")
    meta_graph_pb2: Any = importlib.import_module("tensorflow.core.protobuf.meta_graph_pb2")
    saved_model_pb2: Any = importlib.import_module("tensorflow.core.protobuf.saved_model_pb2")
