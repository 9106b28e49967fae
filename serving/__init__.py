"""The model server, its client and the publisher. Knows a model only through its release; never imports training."""

import tastemaker  # noqa: F401 — sets what TensorFlow reads, before anything here loads it
