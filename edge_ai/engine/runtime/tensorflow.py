"""Keras files and SavedModels in TensorFlow.

Nothing is computed while this module is imported: a process that has imported it may fork.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from edge_ai.engine.errors import EngineError, ResourceError, UnsupportedError, UserInputError
from edge_ai.engine.formats.keras_config import check_keras_file, is_hdf5
from edge_ai.engine.formats.saved_model_graph import SavedGraph, find_folder, read_graph
from edge_ai.engine.runtime.base import Array, Feed, Shape, Tensor
from edge_ai.engine.spec import Format

MAX_MESSAGE: Final = 300
#: What TensorFlow and Keras raise at a model that they cannot take.
FAILURES: Final = (
    tf.errors.OpError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


class TensorflowSession:
    """A TensorFlow function with a fixed signature; see :class:`~edge_ai.engine.runtime.base.Session`.

    Parameters
    ----------
    call
        Takes arrays in the order of ``inputs`` and answers arrays in the order of ``outputs``.
    owner
        What holds the variables, which must live as long as the function.
    """

    runtime: Final = "tensorflow"
    concurrent: Final = True

    def __init__(
        self,
        call: Callable[[Sequence[Array]], Sequence[Any]],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        owner: object,
    ) -> None:
        self.runtime_version: str = tf.__version__
        self.provider = "CPU"
        self.inputs = inputs
        self.outputs = outputs
        self._call = call
        self._owner = owner

    def run(self, feed: Feed) -> list[Array]:
        """Answer one feed."""
        for item in self.inputs:
            _check_shape(item, np.shape(feed[item.name]))
        with explained("run"):
            return [_array(answer) for answer in self._call([feed[item.name] for item in self.inputs])]


def open_session(path: Path, format: Format, *, threads: int, optimize: bool = True) -> TensorflowSession:
    """Load a Keras file or an unpacked SavedModel; see :func:`edge_ai.engine.runtime.open_model`.

    Raises
    ------
    EngineError
        ``model_unsafe`` before anything is loaded, ``model_unreadable``, ``unsupported_operator``, ``resource_limit``.
    """
    use_threads(threads)
    if format == Format.SAVED_MODEL:
        return _open_saved_model(path, threads)
    return _open_keras(path)


def use_threads(threads: int) -> None:
    """Let operators use so many threads, 0 for as many as TensorFlow likes; too late after the first computation."""
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


class LoadedGraph:
    """A SavedModel whose variables have their values, as a serving system loads it: its graph only, none of its objects.

    That takes a third of the time of ``tf.saved_model.load``, and computes the same.

    Parameters
    ----------
    graph
        What the files say.
    session
        Has the graph, and the variables' values.
    """

    def __init__(self, graph: SavedGraph, session: Any) -> None:
        signature = graph.meta.signature_def[graph.signature]
        self.graph = graph
        self.session = session
        self.arguments = tuple(signature.inputs[item.name].name for item in graph.inputs)
        self.answers = tuple(signature.outputs[item.name].name for item in graph.outputs)


_ALIVE: Final[WeakValueDictionary[Path, LoadedGraph]] = WeakValueDictionary()


def load_graph(path: Path, *, threads: int = 0) -> LoadedGraph:
    """Load the graph of an unpacked SavedModel that is safe.

    Raises
    ------
    EngineError
        ``model_unsafe`` before anything is loaded, ``model_unreadable``, ``unsupported_operator``, ``resource_limit``.
    """
    folder = find_folder(path)
    graph = read_graph(folder)
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    with explained("load"), tf.Graph().as_default() as holder:
        session = tf.compat.v1.Session(graph=holder, config=config)
        tf.compat.v1.saved_model.load(session, list(graph.meta.meta_info_def.tags), str(folder))
    loaded = LoadedGraph(graph, session)
    _ALIVE[folder.resolve()] = loaded
    return loaded


def loaded_graph(path: Path) -> LoadedGraph:
    """Return the graph of an unpacked SavedModel that a session still holds; else load it."""
    return _ALIVE.get(find_folder(path).resolve()) or load_graph(path)


def load_keras(path: Path) -> Any:
    """Load a Keras file that is safe: in Keras 3, else in Keras 2 as ``tf_keras`` has it.

    Returns
    -------
    keras.Model or tf_keras.Model
    """
    check_keras_file(path)
    with contextlib.ExitStack() as stack:
        wanted = (".h5", ".hdf5") if is_hdf5(path) else (".keras",)
        if path.suffix not in wanted:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            link = Path(folder) / f"model{wanted[0]}"
            link.symlink_to(path.resolve())
            path = link
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except FAILURES as first:
            return _load_keras2(path, first)


def _load_keras2(path: Path, first: Exception) -> Any:
    """Load with Keras 2 what Keras 3 refused; where both refuse, Keras 3 says why."""
    if isinstance(first, tf.errors.ResourceExhaustedError):
        raise explain("load", first) from first
    import tf_keras  # slow to import, and few files need it

    try:
        return tf_keras.models.load_model(str(path), compile=False, safe_mode=True)
    except FAILURES:
        raise explain("load", first) from first


def keras_inputs(model: Any) -> list[Tensor]:
    """Return what a Keras model takes, under the names of its input layers."""
    names = getattr(model, "input_names", None) or [item.name for item in model.inputs]
    return [
        Tensor(name=name, dtype=tf.as_dtype(item.dtype).name, shape=_shape(item.shape))
        for name, item in zip(names, model.inputs, strict=True)
    ]


def keras_function(model: Any, specs: Sequence[Any]) -> Any:
    """Return the concrete function of a Keras model's inference.

    Parameters
    ----------
    specs
        A ``tf.TensorSpec`` for each of :func:`keras_inputs`.

    Returns
    -------
    ConcreteFunction
        It takes tensors in order and answers a dict of tensors by the names of the layers that made them.
    """
    _without_dropout(model)
    names = _output_names(model)
    inputs = getattr(model, "_inputs_struct", None)

    def infer(*given: Any) -> dict[str, Any]:
        fed: Any = list(given)
        if inputs is not None:
            fed = tf.nest.pack_sequence_as(inputs, fed)
        elif len(fed) == 1:
            fed = fed[0]
        answers = tf.nest.flatten(model(fed, training=False))
        return dict(zip(names, answers, strict=True))

    return tf.function(infer, input_signature=list(specs), autograph=False).get_concrete_function()


@contextlib.contextmanager
def explained(step: str) -> Iterator[None]:
    """Turn what TensorFlow and Keras raise into an `EngineError`; ``step`` is "load", "convert" or "run"."""
    try:
        yield
    except EngineError:
        raise
    except (*FAILURES, MemoryError) as error:
        raise explain(step, error) from error


def explain(step: str, error: BaseException) -> EngineError:
    """Return the `EngineError` for what TensorFlow or Keras raised."""
    told = re.sub(r"(/[\w.+-]+){2,}/?", "…", " ".join(str(error).split()))[:MAX_MESSAGE]
    details = {"step": step, "exception": type(error).__name__, "runtime_message": told}
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return ResourceError(
            "TensorFlow needed more memory for this model than one job may use.",
            code="resource_limit",
            fix="Try a smaller model or a smaller batch.",
            details=details,
        )
    missing = re.search(r"Op type not registered '([^']+)'", str(error))
    if missing:
        return UnsupportedError(
            f"TensorFlow here has no operator {missing[1]!r}, which the model uses.",
            code="unsupported_operator",
            fix="Export the model with TensorFlow's own operators.",
            details=details | {"operators": [missing[1]]},
        )
    custom = re.search(r"(?:Unknown (?:layer|object)|Could not locate class):? '?([\w>]+)'?", str(error))
    if custom:
        return UserInputError(
            f"The model has the custom class {custom[1]!r}, whose code is not in the file and would not be run.",
            code="model_unsafe",
            fix="Use Keras' own layers only, or export the network with model.export and upload that folder.",
            details=details | {"classes": [custom[1]]},
            field="file",
        )
    if step == "run":
        return UserInputError(
            f"The model was loaded but could not answer an input: {told}",
            code="dataset_mismatch",
            fix="Check that every sample has the shape, the type and the range of values that the model was made for.",
            details=details,
        )
    return UserInputError(
        f"TensorFlow could not load the model: {told}",
        code="model_unreadable",
        fix="Save the model again with a current version of TensorFlow, and upload the whole file.",
        details=details,
        field="file",
    )


def _check_shape(item: Tensor, given: tuple[int, ...]) -> None:
    """Refuse what a function with a fixed signature may take without a word."""
    wanted = item.shape
    if wanted is None or (
        len(wanted) == len(given)
        and all(axis == size for axis, size in zip(wanted, given, strict=True) if isinstance(axis, int))
    ):
        return
    raise UserInputError(
        f"The input {item.name!r} has the shape {list(wanted)}; it was given {list(given)}.",
        code="dataset_mismatch",
        fix="Give samples of the shape that the model was made for.",
        details={"expected": [item.to_json()], "given": [{"name": item.name, "shape": list(given)}]},
    )


def _open_saved_model(path: Path, threads: int) -> TensorflowSession:
    loaded = load_graph(path, threads=threads)
    inputs, outputs = loaded.graph.inputs, loaded.graph.outputs
    with explained("load"):
        answer = loaded.session.make_callable(list(loaded.answers), feed_list=list(loaded.arguments))
    types = [tf.as_dtype(item.dtype).as_numpy_dtype for item in inputs]

    def call(given: Sequence[Array]) -> Sequence[Any]:
        return answer(*(np.asarray(value, dtype) for value, dtype in zip(given, types, strict=True)))  # type: ignore[no-any-return]

    return TensorflowSession(call, inputs, outputs, loaded)


def _open_keras(path: Path) -> TensorflowSession:
    model = load_keras(path)
    with explained("load"):
        inputs = keras_inputs(model)
        function = keras_function(model, [tf.TensorSpec(item.shape, item.dtype) for item in inputs])
        outputs = [
            Tensor(name=name, dtype=answer.dtype.name, shape=_shape(answer.shape))
            for name, answer in function.structured_outputs.items()
        ]

    def call(given: Sequence[Array]) -> Sequence[Any]:
        answers = function(*(tf.constant(value, dtype=item.dtype) for value, item in zip(given, inputs, strict=True)))
        return [answers[item.name].numpy() for item in outputs]

    return TensorflowSession(call, inputs, outputs, (model, function))


def _without_dropout(model: Any) -> None:
    """Let recurrent layers draw no random numbers: they draw them in inference, too, and throw them away."""
    for layer in getattr(model, "_flatten_layers", lambda: ())():
        if hasattr(layer, "get_dropout_mask"):
            layer.dropout = layer.recurrent_dropout = 0.0


def _output_names(model: Any) -> list[str]:
    """Return for each output the name of the layer that makes it, numbered where one makes several."""
    names = getattr(model, "output_names", None)
    if not names:
        names = [getattr(getattr(item, "_keras_history", None), "operation", model).name for item in model.outputs]
    return [name if names.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(names)]


def _shape(shape: Any) -> Shape | None:
    known = tf.TensorShape(shape)
    return None if known.rank is None else tuple(known.as_list())


def _array(answer: Any) -> Array:
    array = np.asarray(answer)
    if array.dtype != object and array.dtype.kind != "S":
        return array
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape)
