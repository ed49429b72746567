"""Reading a SavedModel's graph without TensorFlow, and refusing what could touch files or run code."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.tensorflow_proto import DTYPES, saved_model_message
from edge_ai.engine.runtime.base import Shape, Tensor

GRAPH_FILE: Final = "saved_model.pb"
#: What TensorFlow reads instead, where it is there.
OTHER_GRAPH_FILES: Final = ("saved_model.cpb", "saved_model.pbtxt")
DEFAULT_SIGNATURE: Final = "serving_default"
#: Not a signature: what the loader runs by itself.
INIT_SIGNATURE: Final = "__saved_model_init_op"
MAX_GRAPH_BYTES: Final = 2 << 30
#: Operators that read or write files, reach the network, or call Python.
FORBIDDEN: Final = re.compile(
    r"""(Eager)?PyFunc(Stateless)? | ReadFile | WriteFile | MatchingFiles | ImmutableConst
    | \w*Reader(V2)? | Save | SaveSlices | Restore | RestoreSlice | LoadAndRemapMatrix | GenerateVocabRemapping
    | DatasetFromGraph | RegisterDataset\w* | DistributedSave | DataService\w* | ListSnapshotChunks\w* | Snapshot\w*
    | (Experimental)?(TFRecord|TextLine|FixedLengthRecord|CSV|Sql|LMDB|Save|Load|Cache|Snapshot|MatchingFiles|Generator
        |DataService|Bigtable|Distributed|AssertNext|DatasetSnapshot)Dataset(V\d)? | DatasetToTFRecord\w* | SaveDatasetV2
    | \w*SummaryWriter | CreateSummary\w+Writer | Write\w*Summary\w* | ImportEvent | Debug\w+ | Rpc\w* | \w*FileSystem\w*
    | RemoteCall | RemoteFusedGraphExecute | BigQuery\w* | Bigtable\w* | TPU\w* | \w*DistributedTPU | DumpTensor\w*
    | CollectiveInitializeCommunicator | FileSystem\w* | DeleteFile\w* | LoadLibrary""",
    re.VERBOSE,
)
#: What belongs to the saving and restoring of variables, and to nothing else.
SAVES: Final = frozenset({"SaveV2", "MergeV2Checkpoints"})
RESTORES: Final = frozenset({"RestoreV2"})
READS_TABLES: Final = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
PROTO_CODECS: Final = frozenset({"DecodeProtoV2", "EncodeProto", "DecodeProto"})


@dataclass(frozen=True)
class Scope:
    """The body of a graph or of a function: its nodes by name, and what it answers."""

    name: str
    nodes: dict[str, Any]
    arguments: tuple[str, ...]
    answers: tuple[str, ...]

    def reached(self, starts: Iterable[str]) -> list[Any]:
        """Return the nodes that ``starts`` depend on."""
        waiting, seen, found = deque(map(node_name, starts)), set(), []
        while waiting:
            name = waiting.popleft()
            node = self.nodes.get(name)
            if name in seen or node is None:
                continue
            seen.add(name)
            found.append(node)
            waiting.extend(map(node_name, node.input))
        return found

    @cached_property
    def body(self) -> list[Any]:
        """The nodes that the answers depend on."""
        return self.reached(self.answers)


@dataclass(frozen=True)
class SavedGraph:
    """A SavedModel's graph for serving.

    Parameters
    ----------
    meta
        The ``MetaGraphDef``.
    signature
        The name of the signature that is run.
    """

    meta: Any
    signature: str

    @cached_property
    def functions(self) -> dict[str, Scope]:
        """The functions of the library."""
        return {f.signature.name: _function(f) for f in self.meta.graph_def.library.function}

    @cached_property
    def main(self) -> Scope:
        """The graph, which answers what the signature names."""
        nodes = {node.name: node for node in self.meta.graph_def.node}
        found = self.meta.signature_def[self.signature]
        answers = tuple(found.outputs[name].name for name in sorted(found.outputs))
        return Scope("", nodes, (), answers)

    @property
    def inputs(self) -> list[Tensor]:
        """What the signature takes."""
        return _tensors(self.meta.signature_def[self.signature].inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """What the signature answers."""
        return _tensors(self.meta.signature_def[self.signature].outputs)

    def called(self, node: Any) -> list[Scope]:
        """Return the functions that a node calls, whatever for."""
        names = [value.func.name for value in node.attr.values() if value.HasField("func")]
        names += [func.name for value in node.attr.values() for func in value.list.func]
        return [self.functions[name] for name in names if name in self.functions]

    def scopes(self, nodes: Sequence[Any]) -> list[Scope]:
        """Return every function that ``nodes`` call, and those that these call."""
        waiting, found = deque(nodes), {}
        while waiting:
            for scope in self.called(waiting.popleft()):
                if scope.name not in found:
                    found[scope.name] = scope
                    waiting.extend(scope.nodes.values())
        return list(found.values())

    @property
    def all_nodes(self) -> Iterator[Any]:
        """Every node, used or not."""
        yield from self.meta.graph_def.node
        for function in self.meta.graph_def.library.function:
            yield from function.node_def


def node_name(reference: str) -> str:
    """Return the node of an input such as ``^name``, ``name:0`` or ``name:output:0``."""
    return reference.removeprefix("^").partition(":")[0]


def shape_of(shape: Any) -> Shape | None:
    """Return the shape of a ``TensorShapeProto``."""
    if shape.unknown_rank:
        return None
    return tuple(int(axis.size) if axis.size >= 0 else None for axis in shape.dim)


def find_folder(unpacked: Path) -> Path:
    """Return the folder that holds the graph: ``unpacked``, or the one nearest to it inside.

    Raises
    ------
    UserInputError
        ``model_unreadable`` when there is none.
    """
    found = sorted(unpacked.rglob(GRAPH_FILE), key=lambda path: (len(path.parts), str(path)))
    if not found:
        raise unreadable("There is no saved_model.pb in the archive.")
    return found[0].parent


def read_graph(folder: Path) -> SavedGraph:
    """Read the graph of an unpacked SavedModel, after making sure that loading and running it is safe.

    Raises
    ------
    UserInputError
        ``model_unreadable``; ``model_unsafe`` naming the operators.
    """
    path = folder / GRAPH_FILE
    others = [name for name in OTHER_GRAPH_FILES if (folder / name).exists()]
    if others:
        raise unsafe(f"The SavedModel has its graph twice: in {GRAPH_FILE} and in {others[0]}.", set())
    if not path.is_file() or path.stat().st_size > MAX_GRAPH_BYTES:
        raise unreadable("There is no saved_model.pb that can be read.")
    message = saved_model_message()
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError:
        raise unreadable("The saved_model.pb is damaged or was cut short.") from None
    metas = [meta for meta in message.meta_graphs if "serve" in meta.meta_info_def.tags]
    if not metas:
        raise unreadable("The SavedModel has no graph for serving (none is tagged “serve”).")
    if len(metas) > 1:
        raise unsafe("The SavedModel has several graphs for serving, and it is not certain which one is run.", set())
    graph = SavedGraph(metas[0], _signature(metas[0]))
    check_safe(graph, folder)
    return graph


def check_safe(graph: SavedGraph, folder: Path) -> None:
    """Refuse a SavedModel that could read or write foreign files, or run code.

    Raises
    ------
    UserInputError
        ``model_unsafe`` naming the operators.
    """
    bad = {node.op for node in graph.all_nodes if FORBIDDEN.fullmatch(node.op)}
    bad |= {node.op for node in graph.all_nodes if node.op in PROTO_CODECS and not _built_in_descriptors(node)}
    bad |= {node.op for node in graph.all_nodes if node.op == "PrintV2" and b"file:" in node.attr["output_stream"].s}
    bad |= _misplaced_saves(graph)
    if bad:
        raise unsafe(f"Operators of the model could touch files or run code: {', '.join(sorted(bad)[:8])}.", bad)
    assets = {asset.tensor_info.name for asset in graph.meta.asset_file_def}
    for asset in graph.meta.asset_file_def:
        name = PurePosixPath(asset.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or not (folder / "assets" / name).is_file():
            raise unsafe(f"The model reads a file that is not its own ({asset.filename[:80]!r}).", {"assets"})
    _check_tables(graph, _paths_of_assets(graph, {node_name(name) for name in assets}))


def unreadable(message: str) -> UserInputError:
    """Return the refusal of a damaged SavedModel."""
    return UserInputError(
        message,
        code="model_unreadable",
        fix="Save the model again with tf.saved_model.save or model.export, and zip the whole folder.",
        field="file",
    )


def unsafe(message: str, operators: set[str]) -> UserInputError:
    """Return the refusal of a SavedModel that could do harm."""
    return UserInputError(
        message,
        code="model_unsafe",
        fix="Export the plain network: without custom code, and without operators that read or write files.",
        field="file",
        details={"operators": sorted(operators)[:50]},
    )


def _signature(meta: Any) -> str:
    names: list[str] = sorted(name for name in meta.signature_def if name != INIT_SIGNATURE)
    if DEFAULT_SIGNATURE in names:
        return DEFAULT_SIGNATURE
    if len(names) != 1:
        found = f"it has {', '.join(map(repr, names[:8]))}" if names else "it has none"
        raise unreadable(f"The SavedModel must have a signature named {DEFAULT_SIGNATURE!r}, or just one; {found}.")
    return names[0]


def _tensors(described: Any) -> list[Tensor]:
    return [
        Tensor(
            name=name,
            dtype=DTYPES.get(described[name].dtype % 100, "unknown"),
            shape=shape_of(described[name].tensor_shape),
        )
        for name in sorted(described)
    ]


def _function(function: Any) -> Scope:
    return Scope(
        function.signature.name,
        {node.name: node for node in function.node_def},
        tuple(argument.name for argument in function.signature.input_arg),
        tuple(function.ret[output.name] for output in function.signature.output_arg),
    )


def _operators(graph: SavedGraph, starts: Iterable[str]) -> set[str]:
    nodes = graph.main.reached(starts)
    return {node.op for node in nodes} | {n.op for scope in graph.scopes(nodes) for n in scope.nodes.values()}


def _misplaced_saves(graph: SavedGraph) -> set[str]:
    """Return operators of checkpoints that stand where a model is run, restored or saved by something else."""
    saver = graph.meta.saver_def
    saving = graph.main.reached([saver.save_tensor_name])
    allowed = {id(node) for node in saving}
    allowed |= {id(node) for scope in graph.scopes(saving) for node in scope.nodes.values()}
    bad = {
        node.op
        for scope in (graph.main, *graph.functions.values())
        for node in scope.nodes.values()
        if node.op in SAVES and id(node) not in allowed
    }
    bad |= _operators(graph, [saver.restore_op_name]) & SAVES
    for name, signature in graph.meta.signature_def.items():
        if name != INIT_SIGNATURE:
            bad |= _operators(graph, [info.name for info in signature.outputs.values()]) & (SAVES | RESTORES)
    return bad


def _built_in_descriptors(node: Any) -> bool:
    return (
        node.attr["descriptor_source"].s.startswith((b"bytes://", b"local://")) or not node.attr["descriptor_source"].s
    )


def _paths_of_assets(graph: SavedGraph, assets: set[str]) -> set[str]:
    """Return the nodes that hold the path of an asset: itself, or a variable that is set to nothing else."""
    nodes = graph.main.nodes.values()
    given: dict[str, list[str]] = {}
    for node in nodes:
        if node.op == "AssignVariableOp":
            given.setdefault(node_name(node.input[0]), []).append(node_name(node.input[1]))
    variables = {name for name, values in given.items() if set(values) <= assets}
    reads = {node.name for node in nodes if node.op == "ReadVariableOp" and node_name(node.input[0]) in variables}
    return assets | reads


def _check_tables(graph: SavedGraph, assets: set[str]) -> None:
    """Refuse tables that are read from files other than the model's assets: a file's name must come from outside."""
    loaders: dict[str, set[int]] = {}
    for scope in (graph.main, *graph.functions.values()):
        for node in scope.nodes.values():
            if node.op in READS_TABLES and not _from_asset(scope, node.input[1], assets, loaders):
                raise unsafe("The model fills a table from a file that is not its own.", {node.op})
    for node in graph.all_nodes:
        for scope in graph.called(node):
            for place in loaders.get(scope.name, ()):
                if place < len(node.input) and node_name(node.input[place]) not in assets:
                    raise unsafe("The model fills a table from a file that is not its own.", {node.op})


def _from_asset(scope: Scope, reference: str, assets: set[str], loaders: dict[str, set[int]]) -> bool:
    name = node_name(reference)
    if name in scope.arguments:
        loaders.setdefault(scope.name, set()).add(scope.arguments.index(name))
        return True
    return not scope.name and name in assets
