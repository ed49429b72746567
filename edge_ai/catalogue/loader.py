"""Reads the device catalogue (`edge_ai/devices.toml`), refusing what is unknown, unsourced or implausible in it."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edge_ai.engine.spec import Format, Precision

DEFAULT: Final = Path(__file__).resolve().parent.parent / "devices.toml"

#: Categories of the catalogue file. "host" is left out: that device is detected, never written down.
CATEGORIES: Final = frozenset(
    {"single_board_computer", "embedded_gpu", "accelerator_board", "phone", "ai_pc", "server", "microcontroller"}
)
ARCHITECTURES: Final = frozenset({"arm64", "armv7", "armv7e-m", "armv8-m", "x86_64", "xtensa", "riscv32"})
ACCELERATOR_KINDS: Final = frozenset({"gpu", "npu", "tpu", "dsp"})
#: "other" and "auto" are words of the API that no device runs.
FORMATS: Final = frozenset(word.value for word in Format) - {Format.OTHER.value}
PRECISIONS: Final = frozenset(word.value for word in Precision) - {Precision.AUTO.value}
#: What each runtime reads. One whose own file has no word in the API (RKNN, HEF, …) reads none of them.
RUNTIME_FORMATS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "coreml": frozenset({Format.COREML}),
        "edgetpu": frozenset({Format.TFLITE}),
        "hailort": frozenset(),
        "ncnn": frozenset({Format.NCNN}),
        "onnxruntime": frozenset({Format.ONNX, Format.ORT}),
        "openvino": frozenset({Format.OPENVINO, Format.ONNX, Format.TFLITE}),
        "qnn": frozenset(),
        "rknn": frozenset(),
        "ryzen_ai": frozenset({Format.ONNX}),
        "stedgeai": frozenset({Format.ONNX, Format.TFLITE}),
        "tensorflow": frozenset({Format.KERAS, Format.SAVED_MODEL}),
        "tensorrt": frozenset({Format.TENSORRT, Format.ONNX}),
        "tflite": frozenset({Format.TFLITE}),
        "tflite_micro": frozenset({Format.TFLITE}),
        "tidl": frozenset({Format.ONNX, Format.TFLITE}),
    }
)

_TEXTS: Final = ("slug", "name", "vendor", "category", "description", "os", "cpu_model", "cpu_architecture")
_LISTS: Final = ("cpu_extensions", "runtimes", "formats", "precisions")
#: Smallest and largest plausible value. A larger one is most likely in the wrong unit.
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "cpu_cores": (1, 1024),
        "cpu_frequency_mhz": (8, 8_000),
        "memory_mb": (1, 4_000_000),
        "memory_bandwidth_gb_s": (0.01, 5_000),
        "peak_gflops_fp32": (0.01, 200_000),
        "peak_gflops_fp16": (0.01, 400_000),
        "peak_tops_int8": (0.000_1, 5_000),
        "tdp_w": (0.01, 1_500),
    }
)
_WHOLE: Final = frozenset({"cpu_cores", "cpu_frequency_mhz", "memory_mb"})
_DEVICE_KEYS: Final = frozenset({*_TEXTS, *_LISTS, *_BOUNDS, "accelerators", "sources"})
_ACCELERATOR_KEYS: Final = frozenset({"name", "kind", "peak_tops_int8", "precisions"})
_SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.]*")
_REFERENCE: Final = re.compile(r"\[([a-z0-9-]+)\]")
#: Where a document is found: its address, or its publisher's number for it.
_LOCATOR: Final = re.compile(r"https://\S+|\b[A-Z]{2}[A-Z0-9]*-?\d{3}")
#: Key in `sources` under which the documents behind the texts and lists are kept.
TEXT_SOURCES: Final = "texts"


class CatalogueError(ValueError):
    """The catalogue file is wrong. Says at which device and which field."""

    def __init__(self, message: str, *, device: str = "", field: str = "") -> None:
        self.device = device
        self.field = field
        where = " / ".join(part for part in (device, field) if part)
        super().__init__(f"{where}: {message}" if where else message)


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceleratorFacts:
    """A processor beside the CPU that can run models."""

    name: str
    kind: str
    peak_tops_int8: float | None = None
    precisions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceTemplateFacts:
    """What is known about a device.

    A number is `None` where nobody published one. `sources` says where each number is from, under the name of its field
    (`accelerators.0.peak_tops_int8` for the first accelerator), and the documents behind the rest under `TEXT_SOURCES`.

    The device's own peaks are those of its CPU, all cores together, a multiplication and an addition counting as two
    operations; an accelerator's stand with the accelerator. The frequency is the highest of the fastest core. A MB of
    memory is 1024 x 1024 bytes, a GB/s is 10^9 bytes per second.
    """

    slug: str
    name: str
    vendor: str
    category: str
    description: str
    os: str
    position: int
    cpu_model: str
    cpu_architecture: str
    cpu_cores: int | None = None
    cpu_extensions: tuple[str, ...] = ()
    cpu_frequency_mhz: int | None = None
    memory_mb: int | None = None
    memory_bandwidth_gb_s: float | None = None
    peak_gflops_fp32: float | None = None
    peak_gflops_fp16: float | None = None
    peak_tops_int8: float | None = None
    tdp_w: float | None = None
    accelerators: tuple[AcceleratorFacts, ...] = ()
    runtimes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    sources: Mapping[str, str]
    is_host: bool = False


def load_catalogue(path: Path = DEFAULT) -> tuple[DeviceTemplateFacts, ...]:
    """Every device of the catalogue file, in its order.

    Raises
    ------
    CatalogueError
        Naming the device and the field that is wrong.
    """
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogueError(f"cannot be read as TOML: {error}", field=path.name) from error
    if unknown := data.keys() - {"documents", "device"}:
        raise CatalogueError(f"unknown key {sorted(unknown)[0]!r}", field=path.name)
    documents = _documents(data.get("documents", {}))
    entries = data.get("device", [])
    if not isinstance(entries, list) or not entries:
        raise CatalogueError("has no [[device]]", field=path.name)
    used: set[str] = set()
    devices: dict[str, DeviceTemplateFacts] = {}
    for position, entry in enumerate(entries, start=1):
        facts = _Device(entry, position, documents, used).facts()
        if facts.slug in devices:
            raise CatalogueError("this slug is used twice", device=facts.slug, field="slug")
        devices[facts.slug] = facts
    if unused := documents.keys() - used:
        raise CatalogueError("no device cites this document", field=f"documents.{sorted(unused)[0]}")
    return tuple(devices.values())


def facts_to_fields(facts: DeviceTemplateFacts) -> dict[str, object]:
    """The facts as the columns of a device template, ready for JSON."""
    values: dict[str, object] = {field.name: getattr(facts, field.name) for field in fields(facts)}
    for name in _LISTS:
        values[name] = list(getattr(facts, name))
    values["accelerators"] = [
        {
            "name": accelerator.name,
            "kind": accelerator.kind,
            "peak_tops_int8": accelerator.peak_tops_int8,
            "precisions": list(accelerator.precisions),
        }
        for accelerator in facts.accelerators
    ]
    values["sources"] = dict(facts.sources)
    return values


def _documents(table: object) -> dict[str, str]:
    if not isinstance(table, dict):
        raise CatalogueError("must be a table", field="documents")
    for key, text in table.items():
        if not _SLUG.fullmatch(key):
            raise CatalogueError("a document's key is lower-case words joined by dashes", field=f"documents.{key}")
        if not isinstance(text, str) or not _LOCATOR.search(text):
            raise CatalogueError(
                "a document needs a title and an https address or its publisher's number", field=f"documents.{key}"
            )
    return table


class _Device:
    """Reads one `[[device]]`, keeping its name for every complaint. Not responsible for rules between devices."""

    def __init__(self, entry: object, position: int, documents: Mapping[str, str], used: set[str]) -> None:
        self.label = f"device {position}"
        if not isinstance(entry, dict):
            raise CatalogueError("must be a table", device=self.label)
        self.entry: Mapping[str, object] = entry
        if isinstance(slug := entry.get("slug"), str) and slug:
            self.label = slug
        self.position = position
        self.documents = documents
        self.used = used
        self.sources: dict[str, str] = {}

    def facts(self) -> DeviceTemplateFacts:
        if unknown := self.entry.keys() - _DEVICE_KEYS:
            raise self.error(sorted(unknown)[0], "unknown key")
        texts = {name: self.text(name) for name in _TEXTS}
        if not _SLUG.fullmatch(texts["slug"]):
            raise self.error("slug", "must be lower-case words joined by dashes")
        self.known("category", (texts["category"],), CATEGORIES)
        self.known("cpu_architecture", (texts["cpu_architecture"],), ARCHITECTURES)
        lists = {name: self.words(self.entry, name) for name in _LISTS}
        for name in ("runtimes", "formats", "precisions"):
            if not lists[name]:
                raise self.error(name, "must not be empty")
        self.known("runtimes", lists["runtimes"], RUNTIME_FORMATS.keys())
        self.known("formats", lists["formats"], FORMATS)
        self.known("precisions", lists["precisions"], PRECISIONS)
        self.check_formats(lists["runtimes"], lists["formats"])
        numbers = {name: self.number(self.entry, name) for name in _BOUNDS}
        accelerators = self.accelerators()
        self.sources[TEXT_SOURCES] = "; ".join(self.cite("sources", text) for text in self.strings("sources"))
        return DeviceTemplateFacts(
            position=self.position,
            slug=texts["slug"],
            name=texts["name"],
            vendor=texts["vendor"],
            category=texts["category"],
            description=texts["description"],
            os=texts["os"],
            cpu_model=texts["cpu_model"],
            cpu_architecture=texts["cpu_architecture"],
            cpu_cores=_whole(numbers["cpu_cores"]),
            cpu_extensions=lists["cpu_extensions"],
            cpu_frequency_mhz=_whole(numbers["cpu_frequency_mhz"]),
            memory_mb=_whole(numbers["memory_mb"]),
            memory_bandwidth_gb_s=numbers["memory_bandwidth_gb_s"],
            peak_gflops_fp32=numbers["peak_gflops_fp32"],
            peak_gflops_fp16=numbers["peak_gflops_fp16"],
            peak_tops_int8=numbers["peak_tops_int8"],
            tdp_w=numbers["tdp_w"],
            accelerators=accelerators,
            runtimes=lists["runtimes"],
            formats=lists["formats"],
            precisions=lists["precisions"],
            sources=MappingProxyType(self.sources),
        )

    def error(self, field: str, message: str) -> CatalogueError:
        return CatalogueError(message, device=self.label, field=field)

    def text(self, name: str) -> str:
        value = self.entry.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(name, "must be a text that is not empty")
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        value = self.entry.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            raise self.error(name, "must be a list of texts that is not empty")
        return tuple(value)

    def words(self, table: Mapping[str, object], name: str, prefix: str = "") -> tuple[str, ...]:
        value = table.get(name)
        if not isinstance(value, list):
            raise self.error(prefix + name, "must be a list of words")
        for item in value:
            if not isinstance(item, str) or not _WORD.fullmatch(item):
                raise self.error(prefix + name, f"{item!r} is no lower-case word")
        if len(set(value)) < len(value):
            raise self.error(prefix + name, "names a word twice")
        return tuple(value)

    def known(self, field: str, words: tuple[str, ...], allowed: Collection[str]) -> None:
        for word in words:
            if word not in allowed:
                raise self.error(field, f"{word!r} is not one of {', '.join(sorted(allowed))}")

    def check_formats(self, runtimes: tuple[str, ...], formats: tuple[str, ...]) -> None:
        for name in formats:
            if not any(name in RUNTIME_FORMATS[runtime] for runtime in runtimes):
                raise self.error("formats", f"no runtime of this device reads {name!r}")
        for runtime in runtimes:
            readable = RUNTIME_FORMATS[runtime]
            if readable and not readable & set(formats):
                raise self.error("runtimes", f"{runtime!r} reads none of this device's formats")

    def number(self, table: Mapping[str, object], name: str, prefix: str = "") -> float | None:
        field = prefix + name
        if name not in table:
            return None
        entry = table[name]
        if not isinstance(entry, dict) or entry.keys() != {"value", "source"}:
            raise self.error(field, "must be {value = number, source = text}")
        value, source = entry["value"], entry["source"]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error(field, f"{value!r} is no number")
        if name in _WHOLE and not isinstance(value, int):
            raise self.error(field, f"{value!r} is no whole number")
        low, high = _BOUNDS[name]
        if value <= 0:
            raise self.error(field, f"{value} must be above zero")
        if not low <= value <= high:
            raise self.error(field, f"{value} is outside {low:g} to {high:g}: is the unit right?")
        if not isinstance(source, str):
            raise self.error(field, "its source must be a text")
        self.sources[field] = self.cite(field, source)
        return float(value)

    def cite(self, field: str, text: str) -> str:
        """The text with every [document] written out."""
        keys = _REFERENCE.findall(text)
        if not keys:
            raise self.error(field, "a source must cite a [document]")
        for key in keys:
            if key not in self.documents:
                raise self.error(field, f"cites [{key}], which is not among the documents")
        self.used.update(keys)
        return _REFERENCE.sub(lambda match: self.documents[match[1]], text)

    def accelerators(self) -> tuple[AcceleratorFacts, ...]:
        entries = self.entry.get("accelerators", [])
        if not isinstance(entries, list):
            raise self.error("accelerators", "must be a list of tables")
        found = []
        for index, entry in enumerate(entries):
            field = f"accelerators.{index}"
            if not isinstance(entry, dict):
                raise self.error(field, "must be a table")
            if unknown := entry.keys() - _ACCELERATOR_KEYS:
                raise self.error(f"{field}.{sorted(unknown)[0]}", "unknown key")
            name, kind = entry.get("name"), entry.get("kind")
            if not isinstance(name, str) or not name:
                raise self.error(f"{field}.name", "must be a text that is not empty")
            if kind not in ACCELERATOR_KINDS:
                raise self.error(f"{field}.kind", f"{kind!r} is not one of {', '.join(sorted(ACCELERATOR_KINDS))}")
            precisions = self.words(entry, "precisions", f"{field}.")
            self.known(f"{field}.precisions", precisions, PRECISIONS)
            tops = self.number(entry, "peak_tops_int8", f"{field}.")
            found.append(AcceleratorFacts(name=name, kind=str(kind), peak_tops_int8=tops, precisions=precisions))
        return tuple(found)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
