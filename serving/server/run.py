"""The server's life: take the ports, load, answer, drain, end."""

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.protocol import model_service_pb2_grpc, prediction_service_pb2_grpc
from serving.server.admission import Admission
from serving.server.bearer_tokens import BearerTokens, Token
from serving.server.flags import Flags
from serving.server.grpc_api import ModelService, PredictionService, TokenGuard
from serving.server.metrics import DEFAULT_PATH, Metrics
from serving.server.model_config import (
    read_model_config,
    read_monitoring_config,
    read_ssl_config,
    single_model_config,
)
from serving.server.models import Models, Polling
from serving.server.requests import Answering
from serving.server.rest_api import RestServer
from serving.server.status import ServingError
from serving.server.versions import LoadRetries
from tastemaker.errors import BusyError, TastemakerError

log = logging.getLogger("tastemaker.serving")

HEALTH_SERVICES = ("", "ModelService", "PredictionService")

# Threads besides those that run or wait: they refuse, and answer what runs no model.
_SPARE_THREADS = 4

# How long a thread of Python may keep the others waiting. Of a load little is Python; at the default of 5 ms a request
# that meets it would wait a multiple of that.
_SWITCH_SECONDS = 0.0005

# By how much the thread that loads is nicer than the others, once there is something to serve. Not before: the first
# load makes the threads that TensorFlow answers with, and they inherit it. Figures: benchmarks/reliability.md.
_LOADING_NICE = 5

_PR_SET_PDEATHSIG = 1  # prctl(2)


