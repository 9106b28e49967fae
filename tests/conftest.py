"""What every test starts from: no telemetry, a home of its own, and of TensorFlow what `tastemaker` makes of it."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"

from pathlib import Path

import pytest

from tastemaker.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")
