"""A client and the server must not pay seconds of TensorFlow's import; a later one must find the real thing."""

import subprocess
import sys

CODE = """
import sys
import serving.client
assert "tensorflow" not in sys.modules, "the client imported TensorFlow"
import numpy as np
import serving.server.loading
from serving.server.tensorflow_c import array_of, new_tensor
kept = new_tensor(np.array([b"made before the import"]))
assert "tensorflow" not in sys.modules, "the server imported TensorFlow"
from serving.protocol import tensor_pb2
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2 as theirs
assert theirs.TensorProto is tensor_pb2.TensorProto
assert tf.make_ndarray(tf.make_tensor_proto([1.0])).tolist() == [1.0]
assert array_of(kept).tolist() == [b"made before the import"]
"""


def test_messages_load_without_tensorflow_and_are_its_own():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
