"""Whether a data set fits a model: names, types and shapes. Standard library only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from edge_ai.engine.dataset_preprocess import ONLY_INPUT
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.sniff import ArraySpec, DatasetHeader

TYPES = {
    "float32": {"float32", "float64", "float16"},
    "float64": {"float32", "float64", "float16"},
    "float16": {"float32", "float64", "float16"},
    "string": {"string", "bytes"},
}
WHOLE = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"})


def plain_name(name: str) -> str:
    """Return a tensor's name without what converters add or change: ``serving_default_``, ``:0`` (or ``__0``), dashes."""
    return re.sub(r"\W", "_", re.sub(r"(:|__)\d+$", "", name.removeprefix("serving_default_"))).strip("_").lower()


def array_names(inputs: Sequence[Mapping[str, Any]], arrays: Sequence[str]) -> dict[str, str]:
    """Return for each input the array of a data set that is meant for it: of its name, else of its plain name.

    The one array of a data set of files that names no input is meant for the only input that there is.
    """
    if list(arrays) == [ONLY_INPUT] and len(inputs) == 1:
        return {inputs[0]["name"]: ONLY_INPUT}
    by_plain = {plain_name(name): name for name in arrays}
    found = {item["name"]: item["name"] for item in inputs if item["name"] in arrays}
    for item in inputs:
        other = by_plain.get(plain_name(item["name"]))
        if item["name"] not in found and other is not None and other not in found.values():
            found[item["name"]] = other
    return found


def check_dataset(analysis: Mapping[str, Any], dataset: DatasetHeader) -> None:
    """Hold a data set against a model's inputs: names, types and shapes.

    Raises
    ------
    UserInputError
        ``dataset_mismatch`` naming what is expected and what is given.
    """
    inputs: Sequence[Mapping[str, Any]] = analysis.get("inputs") or ()
    given = {array.name: array for array in dataset.arrays}
    names = array_names(inputs, list(given))
    faults = []
    for item in inputs:
        array = given.get(names.get(item["name"], ""))
        if array is None:
            faults.append(f"there is no array {item['name']!r}")
        elif not _type_fits(item, array.dtype):
            faults.append(f"{item['name']!r} is {array.dtype}, not {item['dtype']}")
        elif not _shape_fits(item["shape"], array):
            faults.append(
                f"{item['name']!r} has shape {_shape(array.shape)}, which is no stack of {_shape(item['shape'])}"
            )
    if not faults:
        return
    expected = ", ".join(f"{item['name']} {item['dtype']} {_shape(item['shape'])}" for item in inputs)
    found = ", ".join(f"{array.name} {array.dtype} {_shape(array.shape)}" for array in dataset.arrays)
    raise UserInputError(
        f"The data set does not fit the model: {'; '.join(faults)}. Expected: {expected}. Given: {found}.",
        code="dataset_mismatch",
        fix="Save one array for each input under the input's name; the first axis counts samples. Of images and sounds "
        "preprocess.json decides the name, the type and the shape.",
        field="dataset",
        details={
            "expected": [dict(item) for item in inputs],
            "given": [{"name": a.name, "dtype": a.dtype, "shape": list(a.shape)} for a in dataset.arrays],
        },
    )


def check_comparable(models: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Hold the inputs of models against those of the first: what one is fed, all must take.

    Converters rename inputs, turn images' axes round and quantize them, so only the number of inputs counts and, of each,
    its rank and its fixed sizes in any order.

    Parameters
    ----------
    models
        Their analyses.
    names
        What they are called.

    Raises
    ------
    UserInputError
        ``not_comparable`` for the first that cannot.
    """
    first = [item.get("shape") for item in models[0].get("inputs") or ()]
    for place, analysis in enumerate(models[1:], start=1):
        inputs: Sequence[Mapping[str, Any]] = analysis.get("inputs") or ()
        if _pairable(first, [item.get("shape") for item in inputs]):
            continue
        raise UserInputError(
            f"“{names[place]}” does not take the same input as “{names[0]}”: {_told(inputs)}, not "
            f"{_told(models[0].get('inputs') or ())}.",
            code="not_comparable",
            fix="Compare models whose inputs have the same number, types and shapes, such as the variants of one model.",
            field="models",
            details={"model": place},
        )


def _told(inputs: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{item['name']} {_shape(item.get('shape'))}" for item in inputs) or "nothing"


def _pairable(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    """Tell whether each shape has another of its own that is like it."""
    if len(ours) != len(theirs):
        return False
    partner: dict[int, int] = {}

    def find(mine: int, tried: set[int]) -> bool:
        for other, shape in enumerate(theirs):
            if other in tried or not _alike(ours[mine], shape):
                continue
            tried.add(other)
            if other not in partner or find(partner[other], tried):
                partner[other] = mine
                return True
        return False

    return all(find(mine, set()) for mine in range(len(ours)))


def _alike(ours: Sequence[object] | None, theirs: Sequence[object] | None) -> bool:
    if ours is None or theirs is None:
        return True
    if len(ours) != len(theirs):
        return False
    fixed = [Counter(size for size in shape if isinstance(size, int)) for shape in (ours, theirs)]
    free = [len(ours) - sum(sizes.values()) for sizes in fixed]
    # What is fixed in one only stands opposite a free axis of the other.
    return sum((fixed[0] - fixed[1]).values()) <= free[1] and sum((fixed[1] - fixed[0]).values()) <= free[0]


def _type_fits(item: Mapping[str, Any], given: str) -> bool:
    wanted = str(item["dtype"])
    if wanted == given:
        return True
    if item.get("quantization") and given in TYPES["float32"]:
        # Integers that stand for real numbers: the samples are quantized as the input says.
        return True
    if wanted in WHOLE:
        # Whole numbers are cast where that loses nothing that a model could use.
        return given in WHOLE
    return given in TYPES.get(wanted, frozenset())


def _shape_fits(wanted: Sequence[object] | None, array: ArraySpec) -> bool:
    """Sample *i* is ``a[i]`` when that has the rank of the input, and ``a[i:i+1]`` otherwise."""
    if wanted is None:
        return True
    rank = len(wanted)
    if len(array.shape) == rank + 1:
        sample: tuple[int, ...] = array.shape[1:]
    elif len(array.shape) == rank and rank > 0:
        sample = (1, *array.shape[1:])
    else:
        return False
    pairs = list(zip(wanted, sample, strict=True))
    if pairs and len(array.shape) == rank:
        # The batch axis: samples are joined to whatever fixed batch the model has.
        pairs = pairs[1:]
    return all(not isinstance(axis, int) or axis == size for axis, size in pairs)


def _shape(shape: Sequence[object] | None) -> str:
    if shape is None:
        return "of any rank"
    return "[" + ", ".join(str(axis) if axis is not None else "?" for axis in shape) + "]"
