"""What a label names is read from the file that a model server polls, without the server's own messages."""

import subprocess
import sys

import pytest

from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.release_labels import labelled_version

CONFIG = """# act: {"act": "promote"}
model_config_list {
  config {
    name: "other"
    version_labels { key: "stable" value: 7 }
  }
  config: <
    name: 'recommender', base_path: "/models/recommender"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 20111209000000 versions: [20111210000000] } }
    version_labels: { key: "stable", value: 20111209000000 };
    version_labels { key: "canary" value: 20111210000000 }
  >
}
"""


def written(home: Home, text: str) -> Home:
    home.models.mkdir(parents=True)
    home.model_config.write_text(text)
    return home


def test_a_label_is_that_of_our_model(home):
    assert labelled_version(written(home, CONFIG), "stable") == 20111209000000
    assert labelled_version(home, "canary") == 20111210000000
    assert labelled_version(home, "tried") is None


def test_nothing_is_labelled_where_nothing_is_published(home):
    assert labelled_version(home, "stable") is None
    assert labelled_version(written(home, ""), "stable") is None


def test_a_file_that_is_something_else_is_named(home):
    with pytest.raises(TastemakerError, match=r"model_config\.txtpb is no ModelServerConfig"):
        labelled_version(written(home, "model_config_list { config {"), "stable")


def test_what_the_publisher_writes_is_read(home):
    labels = pytest.importorskip("serving.releases.labels")
    labels.write_served(home, labels.Served({"stable": 5, "canary": 6}, frozenset({7})))
    assert (labelled_version(home, "stable"), labelled_version(home, "canary")) == (5, 6)


def test_neither_tensorflow_nor_serving_is_imported(home):
    code = (
        "import sys; from pathlib import Path; from tastemaker.home import Home;"
        "from tastemaker.release_labels import labelled_version;"
        f"assert labelled_version(Home(Path({str(written(home, CONFIG).root)!r})), 'stable');"
        "assert not {'tensorflow', 'serving', 'tensorflow_serving'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
