"""Core ML: an ``.mlmodel``, or a zip archive of an ``.mlpackage``. Looked into here; only Apple's devices run it."""

from __future__ import annotations

import sys
from collections import Counter
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edge_ai.engine.errors import UnsupportedError, UserInputError
from edge_ai.engine.formats.archive import pack_folder, unpack_archive
from edge_ai.engine.formats.kept import KeptFormat, damaged
from edge_ai.engine.spec import Format

#: What the package of Core ML's messages is called here.
_PACKAGE: Final = "edge_ai_core_ml_messages"
#: MLMultiArray's element types. Source: FeatureTypes.proto of coremltools.
DTYPES: Final = {65568: "float32", 65600: "float64", 131104: "int32", 65552: "float16", 131080: "int8"}


class CoreMlFormat(KeptFormat):
    """See :class:`~edge_ai.engine.formats.kept.KeptFormat`."""

    def unpack(self, path: Path, workdir: Path) -> Path:
        """Return the path of the ``.mlmodel`` inside the package, or the file itself."""
        with path.open("rb") as stream:
            packed = stream.read(4) == b"PK\x03\x04"
        if not packed:
            return path
        folder = unpack_archive(path, workdir / f"{path.name}.unpacked")
        found = sorted(folder.rglob("*.mlmodel"))
        if len(found) != 1:
            raise _damaged(f"the package holds {len(found)} .mlmodel files, and must hold one")
        return found[0]

    def facts(self, path: Path, workdir: Path) -> dict[str, Any]:
        """Read the specification, and the weights as the bytes of their files."""
        spec_path = self.unpack(path, workdir)
        spec = load_messages().Model()
        try:
            spec.ParseFromString(spec_path.read_bytes())
        except DecodeError:
            raise _damaged("its specification was cut short") from None
        kind = spec.WhichOneof("Type")
        if kind is None:
            raise _damaged("it holds no network")
        operators = _operators(spec, kind)
        weights = sum(item.stat().st_size for item in spec_path.parent.rglob("*.bin"))
        return {
            "inputs": [_feature(item) for item in spec.description.input],
            "outputs": [_feature(item) for item in spec.description.output],
            "operators": dict(operators.most_common()),
            "node_count": sum(operators.values()) or None,
            "weight_bytes": weights or None,
            "ir_version": int(spec.specificationVersion),
            "producer": (
                str(spec.description.metadata.userDefined.get("com.github.apple.coremltools.version") or "")
                and f"coremltools {spec.description.metadata.userDefined['com.github.apple.coremltools.version']}"
            )
            or "Core ML",
            "metadata": {"kind": kind, "author": spec.description.metadata.author[:200]},
        }

    def save(self, made: Path, target: Path) -> int:
        """Pack the package's folder."""
        if made.is_dir():
            return pack_folder(made, target)
        return super().save(made, target)


HANDLER: Final = CoreMlFormat(
    Format.COREML,
    "variant.mlpackage.zip",
    reason="Core ML runs on Apple's devices only.",
    fix="Run it on the device; to optimize the network here, start from the model that it was made from.",
)


@cache
def load_messages() -> ModuleType:
    """Return the classes of Core ML's specification, without coremltools around them: that loads TensorFlow, for seconds."""
    package = find_spec("coremltools")
    if package is None or not package.submodule_search_locations:
        raise UnsupportedError(
            "This studio lacks coremltools, which Core ML models are read with.",
            code="unsupported_conversion",
            fix="Ask the operator to install coremltools.",
        )
    folder = Path(package.submodule_search_locations[0]) / "proto"
    spec = spec_from_file_location(_PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None:
        raise ImportError(_PACKAGE)
    # Its modules import each other by way of their package, whatever that is called.
    sys.modules[_PACKAGE] = module_from_spec(spec)
    return import_module(f"{_PACKAGE}.Model_pb2")


def _operators(spec: Any, kind: str) -> Counter[str]:
    if kind == "mlProgram":
        return Counter(
            operation.type
            for function in spec.mlProgram.functions.values()
            for block in function.block_specializations.values()
            for operation in block.operations
            if operation.type != "const"
        )
    if kind in {"neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor"}:
        return Counter(layer.WhichOneof("layer") for layer in getattr(spec, kind).layers)
    return Counter()


def _feature(item: Any) -> dict[str, Any]:
    kind = item.type.WhichOneof("Type")
    if kind == "multiArrayType":
        array = item.type.multiArrayType
        return {"name": item.name, "dtype": DTYPES.get(array.dataType, "float32"), "shape": list(array.shape)}
    if kind == "imageType":
        image = item.type.imageType
        return {"name": item.name, "dtype": "image", "shape": [int(image.height), int(image.width)]}
    return {"name": item.name, "dtype": (kind or "unknown").removesuffix("Type"), "shape": None}


def _damaged(reason: str) -> UserInputError:
    return damaged("Core ML model", reason, "Zip the whole .mlpackage, or upload the whole .mlmodel.")
