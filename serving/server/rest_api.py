"""The REST interface: `/v1/models/NAME[/versions/N|/labels/L][:predict|:classify|:regress|/metadata]`.

Paths, bodies and errors follow model_servers/http_rest_api_handler.cc; an answer that fails is `{"error": "…"}`.
"""

import re
import socket
import threading
import time
from typing import Any
from urllib.parse import unquote

import anyio
import uvicorn
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.protocol import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.server import examples, json_tensor
from serving.server.bearer_tokens import BearerTokens
from serving.server.flags import Flags
from serving.server.metrics import Metrics
from serving.server.predict import DEFAULT_SIGNATURE, predict
from serving.server.requests import SIGNATURE_DEF, Answering, Call, model_metadata, model_status
from serving.server.status import HTTP_CODES, Code, ServingError, invalid_argument

_TARGET = r"(?i:/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(_TARGET + r":(?P<method>classify|regress|predict))")
_GET = re.compile(r"(?i:/v1/models)|" + _TARGET + r"(?:/(?P<method>metadata))?)")
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


class RestServer:
    """Answers on a socket that is already bound, in a thread of its own."""

    def __init__(
        self,
        listening: socket.socket,
        answering: Answering,
        metrics: Metrics,
        tokens: BearerTokens,
        flags: Flags,
        metrics_path: str,
    ) -> None:
        """Args: `metrics_path`: where the Prometheus page is, "" for nowhere."""
        self._listening = listening
        self._answering = answering
        self._models = answering.models
        self._metrics = metrics
        self._tokens = tokens
        self._flags = flags
        self._metrics_path = metrics_path
        self._inside = 0
        self._most_inside = flags.rest_api_num_threads + flags.max_queued_requests
        routes = [Route("/{path:path}", self._handle, methods=["GET", "POST", "OPTIONS", "PUT", "DELETE"])]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=flags.drain_seconds,
        )
        self._server = uvicorn.Server(config)
        self._threads: anyio.CapacityLimiter | None = None
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="rest", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Lets calls in flight end and returns."""
        self._server.should_exit = True
        self._thread.join(timeout=seconds + 1)
        self._listening.close()

    async def _handle(self, request: Request) -> Response:
        headers = _CORS if self._flags.rest_api_enable_cors_support else {}
        path = request.scope["raw_path"].decode("ascii", "replace")
        try:
            if request.method == "OPTIONS":
                return Response(_preflight(request), headers=headers, media_type="application/json")
            if refusal := self._tokens.refusal(request.headers.get("authorization")):
                headers = {**headers, "WWW-Authenticate": "Bearer"}
                raise ServingError(Code.UNAUTHENTICATED, refusal)
            if request.method == "GET" and self._metrics_path and path == self._metrics_path:
                return Response(self._metrics.page(), media_type="text/plain")
            text, code = await self._inside_limits(request, path), Code.OK
        except ServingError as problem:
            text, code = json_tensor.dump({"error": problem.message}), problem.code
        return Response(text, HTTP_CODES[code], headers, media_type="application/json")

    async def _inside_limits(self, request: Request, path: str) -> str:
        if self._inside >= self._most_inside:
            raise ServingError(Code.RESOURCE_EXHAUSTED, f"The server is full: {self._inside} REST calls are inside")
        self._inside += 1
        try:
            return await self._in_thread(request.method, path, await self._body(request))
        finally:
            self._inside -= 1

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._flags.max_message_bytes:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED, f"The request is larger than {self._flags.max_message_bytes} bytes"
                )
        return bytes(body)

    async def _in_thread(self, method: str, path: str, body: bytes) -> str:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(self._flags.rest_api_num_threads)
        milliseconds = self._flags.rest_api_timeout_in_ms
        deadline = time.monotonic() + milliseconds / 1000 if milliseconds > 0 else None
        with anyio.move_on_after(milliseconds / 1000 if milliseconds > 0 else None):
            return await anyio.to_thread.run_sync(
                self._answer, method, path, body, deadline, limiter=self._threads, abandon_on_cancel=True
            )
        raise ServingError(Code.DEADLINE_EXCEEDED, f"The request took longer than {milliseconds} ms")

    def _answer(self, method: str, path: str, body: bytes, deadline: float | None) -> str:
        target = (_POST if method == "POST" else _GET).fullmatch(path) if method in ("GET", "POST") else None
        if target is None:
            raise invalid_argument(f"Malformed request: {method} {path}")
        if target["name"] is None:
            raise invalid_argument("Missing model name in request.")
        spec = _spec(target)
        action = (target["method"] or "status").lower()
        if action == "predict":
            return self._predict(spec, body, deadline)
        if action == "classify":
            return self._classify(spec, body, deadline)
        if action == "regress":
            return self._regress(spec, body, deadline)
        return self._metadata(spec) if action == "metadata" else self._status(spec)

    def _predict(self, spec: Any, body: bytes, deadline: float | None) -> str:
        request = predict_pb2.PredictRequest(model_spec=spec)
        form = json_tensor.fill_predict_request(
            body, lambda signature: self._signature_inputs(request.model_spec, signature), request
        )
        response = predict_pb2.PredictResponse()
        self._answering.answer(_call("predict", deadline), predict, request.model_spec, request, response)
        return json_tensor.predictions(response.outputs, form)

    def _classify(self, spec: Any, body: bytes, deadline: float | None) -> str:
        request = classification_pb2.ClassificationRequest(model_spec=spec)
        document = json_tensor.parse(body)
        json_tensor.fill_signature_name(document, request.model_spec)
        json_tensor.fill_examples(document, request.input)
        response = classification_pb2.ClassificationResponse()
        self._answering.answer(_call("classify", deadline), examples.classify, request.model_spec, request, response)
        rows = [[[c.label, c.score] for c in row.classes] for row in response.result.classifications]
        return json_tensor.dump({"results": rows})

    def _regress(self, spec: Any, body: bytes, deadline: float | None) -> str:
        request = regression_pb2.RegressionRequest(model_spec=spec)
        document = json_tensor.parse(body)
        json_tensor.fill_signature_name(document, request.model_spec)
        json_tensor.fill_examples(document, request.input)
        response = regression_pb2.RegressionResponse()
        self._answering.answer(_call("regress", deadline), examples.regress, request.model_spec, request, response)
        return json_tensor.dump({"results": [row.value for row in response.result.regressions]})

    def _signature_inputs(self, spec: Any, signature: str) -> Any:
        name = signature or DEFAULT_SIGNATURE
        with self._models.acquire(spec) as version:
            if name not in version.model.signatures:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            return version.model.signatures[name].inputs

    def _status(self, spec: Any) -> str:
        response = model_status(self._models, get_model_status_pb2.GetModelStatusRequest(model_spec=spec))
        return json_format.MessageToJson(
            response, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
        )

    def _metadata(self, spec: Any) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF])
        response = model_metadata(self._models, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        options = {"always_print_fields_with_no_presence": True, "preserving_proto_field_name": True}
        return json_tensor.dump(
            {
                "model_spec": json_format.MessageToDict(response.model_spec, **options),
                "metadata": {SIGNATURE_DEF: json_format.MessageToDict(signatures, **options)},
            }
        )


def _call(api: str, deadline: float | None) -> Call:
    return Call(api, "REST", None if deadline is None else deadline - time.monotonic())


def _spec(target: re.Match[str]) -> Any:
    spec = model_pb2.ModelSpec(name=unquote(target["name"]))
    if target["version"] is not None:
        number = int(target["version"])
        if number >= 2**63:
            raise invalid_argument(f"Failed to convert version: {target['version']} to numeric.")
        spec.version.value = number
    if target["label"] is not None:
        spec.version_label = unquote(target["label"])
    return spec


def _preflight(request: Request) -> str:
    if not re.search("https?://", request.headers.get("origin", "")):
        raise ServingError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")
    return ""
