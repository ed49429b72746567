"""Reading Keras files without Keras, and refusing those that could run code or read foreign files."""

from __future__ import annotations

import builtins
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py

from edge_ai.engine import shallow
from edge_ai.engine.archives import (
    ARCHIVE_DAMAGE,
    MAX_ZIP_BYTES,
    MAX_ZIP_RATIO,
    RATIO_COUNTS_FROM_BYTES,
    check_archive,
)
from edge_ai.engine.errors import UserInputError

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
WEIGHTS_FILE: Final = "model.weights.h5"
MAX_CONFIG_BYTES: Final = 64 << 20
MAX_DEPTH: Final = 100
#: Layers that run code of the file, or load other files.
UNSAFE_CLASSES: Final = frozenset(
    {"Lambda", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer", "PyFunc"}
)
#: Fields that name files for the layers that fill tables.
FILE_FIELDS: Final = frozenset({"vocabulary", "filepath", "file_path", "vocabulary_path"})
#: What Keras writes for values that are no objects of its own.
PLAIN_CLASSES: Final = frozenset(
    {
        "__ellipsis__",
        "__bytes__",
        "__keras_tensor__",
        "__numpy__",
        "__slice__",
        "__tensor__",
        "__tuple__",
        "TensorShape",
        "CONSTANT_VALUE",
    }
)
#: Layers of Keras 2 that call a function of TensorFlow by its name.
TF_CLASSES: Final = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"})
#: Modules whose public names are functions of tensors, or parts of models.
MODULES: Final = re.compile(
    r"(tf_keras|keras)(\.src)?(\.(layers|models|activations|initializers|regularizers|constraints|ops|dtype_policies"
    r"|engine|legacy|quantizers|random|optimizers|losses|metrics)(\.\w+)*)?|builtins"
)
#: TensorFlow's functions that Keras 2 keeps as layers: those of tensors only.
TF_FUNCTION: Final = re.compile(
    r"(__operators__|math|nn|linalg|image|signal|keras\.activations|experimental\.numpy|bitwise|ragged)\.[\w.]+"
    r"|strings\.(lower|upper|length|substr|strip|join|split|regex_replace|to_number|as_string|reduce_join)"
    r"|(cast|reshape|transpose|concat|stack|unstack|split|expand_dims|squeeze|tile|repeat|gather|gather_nd|slice|pad"
    r"|strided_slice|zeros_like|ones_like|zeros|ones|fill|range|shape|rank|size|where|identity|clip_by_value|reverse|roll"
    r"|broadcast_to|one_hot|argmax|argmin|convert_to_tensor|constant|eye|cumsum|sort|argsort|meshgrid|norm|einsum"
    r"|tensordot|matmul|sequence_mask|boolean_mask|stop_gradient|space_to_batch|batch_to_space|depth_to_space"
    r"|space_to_depth|compat\.v1\.(transpose|shape|concat|gather|squeeze|nn\.\w+|math\.\w+))"
)
#: The layers of Keras 2, whose files do not say where a class comes from.
LAYERS: Final = re.compile(
    r"""Activation | ActivityRegularization | Add | AdditiveAttention | AlphaDropout | Attention | Average | Bidirectional
    | (Average|Avg|Max|GlobalAverage|GlobalAvg|GlobalMax)Pool(ing)?[123]D | (Sync)?BatchNormalization(V[12])? | Masking
    | (Depthwise|Separable)?Conv(olution)?[123]D(Transpose)? | ConvLSTM[123]D | Cropping[123]D | ZeroPadding[123]D
    | UpSampling[123]D | SpatialDropout[123]D | LocallyConnected[12]D | CategoryEncoding | CenterCrop | Concatenate | Dense
    | Discretization | Dot | Dropout | ELU | EinsumDense | Embedding | Flatten | (CuDNN)?(GRU|LSTM)(Cell|V2)? | HashedCrossing
    | Hashing | Gaussian(Dropout|Noise) | (Group|Layer|RMS|Unit|Spectral)?Normalization | GroupQueryAttention | Identity
    | InputLayer | (Integer|String)Lookup | LayerNorm | LeakyReLU | Maximum | MelSpectrogram | Minimum | MultiHeadAttention
    | Multiply | Permute | PReLU | ReLU | ThresholdedReLU | Softmax | RNN | SimpleRNN(Cell)? | StackedRNNCells
    | Random(Brightness|Contrast|Crop|Flip|Height|Rotation|Translation|Width|Zoom) | RepeatVector | Rescaling | Reshape
    | Resizing | Subtract | TextVectorization | TimeDistributed | TFOpLambda | SlicingOpLambda""",
    re.VERBOSE,
)
MODELS: Final = frozenset({"Functional", "Model", "Sequential"})
#: Keras says of some functions of tensors that they are of this module; what Python itself has there is none of them.
PYTHON_FUNCTIONS: Final = frozenset(dir(builtins)) - {"abs", "max", "min", "pow", "round", "sum"}
CLASS: Final = re.compile(r"[A-Z]\w*")
FUNCTION: Final = re.compile(r"[a-z_]\w*")
#: Functions of these modules load models.
NO_FUNCTIONS: Final = re.compile(r".*\b(models|saving)\b.*")


@dataclass(frozen=True, kw_only=True)
class KerasConfig:
    """What a Keras file says of its model.

    Parameters
    ----------
    model
        ``{"class_name": …, "config": …}``.
    version
        Of the Keras that wrote it.
    """

    model: Mapping[str, Any]
    version: str | None


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by its first bytes."""
    with path.open("rb") as stream:
        return stream.read(len(HDF5_MAGIC)) == HDF5_MAGIC


def check_keras_file(path: Path) -> KerasConfig:
    """Read a Keras file's description, after making sure that the file can be loaded safely.

    Raises
    ------
    UserInputError
        ``model_unreadable``; ``model_unsafe`` naming the classes.
    """
    config = read_config(path)
    check_config(config.model)
    with weights_of(path) as weights:
        _check_weights(weights, path.stat().st_size)
    return config


def read_config(path: Path) -> KerasConfig:
    """Read how the model is built.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``.
    """
    with _reading():
        if is_hdf5(path):
            with h5py.File(path, "r") as file:
                text, version = file.attrs.get("model_config"), file.attrs.get("keras_version")
        else:
            with zipfile.ZipFile(path) as archive:
                check_archive(archive, code="model_unsafe")
                if archive.getinfo("config.json").file_size > MAX_CONFIG_BYTES:
                    raise unreadable("Its description is too long.")
                text = archive.read("config.json")
                version = shallow.loads(archive.read("metadata.json")).get("keras_version")
        if text is None:
            raise unreadable("It holds weights only, without the layers that they belong to.")
        model = shallow.loads(text, most=500)  # what is less deep than this is looked at by what it says
        if not isinstance(model, dict) or not isinstance(model.get("config"), (dict, list)):
            raise unreadable("Its description is not that of a model.")
    return KerasConfig(model=model, version=_text(version))


@contextmanager
def weights_of(path: Path) -> Iterator[Any]:
    """Open the weights of a Keras file: an HDF5 group.

    Raises
    ------
    UserInputError
        ``model_unreadable``.
    """
    with _reading():
        if is_hdf5(path):
            with h5py.File(path, "r") as file:
                link = file.get("model_weights", getlink=True)
                if link is not None and not isinstance(link, h5py.HardLink):
                    raise unsafe("Its weights are links to somewhere else.", ["link"])
                yield file if link is None else file["model_weights"]
            return
        with zipfile.ZipFile(path) as archive:
            held = io.BytesIO(archive.read(WEIGHTS_FILE))
        with h5py.File(held, "r") as file:
            yield file


def check_config(model: Mapping[str, Any]) -> None:
    """Refuse a description that names anything but Keras' own parts.

    Raises
    ------
    UserInputError
        ``model_unsafe`` naming the classes.
    """
    # What the model was trained with is not loaded.
    faults = sorted(set(_faults({name: value for name, value in model.items() if name != "compile_config"}, 0)))
    if faults:
        raise unsafe(f"It has {', '.join(faults[:8])}.", faults)


def unreadable(message: str) -> UserInputError:
    """Return the refusal of a damaged Keras file."""
    return UserInputError(
        f"The Keras file cannot be read. {message}",
        code="model_unreadable",
        fix="Save the whole model again with model.save, and upload the whole file.",
        field="file",
    )


def unsafe(message: str, names: list[str]) -> UserInputError:
    """Return the refusal of a Keras file that could run code."""
    return UserInputError(
        f"The Keras file could run code or read other files when it is loaded. {message}",
        code="model_unsafe",
        fix="Use Keras' own layers and functions only, or export the network with model.export and upload that folder.",
        field="file",
        details={"classes": names[:50]},
    )


def _faults(value: Any, depth: int, *, layer: bool = False) -> Iterator[str]:
    """Yield what is wrong with a part of a description; ``layer`` says that it stands where a layer must."""
    if depth > MAX_DEPTH:
        yield "a description nested absurdly deep"
        return
    if isinstance(value, list):
        for item in value:
            yield from _faults(item, depth + 1, layer=layer)
    if not isinstance(value, dict):
        return
    if "class_name" in value:
        yield from _class_faults(value, layer=layer)
    for name, item in value.items():
        if name in FILE_FIELDS and isinstance(item, str):
            yield f"a layer that reads a file ({name})"
        yield from _faults(item, depth + 1, layer=name in {"layers", "layer"})


def _class_faults(value: Mapping[str, Any], *, layer: bool) -> Iterator[str]:
    name, module, config = str(value["class_name"]), value.get("module"), value.get("config")
    registered = value.get("registered_name")
    if name in UNSAFE_CLASSES:
        yield f"a {name} layer" if not name.startswith("_") else "a Python lambda"
    elif name in TF_CLASSES:
        function = str(config.get("function", "")) if isinstance(config, dict) else ""
        if name not in {"TFOpLambda", "SlicingOpLambda"} or not TF_FUNCTION.fullmatch(function):
            yield f"the function {function[:60] or name}"
    elif name in PLAIN_CLASSES:
        return
    elif name == "function":
        own = isinstance(config, str) and FUNCTION.fullmatch(config) is not None and _is_keras(module)
        if not own or _loads(module) or (module == "builtins" and config in PYTHON_FUNCTIONS):
            yield f"the function {str(config)[:60]}"
    elif not CLASS.fullmatch(name) or not _is_keras(module) or not _is_own(registered, name):
        yield f"the custom class {str(registered or name)[:60]}"
    elif layer and module is None and name not in MODELS and not LAYERS.fullmatch(name):
        yield f"the custom class {name[:60]}"


def _is_keras(module: object) -> bool:
    return module is None or (isinstance(module, str) and MODULES.fullmatch(module) is not None)


def _loads(module: object) -> bool:
    return isinstance(module, str) and NO_FUNCTIONS.fullmatch(module) is not None


def _is_own(registered: object, name: str) -> bool:
    """Keras gives its own classes no registered name, or their plain one; those of others have a package before it."""
    return registered is None or registered == name


def _check_weights(weights: Any, size_bytes: int) -> None:
    """Refuse HDF5 files that reach into other files, or that unpack to absurd sizes for a file of ``size_bytes``."""
    total = 0
    seen = set()
    waiting = [weights]
    while waiting:
        group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise unsafe("Its weights are links to somewhere else.", ["link"])
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise unsafe("Its weights lie in other files.", ["external"])
                total += item.size * item.dtype.itemsize if item.shape is not None else 0
    if total > MAX_ZIP_BYTES or (total > RATIO_COUNTS_FROM_BYTES and total > MAX_ZIP_RATIO * size_bytes):
        raise unsafe(f"Its weights unpack to {total:,} bytes.", ["size"])


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except UserInputError:
        raise
    # OverflowError: an address beyond what Python can seek to.
    except (*ARCHIVE_DAMAGE, TypeError, AttributeError, OverflowError) as error:
        raise unreadable(f"It is damaged or was cut short ({type(error).__name__}).") from error


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None
