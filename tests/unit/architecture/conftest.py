"""Benchmarks are not installed: they are imported from the project's folder."""

import sys

from tastemaker.settings import PROJECT_ROOT

sys.path.insert(0, str(PROJECT_ROOT))
