"""What a product backend does for one recommendation: one feature lookup, one Predict, and a list all the same when
no model answers.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import grpc

from serving.channel import Access, open_channel
from serving.circuit_breaker import CircuitBreaker
from serving.fallback import Fallback, popular_of_home
from serving.hedging import RetryBudget, UsualLatency, hedged
from serving.protocol import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc
from serving.request_input import RequestInput
from serving.tensors import from_proto
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import from_microseconds, microseconds

# (user_id, at) → feature name → value; None or absent is missing
Lookup = Callable[[str, datetime | None], Mapping[str, Any]]

log = logging.getLogger("tastemaker.serving")

DEADLINE_SECONDS = 2.0
_MAX_K = 2**31 - 1
_METADATA = "signature_def"
_UNKNOWN_LABEL = "Unrecognized servable version label"
# Nobody answered, or not as a server that is well does. A refusal is an answer: the server is full, not broken.
_BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)
_NO_ANSWER = (*_BROKEN, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.CANCELLED)


class NoAnswerError(TastemakerError):
    """No release answered: the server is away, stuck, full, or serves none yet."""


class _RefusedError(TastemakerError):
    """The server finds fault with the request itself; `call` says which."""

    def __init__(self, sentence: TastemakerError, call: Any) -> None:
        super().__init__(str(sentence))
        self.call = call


@dataclass(frozen=True)
class Recommendation:
    """One ranked item; `probability` that the user takes it up, `release` that said so.

    `degraded` is "" for an answer of the model. Else it says why there was none: the item is one of the release's most
    popular, the same for everybody, and its probability is NaN. `sources` are the names of the candidate sources that
    proposed the item: none from a release that does not tell them. `items_fresh_until` is the moment from which the
    release's item features are older than they should be; None where the release sets no bound or did not answer.
    """

    rank: int
    item_id: str
    probability: float
    release: str
    degraded: str = ""
    sources: tuple[str, ...] = ()
    items_fresh_until: datetime | None = None


class Recommender:
    """Asks a model server for a user's items. Safe to share between threads; close it or use it in `with`.

    A call that is slower than usual is sent once more, as far as the budget for that goes; after five failures in a row
    the server is left alone for two seconds. With a fallback, whoever asks has an answer by the deadline.
    """

    def __init__(
        self,
        address: str,
        lookup: Lookup,
        *,
        model: str = names.MODEL_NAME,
        label: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        fallback: Fallback | None = None,
        access: Access | None = None,
    ) -> None:
        """A recommender of one server.

        Args:
            address: gRPC host:port.
            label: whose version answers; the newest without.
            deadline_seconds: for the Predict, after the lookup.
            fallback: what to show when no model answers; without it that is a NoAnswerError.
            access: token and certificates; by default those of the settings.
        """
        self._address = address
        self._lookup = lookup
        self._model = model
        self._label = label
        self._deadline = deadline_seconds
        self._fallback = fallback
        self._breaker = CircuitBreaker()
        self._budget = RetryBudget()
        self._latency = UsualLatency()
        self._last_version = 0
        self._last_reason = ""
        self.calls_sent = 0  # second tries too
        self._channel = open_channel(address, access)
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._inputs: tuple[int, dict[str, RequestInput]] | None = None

    @classmethod
    def of_home(cls, home: Home, address: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> Self:
        """A recommender whose features come from a home's online store, whose answers from the stable release, and
        whose fallback is that release's popular items.
        """
        return cls(
            address,
            online_lookup(home),
            label="stable",
            deadline_seconds=deadline_seconds,
            fallback=popular_of_home(home),
        )

    def recommend(
        self, user_id: str, k: int = 10, at: datetime | None = None, exclude: Sequence[str] = ()
    ) -> list[Recommendation]:
        """The user's `k` best items, best first; all there are when `k` is more than the catalogue.

        Args:
            user_id: an unknown one gets what suits an unknown user.
            k: 1 or more.
            at: the request's time; by default the one the release was built as of.
            exclude: items that must not come.

        Raises TastemakerError, in a sentence, for a `k` below 1 and for a server that refuses the request; and
        NoAnswerError, where there is no fallback, for one that is not there, serves no release, is full or too slow.
        """
        if not 1 <= k <= _MAX_K:
            raise TastemakerError(f"k is {k}; ask for 1 to {_MAX_K} items.")
        given = {
            **self._lookup(user_id, at),
            names.INPUT_K: k,
            names.INPUT_EXCLUDE_ITEM_IDS: list(exclude),
            names.REQUEST_TIMESTAMP: microseconds(at) if at is not None else 0,
        }
        try:
            outputs = self._predict(given)
        except NoAnswerError as problem:
            return self._popular(k, exclude, problem)
        items = from_proto(outputs[names.OUTPUT_ITEM_IDS])[0]
        scores = from_proto(outputs[names.OUTPUT_SCORES])[0]
        release = from_proto(outputs[names.OUTPUT_RELEASE]).ravel()[0].decode()
        # Always asked for, never filtered out: TensorFlow prepares the graph anew for each set of outputs, and only the
        # whole set was warmed up.
        told = names.OUTPUT_SOURCES in outputs
        named = from_proto(outputs[names.OUTPUT_SOURCES])[0] if told else [b""] * len(items)
        bound = outputs.get(names.OUTPUT_ITEMS_FRESH_UNTIL)
        fresh_until = from_microseconds(int(from_proto(bound).ravel()[0])) if bound is not None else None
        kept = [one for one in zip(items, scores, named, strict=True) if one[0]]
        return [
            Recommendation(
                rank,
                item.decode(),
                float(score),
                release,
                sources=tuple(by.decode().split(",")) if by else (),
                items_fresh_until=fresh_until,
            )
            for rank, (item, score, by) in enumerate(kept, start=1)
        ]

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _popular(self, k: int, exclude: Sequence[str], problem: NoAnswerError) -> list[Recommendation]:
        popular = self._fallback(self._last_version) if self._fallback is not None else None
        if popular is None:
            raise problem
        if str(problem) != self._last_reason:  # once, not for every caller of a server that is away for minutes
            self._last_reason = str(problem)
            log.warning("Popular items of %s instead of a user's own: %s", popular.release, problem)
        left_out = set(exclude)
        kept = [item for item in popular.item_ids if item not in left_out][:k]
        return [
            Recommendation(rank, item, float("nan"), popular.release, str(problem))
            for rank, item in enumerate(kept, start=1)
        ]

    def _predict(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        deadline = time.monotonic() + self._deadline
        version, inputs = self._inputs or self._read_inputs(deadline)
        try:
            response = self._call(self._service.Predict, self._request(inputs, given), deadline)
        except _RefusedError as refused:
            newer, inputs = self._read_inputs(deadline)
            if newer == version:
                raise self._sentence(refused.call) from None
            # A release with other inputs took over between the metadata and this call.
            response = self._call(self._service.Predict, self._request(inputs, given), deadline)
        self._last_version, self._last_reason = response.model_spec.version.value, ""
        if self._last_version != (self._inputs or (0,))[0]:
            self._inputs = None
        return response.outputs

    def _read_inputs(self, deadline: float) -> tuple[int, dict[str, RequestInput]]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[_METADATA])
        self._name_model(request.model_spec)
        response = self._call(self._service.GetModelMetadata, request, deadline)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[_METADATA].Unpack(signatures)
        if names.SIGNATURE_RECOMMEND not in signatures.signature_def:
            raise TastemakerError(
                f"'{self._model}' at {self._address} has no signature '{names.SIGNATURE_RECOMMEND}' "
                f"(it has {', '.join(sorted(signatures.signature_def))}); publish a Tastemaker release."
            )
        told = signatures.signature_def[names.SIGNATURE_RECOMMEND].inputs
        inputs = {name: RequestInput(info) for name, info in told.items()}
        self._inputs = (response.model_spec.version.value, inputs)
        return self._inputs

    def _request(self, inputs: Mapping[str, RequestInput], given: Mapping[str, Any]) -> Any:
        request = predict_pb2.PredictRequest()
        self._name_model(request.model_spec)
        request.model_spec.signature_name = names.SIGNATURE_RECOMMEND
        for name, one in inputs.items():
            one.into(given.get(name), request.inputs[name])
        return request

    def _name_model(self, spec: Any) -> None:
        spec.name = self._model
        if self._label is not None:
            spec.version_label = self._label

    def _call(self, method: Any, request: Any, deadline: float) -> Any:
        if not self._breaker.may_call():
            raise NoAnswerError(
                f"The model server at {self._address} failed repeatedly and is left alone for a moment."
            )
        began = time.monotonic()
        left = max(0.0, deadline - began)
        self._budget.called()

        def send(seconds: float) -> Any:
            self.calls_sent += 1
            return method.future(request, timeout=seconds)

        call = hedged(
            send,
            left,
            self._latency.p95(otherwise=left / 4),
            self._budget.take,
        )
        code = call.code()
        self._breaker.failed() if code in _BROKEN else self._breaker.succeeded()
        if code is grpc.StatusCode.OK:
            self._latency.took(time.monotonic() - began)
            return call.result()
        unknown_label = code is grpc.StatusCode.INVALID_ARGUMENT and _UNKNOWN_LABEL in call.details()
        if code is grpc.StatusCode.INVALID_ARGUMENT and not unknown_label:
            raise _RefusedError(self._sentence(call), call)
        raise self._sentence(call)

    def _sentence(self, problem: Any) -> TastemakerError:
        code, text = problem.code(), self._text(problem)
        no_answer = code in _NO_ANSWER or _UNKNOWN_LABEL in (problem.details() or "")
        return NoAnswerError(text) if no_answer else TastemakerError(text)

    def _text(self, problem: Any) -> str:
        code, where = problem.code(), f"The model server at {self._address}"
        if code is grpc.StatusCode.UNAVAILABLE:
            return (
                f"No model server answers at {self._address}; start it with 'tastemaker serve', or name its address "
                "with TASTEMAKER_MODEL_SERVER."
            )
        if code is grpc.StatusCode.NOT_FOUND or _UNKNOWN_LABEL in (problem.details() or ""):
            return (
                f"{where} serves no '{self._model}'; publish a release with 'tastemaker release canary' and on, "
                "or see 'tastemaker release list'."
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{where} did not answer within {self._deadline:g} s; it is overloaded or stuck."
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return f"{where} refused the request ({problem.details()}); ask again later."
        if code is grpc.StatusCode.UNAUTHENTICATED:
            return f"{where} does not let us in ({problem.details()}); set TASTEMAKER_MODEL_SERVER_TOKEN."
        return f"{where} failed: {code.name}, {problem.details()}."


def online_lookup(home: Home) -> Lookup:
    """The lookup of a home's online store through Feast: service `recommend_v1`."""
    from feature_repo.lookup import online_features

    def look_up(user_id: str, at: datetime | None) -> Mapping[str, Any]:
        found = online_features(home, names.RECOMMEND_V1, [user_id], at).columns()
        return {name: values[0] for name, values in found.items()}

    return look_up
