"""A model over a labelled data set: which task it is, which output is held against the labels, and how right it is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.dataset_task import CLASSIFICATION, DETECTION, REGRESSION, SEGMENTATION, TaskSpec
from edge_ai.engine.evaluate.accuracy import Labels, class_labels, classifying_output
from edge_ai.engine.evaluate.dataset import Dataset
from edge_ai.engine.evaluate.metrics.base import NotJudgedError, Scorer, Scores
from edge_ai.engine.evaluate.metrics.classification import ClassificationScorer
from edge_ai.engine.evaluate.metrics.detection import DetectionScorer
from edge_ai.engine.evaluate.metrics.regression import RegressionScorer
from edge_ai.engine.evaluate.metrics.segmentation import SegmentationScorer, predicted_mask
from edge_ai.engine.evaluate.metrics.sequence import CtcScorer
from edge_ai.engine.evaluate.pairing import to_real
from edge_ai.engine.evaluate.task import feed_sample, required_batch
from edge_ai.engine.fit import plain_name
from edge_ai.engine.runtime.base import Session, Tensor

ORDER_SEED: Final = 0
GIVEN, INFERRED = "given", "inferred"

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How right a model is on a data set.

    Parameters
    ----------
    task, source
        The task, and whether the data set gave it or the labels and answers let it be inferred.
    output
        Name of the output that was held against the labels.
    places
        Which samples were judged, integers of shape (n,).
    """

    task: str
    source: str
    output: str
    scores: Scores
    places: npt.NDArray[np.int64]

    @property
    def samples(self) -> int:
        """How many were judged."""
        return len(self.places)


def evaluate_session(
    session: Session,
    dataset: Dataset,
    *,
    max_samples: int | None = None,
    max_seconds: float | None = None,
) -> Evaluation:
    """Run a model over a labelled data set and say how right it is.

    Samples are fed one at a time even where the model takes batches: dynamically quantized models choose one scale for
    a whole batch, so their answers depend on its size, and one is what they will be used with. They are fed in an
    order drawn from a fixed seed, so that a part of them is a fair part, and the same for a model and its variants.

    Parameters
    ----------
    session
        The model.
    dataset
        Its inputs by name, and labels.
    max_samples, max_seconds
        Where to end early; at least one sample is fed. `Evaluation.places` says which were.

    Raises
    ------
    NotJudgedError
        When there are no labels, or they do not belong to what the model answers.
    """
    labels = dataset.labels
    if labels is None:
        raise NotJudgedError("the data set has no labels")
    batch = required_batch(session.inputs, dataset.inputs)
    order = np.random.default_rng(ORDER_SEED).permutation(len(labels))[:max_samples]
    end_s = math.inf if max_seconds is None else time.monotonic() + max_seconds
    chosen: _Chosen | None = None
    fed = 0
    for begin in range(0, len(order), batch):
        places = [int(place) for place in order[begin : begin + batch]]
        padded = places + places[:1] * (batch - len(places))
        outputs = [
            to_real(value, tensor) if isinstance(value, np.ndarray) else value
            for value, tensor in zip(
                session.run(feed_sample(session.inputs, dataset.inputs, padded)), session.outputs, strict=True
            )
        ]
        if chosen is None:
            chosen = _choose(dataset, labels, outputs, session, batch)
        chosen.scorer.add(outputs, places)
        fed += len(places)
        if time.monotonic() >= end_s:
            break
    if chosen is None:
        raise NotJudgedError("the dataset is empty")
    return Evaluation(
        task=chosen.task,
        source=GIVEN if dataset.task is not None else INFERRED,
        output=session.outputs[chosen.output].name,
        scores=chosen.scorer.finish(),
        places=np.asarray(order[:fed], dtype=np.int64),
    )


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    task: str
    output: int
    scorer: Scorer


def _choose(dataset: Dataset, labels: Array, outputs: Sequence[Any], session: Session, batch: int) -> _Chosen:
    """Decide the task and the output, by the first answer."""
    given = dataset.task
    task = given.task if given is not None else infer_task(labels, outputs, samples=batch)
    spec = given or TaskSpec(task=task)
    named = None if spec.output is None else _place(session.outputs, spec.output)
    if task == DETECTION:
        return _detection(spec, labels, outputs, session, named, dataset)
    scorer: Scorer
    if task == CLASSIFICATION:
        classes = _classes(spec, labels)
        place = named if named is not None else _classifying(outputs, classes, batch)
        scorer = ClassificationScorer(classes, output=place)
    elif task == REGRESSION:
        numbers = _numbers(labels)
        place = named if named is not None else _first(outputs, lambda value: _answers(value, numbers, batch), labels)
        scorer = RegressionScorer(numbers, output=place)
    elif task == SEGMENTATION:
        if labels.ndim != 3 or labels.dtype.kind not in "iub":
            raise NotJudgedError("masks must be whole numbers, one plane a sample")
        place = named if named is not None else _first(outputs, lambda value: _masks(value, labels, batch), labels)
        scorer = SegmentationScorer(labels, output=place, ignore=spec.ignore)
    else:
        if labels.dtype.kind not in "US" or labels.ndim != 1:
            raise NotJudgedError("the labels of ctc must be texts, one a sample")
        symbols = len(spec.charset) + 1
        place = named if named is not None else _symbols(outputs, symbols)
        scorer = CtcScorer(_texts(labels), output=place, charset=spec.charset, blank=spec.blank)
    return _Chosen(task=task, output=place, scorer=scorer)


