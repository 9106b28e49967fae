"""From a PredictRequest to a PredictResponse over one loaded model.

The rules and the wording follow tensorflow_serving/servables/tensorflow/predict_util.cc and
tensorflow/cc/saved_model/util.cc, defaults in a SignatureDef included. Two rules are stricter: an input whose rank or
fixed sizes differ from the signature's is refused here, where TF-Serving leaves it to the operations, some of which
broadcast it into a wrong answer; and a shape is filled with repetitions up to `MAX_REPEATED` places only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from serving.server.status import failed_precondition, invalid_argument
from serving.tensors import TensorError, dtype_name, from_proto, into_proto, shape_of

DEFAULT_SIGNATURE = "serving_default"

# Signatures that are kept read; a version has four, and at most a few versions serve.
_MAX_READ = 256


class Runnable(Protocol):
    """What is asked of a loaded model."""

    signatures: dict[str, Any]

    def run(self, feeds: Mapping[str, NDArray[Any]], fetches: list[str]) -> list[NDArray[Any]]:
        """Tensor name → array in, arrays of `fetches` out."""


def predict(model: Runnable, version: int | None, request: Any, response: Any) -> None:
    """Fills `response`. Raises ServingError for inputs that do not fit the signature, and what the graph raises."""
    signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(signature_name)
    if signature is None:
        raise failed_precondition(f'Serving signature key "{signature_name}" not found.')
    response.model_spec.name = request.model_spec.name
    response.model_spec.signature_name = signature_name
    if version is not None:
        response.model_spec.version.value = version
    feeds = input_values(signature, request.inputs)
    aliases = output_aliases(signature, request.output_filter)
    tensors = _read(signature).outputs
    arrays = model.run(feeds, [tensors[alias] for alias in aliases])
    for alias, array in zip(aliases, arrays, strict=True):
        into_proto(array, response.outputs[alias])


def input_values(signature: Any, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Tensor name → array for every input of the signature, from the request or from the signature's defaults."""
    if len(inputs) > len(signature.inputs) or (len(inputs) < len(signature.inputs) and not signature.defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} "
            f"len({{{_names(inputs)}}}) != len({{{_names(signature.inputs)}}}). "
            f"Sent extra: {{{_names(set(inputs) - set(signature.inputs))}}}. "
            f"Missing but required: {{{_names(set(signature.inputs) - set(inputs))}}}."
        )
    feeds: dict[str, NDArray[Any]] = {}
    used = []
    for position, expected in enumerate(_read(signature).inputs):
        alias = expected.alias
        if alias in inputs:
            proto = inputs[alias]
            used.append(alias)
        elif expected.default is not None:
            proto = expected.default
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {expected.tensor}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {{{_names(inputs)}}}, or default input alias "
                f"set: {_names(signature.defaults)}"
            )
        feeds[expected.tensor] = _array(position, expected, proto)
    if len(used) != len(inputs):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(used)}, request input: {_names(inputs)}"
        )
    return feeds


def output_aliases(signature: Any, output_filter: Iterable[str]) -> list[str]:
    """The outputs that are asked for, all of them where nothing is."""
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_names(signature.outputs)}}}."
            )
        if alias in aliases:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases or list(_read(signature).outputs)


@dataclass(frozen=True)
class _Input:
    """One input of a signature; `sizes` is None for an unknown rank, −1 in it is any."""

    alias: str
    tensor: str
    dtype: int
    sizes: tuple[int, ...] | None
    default: Any


@dataclass(frozen=True)
class _Signature:
    """A SignatureDef in Python's own types: its inputs, and its outputs' tensors by alias, both sorted by alias."""

    definition: Any
    inputs: tuple[_Input, ...]
    outputs: dict[str, str]


# By the SignatureDef's address; it is kept with what was read of it, so that no other one can come to lie there.
_known: dict[int, _Signature] = {}


def _read(definition: Any) -> _Signature:
    """The signature; read once, as protobuf's maps take a quarter of a millisecond for 21 inputs."""
    known = _known.get(id(definition))
    if known is not None:
        return known
    inputs = []
    for alias, info in sorted(definition.inputs.items()):
        shape = info.tensor_shape
        sizes = None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)
        inputs.append(_Input(alias, info.name, info.dtype, sizes, definition.defaults.get(alias)))
    outputs = {alias: definition.outputs[alias].name for alias in sorted(definition.outputs)}
    if len(_known) >= _MAX_READ:
        _known.clear()
    read = _known[id(definition)] = _Signature(definition, tuple(inputs), outputs)
    return read


def _array(position: int, expected: _Input, proto: Any) -> NDArray[Any]:
    if proto.dtype != expected.dtype:
        raise invalid_argument(
            f"Expects arg[{position}] to be {dtype_name(expected.dtype)} but {dtype_name(proto.dtype)} is provided "
            f"for input {expected.alias}"
        )
    try:
        # The shape comes first: a tensor that is refused takes no memory.
        _require_shape(expected, shape_of(proto))
        return from_proto(proto)
    except TensorError as problem:
        raise invalid_argument(f"tensor parsing error: {expected.alias}: {problem}") from None


def _require_shape(expected: _Input, shape: tuple[int, ...]) -> None:
    sizes = expected.sizes
    if sizes is not None and (
        len(sizes) != len(shape) or any(s not in (-1, a) for s, a in zip(sizes, shape, strict=True))
    ):
        wanted = ",".join("?" if size < 0 else str(size) for size in sizes)
        raise invalid_argument(
            f"input {expected.alias} has shape [{','.join(map(str, shape))}] but the signature expects [{wanted}]"
        )


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
