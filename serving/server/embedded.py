"""The model server of one home, on this machine: what `tastemaker serve` runs."""

from collections.abc import Sequence

from serving.releases.labels import ensure_model_config
from serving.releases.rollback import leave_damaged
from serving.releases.running import config_flags
from serving.releases.versions import releases_folder
from serving.server.bearer_tokens import Token
from serving.server.flags import parse_flags
from serving.server.run import run
from tastemaker.errors import TastemakerError
from tastemaker.home import Home


def serve_home(
    home: Home, address: str, rest_port: int, arguments: Sequence[str] = (), token: str | None = None
) -> None:
    """Serves the releases that have a label, until SIGTERM or SIGINT; labels may still be to come, and may move.

    Args:
        address: gRPC host:port; the REST port is on the same host.
        arguments: flags of `serving.server.flags`, which win over the rest.
        token: a bearer token that callers must send.

    Raises BusyError where a port is taken.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise TastemakerError(f"TASTEMAKER_MODEL_SERVER is '{address}'; it must be host:port, as in 127.0.0.1:8500.")
    releases_folder(home).mkdir(parents=True, exist_ok=True)
    ensure_model_config(home)
    try:
        left = leave_damaged(home)
    except TastemakerError as problem:  # there is nothing to go back to; the port opens, and who asks is told
        print(f"The stable version is damaged. {problem}", flush=True)
    else:
        if left is not None:
            print(f"Version {left.left} is damaged: version {left.stable} is stable again.", flush=True)
    flags = [f"--port={port}", f"--rest_api_port={rest_port}", f"--bind_address={host}", *config_flags(home)]
    run(parse_flags([*flags, *arguments]), [Token.of(token)] if token else [])
