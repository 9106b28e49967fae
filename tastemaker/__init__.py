"""Settings, the names of columns and tables, and the command line: what every room may call and what calls them all.

What TensorFlow reads from the environment it reads once, when it is first imported, so it stands here; who sets one of
these variables is obeyed.
"""

import os

__version__ = "0.1.0"

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TFRS has no other Keras
# By itself oneDNN is on where the processor has AVX512_VNNI or the like, and off elsewhere. Where it is on, a graph
# whose branches are functions, as a release's are, gets other kernels than one whose branches TensorFlow has dissolved:
# the last bits are not those it was judged by, nearly equal items change places, and the probe refuses the release.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