class Server:
    """A running server: made from its flags, started, stopped."""

    def __init__(self, flags: Flags, tokens: Sequence[Token] = ()) -> None:
        """Takes the ports. Raises BusyError where one is taken, TastemakerError for a wrong configuration file.

        Args: `tokens`: bearer tokens besides those of the flags' file.
        """
        self._flags = flags
        self._metrics = Metrics()
        self._tokens = BearerTokens(tokens, Path(flags.bearer_token_file) if flags.bearer_token_file else None)
        config = _sentence(lambda: _model_config(flags))
        self._models = Models(
            self._load,
            Polling(
                folder_seconds=flags.file_system_poll_wait_seconds,
                config_file=Path(flags.model_config_file) if flags.model_config_file else None,
                config_file_seconds=flags.model_config_file_poll_wait_seconds,
            ),
            LoadRetries(flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6),
            flags.allow_version_labels_for_unavailable_models,
        )
        _sentence(lambda: self._models.reload(config))
        admission = Admission(flags.slots, flags.max_queued_requests)
        self._answering = Answering(self._models, self._metrics, admission)
        self._health = health.HealthServicer()
        self._grpc = self._grpc_server()
        self._rest = self._rest_server()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins to answer; models load in the background."""
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._models.start()
        self._grpc.start()
        if self._rest is not None:
            self._rest.start()
        threading.Thread(target=self._announce, name="announce", daemon=True).start()

    def wait(self) -> None:
        """Waits until `stop` was called and has ended."""
        self._stopped.wait()

    def stop(self) -> None:
        """Refuses new calls, lets those in flight end (at most `drain_seconds`), and ends."""
        if self._stopped.is_set():
            return
        log.info("Stopping: calls in flight have %d s", self._flags.drain_seconds)
        self._health.enter_graceful_shutdown()
        ended = self._grpc.stop(self._flags.drain_seconds)
        if self._rest is not None:
            self._rest.stop(self._flags.drain_seconds)
        ended.wait()
        self._models.close()
        log.info("Stopped")
        self._stopped.set()

    def _announce(self) -> None:
        while not self._models.wait_until_settled(60):
            log.info("Still loading models")
        # 60,000 objects live as long as the process. Looking through them all takes the collector a tenth of a second
        # on a busy machine, at a time of its own choosing, while every request waits.
        gc.collect()
        gc.freeze()
        self._set_health(health_pb2.HealthCheckResponse.SERVING)
        log.info("Ready: gRPC %s:%d, REST %s", self._flags.bind_address, self._flags.port, self._flags.rest_api_port)

    def _load(self, name: str, folder: Path) -> Any:
        # Imported with the first load, in the background: TensorFlow's library is 1.1 GB, a taken port is told in 1 s.
        from serving.server.loading import load_version

        model = load_version(name, folder, self._flags)
        nice = min(19, os.getpriority(os.PRIO_PROCESS, os.getpid()) + _LOADING_NICE)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        return model

    def _grpc_server(self) -> grpc.Server:
        flags = self._flags
        options: list[tuple[str, Any]] = [
            ("grpc.so_reuseport", 0),  # otherwise a second server would share the port in silence
            ("grpc.max_receive_message_length", flags.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            *_channel_arguments(flags.grpc_channel_arguments),
        ]
        # A call that waits for its turn keeps a thread; the pool makes one only when none is free.
        places = flags.grpc_max_threads + flags.max_queued_requests + _SPARE_THREADS
        server = grpc.server(
            ThreadPoolExecutor(places, thread_name_prefix="grpc"),
            interceptors=[TokenGuard(self._tokens)] if self._tokens.asked_for else [],
            options=options,
            maximum_concurrent_rpcs=places,
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(self._answering), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(self._models, 300), server)
        if flags.enable_grpc_healthcheck_service:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        address = f"{flags.bind_address}:{flags.port}"
        try:
            if flags.ssl_config_file:
                server.add_secure_port(address, _sentence(lambda: _credentials(Path(flags.ssl_config_file))))
            else:
                server.add_insecure_port(address)
        except RuntimeError:
            raise _port_taken(flags.port, "--port") from None
        return server

    def _rest_server(self) -> RestServer | None:
        flags = self._flags
        if not flags.rest_api_port:
            return None
        metrics_path = ""
        if flags.monitoring_config_file:
            monitoring = _sentence(lambda: read_monitoring_config(Path(flags.monitoring_config_file)))
            if monitoring.prometheus_config.enable:
                metrics_path = monitoring.prometheus_config.path or DEFAULT_PATH
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((flags.bind_address, flags.rest_api_port))
        except OSError:
            listening.close()
            raise _port_taken(flags.rest_api_port, "--rest_api_port") from None
        return RestServer(listening, self._answering, self._metrics, self._tokens, flags, metrics_path)

    def _set_health(self, status: Any) -> None:
        for service in HEALTH_SERVICES:
            self._health.set(service, status)


def run(flags: Flags, tokens: Sequence[Token] = ()) -> None:
    """Serves until SIGTERM or SIGINT, then drains. Raises BusyError where a port is taken."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    sys.setswitchinterval(_SWITCH_SECONDS)
    if flags.end_with_parent:
        _end_with(flags.end_with_parent)
    server = Server(flags, tokens)

    def end(signum: int, _: FrameType | None) -> None:
        log.info("Got %s", signal.Signals(signum).name)
        threading.Thread(target=server.stop, name="stop").start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server.start()
    server.wait()


def _end_with(parent: int) -> None:
    """Has the kernel send this process SIGTERM when its parent ends; raises TastemakerError where it has by now."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise TastemakerError(f"Process {parent}, which this server was to end with, is not its parent any more.")


def _model_config(flags: Flags) -> Any:
    if flags.model_config_file:
        return read_model_config(Path(flags.model_config_file))
    return single_model_config(flags.model_name, str(Path(flags.model_base_path).absolute()))


def _credentials(path: Path) -> grpc.ServerCredentials:
    config = read_ssl_config(path)
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _channel_arguments(text: str) -> list[tuple[str, Any]]:
    pairs = (argument.split("=", 1) for argument in text.split(",") if "=" in argument)
    return [(name, int(value) if value.lstrip("-").isdigit() else value) for name, value in pairs]


def _port_taken(port: int, flag: str) -> BusyError:
    return BusyError(f"Port {port} is taken; stop what listens there or name a free one with {flag}.")


def _sentence(work: Any) -> Any:
    try:
        return work()
    except ServingError as problem:
        raise TastemakerError(problem.message) from problem
