"""Does a variant compute what its source computes? Signal-to-noise ratio, cosine, largest error, agreement of classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

from edge_ai.engine.errors import ParityError
from edge_ai.engine.spec import Precision

if TYPE_CHECKING:
    import onnxruntime

#: dB under which a variant is broken, where no labels decide.
FLOOR_DB = {Precision.FP32: 40.0, Precision.FP16: 25.0, Precision.INT8: 8.0, Precision.INT8_DYNAMIC: 8.0}
#: dB under which nothing is a variant, labels or not.
LAST_FLOOR_DB = 3.0
#: dB under which a variant comes with a warning.
WARN_DB = {Precision.FP32: 80.0, Precision.FP16: 45.0, Precision.INT8: 20.0, Precision.INT8_DYNAMIC: 20.0}
#: Equal outputs have no noise at all; JSON has no infinity.
NO_NOISE_DB = 200.0

Feed = Mapping[str, npt.NDArray[Any]]


@dataclass
class _Sums:
    """What is kept of one output while samples pass by: nothing that grows with their number."""

    signal: float = 0.0
    noise: float = 0.0
    dot: float = 0.0
    squared: float = 0.0
    largest: float = 0.0
    rows: int = 0
    same_class: int = 0
    classes: bool = True
    equal: int = 0
    compared: int = 0

    def add(self, reference: npt.NDArray[Any], variant: npt.NDArray[Any]) -> None:
        x, y = reference.astype(np.float64).ravel(), variant.astype(np.float64).ravel()
        self.signal += float(x @ x)
        self.noise += float((x - y) @ (x - y))
        self.dot += float(x @ y)
        self.squared += float(y @ y)
        self.largest = max(self.largest, float(np.max(np.abs(x - y), initial=0.0)))
        rows = _class_rows(reference)
        if rows is None:
            self.classes = False
        else:
            self.rows += len(rows)
            self.same_class += int(np.sum(np.argmax(rows, 1) == np.argmax(variant.reshape(rows.shape), 1)))

    def sqnr_db(self) -> float:
        if self.noise == 0.0:
            return NO_NOISE_DB
        if self.signal == 0.0:
            return -NO_NOISE_DB
        return max(-NO_NOISE_DB, min(NO_NOISE_DB, 10 * math.log10(self.signal / self.noise)))

    def cosine(self) -> float:
        scale = math.sqrt(self.signal * self.squared)
        return self.dot / scale if scale else float(self.noise == 0.0)


def _class_rows(output: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return an output as rows of class scores when it looks like that: one row a sample, more than one column."""
    squeezed = output.reshape(output.shape[0], -1) if output.ndim > 1 else None
    if squeezed is None or output.shape[-1] < 2 or squeezed.shape[1] != output.shape[-1]:
        return None
    return squeezed


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How close a variant is, in its worst output. ``sqnr_db`` is None when no output is numbers."""

    sqnr_db: float | None
    cosine: float | None
    max_abs_error: float | None
    top1_agreement: float | None
    equal_share: float | None
    logits_sqnr_db: float | None
    samples: int
    data: str
    outputs: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return the ``parity`` object of the API."""
        return {
            "sqnr_db": self.sqnr_db,
            "cosine": self.cosine,
            "max_abs_error": self.max_abs_error,
            "top1_agreement": self.top1_agreement,
            "equal_share": self.equal_share,
            "logits_sqnr_db": self.logits_sqnr_db,
            "samples": self.samples,
            "data": self.data,
            "outputs": [dict(item) for item in self.outputs],
        }


def sqnr_db(reference: npt.NDArray[Any], variant: npt.NDArray[Any]) -> float:
    """Return 10·log10(Σx² / Σ(x−y)²) in dB, 200 for equal arrays."""
    sums = _Sums()
    sums.add(np.atleast_1d(reference), np.atleast_1d(variant))
    return sums.sqnr_db()


