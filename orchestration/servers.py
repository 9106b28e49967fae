"""The model server and the feature server as services beside us."""

import sys
from pathlib import Path

import grpc

from orchestration.services import Service, accepts_connections
from serving.channel import open_channel
from serving.protocol import get_model_status_pb2, model_service_pb2_grpc
from serving.releases.labels import read_served
from serving.releases.running import answers
from tastemaker import names
from tastemaker.settings import Settings

TASTEMAKER = str(Path(sys.executable).parent / "tastemaker")


def model_server_service(settings: Settings) -> Service:
    """`tastemaker serve`; ready when it answers, and has loaded every release that has a label."""
    return Service(
        name="the model server",
        command=[TASTEMAKER, "serve"],
        environment=settings.environment(),
        log=settings.paths.root / "logs" / "model_server.log",
        ready=lambda: (
            answers(settings.model_server)
            and set(read_served(settings.paths).versions) <= set(served_versions(settings.model_server))
        ),
    )


def feature_server_service(settings: Settings) -> Service:
    """`tastemaker features serve`; ready when its port accepts connections."""
    return Service(
        name="the feature server",
        command=[TASTEMAKER, "features", "serve"],
        environment=settings.environment(),
        log=settings.paths.root / "logs" / "feature_server.log",
        ready=lambda: accepts_connections(settings.feature_server),
    )


def served_versions(address: str) -> list[int]:
    """Versions of the recommender that the server at host:port has available; none when nobody answers."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = names.MODEL_NAME
    with open_channel(address) as channel:
        try:
            answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=5)
        except grpc.RpcError as problem:
            if problem.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
                return []
            raise
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    return sorted(status.version for status in answer.model_version_status if status.state == available)
