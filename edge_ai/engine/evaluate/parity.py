"""Does a variant still compute what its source computes?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.accuracy import Labels, class_labels, classifying_output, evaluate_classification
from edge_ai.engine.evaluate.dataset import Dataset
from edge_ai.engine.evaluate.distance import OutputParity, compare_output
from edge_ai.engine.evaluate.pairing import pair, to_answer, to_real, translate
from edge_ai.engine.evaluate.significance import PairedChange, mcnemar
from edge_ai.engine.evaluate.task import feed_sample, required_batch
from edge_ai.engine.measure.session import explained
from edge_ai.engine.runtime.base import Feed, Session, Tensor

Array = npt.NDArray[Any]

MAX_SAMPLES: Final = 256
MAX_LABELLED_SAMPLES: Final = 1000
MAX_REFERENCE_BYTES: Final = 256 << 20
MAX_REFERENCE_SECONDS: Final = 60.0
MAX_VARIANT_SECONDS: Final = 120.0
"""A variant that is much slower than its source is compared on fewer samples."""

NOT_CHECKED: Final = "not_checked"
"""What the comparison was made on when it was not made: the variant cannot run on this machine."""


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """A labelled metric of the source and of the variant, both in [0, 1]; ``change`` tells how surely they differ."""

    name: str
    reference: float
    variant: float
    samples: int
    change: PairedChange | None = None

    @property
    def drop(self) -> float:
        """What was lost; negative when the variant is better."""
        return self.reference - self.variant


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How close a variant is, by its worst output."""

    outputs: tuple[OutputParity, ...]
    samples: int
    data: str
    metric: MetricChange | None = None
    notes: tuple[str, ...] = ()
    informative: bool = True

    @property
    def sqnr_db(self) -> float | None:
        """The lowest of the outputs, in dB."""
        return min((o.sqnr_db for o in self.outputs if o.sqnr_db is not None), default=None)

    @property
    def cosine(self) -> float | None:
        """The lowest of the outputs."""
        return min((o.cosine for o in self.outputs if o.cosine is not None), default=None)

    @property
    def max_abs_error(self) -> float | None:
        """The largest of the outputs."""
        return max((o.max_abs_error for o in self.outputs if o.max_abs_error is not None), default=None)

    @property
    def top1_agreement(self) -> float | None:
        """The lowest of the outputs that look like classes."""
        return min((o.top1_agreement for o in self.outputs if o.top1_agreement is not None), default=None)

    @property
    def agreement(self) -> float | None:
        """The lowest of the outputs of whole numbers."""
        return min((o.agreement for o in self.outputs if o.agreement is not None), default=None)

    @property
    def logits_sqnr_db(self) -> float | None:
        """The lowest of the outputs that come out of a Softmax, in dB."""
        return min((o.logits_sqnr_db for o in self.outputs if o.logits_sqnr_db is not None), default=None)

    @property
    def sound(self) -> bool:
        """All outputs are finite where the source's are, and have its shapes."""
        return all(o.finite and o.same_shape for o in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """Return the ``parity`` of the API, and more."""
        metric = self.metric
        return {
            "sqnr_db": _rounded(self.sqnr_db, 2),
            "cosine": _rounded(self.cosine, 6),
            "max_abs_error": self.max_abs_error,
            "top1_agreement": _rounded(self.top1_agreement, 4),
            "samples": self.samples,
            "data": self.data,
            "agreement": _rounded(self.agreement, 4),
            "logits_sqnr_db": _rounded(self.logits_sqnr_db, 2),
            "metric": None
            if metric is None
            else {
                "name": metric.name,
                "reference": round(metric.reference, 4),
                "variant": round(metric.variant, 4),
                "drop": round(metric.drop, 4),
                "samples": metric.samples,
                "p_value": None if metric.change is None else metric.change.p_value,
                "sentence": None if metric.change is None else metric.change.sentence,
            },
            "outputs": [
                {
                    "name": o.name,
                    "sqnr_db": _rounded(o.sqnr_db, 2),
                    "cosine": _rounded(o.cosine, 6),
                    "max_abs_error": o.max_abs_error,
                    "agreement": _rounded(o.agreement, 4),
                    "top1_agreement": _rounded(o.top1_agreement, 4),
                }
                for o in self.outputs
            ],
            "notes": list(self.notes),
        }


@dataclass(kw_only=True)
class Reference:
    """What the source answers, kept to hold variants against. Not responsible for whether an answer is right."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    class_outputs: frozenset[str]
    softmax_outputs: Mapping[str, int]
    data: str
    batch: int = 1
    labels: Labels | None = None
    feeds: list[Feed] = field(default_factory=list)
    answers: list[list[Any]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def informative(self) -> bool:
        """Whether the answers differ between the feeds at all; where they do not, closeness to them proves little."""
        first = self.answers[0]
        return len(self.answers) < 2 or any(
            not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub" or not np.array_equal(x, y, equal_nan=True)
            for other in self.answers[1:]
            for x, y in zip(first, other, strict=True)
        )

    @property
    def samples(self) -> int:
        """How many samples were fed."""
        return len(self.feeds) * self.batch if self.labels is None else len(self.labels)


def dataset_feeds(inputs: Sequence[Tensor], dataset: Dataset, *, limit: int | None = None) -> Iterable[Feed]:
    """Yield the samples of a data set one by one, or in batches where the model takes nothing else.

    One by one, since a dynamically quantized model chooses one scale for a whole batch. A last batch that is not full is
    left out.
    """
    batch = required_batch(inputs, dataset.inputs)
    count = dataset.samples if limit is None else min(limit, dataset.samples)
    for begin in range(0, count - batch + 1, batch):
        yield feed_sample(inputs, dataset.inputs, list(range(begin, begin + batch)))


def run_reference(
    session: Session,
    feeds: Iterable[Feed],
    *,
    data: str,
    batch: int,
    labels: Array | None,
    softmax_outputs: Mapping[str, int],
) -> Reference:
    """Run the source.

    Parameters
    ----------
    session
        The source, loaded.
    feeds
        Run in order until they, or the time or memory for the answers, end.
    data
        What the feeds are: "dataset", "representative" or "random".
    batch
        Samples in one feed.
    labels
        One a sample, or ``None``.
    softmax_outputs
        Outputs that a Softmax makes, with its axis.
    """
    outputs = tuple(session.outputs)
    reference = Reference(
        inputs=tuple(session.inputs),
        outputs=outputs,
        class_outputs=frozenset(o.name for o in outputs if _looks_like_classes(o.shape) or o.name in softmax_outputs),
        softmax_outputs=softmax_outputs,
        data=data,
        batch=batch,
    )
    end_s = time.monotonic() + MAX_REFERENCE_SECONDS
    held_bytes = 0
    with explained("run", {"model_path": "", "input": "dataset" if data == "dataset" else "made up"}):
        for feed in feeds:
            answer = [to_real(value, tensor) for value, tensor in zip(session.run(feed), outputs, strict=True)]
            reference.feeds.append(feed)
            reference.answers.append(answer)
            held_bytes += sum(value.nbytes for value in answer if isinstance(value, np.ndarray))
            held_bytes += sum(value.nbytes for value in feed.values())
            if held_bytes > MAX_REFERENCE_BYTES or time.monotonic() > end_s:
                reference.notes = (
                    f"Only {len(reference.feeds) * batch} samples were compared, to bound memory and time.",
                )
                break
    known = class_labels(labels)
    if known is not None:
        reference.labels = known[: len(reference.feeds) * batch]
    return reference


def compare_variant(reference: Reference, session: Session) -> Parity:
    """Run a variant on the same samples and compare.

    Raises
    ------
    EngineError
        When it does not run, or lacks an input or output of the source.
    """
    answers, notes = _answer(reference, session)
    outputs = []
    skipped = []
    for place, tensor in enumerate(reference.outputs):
        pairs = [(x[place], y[place]) for x, y in zip(reference.answers, answers, strict=False)]
        if all(isinstance(x, np.ndarray) and x.dtype.kind in "fiub" for x, _ in pairs):
            outputs.append(
                compare_output(
                    tensor.name,
                    pairs,
                    classes=tensor.name in reference.class_outputs,
                    softmax_axis=reference.softmax_outputs.get(tensor.name),
                )
            )
        else:
            skipped.append(tensor.name)
    if skipped:
        notes = (*notes, f"Not compared, as not numeric: {', '.join(skipped)}.")
    return Parity(
        outputs=tuple(outputs),
        samples=len(answers) * reference.batch,
        data=reference.data,
        metric=_metric(reference, answers),
        notes=notes,
        informative=reference.informative,
    )


def unchecked(reason: str) -> Parity:
    """Return the parity of a variant that cannot run here; it proves nothing, and says so."""
    return Parity(outputs=(), samples=0, data=NOT_CHECKED, notes=(reason,))


def _answer(reference: Reference, session: Session) -> tuple[list[list[Any]], tuple[str, ...]]:
    """Return what a variant answers, in the order, the shapes and the real numbers of the source's outputs."""
    into = pair(reference.inputs, session.inputs)
    back = pair(reference.outputs, session.outputs)
    place = {tensor.name: number for number, tensor in enumerate(session.outputs)}
    chosen = [(tensor, place[back[tensor.name]]) for tensor in reference.outputs]
    answers: list[list[Any]] = []
    end_s = time.monotonic() + MAX_VARIANT_SECONDS
    with explained("run", {"model_path": "", "input": reference.data}):
        for feed, known in zip(reference.feeds, reference.answers, strict=True):
            raw = session.run(translate(feed, into, reference.inputs, session.inputs))
            answers.append(
                [
                    _reshaped(to_answer(raw[number], tensor, session.outputs[number]), like)
                    for (tensor, number), like in zip(chosen, known, strict=True)
                ]
            )
            if time.monotonic() > end_s:
                break
    if len(answers) < len(reference.feeds):
        note = f"Only {len(answers) * reference.batch} samples were compared: the variant is too slow for more."
        return answers, (*reference.notes, note)
    return answers, reference.notes


def _reshaped(value: Any, like: Any) -> Any:
    """Return the variant's array in the source's shape where they differ in axes of one only, as converters make them."""
    if not isinstance(like, np.ndarray) or not isinstance(value, np.ndarray) or value.shape == like.shape:
        return value
    same = [axis for axis in value.shape if axis != 1] == [axis for axis in like.shape if axis != 1]
    return value.reshape(like.shape) if same else value


def _looks_like_classes(shape: Sequence[object] | None) -> bool:
    """One row of at least two scores a sample, their number fixed: ``[batch, classes]``."""
    return shape is not None and len(shape) == 2 and isinstance(shape[-1], int) and shape[-1] > 1


def _metric(reference: Reference, answers: Sequence[Sequence[Any]]) -> MetricChange | None:
    """Return the top-1 accuracy of both, where there are labels and an output that looks like classes."""
    labels = reference.labels
    if labels is None or not len(labels) or not reference.answers:
        return None
    labels = labels[: len(answers) * reference.batch]
    place = classifying_output(reference.answers[0], samples=reference.batch, highest_label=int(labels.max()))
    if place is None:
        return None
    scores = [_scores(rows, place) for rows in (reference.answers[: len(answers)], answers)]
    if any(len(score) != len(labels) for score in scores):
        return None
    before, after = (evaluate_classification(score, labels) for score in scores)
    return MetricChange(
        name="top1",
        reference=before.top1,
        variant=after.top1,
        samples=before.samples,
        change=mcnemar(before.correct, after.correct),
    )


def _scores(answers: Sequence[Sequence[Any]], place: int) -> Array:
    joined: Array = np.concatenate([answer[place] for answer in answers])
    if np.issubdtype(joined.dtype, np.integer) and joined.size == len(joined):
        return joined.reshape(-1)
    return joined


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
