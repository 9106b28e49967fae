"""What is measured, against whom, and how."""

import os

import tastemaker  # noqa: F401 — sets what TensorFlow reads, before a program here imports TensorFlow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
