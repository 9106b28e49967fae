"""From feature rows to a release: datasets, retriever, ranker, evaluation, release."""

import tastemaker  # noqa: F401 — sets what TensorFlow reads, before anything here loads it
