"""Does a variant still compute what its source computes?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.accuracy import Labels, class_labels, classifying_output, evaluate_classification
from edge_ai.engine.evaluate.dataset import Dataset
from edge_ai.engine.evaluate.distance import OutputParity, compare_output
from edge_ai.engine.evaluate.task import feed_sample, required_batch
from edge_ai.engine.measure.session import explained, open_session
from edge_ai.engine.spec import Format

Array = npt.NDArray[Any]
Feed = dict[str, Array]

MAX_SAMPLES: Final = 256
MAX_LABELLED_SAMPLES: Final = 1000
MAX_REFERENCE_BYTES: Final = 256 << 20
MAX_REFERENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """A labelled metric of the source and of the variant, both in [0, 1]."""

    name: str
    reference: float
    variant: float
    samples: int

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

    output_names: tuple[str, ...]
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


def dataset_feeds(inputs: Sequence[Any], dataset: Dataset, *, limit: int | None = None) -> Iterable[Feed]:
    """Yield the samples of a data set one by one, or in batches where the model takes nothing else.

    One by one, since a dynamically quantized model chooses one scale for a whole batch. A last batch that is not full is
    left out.
    """
    batch = required_batch(inputs, dataset.inputs)
    count = dataset.samples if limit is None else min(limit, dataset.samples)
    for begin in range(0, count - batch + 1, batch):
        yield feed_sample(inputs, dataset.inputs, list(range(begin, begin + batch)))


def run_reference(
    path: Path,
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
    session = open_session(path, Format.ONNX, threads=0)
    outputs = session.get_outputs()
    reference = Reference(
        output_names=tuple(output.name for output in outputs),
        class_outputs=frozenset(o.name for o in outputs if _looks_like_classes(o.shape) or o.name in softmax_outputs),
        softmax_outputs=softmax_outputs,
        data=data,
        batch=batch,
    )
    end_s = time.monotonic() + MAX_REFERENCE_SECONDS
    held_bytes = 0
    with explained("run", {"model_path": str(path), "input": "dataset" if data == "dataset" else "made up"}):
        for feed in feeds:
            answer = session.run(None, feed)
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


def compare_variant(reference: Reference, path: Path) -> Parity:
    """Run a variant on the same samples and compare.

    Raises
    ------
    EngineError
        When it does not load or run.
    """
    session = open_session(path, Format.ONNX, threads=0)
    with explained("run", {"model_path": str(path), "input": reference.data}):
        answers = [session.run(list(reference.output_names), feed) for feed in reference.feeds]
    outputs = []
    skipped = []
    for place, name in enumerate(reference.output_names):
        pairs = [(x[place], y[place]) for x, y in zip(reference.answers, answers, strict=True)]
        if all(isinstance(x, np.ndarray) and x.dtype.kind in "fiub" for x, _ in pairs):
            outputs.append(
                compare_output(
                    name,
                    pairs,
                    classes=name in reference.class_outputs,
                    softmax_axis=reference.softmax_outputs.get(name),
                )
            )
        else:
            skipped.append(name)
    notes = reference.notes + ((f"Not compared, as not numeric: {', '.join(skipped)}.",) if skipped else ())
    return Parity(
        outputs=tuple(outputs),
        samples=len(reference.feeds) * reference.batch,
        data=reference.data,
        metric=_metric(reference, answers),
        notes=notes,
        informative=reference.informative,
    )


def _looks_like_classes(shape: Sequence[object]) -> bool:
    """One row of at least two scores a sample, their number fixed: ``[batch, classes]``."""
    return len(shape) == 2 and isinstance(shape[-1], int) and shape[-1] > 1


def _metric(reference: Reference, answers: Sequence[Sequence[Any]]) -> MetricChange | None:
    """Return the top-1 accuracy of both, where there are labels and an output that looks like classes."""
    labels = reference.labels
    if labels is None or not len(labels) or not reference.answers:
        return None
    place = classifying_output(reference.answers[0], samples=reference.batch, highest_label=int(labels.max()))
    if place is None:
        return None
    scores = [_scores(rows, place) for rows in (reference.answers, answers)]
    if any(len(score) != len(labels) for score in scores):
        return None
    before, after = (evaluate_classification(score, labels) for score in scores)
    return MetricChange(name="top1", reference=before.top1, variant=after.top1, samples=before.samples)


def _scores(answers: Sequence[Sequence[Any]], place: int) -> Array:
    joined: Array = np.concatenate([answer[place] for answer in answers])
    if np.issubdtype(joined.dtype, np.integer) and joined.size == len(joined):
        return joined.reshape(-1)
    return joined


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
