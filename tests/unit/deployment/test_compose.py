"""docker-compose.yml against the code: whatever it names must be there. Each rule is also seen to turn red."""

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer
from compose_file import VARIABLE, image_environment, instructions, is_job, is_ours, read_compose, strings

import serving.server.flags
from orchestration.services import port_of
from serving.releases.labels import ensure_model_config
from serving.server.flags import Flags, parse_flags
from tastemaker.cli import app
from tastemaker.home import Home
from tastemaker.settings import PROJECT_ROOT, Settings

Compose = dict[str, Any]

# of the images that are not ours, the programs that health checks may call
PROGRAMS = {
    "postgres": {"pg_isready"},
    "redis": {"redis-cli", "grep"},
    "tensorflow/serving": {"bash", "grep", "exec", "printf"},
    "tastemaker": {"python"},
}
# what those images read from the environment
VARIABLES = {
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"},
    "redis": {"REDISCLI_AUTH"},
    "tensorflow/serving": {"TF_ENABLE_ONEDNN_OPTS"},
}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|AUTH$|CONN|REDIS_URL")
# what a wrong configuration of ours has that TF-Serving's parser would refuse
OURS_ALONE = set(re.findall(r"^    (\w+): ", Path(serving.server.flags.__file__).read_text().split("# ours")[2], re.M))


def settings_fields() -> set[str]:
    return {f"TASTEMAKER_{name.upper()}" for name in Settings.model_fields}


def airflow_variables() -> set[str]:
    from airflow.configuration import conf

    described = conf.configuration_description
    return {f"AIRFLOW__{s.upper()}__{key.upper()}" for s in described for key in described[s]["options"]}


