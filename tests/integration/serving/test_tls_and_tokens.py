"""Who gets in: TLS, mutual TLS, plaintext to the TLS port, tokens that are absent, wrong, expired or right."""

import json
import socket
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.channel import Access, open_channel
from serving.protocol import predict_pb2, prediction_service_pb2_grpc
from serving.tensors import from_proto, to_proto

pytestmark = pytest.mark.integration

TOKEN, EXPIRED = "a-good-token", "one-of-yesterday"


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.cert = self._sign(self.name, self.key.public_key(), ca=True)

    def issue(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Writes a certificate for localhost and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert, secret = folder / f"{name}.crt", folder / f"{name}.key"
        cert.write_bytes(pem(self._sign(subject, key.public_key(), ca=False)))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert, secret

    def write(self, folder: Path, name: str) -> Path:
        path = folder / f"{name}.crt"
        path.write_bytes(pem(self.cert))
        return path

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def guarded(start_toy_server, tmp_path_factory):
    """One server with mutual TLS and tokens: every way in and every way out on one start."""
    folder = tmp_path_factory.mktemp("guarded")
    ours, theirs = Authority("ours"), Authority("theirs")
    cert, key = ours.issue(folder, "server")
    ca = ours.write(folder, "ca")
    config = folder / "ssl.txt"
    config.write_text(
        f"server_key: {json.dumps(key.read_text())}\nserver_cert: {json.dumps(cert.read_text())}\n"
        f"custom_ca: {json.dumps(ca.read_text())}\nclient_verify: true\n"
    )
    tokens = folder / "tokens"
    tokens.write_text(f"{TOKEN}\n{EXPIRED} 2026-01-01T00:00:00Z\n")
    monitoring = folder / "monitoring.txt"
    monitoring.write_text('prometheus_config { enable: true path: "/metrics" }')
    client_cert, client_key = ours.issue(folder, "client")
    stranger_cert, stranger_key = theirs.issue(folder, "stranger")
    server = start_toy_server(
        f"--ssl_config_file={config}", f"--bearer_token_file={tokens}", f"--monitoring_config_file={monitoring}"
    )
    server.port = server.grpc_address.rpartition(":")[2]
    server.access = Access(TOKEN, ca, client_cert, client_key)
    server.no_certificate = Access(TOKEN, ca)
    server.stranger = Access(TOKEN, ca, stranger_cert, stranger_key)
    wait_until_answered(server)
    return server


def wait_until_answered(server) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            ask(server, server.access)
            return
        except grpc.RpcError as problem:
            assert problem.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND), server.text()
            assert time.monotonic() < deadline, server.text()
            time.sleep(0.1)


def ask(server, access: Access):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.inputs["x"].CopyFrom(to_proto(np.array([[1, 2]], np.float32)))
    with open_channel(f"localhost:{server.port}", access) as channel:
        return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)


def refusal(server, access: Access) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, access)
    return caught.value.code(), caught.value.details()


def with_token(access: Access, token: str | None) -> Access:
    return Access(token, access.ca, access.cert, access.key)


def test_who_has_certificate_and_token_is_answered(guarded):
    assert from_proto(ask(guarded, guarded.access).outputs["y"]).tolist() == [[2.0, 4.0]]


def test_absent_wrong_and_expired_tokens(guarded):
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    for token, said in ((None, "is required"), ("another", "not one of"), (EXPIRED, "has expired")):
        code, message = refusal(guarded, with_token(guarded.access, token))
        assert (code, said in message) == (unauthenticated, True), message


def test_no_certificate_a_strangers_and_plaintext_fail_clean_and_harm_nobody(guarded):
    for access in (guarded.no_certificate, guarded.stranger, Access(TOKEN)):
        assert refusal(guarded, access)[0] is grpc.StatusCode.UNAVAILABLE
    with socket.create_connection(("127.0.0.1", int(guarded.port)), timeout=10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(4096))
        raw.settimeout(10)
        try:
            answer = raw.recv(4096)
        except ConnectionResetError:
            answer = b""
    assert b"HTTP/1.1 200" not in answer
    assert ask(guarded, guarded.access).model_spec.version.value == 1
    assert "Traceback" not in guarded.text()


def test_health_asks_for_no_token(guarded):
    with open_channel(f"localhost:{guarded.port}", with_token(guarded.access, None)) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_rest_asks_for_the_token_too(guarded):
    url = f"http://{guarded.rest_address}/v1/models/toy:predict"
    body = json.dumps({"instances": [[1.0, 2.0]]}).encode()
    for path, data in ((url, body), (f"http://{guarded.rest_address}/metrics", None)):
        for header, code in ((None, 401), (f"Bearer {EXPIRED}", 401), (f"Bearer {TOKEN}", 200)):
            request = urllib.request.Request(path, data, {"Authorization": header} if header else {})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    found = answer.status
            except urllib.error.HTTPError as problem:
                found = problem.code
                assert "token" in json.loads(problem.read())["error"]
                assert problem.headers["WWW-Authenticate"] == "Bearer"
            assert found == code, (path, header)


def test_a_token_that_is_taken_out_of_the_file_counts_no_more(guarded):
    file = guarded.access.ca.parent / "tokens"
    file.write_text("the-next\n")
    deadline = time.monotonic() + 20
    while True:
        try:
            ask(guarded, with_token(guarded.access, "the-next"))
            break
        except grpc.RpcError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert refusal(guarded, guarded.access)[0] is grpc.StatusCode.UNAUTHENTICATED
