"""The way to a model server: plain, or TLS with a client's certificate where one is asked for; with a token or without.

Every call to a model server goes through here, so that a setting is enough to lock the door and to have the key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tastemaker.errors import TastemakerError
from tastemaker.settings import Settings


@dataclass(frozen=True)
class Access:
    """How a server is reached: its bearer token, and PEM files for TLS. `ca` alone turns TLS on."""

    token: str | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Access":
        """As the settings say."""
        token = settings.model_server_token
        return cls(
            token.get_secret_value() if token is not None else None,
            settings.model_server_ca,
            settings.model_server_client_cert,
            settings.model_server_client_key,
        )


def open_channel(address: str, access: Access | None = None) -> grpc.Channel:
    """A channel to host:port; answers may be of any size.

    Args: `access`: by default what the settings of this process say.

    Raises TastemakerError for a certificate that cannot be read.
    """
    access = access if access is not None else Access.of(Settings())
    options = [("grpc.max_receive_message_length", -1)]
    if access.ca is None:
        channel = grpc.insecure_channel(address, options)
    else:
        credentials = grpc.ssl_channel_credentials(_pem(access.ca), _pem(access.key), _pem(access.cert))
        channel = grpc.secure_channel(address, credentials, options)
    return channel if access.token is None else grpc.intercept_channel(channel, _WithToken(access.token))


class _Fields(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


class _Details(_Fields, grpc.ClientCallDetails):
    pass


class _WithToken(grpc.UnaryUnaryClientInterceptor):
    def __init__(self, token: str) -> None:
        self._header = ("authorization", f"Bearer {token}")

    def intercept_unary_unary(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), self._header]
        return continuation(
            _Details(
                details.method,
                details.timeout,
                metadata,
                details.credentials,
                details.wait_for_ready,
                details.compression,
            ),
            request,
        )


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as problem:
        raise TastemakerError(f"The certificate file {path} cannot be read: {problem.strerror}.") from problem