def compare_sessions(
    reference: onnxruntime.InferenceSession,
    variant: onnxruntime.InferenceSession,
    feeds: Iterable[Feed],
    *,
    data: str,
    logits: bool = False,
) -> Parity:
    """Run both models on the same inputs and compare what they answer.

    Parameters
    ----------
    feeds
        One mapping from input name to array for each inference.
    data
        Where the inputs come from: "dataset", "representative" or "random".
    logits
        The last outputs of both sessions are the input of a final Softmax (see :func:`tap_logits`); they are reported
        apart, since a Softmax hides errors.

    Raises
    ------
    ParityError
        ``parity_failed`` when shapes differ, or the variant answers with numbers that are not finite.
    """
    names = [item.name for item in reference.get_outputs()]
    answers = [item.name for item in variant.get_outputs()]
    sums: dict[str, _Sums] = {name: _Sums() for name in names}
    samples = 0
    for feed in feeds:
        expected, got = reference.run(names, dict(feed)), variant.run(answers, dict(feed))
        samples += 1
        for name, x, y in zip(names, expected, got, strict=True):
            _add(sums[name], name, x, y)
    apart = names[-1] if logits else None
    outputs = [
        {
            "name": name,
            "sqnr_db": round(item.sqnr_db(), 3) if item.signal or item.noise or not item.compared else None,
            "cosine": round(item.cosine(), 8),
            "max_abs_error": item.largest,
            "top1_agreement": item.same_class / item.rows if item.classes and item.rows else None,
        }
        for name, item in sums.items()
        if not item.compared and name != apart
    ]
    compared = [item for item in sums.values() if item.compared]
    agreements = [item["top1_agreement"] for item in outputs if item["top1_agreement"] is not None]
    return Parity(
        sqnr_db=min((float(item["sqnr_db"]) for item in outputs), default=None),
        cosine=min((float(item["cosine"]) for item in outputs), default=None),
        max_abs_error=max((float(item["max_abs_error"]) for item in outputs), default=None),
        top1_agreement=min(agreements, default=None),
        equal_share=sum(i.equal for i in compared) / sum(i.compared for i in compared) if compared else None,
        logits_sqnr_db=round(sums[apart].sqnr_db(), 3) if apart else None,
        samples=samples,
        data=data,
        outputs=outputs,
    )


def _add(sums: _Sums, name: str, reference: Any, variant: Any) -> None:
    if not isinstance(reference, np.ndarray) or reference.dtype.kind not in "f":
        # Classes, texts, maps: equal or not.
        same = np.array_equal(reference, variant) if isinstance(reference, np.ndarray) else reference == variant
        sums.compared += 1
        sums.equal += bool(same)
        return
    if reference.shape != variant.shape:
        raise ParityError(
            f"The output {name!r} of the variant has the shape {list(variant.shape)} instead of {list(reference.shape)}.",
            code="parity_failed",
            fix="Choose another precision.",
        )
    if not np.all(np.isfinite(variant)) and np.all(np.isfinite(reference)):
        raise ParityError(
            f"The variant answers {name!r} with numbers that are not finite.",
            code="parity_failed",
            fix="Choose fp16 or int8_dynamic, or calibrate with more representative samples.",
        )
    sums.add(np.nan_to_num(reference), np.nan_to_num(variant))


def tap_logits(source: Path, target: Path) -> bool:
    """Write a copy of a model whose final Softmax also shows what goes into it. ``False``: the model ends otherwise."""
    model = onnx.load_model(source)
    if len(model.graph.output) != 1:
        return False
    makers = {name: node for node in model.graph.node for name in node.output}
    last = makers.get(model.graph.output[0].name)
    # A quantized Softmax has a pair of Quantize and Dequantize behind it.
    while last is not None and last.op_type in {"DequantizeLinear", "QuantizeLinear", "Cast", "Identity"}:
        last = makers.get(last.input[0])
    if last is None or last.op_type != "Softmax":
        return False
    tapped = last.input[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(tapped, onnx.TensorProto.FLOAT, None))
    onnx.save_model(model, target)
    return True


def judge(
    parity: Parity, precision: Precision, *, drop: float | None, budget: float, samples_labelled: int
) -> list[dict[str, str]]:
    """Let a variant through, with warnings, or not.

    Parameters
    ----------
    drop
        How much lower the variant's top-1 accuracy is than the source's, as a fraction; None without labels.
    budget
        The largest drop that is accepted.

    Raises
    ------
    ParityError
        ``parity_failed`` naming the numbers and what to try.
    """
    floor = LAST_FLOOR_DB if drop is not None else FLOOR_DB.get(precision, 8.0)
    if parity.sqnr_db is not None and parity.sqnr_db < floor:
        raise ParityError(
            f"The variant's outputs are too far from the source's: SQNR {parity.sqnr_db:.1f} dB on {parity.samples} "
            f"{parity.data} inputs, where at least {floor:g} dB is needed.",
            code="parity_failed",
            fix="Choose fp16, or int8_dynamic; for int8, calibrate with more representative samples.",
            details={"parity": parity.to_json(), "floor_db": floor},
        )
    if drop is not None and drop > budget:
        raise ParityError(
            f"Top-1 accuracy fell by {100 * drop:.2f} points on {samples_labelled} labelled samples; "
            f"at most {100 * budget:.2f} points are accepted.",
            code="parity_failed",
            fix="Choose fp16 or int8_dynamic, give more calibration samples, or raise options.accuracy_budget.",
            details={"parity": parity.to_json(), "accuracy_drop": drop, "accuracy_budget": budget},
        )
    warn = WARN_DB.get(precision, 20.0)
    if parity.sqnr_db is not None and parity.sqnr_db < warn:
        return [
            {
                "code": "low_sqnr",
                "detail": f"SQNR is {parity.sqnr_db:.1f} dB, under the {warn:g} dB that {precision} usually reaches.",
                "fix": "Check the variant on labelled data before you ship it.",
            }
        ]
    return []