def commands() -> Iterator[list[str]]:
    def below(command: Any, words: list[str]) -> Iterator[list[str]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words
        else:
            for name, one in inner.items():
                yield from below(one, [*words, name])

    yield from below(typer.main.get_command(app), ["tastemaker"])


def airflow_knows(words: list[str]) -> bool:
    from airflow.cli.cli_parser import get_parser

    try:
        get_parser().parse_args(words)
    except SystemExit:
        return False
    return True


def wrong_images(compose: Compose) -> Iterator[str]:
    version = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in compose["services"].items():
        image, _, tag = service["image"].partition(":")
        if not re.match(r"\d+\.\d+(\.\d+)?(-[a-z]+)?$", tag):
            yield f"{name}: {service['image']} has no exact version"
        if is_ours(service) and (tag != version or service.get("build") != "."):
            yield f"{name}: {image} is to be built here as version {version}"


def wrong_commands(compose: Compose) -> Iterator[str]:
    known = list(commands())
    for name, service in compose["services"].items():
        words = service.get("command", [])
        if is_ours(service):
            found = airflow_knows(words[1:]) if words[0] == "airflow" else words in known
        elif service["image"].startswith("tensorflow/serving:"):
            found = service["entrypoint"] == ["tensorflow_model_server"] and not wrong_flags(words)
        else:
            found = not words or words[0] == name + "-server"
        if not found:
            yield f"{name}: no such command: {' '.join(words)}"


def wrong_flags(words: list[str]) -> bool:
    given = {word.removeprefix("--").partition("=")[0] for word in words}
    if not given <= {field.name for field in fields(Flags)} - OURS_ALONE:
        return True
    flags = parse_flags(words)
    default = Settings.model_fields
    follows = flags.model_config_file_poll_wait_seconds > 0 and flags.allow_version_labels_for_unavailable_models
    return not follows or (flags.port, flags.rest_api_port) != (
        port_of(default["model_server"].default),
        default["model_server_rest_port"].default,
    )


def wrong_variables(compose: Compose) -> Iterator[str]:
    ours = settings_fields() | airflow_variables()
    for name, service in compose["services"].items():
        known = ours if is_ours(service) else VARIABLES[service["image"].partition(":")[0]]
        yield from (f"{name}: nobody reads {key}" for key in set(service.get("environment", {})) - known)
    # the state of a materialization names its online store by the address, as it is written
    stores = {one.get("environment", {}).get("TASTEMAKER_REDIS_URL") for one in compose["services"].values()} - {None}
    if len(stores) != 1:
        yield f"steps and feature server have different online stores: {sorted(stores)}"


def wrong_ports(compose: Compose) -> Iterator[str]:
    default = {name: field.default for name, field in Settings.model_fields.items()}
    expected = {
        "airflow-api-server": {default["airflow_port"]},
        "model-server": {port_of(default["model_server"]), default["model_server_rest_port"]},
        "feature-server": {port_of(default["feature_server"])},
    }
    for name, service in compose["services"].items():
        published = [port.split(":") for port in service.get("ports", [])]
        if {int(port[-1]) for port in published} != expected.get(name, set()):
            yield f"{name}: its ports are {expected.get(name, set())} in the settings"
        if any(port[0] != "127.0.0.1" for port in published):
            yield f"{name}: published beyond this machine"
    for text in strings([[one.get("environment"), one.get("healthcheck")] for one in compose["services"].values()]):
        for host, port in re.findall(r"(?:^|@|//)([a-z][a-z-]+):(\d+)", text):
            internal = {"postgres": {5432}, "redis": {6379}} | expected
            if int(port) not in internal.get(host, set()):
                yield f"no service listens at {host}:{port}"


def wrong_volumes(compose: Compose) -> Iterator[str]:
    folders = {image_environment()[name] for name in ("TASTEMAKER_HOME", "AIRFLOW_HOME")}
    used = set()
    for name, service in compose["services"].items():
        for volume in map(mount, service.get("volumes", [])):
            if volume["type"] == "volume":
                used.add(volume["source"])
            elif not volume["read_only"]:
                yield f"{name}: writes to {volume['source']}, outside the volumes"
            allowed = folders | {service.get("environment", {}).get("TASTEMAKER_PATH")}
            if is_ours(service) and volume["target"] not in allowed:
                yield f"{name}: nothing of ours looks at {volume['target']}"
    if used != set(compose["volumes"]):
        yield f"volumes declared {sorted(compose['volumes'])}, used {sorted(used)}"
    [models] = map(mount, compose["services"]["model-server"]["volumes"])
    flags = parse_flags(compose["services"]["model-server"]["command"])
    home = Home(Path(image_environment()["TASTEMAKER_HOME"]))
    if models["source"] != "home" or models["subpath"] != home.models.relative_to(home.root):
        yield "model-server: does not look where releases are published"
    # the config names the releases by the path that the steps know them by
    if (Path(models["target"]), Path(flags.model_config_file)) != (home.models, home.model_config):
        yield "model-server: sees the releases, or their config, at another path than the steps"
    if not models["read_only"]:
        yield "model-server: may write to the models"


def mount(volume: Any) -> dict[str, Any]:
    if isinstance(volume, str):
        source, target, *mode = volume.split(":")
        return {"type": "volume", "source": source, "target": target, "read_only": mode == ["ro"], "subpath": Path()}
    subpath = Path(volume.get("volume", {}).get("subpath", ""))
    return {"read_only": False, **volume, "subpath": subpath}


def wrong_secrets(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key) and ":?" not in value:
                yield f"{name}: {key} stands in the file"
        for first, second in zip(service.get("command", []), service.get("command", [])[1:], strict=False):
            if "pass" in first and ":?" not in second:
                yield f"{name}: {first} stands in the file"
    example = dict(re.findall(r"^(\w+)=(.*)$", (PROJECT_ROOT / ".env.example").read_text(), re.M))
    asked = {found["name"] for text in strings(compose) for found in VARIABLE.finditer(text)}
    if set(example) != asked:
        yield f".env.example and the file differ in {sorted(set(example) ^ asked)}"
    yield from (f".env.example gives {key} a value" for key, value in example.items() if value)
    yield from (
        f"{key} is no setting" for key in asked if key.startswith("TASTEMAKER") and key not in settings_fields()
    )


def wrong_health(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        if is_job(name, compose):
            if service["restart"] != "no":
                yield f"{name}: would run again for ever"
            continue
        if service["restart"] != "unless-stopped":
            yield f"{name}: does not come back"
        if "healthcheck" not in service:
            yield f"{name}: nobody asks whether it is well"
            continue
        kind, *words = service["healthcheck"]["test"]
        script = words[-1] if kind == "CMD-SHELL" or words[0] == "bash" else ""
        called = {part.split()[0] for part in re.split(r"\||&&", script) if part}
        called |= {words[0]} if kind == "CMD" else set()
        if not called <= PROGRAMS[service["image"].partition(":")[0]]:
            yield f"{name}: its image has no {sorted(called)}"
        if words[0] == "python":
            compile(words[2], name, "exec")


def wrong_waits(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for other, wait in service.get("depends_on", {}).items():
            if other not in compose["services"]:
                yield f"{name}: waits for {other}, which is not there"
            elif wait["condition"] == "service_healthy" and "healthcheck" not in compose["services"][other]:
                yield f"{name}: waits for the health of {other}, which tells none"


RULES = [
    wrong_images, wrong_commands, wrong_variables, wrong_ports, wrong_volumes, wrong_secrets, wrong_health, wrong_waits,
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_file_keeps_the_rule(rule: Callable[[Compose], Iterator[str]]) -> None:
    assert list(rule(read_compose())) == []


def put(service: str, key: str, value: Any) -> Callable[[Compose], None]:
    """Replaces a service's value; `key` may be `environment.NAME`."""

    def change(compose: Compose) -> None:
        *path, last = key.split(".")
        place = compose["services"][service]
        for part in path:
            place = place[part]
        place[last] = value

    return change


FAULTS = [
    (wrong_images, put("redis", "image", "redis:latest")),
    (wrong_images, put("redis", "image", "redis")),
    (wrong_images, put("feature-server", "image", "tastemaker:0.0.9")),
    (wrong_commands, put("feature-server", "command", ["tastemaker", "features", "sereve"])),
    (wrong_commands, put("airflow-init", "command", ["airflow", "db", "upgrade"])),
    (wrong_commands, put("model-server", "command", ["--model_name=recommender", "--model_base=/models"])),
    (wrong_commands, put("model-server", "command", ["--model_config_file=/models", "--bind_address=0.0.0.0"])),
    (wrong_commands, put("model-server", "command", ["--model_config_file=/m", "--port=8500", "--rest_api_port=8501"])),
    (wrong_variables, put("feature-server", "environment.TASTEMAKER_REDIS_ADDRESS", "redis:6379")),
    (wrong_variables, put("airflow-scheduler", "environment.AIRFLOW__CORE__SQL_ALCHEMY_CONN", "x")),
    (wrong_variables, put("feature-server", "environment.TASTEMAKER_REDIS_URL", "redis:6379")),
    (wrong_ports, put("feature-server", "ports", ["127.0.0.1:6567:6567"])),
    (wrong_ports, put("model-server", "ports", ["8500:8500", "8501:8501"])),
    (wrong_ports, put("airflow-scheduler", "environment.TASTEMAKER_MODEL_SERVER", "models:8500")),
    (wrong_volumes, put("feature-server", "volumes", ["house:/var/lib/tastemaker"])),
    (wrong_volumes, put("feature-server", "volumes", ["home:/var/tastemaker"])),
    (wrong_volumes, put("model-server", "volumes", ["home:/models:ro"])),
    (wrong_volumes, put("model-server", "command", ["--model_config_file=/models/model_config.txtpb"])),
    (wrong_secrets, put("postgres", "environment.POSTGRES_PASSWORD", "airflow")),
    (wrong_secrets, put("redis", "command", ["redis-server", "--requirepass", "secret"])),
    (wrong_secrets, put("feature-server", "environment.TASTEMAKER_FEATURE_SERVER_TOKEN", "${TOKEN:-secret}")),
    (wrong_health, lambda compose: compose["services"]["redis"].pop("healthcheck")),
    (wrong_health, put("model-server", "healthcheck.test", ["CMD", "curl", "-f", "http://localhost:8501"])),
    (wrong_health, put("redis", "healthcheck.test", ["CMD-SHELL", "curl localhost | grep -q PONG"])),
    (wrong_health, put("feature-server", "restart", "no")),
    (wrong_waits, put("feature-server", "depends_on.valkey", {"condition": "service_healthy"})),
]


@pytest.mark.parametrize(("rule", "fault"), FAULTS)
def test_a_planted_fault_is_found(rule: Callable[[Compose], Iterator[str]], fault: Callable[[Compose], None]) -> None:
    compose = copy.deepcopy(read_compose())
    fault(compose)
    assert list(rule(compose)) != []


def test_the_dockerfile_copies_what_is_there_and_every_room() -> None:
    ignored, kept = [], []
    for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            (kept if line.startswith("!") else ignored).append(line.removeprefix("!"))
    assert ignored[0] == "*"
    sources = [source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]
    for source in sources:
        assert (PROJECT_ROOT / source).exists(), f"COPY {source}: not there"
        assert source in kept, f"COPY {source}: kept out by .dockerignore"
    assert sorted(sources) == sorted(kept)
    packages = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {*packages, "dags"} <= set(sources)
    assert not any(fnmatch(".env", pattern) for pattern in kept)


def test_the_image_is_pinned_hashed_compiled_and_not_roots() -> None:
    dockerfile = list(instructions())
    [base] = [rest for name, rest in dockerfile if name == "FROM"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", base)
    runs = " ".join(rest for name, rest in dockerfile if name == "RUN")
    assert runs.count("--require-hashes") == 2
    assert "--compile-bytecode" in runs and "compileall" in runs
    [user] = [rest for name, rest in dockerfile if name == "USER"]
    uid = re.search(rf"useradd --uid (\d+) .* {user}\b", runs)
    assert uid is not None
    assert read_compose()["services"]["model-server"]["user"] == f"{uid[1]}:{uid[1]}"


def test_the_dockerfile_sets_up_as_the_makefile_does() -> None:
    def steps(text: str) -> list[str]:
        text = text.replace("\\\n", " ").replace("$(BIN)/python", "/opt/venv/bin/python")
        found = re.findall(r"(?:pip install|pip sync) [^&\n]*", text)
        drop = r"--(quiet|no-cache-dir|no-cache|disable-pip-version-check)\b"
        return [" ".join(re.sub(drop, "", step).split()) for step in found]

    assert steps((PROJECT_ROOT / "Dockerfile").read_text()) == steps((PROJECT_ROOT / "Makefile").read_text())


def test_the_image_begins_with_a_config_that_serves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ensure_model_config(home)
    [run] = [rest for name, rest in instructions() if name == "RUN" and "model_config" in rest]
    [written] = re.findall(r'echo "([^"]*)" > \$TASTEMAKER_HOME/(\S+)', run)
    assert (tmp_path / written[1]) == home.model_config
    assert written[0].split() == home.model_config.read_text().split()


def test_paths_of_the_image_are_those_of_the_file() -> None:
    [folder] = [rest for name, rest in instructions() if name == "WORKDIR"]
    scheduler = read_compose()["services"]["airflow-scheduler"]
    dags = Path(scheduler["environment"]["AIRFLOW__CORE__DAGS_FOLDER"])
    assert (PROJECT_ROOT / dags.relative_to(folder) / "features.py").is_file()
    assert scheduler["environment"]["TASTEMAKER_PATH"] in {mount(one)["target"] for one in scheduler["volumes"]}
