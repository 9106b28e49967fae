import pytest

from serving.server.flags import parse_flags
from serving.server.model_config import (
    check_model_config,
    read_model_config,
    read_monitoring_config,
    read_ssl_config,
    single_model_config,
)
from serving.server.models import Models, Polling
from serving.server.status import ServingError
from serving.server.versions import LoadRetries

MODELS = """
model_config_list {
  config {
    name: "toy" base_path: "/models/toy" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 3 } }
    version_labels { key: "stable" value: 1 }
  }
}
"""


def test_flags_are_tf_servings():
    flags = parse_flags(
        ["--port=9000", "--model_name", "m", "--model_base_path=/m", "--enable_model_warmup=false", "--rest_api_port=1"]
    )
    assert (flags.port, flags.model_name, flags.enable_model_warmup) == (9000, "m", False)
    assert (flags.file_system_poll_wait_seconds, flags.max_num_load_retries) == (1, 5)
    assert parse_flags(["--model_base_path=/m", "--tensorflow_session_parallelism=3"]).parallelism == (3, 3, 0)
    assert parse_flags(["--model_base_path=/m", "--tensorflow_inter_op_parallelism=-1"]).parallelism == (0, -1, 0)
    assert parse_flags(["--model_base_path=/m", "--max_running_requests=4"]).parallelism == (1, 0, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Both --model_base_path and --model_config_file are empty"),
        (["--model_base_path=/m", "--port=0"], "--port must be"),
        (["--model_base_path=/m", "--port=1", "--rest_api_port=1"], "cannot be the same"),
        (["--model_base_path=/m", "--model_nam=x"], "unrecognized arguments"),
        (["--model_base_path=/m", "--enable_model_warmup=perhaps"], "neither true nor false"),
    ],
)
def test_flags_that_make_no_sense(capsys, arguments, said):
    with pytest.raises(SystemExit):
        parse_flags(arguments)
    assert said in capsys.readouterr().err


def test_configuration_files_are_protobuf_text(tmp_path):
    file = tmp_path / "config.txt"
    file.write_text(MODELS)
    (model,) = read_model_config(file).model_config_list.config
    assert (model.name, list(model.model_version_policy.specific.versions)) == ("toy", [1, 3])
    file.write_text('server_key: "k" server_cert: "c" client_verify: true')
    assert (read_ssl_config(file).server_key, read_ssl_config(file).client_verify) == ("k", True)
    file.write_text('prometheus_config { enable: true path: "/metrics" }')
    assert read_monitoring_config(file).prometheus_config.path == "/metrics"


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ServingError, match="nowhere"):
        read_model_config(tmp_path / "nowhere")
    file = tmp_path / "config.txt"
    file.write_text("model_config_list { configs {} }")
    with pytest.raises(ServingError, match="configs"):
        read_model_config(file)


@pytest.mark.parametrize(
    ("name", "base_path", "platform", "said"),
    [
        ("toy", "/models/toy", "tensorflow", "multiple times"),
        ("other", "models/other", "tensorflow", "absolute path"),
        ("other", "/models/other", "", "neither ModelServerConfig::model_type"),
        ("other", "/models/other", "pytorch", "unsupported platform pytorch"),
    ],
)
def test_models_that_are_refused(name, base_path, platform, said):
    config = single_model_config("toy", "/models/toy")
    check_model_config(config)
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=platform)
    with pytest.raises(ServingError, match=said):
        check_model_config(config)


class Nothing:
    def close(self) -> None:
        return


@pytest.fixture
def models(tmp_path):
    """Two versions of `toy` and two of `other`; nothing is slower than a poll of 0.05 s."""
    made = Models(lambda name, folder: Nothing(), Polling(folder_seconds=0.05), LoadRetries(0, 0.0))
    for name in ("toy", "other"):
        for number in (1, 2):
            (tmp_path / name / str(number)).mkdir(parents=True)
    yield made
    made.close()


def config_of(tmp_path, *, labels: dict[str, int], names: tuple[str, ...] = ("toy",)):
    config = single_model_config("toy", str(tmp_path / "toy"))
    del config.model_config_list.config[:]
    for name in names:
        model = config.model_config_list.config.add(
            name=name, base_path=str(tmp_path / name), model_platform="tensorflow"
        )
        model.model_version_policy.all.SetInParent()
        for label, number in labels.items():
            model.version_labels[label] = number
    return config


def spec_of(**fields):
    from serving.protocol import model_pb2

    spec = model_pb2.ModelSpec(name=fields["name"])
    if "label" in fields:
        spec.version_label = fields["label"]
    return spec


def number_of(models: Models, **fields) -> int:
    with models.acquire(spec_of(**fields)) as version:
        return version.number


def test_labels_move_between_versions_that_serve_and_models_come_and_go(models, tmp_path):
    models.reload(config_of(tmp_path, labels={}))
    models.start()
    assert models.wait_until_settled(10)
    while len(models.states(spec_of(name="toy"))) < 2 or not all(
        s == 30 for _, s, _ in models.states(spec_of(name="toy"))
    ):
        assert models.wait_until_settled(10)
    models.reload(config_of(tmp_path, labels={"stable": 1, "canary": 2}))
    assert (number_of(models, name="toy", label="stable"), number_of(models, name="toy", label="canary")) == (1, 2)
    with pytest.raises(ServingError, match="version 7 of model toy"):
        models.reload(config_of(tmp_path, labels={"stable": 7}))
    assert number_of(models, name="toy", label="stable") == 1
    models.reload(config_of(tmp_path, labels={"stable": 2}))
    assert number_of(models, name="toy", label="stable") == 2
    with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
        number_of(models, name="toy", label="canary")

    models.reload(config_of(tmp_path, labels={}, names=("other",)))
    assert models.wait_until_settled(10)
    assert number_of(models, name="other") == 2
    with pytest.raises(ServingError, match=r"Latest\(toy\)"):
        number_of(models, name="toy")
