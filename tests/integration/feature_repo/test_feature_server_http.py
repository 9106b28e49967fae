import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from declared_warehouse import WriteWarehouse, feature_row, moment

from feature_repo.feature_server import serve_features
from feature_repo.materialize import materialize
from tastemaker.config import Config
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.settings import PROJECT_ROOT, Settings

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("online_store")]

TOKEN = "a secret of the test"
ASK = {"feature_service": "profile_v1", "entities": {"user_id": ["ann", "late", "nobody"]}}


@pytest.fixture
def shop(home: Home, config: Config, write_warehouse: WriteWarehouse) -> Home:
    write_warehouse(
        {"user_activity": [feature_row("ann", 10, user_sessions_90d=4), feature_row("late", 9, user_sessions_90d=5)]}
    )
    materialize(home, config, moment(10))
    return home


def command(home: Home, address: str, **more: str) -> tuple[list[str], dict[str, str]]:
    environment = {
        **os.environ,
        "TASTEMAKER_HOME": str(home.root),
        "TASTEMAKER_FEATURE_SERVER": address,
        "TASTEMAKER_FEATURE_SERVER_TOKEN": TOKEN,
        **more,
    }
    return [str(Path(sys.executable).with_name("tastemaker")), "features", "serve"], environment


@contextmanager
def served(home: Home, log: Path, **more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    words, environment = command(home, "127.0.0.1:0", **more)
    with log.open("w") as errors:
        server = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "Feature server on" in line, log.read_text()
        yield line.split()[3].rstrip(";"), server
    finally:
        server.kill()
        server.wait()


def ask(
    address: str, path: str, body: object = None, token: str | None = TOKEN, context: ssl.SSLContext | None = None
) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, data, headers), timeout=60, context=context
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_features_over_http_for_those_with_the_token(shop: Home, config: Config, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served(shop, log) as (address, server):
        status, body = ask(address, "/get-online-features", ASK)
        assert status == 200, body
        answer = json.loads(body)
        column = answer["metadata"]["feature_names"].index("user_sessions_90d")
        assert answer["results"][column]["values"] == [4, 5, None]
        assert answer["results"][column]["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]

        for token in (None, "a wrong one"):
            status, body = ask(address, "/get-online-features", ASK, token)
            assert status == 401
            assert "profile" not in body
        assert TOKEN not in log.read_text()
        assert log.read_text().count("401 for POST /get-online-features from 127.0.0.1") == 2
        assert ask(address, "/health", token=None)[0] == 200
        assert ask(address, "/write-to-online-store", {"feature_view_name": "user_activity", "df": {}})[0] == 404
        assert ask(address, "/materialize", {})[0] == 404
        status, body = ask(address, "/get-online-features", {**ASK, "feature_service": "nothing"})
        assert status == 404
        assert "no feature service 'nothing'" in body
        assert str(shop.root) not in body
        assert "Traceback" not in body
        named = {"features": ["user_activity:user_sesions_90d"], "entities": {"user_id": ["ann"]}}
        status, body = ask(address, "/get-online-features", named)
        assert (status, "Did you mean 'user_sessions_90d'?" in body) == (404, True)

        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0


def test_a_taken_port_is_a_sentence(shop: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words, environment = command(shop, address)
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 4
    assert (
        ended.stderr.strip()
        .splitlines()[-1]
        .startswith(f"tastemaker: The feature server can't listen on {address} (Address already in use)")
    )
    assert "Traceback" not in ended.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate of 127.0.0.1 that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "key.pem", tmp_path / "certificate.pem"
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[0].write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    paths[1].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return paths


@pytest.mark.parametrize("online_store", ["sqlite"], indirect=True)
def test_tls_is_a_setting(shop: Home, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    key, signed = certificate
    log = tmp_path / "log"
    files = {
        "TASTEMAKER_FEATURE_SERVER_TLS_KEY": str(key),
        "TASTEMAKER_FEATURE_SERVER_TLS_CERT": str(signed),
    }
    trusting = ssl.create_default_context(cafile=str(signed))
    with served(shop, log, **files) as (address, _):
        assert address.startswith("https://127.0.0.1:")
        status, body = ask(address, "/get-online-features", ASK, context=trusting)
        assert status == 200, body
        status, body = ask(address, "/get-online-features", ASK, token=None, context=trusting)
        assert (status, "profile" in body) == (401, False)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(address, "/health", context=ssl.create_default_context())
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            ask(address.replace("https:", "http:"), "/health")

        # in containers the same two settings, and a health check that speaks TLS
        service = yaml.safe_load((PROJECT_ROOT / "docker-compose.tls.yml").read_text())["services"]["feature-server"]
        assert set(service["environment"]) == set(files)
        kind, program, option, script = service["healthcheck"]["test"]
        assert (kind, program, "https://127.0.0.1:6566/" in script) == ("CMD", "python", True)
        asked = script.replace("https://127.0.0.1:6566", address)
        subprocess.run([sys.executable, option, asked], check=True, timeout=60)
    assert log.read_text().count("401 for POST /get-online-features") == 1
    assert TOKEN not in log.read_text()


def test_half_of_tls_or_a_wrong_file_is_a_sentence(home: Home, certificate: tuple[Path, Path]) -> None:
    key, signed = certificate
    for files, told in (
        ((key, None), "TLS needs both"),
        ((key, signed.with_name("gone.pem")), r"There is no TLS file at .*gone\.pem"),
        ((signed, key), "is no certificate with its key"),
    ):
        settings = Settings(home=home.root, feature_server_tls_key=files[0], feature_server_tls_cert=files[1])
        with pytest.raises(TastemakerError, match=told):
            serve_features(home, settings, ready=print)
