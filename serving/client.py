"""What a product backend does for one recommendation: one feature lookup, one Predict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protocol import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc, types_pb2
from serving.tensors import from_proto, into_proto, numpy_dtype
from tastemaker import names
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.moments import microseconds

# (user_id, at) → feature name → value; None or absent is missing
Lookup = Callable[[str, datetime | None], Mapping[str, Any]]

DEADLINE_SECONDS = 2.0
_MAX_K = 2**31 - 1
_METADATA = "signature_def"


@dataclass(frozen=True)
class Recommendation:
    """One ranked item; `probability` that the user takes it up, `release` that said so."""

    rank: int
    item_id: str
    probability: float
    release: str


class Recommender:
    """Asks a model server for a user's items. Safe to share between threads; close it or use it in `with`."""

    def __init__(
        self,
        address: str,
        lookup: Lookup,
        *,
        model: str = names.MODEL_NAME,
        label: str | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        """Args: `address`: gRPC host:port; `label`: whose version answers, the newest without; `deadline_seconds`: for
        the Predict, after the lookup.
        """
        self._address = address
        self._lookup = lookup
        self._model = model
        self._label = label
        self._deadline = deadline_seconds
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._inputs: tuple[int, dict[str, Any]] | None = None

    @classmethod
    def of_home(cls, home: Home, address: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> Self:
        """A recommender whose features come from a home's online store, and whose answers from the stable release."""
        return cls(address, online_lookup(home), label="stable", deadline_seconds=deadline_seconds)

    def recommend(
        self, user_id: str, k: int = 10, at: datetime | None = None, exclude: Sequence[str] = ()
    ) -> list[Recommendation]:
        """The user's `k` best items, best first; all there are when `k` is more than the catalogue.

        Args:
            user_id: an unknown one gets what suits an unknown user.
            k: 1 or more.
            at: the request's time; by default the one the release was built as of.
            exclude: items that must not come.

        Raises TastemakerError, in a sentence, for a `k` below 1 and for a server that is not there, serves no release,
        is overloaded or too slow.
        """
        if not 1 <= k <= _MAX_K:
            raise TastemakerError(f"k is {k}; ask for 1 to {_MAX_K} items.")
        given = {
            **self._lookup(user_id, at),
            names.INPUT_K: k,
            names.INPUT_EXCLUDE_ITEM_IDS: list(exclude),
            names.REQUEST_TIMESTAMP: microseconds(at) if at is not None else 0,
        }
        outputs = self._predict(given)
        items = from_proto(outputs[names.OUTPUT_ITEM_IDS])[0]
        scores = from_proto(outputs[names.OUTPUT_SCORES])[0]
        release = from_proto(outputs[names.OUTPUT_RELEASE]).ravel()[0].decode()
        kept = [(item.decode(), float(score)) for item, score in zip(items, scores, strict=True) if item]
        return [Recommendation(rank, item, score, release) for rank, (item, score) in enumerate(kept, start=1)]

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _predict(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        version, inputs = self._inputs or self._read_inputs()
        try:
            response = self._service.Predict(self._request(inputs, given), timeout=self._deadline)
        except grpc.RpcError as problem:
            if problem.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise self._sentence(problem) from None
            newer, inputs = self._read_inputs()
            if newer == version:
                raise self._sentence(problem) from None
            # A release with other inputs took over between the metadata and this call.
            response = self._call(self._service.Predict, self._request(inputs, given))
        if response.model_spec.version.value != (self._inputs or (0,))[0]:
            self._inputs = None
        return response.outputs

    def _read_inputs(self) -> tuple[int, dict[str, Any]]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[_METADATA])
        self._name_model(request.model_spec)
        response = self._call(self._service.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[_METADATA].Unpack(signatures)
        if names.SIGNATURE_RECOMMEND not in signatures.signature_def:
            raise TastemakerError(
                f"'{self._model}' at {self._address} has no signature '{names.SIGNATURE_RECOMMEND}' "
                f"(it has {', '.join(sorted(signatures.signature_def))}); publish a Tastemaker release."
            )
        inputs = dict(signatures.signature_def[names.SIGNATURE_RECOMMEND].inputs)
        self._inputs = (response.model_spec.version.value, inputs)
        return self._inputs

    def _request(self, inputs: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        request = predict_pb2.PredictRequest()
        self._name_model(request.model_spec)
        request.model_spec.signature_name = names.SIGNATURE_RECOMMEND
        for name, info in inputs.items():
            into_proto(tensor_of(info, given.get(name)), request.inputs[name])
        return request

    def _name_model(self, spec: Any) -> None:
        spec.name = self._model
        if self._label is not None:
            spec.version_label = self._label

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._deadline)
        except grpc.RpcError as problem:
            raise self._sentence(problem) from None

    def _sentence(self, problem: Any) -> TastemakerError:
        code, where = problem.code(), f"The model server at {self._address}"
        if code is grpc.StatusCode.UNAVAILABLE:
            return TastemakerError(
                f"No model server answers at {self._address}; start it with 'tastemaker serve', or name its address "
                "with TASTEMAKER_MODEL_SERVER."
            )
        if code is grpc.StatusCode.NOT_FOUND:
            return TastemakerError(
                f"{where} serves no '{self._model}'; publish a release with 'tastemaker release canary' and on, "
                "or see 'tastemaker release list'."
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return TastemakerError(f"{where} did not answer within {self._deadline:g} s; it is overloaded or stuck.")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TastemakerError(f"{where} refused the request ({problem.details()}); ask again later.")
        return TastemakerError(f"{where} failed: {code.name}, {problem.details()}.")


def tensor_of(info: Any, value: Any) -> NDArray[Any]:
    """A value as the tensor that a signature's input asks for, batch of one.

    Rank 0: the value. Rank 1: `[1]`; missing is NaN, "" or 0. Rank 2: `[1, length]`; missing is one padding, so that
    lists look as the training sets' do.

    Args: `info`: the input's TensorInfo.
    """
    dtype = numpy_dtype(info.dtype)
    missing: Any = "" if info.dtype == types_pb2.DT_STRING else np.nan if dtype.kind == "f" else 0
    rank = len(info.tensor_shape.dim)
    if rank == 2:
        padding = 0 if dtype.kind == "f" else missing
        entries = [padding if entry is None else entry for entry in (value if value is not None else ())]
        return np.array([entries or [padding]], dtype)
    scalar = np.array(missing if value is None else value, dtype)
    return scalar if rank == 0 else scalar.reshape(1)


def online_lookup(home: Home) -> Lookup:
    """The lookup of a home's online store through Feast: service `recommend_v1`."""
    from feature_repo.lookup import online_features

    def look_up(user_id: str, at: datetime | None) -> Mapping[str, Any]:
        (found,) = online_features(home, names.RECOMMEND_V1, [user_id], at)
        return {name: value.value for name, value in found.items()}

    return look_up
