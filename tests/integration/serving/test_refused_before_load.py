"""What the model server refuses, it refuses before TensorFlow has read a byte of it; on models of TensorFlow's own."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from toys.bare_release import list_files

from serving.allowed_ops import require_allowed_ops
from serving.manifest import MANIFEST, SIGNATURE
from serving.release_keys import public_key_file
from serving.server import loading
from serving.server.flags import Flags
from serving.server.loading import load_version
from serving.server.status import Code, ServingError
from serving.trust import sign_release
from tastemaker.home import Home
from tastemaker.settings import Settings

pytestmark = pytest.mark.integration


def save(folder: Path, harm: str, marker: Path) -> Path:
    """A model that does `harm` in its signature and, where that writes, while it is loaded."""
    import tensorflow as tf

    class Writing(tf.lookup.KeyValueTensorInitializer):
        """A table whose initializer, which every server runs at load, also writes a file."""

        def initialize(self, table: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(marker), "loaded")]):
                return super().initialize(table)

    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            kind = Writing if harm == "WriteFile" else tf.lookup.KeyValueTensorInitializer
            self.weight = tf.Variable(2.0)
            self.table = tf.lookup.StaticHashTable(kind(tf.constant(["a"]), tf.constant([1.0])), 0.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
        def answer(self, text: Any) -> Any:
            found = self.table.lookup(text) * self.weight
            if harm == "ReadFile":
                found += tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)
            if harm == "PyFunc":
                found = tf.compat.v1.py_func(lambda x: x, [found], tf.float32)
            if harm == "PrintV2":
                tf.print(found, output_stream=f"file://{marker}")
            return {"found": found}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.answer})
    return list_files(folder, release=harm)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "1"
    return save(folder, "none", folder.parent / "marker")


def flags(tmp_path: Path, *, unsigned: bool = False) -> Flags:
    key = public_key_file(Settings(home=tmp_path / "home"))
    return Flags(model_base_path="/", release_public_key_file=str(key), allow_unsigned_releases=unsigned)


def copy_of(release: Path, tmp_path: Path) -> Path:
    return shutil.copytree(release, tmp_path / "2")


def refusal(folder: Path, how: Flags) -> ServingError:
    with pytest.raises(ServingError) as problem:
        load_version("toy", folder, how)
    return problem.value


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(loading, "SavedModel", touched)


@pytest.mark.parametrize("harm", ["WriteFile", "ReadFile", "PyFunc", "PrintV2"])
def test_a_model_that_may_do_harm_is_refused_by_the_name_of_its_operation(tmp_path: Path, harm: str) -> None:
    marker = tmp_path / "marker"
    folder = save(tmp_path / "1", harm, marker)
    marker.unlink(missing_ok=True)  # the initializer has run once, here
    for how in (flags(tmp_path, unsigned=True), Flags(model_base_path="/")):
        problem = refusal(folder, how)
        assert problem.code is Code.FAILED_PRECONDITION
        assert f"contains the operation {harm} " in problem.message.replace("EagerPyFunc", "PyFunc")
    assert not marker.exists()
    if harm == "WriteFile":  # the test can fail: a server that looks at nothing runs it
        (folder / MANIFEST).unlink()
        load_version("toy", folder, Flags(model_base_path="/")).close()
        assert marker.exists()


def test_what_tensorflow_saves_of_a_sound_model_passes(sound: Path, tmp_path: Path) -> None:
    require_allowed_ops(sound)
    folder = copy_of(sound, tmp_path)
    sign_release(folder, Settings(home=tmp_path / "home"))
    load_version("toy", folder, flags(tmp_path)).close()


def test_the_layers_that_encoders_are_made_of_pass(tmp_path: Path) -> None:
    import tensorflow as tf

    layers = tf.keras.layers

    class Encoder(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = layers.Embedding(50, 8, mask_zero=True)
            self.attention, self.norm = layers.MultiHeadAttention(2, 4), layers.LayerNormalization()
            self.inner = [
                layers.GRU(8, return_sequences=True),
                layers.Conv1D(8, 3, padding="causal", activation="gelu"),
            ]
            self.outer = layers.Bidirectional(layers.LSTM(4))

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, "history")])
        def encode(self, history: Any) -> Any:
            vectors = self.items(history)
            vectors = self.norm(vectors + self.attention(vectors, vectors, use_causal_mask=True))
            for layer in self.inner:
                vectors = layer(vectors)
            return {"query": self.outer(vectors, mask=self.items.compute_mask(history))}

    encoder = Encoder()
    tf.saved_model.save(encoder, str(tmp_path / "1"), signatures={"encode": encoder.encode})
    require_allowed_ops(tmp_path / "1")


@pytest.mark.usefixtures("never_loaded")
def test_a_flipped_byte_in_each_file_in_turn_is_refused(sound: Path, tmp_path: Path) -> None:
    folder, how = copy_of(sound, tmp_path), flags(tmp_path)
    sign_release(folder, Settings(home=tmp_path / "home"))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert {MANIFEST, SIGNATURE, "saved_model.pb", "variables.index", "fingerprint.pb"} <= {path.name for path in files}
    for path in files:
        right = path.read_bytes()
        path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        code = Code.FAILED_PRECONDITION if path.name in (MANIFEST, SIGNATURE) else Code.DATA_LOSS
        assert refusal(folder, how).code is code, path
        path.write_bytes(right[: len(right) // 2])
        assert refusal(folder, how).code is code, path
        path.unlink()
        assert refusal(folder, how).code is code, path
        path.write_bytes(right)
    with pytest.raises(AssertionError, match="was loaded"):  # as it was, nothing is left to refuse
        load_version("toy", folder, how)


@pytest.mark.usefixtures("never_loaded")
def test_unsigned_or_signed_by_a_stranger_is_refused(sound: Path, tmp_path: Path) -> None:
    folder = copy_of(sound, tmp_path)
    assert "is not signed" in refusal(folder, flags(tmp_path)).message
    sign_release(folder, Settings(home=tmp_path / "another"))
    assert "somebody else signed" in refusal(folder, flags(tmp_path)).message
    (folder / SIGNATURE).unlink()
    with pytest.raises(AssertionError, match="was loaded"):
        load_version("toy", folder, flags(tmp_path, unsigned=True))


@pytest.mark.usefixtures("never_loaded")
def test_a_model_without_a_manifest_is_for_a_server_without_a_key(sound: Path, tmp_path: Path) -> None:
    folder = copy_of(sound, tmp_path)
    (folder / MANIFEST).unlink()
    assert "nobody vouches for it" in refusal(folder, flags(tmp_path, unsigned=True)).message
    with pytest.raises(AssertionError, match="was loaded"):
        load_version("toy", folder, Flags(model_base_path="/"))
    gone = Flags(model_base_path="/", release_public_key_file=str(Home(tmp_path).release_public_key))
    assert "cannot be read" in refusal(folder, gone).message
