"""What a release's graph may do: compute, look up, hold variables. Nothing that reads, writes, prints or calls out.

A SavedModel is a program. This list is closed: an operation that is not on it is refused, whoever has signed the model.
`saved_model.pb` is parsed as a protobuf message and nothing of it is run.
"""

from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from serving.manifest import UntrustedError
from serving.protocol import saved_model_pb2

GRAPH = "saved_model.pb"
# TensorFlow reads these too, in an order of its own; what was checked must be what is loaded.
OTHER_FORMS = ("saved_model.pbtxt", "saved_model.cpb")

_STRUCTURE = """
Assert BroadcastArgs Case Const DisableCopyOnRead EmptyTensorList EnsureShape Identity IdentityN If
InvertPermutation NoOp OnesLike OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone PartitionedCall
Placeholder PlaceholderWithDefault PreventGradient Rank Shape ShapeN Size StatefulPartitionedCall StatelessCase
StatelessIf StatelessWhile StopGradient While ZerosLike
"""
_VARIABLES_AND_TABLES = """
AssignAddVariableOp AssignSubVariableOp AssignVariableOp HashTableV2 LookupTableFindV2 LookupTableImportV2
LookupTableSizeV2 ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp VariableShape
"""
_SHAPING = """
BatchToSpaceND BroadcastTo ConcatOffset ConcatV2 DepthToSpace Diag DiagPart ExpandDims Fill Gather GatherNd GatherV2
ListDiff LinSpace MatrixBandPart MatrixDiagPartV3 MatrixDiagV3 MatrixSetDiagV3 MirrorPad OneHot Pack Pad PadV2
ParallelConcat Range Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Slice SpaceToBatchND SpaceToDepth
Split SplitV Squeeze StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose Unpack Unique UniqueV2 UniqueWithCounts
UniqueWithCountsV2 Where
"""
_NUMBERS = """
Abs Acos Acosh Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh BatchMatMul
BatchMatMulV2 BatchMatMulV3 Betainc Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor Bucketize Cast Ceil
CheckNumerics ClipByValue Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp DenseBincount Digamma Div DivNoNan
Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual
HistogramFixedWidth Igamma Igammac Inv Invert IsFinite IsInf IsNan L2Loss LeftShift Less LessEqual Lgamma Log Log1p
LogicalAnd LogicalNot LogicalOr LowerBound MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter
NotEqual PopulationCount Pow Prod RealDiv Reciprocal RightShift Rint Round Rsqrt Select SelectV2 Sigmoid Sign Sin
Sinh Sqrt Square SquaredDifference Sub Sum Tan Tanh TruncateDiv TruncateMod UpperBound Xdivy Xlog1py Xlogy
"""
_NETWORKS = """
AvgPool BiasAdd BiasAddV1 Conv2D Conv3D DepthwiseConv2dNative Elu FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
InTopKV2 LeakyRelu LogSoftmax MaxPool MaxPoolV2 NthElement Relu Relu6 Selu Softmax Softplus Softsign TopK TopKV2
ApproxTopK
"""
# Keras saves with a recurrent layer how it would be trained, and how it would run on a GPU.
_GRADIENTS = """
BiasAddGrad BroadcastGradientArgs CudnnRNNBackpropV3 CudnnRNNV3 EluGrad LeakyReluGrad Relu6Grad ReluGrad RsqrtGrad
SeluGrad SigmoidGrad SoftplusGrad SqrtGrad StridedSliceGrad TanhGrad
"""
_SEGMENTS_AND_RAGGED = """
RaggedBincount RaggedCross RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse
RaggedTensorToTensor RaggedTensorToVariant SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd
SegmentProdV2 SegmentSum SegmentSumV2 SparseConcat SparseCross SparseCrossV2 SparseDenseCwiseMul SparseFillEmptyRows
SparseReduceSum SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN
SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice
SparseTensorDenseMatMul SparseToDense UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
UnsortedSegmentSum
"""
_LISTS = """
TensorListConcatLists TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch TensorListReserve
TensorListResize TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit
TensorListStack
"""
_TEXT = """
AsString DecodeBase64 DecodeRaw EncodeBase64 ParseExample ParseExampleV2 ParseSingleExample ReduceJoin
RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin StringLength StringLower
StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast
StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""
COMPUTING = frozenset(
    (
        _STRUCTURE
        + _VARIABLES_AND_TABLES
        + _SHAPING
        + _NUMBERS
        + _NETWORKS
        + _GRADIENTS
        + _SEGMENTS_AND_RAGGED
        + _LISTS
        + _TEXT
    ).split()
)
# Every SavedModel bears the functions that have written and will read its variables. The loader calls the second one;
# nothing may call the first one, and these operations stand nowhere else.
SAVING = frozenset({"SaveV2", "ShardedFilename", "MergeV2Checkpoints"})
RESTORING = frozenset({"RestoreV2"})


def require_allowed_ops(folder: Path) -> None:
    """Checks every node of a SavedModel's graphs and of all their functions, nested ones included.

    Raises UntrustedError naming the operation and where it stands; also for a `saved_model.pb` that is missing, broken,
    or there in a second form.
    """
    path = folder / GRAPH
    for other in OTHER_FORMS:
        if (folder / other).exists():
            raise UntrustedError(
                f"{folder / other} could be loaded in place of {GRAPH}; a release has only the latter."
            )
    try:
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except FileNotFoundError:
        raise UntrustedError(f"{path} is missing, so there is no graph to look at; build the release again.") from None
    except DecodeError as problem:
        raise UntrustedError(f"{path} is no SavedModel ({problem}); build the release again.") from None
    if not model.meta_graphs:
        raise UntrustedError(f"{path} holds no graph; build the release again.")
    for meta_graph in model.meta_graphs:
        _check(path, meta_graph)


def _check(path: Path, meta_graph: Any) -> None:
    graph, saver = meta_graph.graph_def, meta_graph.saver_def
    functions = {function.signature.name: function for function in graph.library.function}
    saving, restoring = _node_of(saver.save_tensor_name), _node_of(saver.restore_op_name)
    called_by = {node.name: _called(node) for node in graph.node if node.name in (saving, restoring)}
    saves, restores = called_by.get(saving, frozenset()), called_by.get(restoring, frozenset())
    others_call: set[str] = set()
    for node in graph.node:
        called = _check_node(path, node, "the graph", COMPUTING, functions)
        others_call |= called if node.name not in (saving, restoring) else set()
    for name, function in functions.items():
        extra = SAVING if name in saves else RESTORING if name in restores else frozenset()
        for node in function.node_def:
            others_call |= _check_node(path, node, f"function '{name}'", COMPUTING | extra, functions)
        if name in restores:
            _require_own_variables_only(path, function)
    asked_for = {_node_of(name) for node in graph.node for name in node.input} | _reachable_by_name(meta_graph)
    if saves & restores or (saves | restores) & others_call or {saving, restoring} & asked_for - {""}:
        raise UntrustedError(
            f"{path} can be made to save or restore variables while it answers; build the release again."
        )


def _check_node(
    path: Path, node: Any, where: str, allowed: frozenset[str], functions: dict[str, Any]
) -> frozenset[str]:
    """Returns the functions that the node calls."""
    if node.op not in allowed:
        place = f"node '{node.name}' of {where}"
        if node.op in SAVING | RESTORING:
            raise UntrustedError(
                f"{path} contains the operation {node.op} ({place}), which may stand only in the function with which "
                "the loader restores the model's variables; a release may not touch files."
            )
        raise UntrustedError(
            f"{path} contains the operation {node.op} ({place}), which is not on the list of those that a release may "
            "use (docs/release-trust.md); build the release without it."
        )
    called = _called(node)
    for name in called - functions.keys():
        raise UntrustedError(
            f"{path} calls '{name}' (node '{node.name}' of {where}), which is no function in the file, so nobody can "
            "tell what it does; build the release again."
        )
    return called


def _require_own_variables_only(path: Path, function: Any) -> None:
    """The loader says where the variables are, by the function's argument; a path of the model's own is refused."""
    arguments = {argument.name for argument in function.signature.input_arg}
    for node in function.node_def:
        if node.op in RESTORING and node.input[0] not in arguments:
            raise UntrustedError(
                f"{path} restores variables from a place of its own choice (node '{node.name}' of function "
                f"'{function.signature.name}'); build the release again."
            )


def _reachable_by_name(meta_graph: Any) -> set[str]:
    """The nodes that a caller, or the loader when it initializes the model, can ask for by name."""
    tensors: list[str] = []
    for signature in meta_graph.signature_def.values():
        for info in [*signature.inputs.values(), *signature.outputs.values()]:
            sparse = info.coo_sparse
            tensors += [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
            tensors += [info.name, *(part.name for part in info.composite_tensor.components)]
    for collection in meta_graph.collection_def.values():
        tensors += collection.node_list.value
    return {_node_of(tensor) for tensor in tensors}


def _called(node: Any) -> frozenset[str]:
    """The functions that a node calls, and those that it hands to them."""
    named: set[str] = set()
    values = list(node.attr.values())
    while values:
        value = values.pop()
        kind = value.WhichOneof("value")
        functions = [value.func] if kind == "func" else value.list.func if kind == "list" else []
        for function in functions:
            named.add(function.name)
            values += function.attr.values()
    return frozenset(named)


def _node_of(tensor: str) -> str:
    """The node of a tensor's name.

    >>> _node_of("StatefulPartitionedCall_2:0"), _node_of("^NoOp")
    ('StatefulPartitionedCall_2', 'NoOp')
    """
    return tensor.removeprefix("^").partition(":")[0]
