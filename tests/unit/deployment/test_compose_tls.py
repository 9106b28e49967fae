"""docker-compose.tls.yml over docker-compose.yml: it changes one service that is there, by settings that are read."""

from pathlib import PurePosixPath

import yaml
from compose_file import VARIABLE, read_compose, strings

from tastemaker.settings import PROJECT_ROOT, Settings

TLS = yaml.safe_load((PROJECT_ROOT / "docker-compose.tls.yml").read_text())


def test_the_feature_server_finds_its_key_and_certificate_where_compose_puts_them() -> None:
    [(name, service)] = TLS["services"].items()
    base = read_compose()["services"][name]
    assert base["command"] == ["tastemaker", "features", "serve"]
    assert not set(service["environment"]) & set(base["environment"])
    read = {f"TASTEMAKER_{field.upper()}" for field in Settings.model_fields}
    assert set(service["environment"]) <= read
    # a secret without a target stands below /run/secrets by its name
    assert [PurePosixPath(path) for path in service["environment"].values()] == [
        PurePosixPath("/run/secrets", secret) for secret in service["secrets"]
    ]
    assert set(TLS["secrets"]) == set(service["secrets"])
    assert {found["name"] for text in strings(TLS) for found in VARIABLE.finditer(text)} == set(service["environment"])


def test_its_health_is_asked_where_the_other_file_asks() -> None:
    [(name, service)] = TLS["services"].items()
    *words, script = service["healthcheck"]["test"]
    *base_words, base_script = read_compose()["services"][name]["healthcheck"]["test"]
    assert words == base_words
    compile(script, "health", "exec")
    [address] = [word for word in base_script.split('"') if word.startswith("http://")]
    assert address.replace("http:", "https:") in script
