"""The command line of the embedded server: TF-Serving's flags by their names, with their defaults.

`--flag=value` and `--flag value` are taken; a boolean is `--flag`, `--flag=true` or `--flag=false`. The flags after
`# ours` are not TF-Serving's.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

CPUS = len(os.sched_getaffinity(0))


def _flag(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class Flags:
    """Every flag with its value."""

    port: int = _flag(8500, "TCP port of the gRPC API.")
    rest_api_port: int = _flag(0, "TCP port of the REST API; 0 leaves it out.")
    rest_api_num_threads: int = _flag(4 * CPUS, "Threads that answer REST calls.")
    rest_api_timeout_in_ms: int = _flag(30_000, "How long a REST call may take.")
    rest_api_enable_cors_support: bool = _flag(False, "Send CORS headers.")
    model_name: str = _flag("default", "Name of the model; not with --model_config_file.")
    model_base_path: str = _flag("", "Folder of its versions; not with --model_config_file.")
    model_config_file: str = _flag("", "ModelServerConfig in protobuf text format.")
    model_config_file_poll_wait_seconds: int = _flag(0, "How often that file is read again; 0 is never.")
    file_system_poll_wait_seconds: int = _flag(1, "How often folders are looked at; 0 is once, negative never.")
    max_num_load_retries: int = _flag(5, "How often a failed load is tried again.")
    load_retry_interval_micros: int = _flag(60_000_000, "Microseconds between such tries.")
    allow_version_labels_for_unavailable_models: bool = _flag(False, "A new label may name a version to come.")
    enable_model_warmup: bool = _flag(True, "Run assets.extra/tf_serving_warmup_requests before a version serves.")
    num_request_iterations_for_warmup: int = _flag(0, "How often each of them runs; 0 is once.")
    tensorflow_session_parallelism: int = _flag(
        0, "Threads within and between operations; with all three 0 each request that runs has one thread."
    )
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads within an operation; 0 is automatic.")
    tensorflow_inter_op_parallelism: int = _flag(
        0, "Threads between operations; 0 is automatic, -1 runs them in the caller's."
    )
    saved_model_tags: str = _flag("serve", "Tags of the graph to load, with commas.")
    grpc_max_threads: int = _flag(4 * CPUS, "Threads that answer gRPC calls.")
    grpc_channel_arguments: str = _flag("", "gRPC arguments, as name=value with commas.")
    enable_grpc_healthcheck_service: bool = _flag(True, "Serve grpc.health.v1 (TF-Serving: off by default).")
    ssl_config_file: str = _flag("", "SSLConfig in protobuf text format: the gRPC port speaks TLS.")
    monitoring_config_file: str = _flag("", "MonitoringConfig in protobuf text format: Prometheus metrics.")
    # ours
    bind_address: str = _flag("0.0.0.0", "Address to listen on.")
    max_running_requests: int = _flag(CPUS, "Requests that run a model at once; more wait.")
    max_queued_requests: int = _flag(64, "Requests that may wait, in a burst; more get RESOURCE_EXHAUSTED.")
    bearer_token_file: str = _flag("", "Tokens that callers must send, one a line, with an end if it has one.")
    max_message_bytes: int = _flag(64 << 20, "Largest request taken.")
    release_public_key_file: str = _flag("", "PEM file of the keys whose releases are served, and no other model.")
    allow_unsigned_releases: bool = _flag(False, "With that file: serve releases that nobody has signed, too.")
    drain_seconds: int = _flag(20, "How long calls in flight may go on after SIGTERM.")
    end_with_parent: int = _flag(0, "The process that started this one, by id: end when it does; 0 is never.")

    def problem(self) -> str | None:
        """What is wrong with the flags together, in one sentence."""
        if self.port <= 0:
            return "--port must be the gRPC API's TCP port, 1 to 65535."
        if self.rest_api_port == self.port:
            return "--rest_api_port cannot be the same as --port; use a different port for the REST API."
        if not self.model_base_path and not self.model_config_file:
            return "Both --model_base_path and --model_config_file are empty; name the folder of a model's versions."
        if self.max_running_requests < 1 or self.max_queued_requests < 0:
            return "--max_running_requests must be 1 or more and --max_queued_requests 0 or more."
        intra, inter = self.tensorflow_intra_op_parallelism, self.tensorflow_inter_op_parallelism
        if intra > 0 and inter > 0 and self.tensorflow_session_parallelism > 0:
            return (
                "Either configure --tensorflow_session_parallelism or (--tensorflow_intra_op_parallelism, "
                "--tensorflow_inter_op_parallelism) separately. You cannot configure all."
            )
        return None

    @property
    def slots(self) -> int:
        """How many requests run a model at once."""
        return min(self.max_running_requests, self.grpc_max_threads)

    @property
    def parallelism(self) -> tuple[int, int, int]:
        """Threads within and between operations, as TF-Serving settles the three flags, and for whole requests.

        Where no flag is given a request has one thread: as many as may run at once, and one for those that warm up.
        """
        intra, inter = self.tensorflow_intra_op_parallelism, self.tensorflow_inter_op_parallelism
        if intra or inter:
            return intra, inter, 0
        both = self.tensorflow_session_parallelism
        return (both, both, 0) if both else (1, 0, self.slots + 1)


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Reads a command line; exits with usage where it is not understood."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="The embedded model server: TF-Serving's gRPC and REST interfaces over SavedModels.",
        allow_abbrev=False,
    )
    for one in fields(Flags):
        assert one.default is not MISSING
        shared = {"dest": one.name, "default": one.default, "help": f"{one.metadata['help']} Default: {one.default}."}
        if isinstance(one.default, bool):
            parser.add_argument(f"--{one.name}", type=_boolean, nargs="?", const=True, **shared)
        else:
            parser.add_argument(f"--{one.name}", type=type(one.default), **shared)
    flags = Flags(**vars(parser.parse_args(arguments)))
    if problem := flags.problem():
        parser.error(problem)
    return flags


def _boolean(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return known[text.lower()]
