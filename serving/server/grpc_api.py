"""PredictionService and ModelService over gRPC."""

from collections.abc import Callable
from typing import Any, NoReturn

import grpc

from serving.protocol import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from serving.server import examples
from serving.server.bearer_tokens import BearerTokens
from serving.server.models import Models
from serving.server.predict import predict
from serving.server.requests import Answering, Call, model_metadata, model_status
from serving.server.status import GRPC_CODES, Code, ServingError, invalid_argument

_OPEN_TO_ALL = "/grpc.health.v1.Health/"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference, GetModelMetadata."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Named tensors in, named tensors out."""
        return self._run("Predict", predict, request, predict_pb2.PredictResponse(), context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Examples in, classes with scores out."""
        return self._run("Classify", examples.classify, request, classification_pb2.ClassificationResponse(), context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Examples in, one number each out."""
        return self._run("Regress", examples.regress, request, regression_pb2.RegressionResponse(), context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Several signatures over the same examples."""
        response = inference_pb2.MultiInferenceResponse()
        if not request.tasks:
            _abort(context, invalid_argument("Inference request must have at least one task"))
        spec = request.tasks[0].model_spec
        return self._run("MultiInference", examples.multi_inference, request, response, context, spec)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The signatures of a version."""
        return _or_abort(context, lambda: model_metadata(self._answering.models, request))

    def _run(
        self, api: str, work: Callable[..., None], request: Any, response: Any, context: Any, spec: Any = None
    ) -> Any:
        if spec is None:
            if not request.HasField("model_spec"):
                _abort(context, invalid_argument("Missing ModelSpec"))
            spec = request.model_spec
        call = Call(api, "GRPC", context.time_remaining(), context.is_active)
        try:
            self._answering.answer(call, work, spec, request, response)
        except ServingError as problem:
            _abort(context, problem)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus, HandleReloadConfigRequest."""

    def __init__(self, models: Models, reload_seconds: float) -> None:
        """Args: `reload_seconds`: how long a reload waits for new models to serve."""
        self._models = models
        self._reload_seconds = reload_seconds

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Each version's state."""
        return _or_abort(context, lambda: model_status(self._models, request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Takes a new list of models; answers when they serve."""

        def reload() -> Any:
            self._models.reload(request.config)
            if not self._models.wait_until_settled(self._reload_seconds):
                raise ServingError(Code.UNKNOWN, f"models did not become available in {self._reload_seconds:.0f} s")
            response = model_management_pb2.ReloadConfigResponse()
            response.status.error_code = 0
            return response

        return _or_abort(context, reload)


class TokenGuard(grpc.ServerInterceptor):
    """Lets in who has a token. Health is open: a load balancer asks it, and it tells nothing of the models."""

    def __init__(self, tokens: BearerTokens) -> None:
        self._tokens = tokens

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The call's handler, or one that refuses."""
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_OPEN_TO_ALL):
            return handler
        refusal = self._tokens.refusal(dict(handler_call_details.invocation_metadata).get("authorization"))
        if refusal is None:
            return handler

        def refuse(request: Any, context: grpc.ServicerContext) -> NoReturn:
            _abort(context, ServingError(Code.UNAUTHENTICATED, refusal))

        return grpc.unary_unary_rpc_method_handler(refuse)


def _or_abort(context: Any, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ServingError as problem:
        _abort(context, problem)


def _abort(context: Any, problem: ServingError) -> NoReturn:
    context.abort(GRPC_CODES[problem.code], problem.message)
    raise problem  # abort raises; this tells the type checker