def infer_task(labels: Array, outputs: Sequence[Any], *, samples: int) -> str:
    """Say which task labels are of, where the data set does not.

    Parameters
    ----------
    labels
        Of the whole data set.
    outputs
        What the model answered to one feed of ``samples`` samples.

    Raises
    ------
    NotJudgedError
        With the reason when no task fits.
    """
    if labels.dtype.kind in "US":
        raise NotJudgedError("the labels are texts, and the data set has no task.json that says what they mean")
    classes = class_labels(labels)
    if classes is not None:
        if classifying_output(outputs, samples=samples, highest_label=int(classes.max())) is not None:
            return CLASSIFICATION
        if any(_answers(value, labels, samples) for value in outputs):
            # One number a sample: the score of class 1 where there are two classes, else a quantity.
            return CLASSIFICATION if int(classes.max()) <= 1 else REGRESSION
        raise NotJudgedError("no output of the model looks like classes for these labels")
    if labels.dtype.kind == "f" and any(_answers(value, labels, samples) for value in outputs):
        return REGRESSION
    if labels.ndim == 3 and labels.dtype.kind in "iub" and any(_masks(value, labels, samples) for value in outputs):
        return SEGMENTATION
    raise NotJudgedError("no output of the model has the shape of these labels")


def _classes(spec: TaskSpec, labels: Array) -> Labels:
    """Return labels as class numbers; names are looked up."""
    if labels.dtype.kind in "US":
        if spec.classes is None:
            raise NotJudgedError("the labels are names, and task.json does not tell the “classes” in the model's order")
        places = {name: place for place, name in enumerate(spec.classes)}
        texts = _texts(labels).reshape(-1)
        unknown = sorted({text for text in texts.tolist() if text not in places})
        if unknown:
            raise NotJudgedError(f"the labels have {unknown[0][:60]!r}, which is not one of the classes in task.json")
        return np.array([places[text] for text in texts.tolist()], dtype=np.int64)
    found = class_labels(labels)
    if found is None:
        raise NotJudgedError("the labels of a classification must be whole numbers from 0, one a sample")
    return found


def _numbers(labels: Array) -> Array:
    if labels.dtype.kind not in "fiub":
        raise NotJudgedError("the labels of a regression must be numbers")
    return labels.astype(np.float64)


def _texts(labels: Array) -> Array:
    if labels.dtype.kind == "S":
        return np.array([bytes(item).decode("utf-8", errors="replace") for item in labels.reshape(-1)])
    return labels


def _classifying(outputs: Sequence[Any], labels: Labels, samples: int) -> int:
    place = classifying_output(outputs, samples=samples, highest_label=int(labels.max()))
    if place is None and int(labels.max()) <= 1:
        # One score a sample: of class 1.
        place = next((number for number, value in enumerate(outputs) if _answers(value, labels, samples)), None)
    if place is None:
        raise NotJudgedError("no output of the model looks like classes for these labels")
    return place


def _first(outputs: Sequence[Any], fits: Any, labels: Array) -> int:
    for place, value in enumerate(outputs):
        if fits(value):
            return place
    raise NotJudgedError(f"no output of the model has the shape of the labels, {list(labels.shape[1:])} a sample")


def _symbols(outputs: Sequence[Any], symbols: int) -> int:
    for place, value in enumerate(outputs):
        if isinstance(value, np.ndarray) and value.ndim >= 2 and value.shape[-1] == symbols:
            return place
    shapes = ", ".join(str(list(value.shape)) for value in outputs if isinstance(value, np.ndarray))
    raise NotJudgedError(f"the charset with its blank has {symbols} symbols, and the model answers {shapes[:200]}")


def _answers(value: object, labels: Array, samples: int) -> bool:
    """Whether an output has as many real numbers a sample as the labels."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return False
    each = labels.size // len(labels)
    return value.size == samples * each


def _masks(value: object, labels: Array, samples: int) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.ndim < 3 or len(value) != samples:
        return False
    return predicted_mask(value[0], *labels.shape[1:]) is not None


def _detection(
    spec: TaskSpec, labels: Array, outputs: Sequence[Any], session: Session, named: int | None, dataset: Dataset
) -> _Chosen:
    if labels.dtype.kind not in "US" or labels.ndim != 1:
        raise NotJudgedError("the labels of a detection must be texts, the boxes of a sample as JSON")
    scores = classes = None
    if spec.boxes is not None and spec.scores is not None and spec.ids is not None:
        named = _place(session.outputs, spec.boxes)
        scores, classes = _place(session.outputs, spec.scores), _place(session.outputs, spec.ids)
    elif named is None:
        named = next((number for number, value in enumerate(outputs) if np.shape(value)[-1:] == (6,)), None)
        if named is None:
            raise NotJudgedError(
                "task.json does not name the outputs with “boxes”, “scores” and “ids”, and none has six numbers a box"
            )
    size = None
    if spec.normalized:
        size = dataset.image_size
        if size is None:
            raise NotJudgedError("boxes are shares of the image's size, and no input of the data set is an image")
    return _Chosen(
        task=DETECTION,
        output=named,
        scorer=DetectionScorer(
            _texts(labels),
            categories=spec.categories,
            boxes=named,
            scores=scores,
            classes=classes,
            form=spec.box_form,
            size=size,
        ),
    )


def _place(outputs: Sequence[Tensor], name: str) -> int:
    """Return the place of an output by its name, else by its plain name, which converters keep."""
    for same in (lambda tensor: tensor.name == name, lambda tensor: plain_name(tensor.name) == plain_name(name)):
        for place, tensor in enumerate(outputs):
            if same(tensor):
                return place
    raise NotJudgedError(
        f"task.json names the output {name[:60]!r}, and the model has "
        f"{', '.join(repr(tensor.name) for tensor in outputs[:8])}"
    )
