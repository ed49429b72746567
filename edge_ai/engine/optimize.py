"""From an ONNX model to a smaller one that is proven still right: tries what may work, keeps what compares best."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.convert.onnx_prepare import DYNAMIC_OPSET, STATIC_OPSET, Prepared, prepare_graph
from edge_ai.engine.errors import EngineError, ParityError, UnsupportedError
from edge_ai.engine.evaluate.dataset import Dataset, Division, divide, load_dataset
from edge_ai.engine.evaluate.gate import WARNING_DB, find_fault, judge
from edge_ai.engine.evaluate.parity import (
    MAX_LABELLED_SAMPLES,
    MAX_SAMPLES,
    Reference,
    compare_variant,
    dataset_feeds,
    run_reference,
)
from edge_ai.engine.evaluate.representative import make_up_feeds
from edge_ai.engine.evaluate.task import required_batch
from edge_ai.engine.formats.onnx import read_model, softmax_outputs
from edge_ai.engine.formats.onnx_analysis import analyze
from edge_ai.engine.measure.session import open_session
from edge_ai.engine.plan import Caution, DeviceFacts, check_formats, plan_optimization, resolve_precision
from edge_ai.engine.progress import OutputFile, Progress
from edge_ai.engine.quantize import dynamic, static
from edge_ai.engine.quantize.fp16 import store_weights_as_fp16
from edge_ai.engine.quantize.trial import DROP_STEP, QUANTIZER_FAILURES, Trial, choose_best, first_line, in_words
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, OptimizeSpec, Precision

VARIANT_FILE: Final = "variant.onnx"
RECIPE_FILE: Final = "recipe.json"
MADE_UP_FEEDS: Final = 8

GOOD_DB: Final[Mapping[Precision, float]] = {Precision.INT8: 30.0, Precision.INT8_DYNAMIC: 20.0, Precision.FP16: 25.0}
"""A variant this close, in dB, ends the search: the next ones would cost time and gain little."""

LITTLE_GAIN: Final = 1.1

# Nothing but the model and the data restrict what this function tries; what suits a device was decided before.
_ANY_DEVICE: Final = DeviceFacts(
    name="This machine", is_host=True, architecture="", extensions=(), formats=(), precisions=(), memory_mb=None
)


def optimize(spec: OptimizeSpec, workdir: Path, progress: Progress) -> tuple[dict[str, Any], list[OutputFile]]:
    """Make a variant of a model.

    Parameters
    ----------
    spec
        What to make; its paths are relative to ``workdir``.
    workdir
        A writable folder.
    progress
        Told about each step.

    Returns
    -------
    tuple
        The result of an optimization job of the API, with ``trials`` and the variant's ``analysis``, and the files: role
        "model" and role "recipe".

    Raises
    ------
    EngineError
        `UnsupportedError` for what cannot be made, `ParityError` when no variant is close enough, and what reading the
        model or the data set raises.
    """
    return _Optimization(spec, workdir, progress).run()


class _Optimization:
    """One optimization, from its source to its files."""

    def __init__(self, spec: OptimizeSpec, workdir: Path, progress: Progress) -> None:
        self._spec = spec
        self._workdir = workdir
        self._progress = progress
        self._options = OptimizeOptions.read(spec.options)
        self._source = workdir / spec.model_path
        self._passes: list[dict[str, object]] = []
        self._steps: list[dict[str, object]] = []
        self._cautions: list[Caution] = []

    def run(self) -> tuple[dict[str, Any], list[OutputFile]]:
        """Do it."""
        check_formats(self._spec.source_format, self._spec.target_format)
        self._progress.stage("load", 2, "Reading the model")
        began = time.monotonic()
        analysis = analyze(self._source)
        dataset = None
        if self._spec.dataset_path is not None:
            dataset = load_dataset(self._workdir / self._spec.dataset_path)
        plan_optimization(
            analysis=analysis,
            size_bytes=self._source.stat().st_size,
            source_format=self._spec.source_format,
            target_format=self._spec.target_format,
            precision=self._spec.precision,
            optimization_level=self._spec.optimization_level,
            options=self._spec.options,
            device=_ANY_DEVICE,
            dataset=dataset.header() if dataset else None,
        )
        self._precision = resolve_precision(self._spec.precision, analysis, has_dataset=dataset is not None)
        _require_runnable(analysis)
        reference, division = self._run_source(dataset)
        self._pass("load", began, self._source)

        trials = []
        for trial in self._ways(division):
            trials.append(trial)
            if self._attempt(trial, reference) or (trial.failure and trial.failure.code == "nothing_to_quantize"):
                break
        best = choose_best(trials, self._spec.optimization_level, self._precision)
        return self._finish(best, trials, division)

    def _run_source(self, dataset: Dataset | None) -> tuple[Reference, Division | None]:
        """Have the source answer what the variants will be asked."""
        model = read_model(self._source)
        softmaxes = softmax_outputs(model)
        if dataset is None:
            made_up = make_up_feeds(model, count=MADE_UP_FEEDS, seed=self._options.seed)
            self._progress.stage("load", 5, f"Running the original on {MADE_UP_FEEDS} made-up inputs")
            reference = run_reference(
                self._source, made_up.feeds, data=made_up.data, batch=1, labels=None, softmax_outputs=softmaxes
            )
            return reference, None
        inputs = open_session(self._source, Format.ONNX, threads=1, optimize=False).get_inputs()
        division = divide(
            dataset.matched(inputs),
            calibration_samples=self._options.calibration_samples if self._precision is Precision.INT8 else 0,
            judgement_samples=MAX_SAMPLES if dataset.labels is None else MAX_LABELLED_SAMPLES,
            seed=self._options.seed,
        )
        judged = division.judgement
        self._progress.stage("load", 5, f"Running the original on {judged.samples} samples")
        reference = run_reference(
            self._source,
            dataset_feeds(inputs, judged),
            data="dataset",
            batch=required_batch(inputs, judged.inputs),
            labels=judged.labels,
            softmax_outputs=softmaxes,
        )
        if not reference.feeds:
            raise EngineError(
                f"The model takes {reference.batch} samples at once, and the data set has fewer.",
                code="dataset_mismatch",
                fix=f"Give at least {reference.batch} samples.",
                field="dataset",
            )
        return reference, division

    def _ways(self, division: Division | None) -> Iterator[Trial]:
        """Yield what is worth trying, in the order in which it is."""
        if self._precision is Precision.FP16:
            yield self._trial(0, "fp16 weights", {"mode": self._options.fp16_mode}, self._make_fp16)
        elif self._precision is Precision.INT8_DYNAMIC:
            prepared = self._prepare(opset=DYNAMIC_OPSET)
            for place, way in enumerate(dynamic.RECIPES):
                yield self._trial(
                    place,
                    way.name,
                    {
                        "weight_type": "uint8" if way.unsigned_weights else "int8",
                        "per_channel": way.per_channel,
                        "operators": list(dynamic.OPERATORS),
                        "other_weights": "fp16",
                    },
                    partial(_make_dynamic, prepared.path, way),
                )
        elif division is not None:
            yield from self._static_ways(division)

    def _static_ways(self, division: Division) -> Iterator[Trial]:
        prepared = self._prepare(opset=STATIC_OPSET)
        inputs = open_session(prepared.path, Format.ONNX, threads=1, optimize=False).get_inputs()
        feeds = list(dataset_feeds(inputs, division.calibration))
        ranges: dict[static.Calibration, Any] = {}

        def make(way: static.StaticRecipe, path: Path) -> int:
            if way.calibration not in ranges:
                began = time.monotonic()
                ranges[way.calibration] = static.calibrate(prepared.path, feeds, way.calibration, self._workdir)
                self._pass(f"calibrate {way.calibration}", began, prepared.path)
            return static.quantize_statically(prepared.path, path, way, ranges[way.calibration])

        for place, way in enumerate(static.RECIPES):
            percent = 15 + 75 * place // len(static.RECIPES)
            self._progress.stage("calibrate", percent, f"{way.name}: {len(feeds)} samples")
            yield self._trial(
                place,
                way.name,
                {
                    "calibration": way.calibration.value,
                    "operators": list(way.operators),
                    "activations": "uint8",
                    "weights": "int8 per channel",
                    "other_weights": "fp16",
                },
                partial(make, way),
            )

    def _trial(self, place: int, name: str, settings: Mapping[str, object], make: Callable[[Path], object]) -> Trial:
        return Trial(name=name, path=self._workdir / f"trial-{place}.onnx", settings=settings, make=make)

    def _make_fp16(self, path: Path) -> None:
        done = store_weights_as_fp16(self._source, path)
        self._steps.append({"step": "store weights in fp16", "weights": done.halved})
        if done.out_of_range:
            self._cautions.append(
                Caution(
                    code="fp16_out_of_range",
                    detail=f"{done.out_of_range} weights hold numbers beyond 65,504 and stay in float32.",
                    fix="Nothing, unless the file is still too large.",
                )
            )

    def _prepare(self, *, opset: int) -> Prepared:
        self._progress.stage("prepare", 10, "Preparing the graph")
        began = time.monotonic()
        prepared = prepare_graph(self._source, self._workdir, opset=opset)
        self._pass("prepare", began, prepared.path)
        self._steps.append({"step": "prepare", "done": list(prepared.steps), "opset": prepared.opset})
        return prepared

    def _attempt(self, trial: Trial, reference: Reference) -> bool:
        """Make a variant and compare it; ``True`` when it is so good that the search may end."""
        percent = 20 + 70 * int(trial.path.stem.rpartition("-")[2]) // 4
        began = time.monotonic()
        try:
            self._progress.stage("quantize", percent, trial.name)
            trial.make(trial.path)
            trial.seconds = time.monotonic() - began
            self._pass(f"quantize: {trial.name}", began, trial.path)
            self._progress.stage("parity", percent + 5, f"Comparing with the original: {trial.name}")
            compared = time.monotonic()
            trial.parity = compare_variant(reference, trial.path)
            self._pass(f"parity: {trial.name}", compared, trial.path)
        except EngineError as error:
            if error.code == "resource_limit":
                raise
            trial.failure = error
        except QUANTIZER_FAILURES as error:
            trial.failure = UnsupportedError(
                f"The quantizer cannot take this graph ({type(error).__name__}: {first_line(error)}).",
                code="unsupported_operator",
                fix="Choose another precision.",
            )
        if trial.failure is not None:
            self._progress.log("warning", f"{trial.name}: {trial.failure.message}")
            return False
        return self._good(trial)

    def _good(self, trial: Trial) -> bool:
        parity = trial.parity
        if parity is None:
            return False
        trial.fault = find_fault(parity, self._precision, accuracy_budget=self._options.accuracy_budget)
        self._progress.log("info", f"{trial.name}: {in_words(parity)}")
        if trial.fault is not None:
            return False
        quick = self._spec.optimization_level is OptimizationLevel.SPEED
        enough = WARNING_DB[self._precision] if quick else GOOD_DB[self._precision]
        drop = parity.metric.drop if parity.metric else 0.0
        return (parity.sqnr_db is None or parity.sqnr_db >= enough) and drop <= DROP_STEP

    def _finish(
        self, best: Trial, trials: list[Trial], division: Division | None
    ) -> tuple[dict[str, Any], list[OutputFile]]:
        parity = best.parity
        if parity is None:
            raise UnsupportedError("The variant was not compared.", code="parity_failed", fix="Choose fp16.")
        try:
            self._cautions += judge(parity, self._precision, accuracy_budget=self._options.accuracy_budget)
        except ParityError as error:
            if error.details is not None:
                error.details["trials"] = [trial.to_json() for trial in trials]
            raise
        self._progress.stage("finish", 95, "Describing the variant")
        described = [trial.to_json() | {"chosen": trial is best} for trial in trials]
        variant = self._workdir / VARIANT_FILE
        shutil.move(best.path, variant)
        for trial in trials:
            trial.path.unlink(missing_ok=True)
        (self._workdir / "prepared.onnx").unlink(missing_ok=True)
        before, after = self._source.stat().st_size, variant.stat().st_size
        self._caution_about_size(before, after)
        self._steps.append({"step": "quantize", "precision": self._precision.value, "way": best.name, **best.settings})
        overlap = division is not None and division.overlap and self._precision is Precision.INT8
        if overlap:
            self._cautions.append(
                Caution(
                    code="same_samples",
                    detail="The data set is small, so the same samples calibrated the variant and judged it.",
                    fix="Give 200 samples or more.",
                )
            )
        recipe = self._recipe(variant, division)
        result = {
            "size_bytes": after,
            "compression_ratio": round(before / after, 4),
            "precision": self._precision.value,
            "parity": parity.to_json(),
            "passes": self._passes,
            "trials": described,
            "warnings": [{"code": c.code, "detail": c.detail, "fix": c.fix} for c in self._cautions],
            "recipe": recipe,
            "analysis": analyze(variant),
        }
        return result, self._files(recipe)

    def _caution_about_size(self, before: int, after: int) -> None:
        if after >= before:
            self._cautions.append(
                Caution(
                    code="variant_not_smaller",
                    detail=f"The variant has {after:,} bytes, its source {before:,}: what was added outweighs what was saved.",
                    fix="Keep the original, or choose fp16.",
                )
            )
        elif before / after < LITTLE_GAIN:
            self._cautions.append(
                Caution(
                    code="little_gained",
                    detail=f"The variant is only {100 * (1 - after / before):.1f} % smaller: most weights stayed.",
                    fix="int8 changes convolutions, int8_dynamic does not; fp16 halves every weight.",
                )
            )

    def _recipe(self, variant: Path, division: Division | None) -> dict[str, Any]:
        spec = self._spec
        dataset = None if spec.dataset_path is None else self._workdir / spec.dataset_path
        return {
            "steps": self._steps,
            "request": {
                "source_format": spec.source_format.value,
                "target_format": spec.target_format.value,
                "precision": spec.precision.value,
                "optimization_level": spec.optimization_level.value,
            },
            "options": {
                "accuracy_budget": self._options.accuracy_budget,
                "calibration_samples": division.calibration.samples
                if division is not None and self._precision is Precision.INT8
                else None,
                "seed": self._options.seed,
                "fp16_mode": self._options.fp16_mode,
            },
            "versions": {name: version(name) for name in ("onnx", "onnxruntime", "numpy")},
            "hashes": {
                "source_sha256": _sha256(self._source),
                "dataset_sha256": None if dataset is None else _sha256(dataset),
                "variant_sha256": _sha256(variant),
            },
        }

    def _files(self, recipe: Mapping[str, Any]) -> list[OutputFile]:
        (self._workdir / RECIPE_FILE).write_text(json.dumps(recipe, indent=1, sort_keys=True))
        return [
            OutputFile(role="model", path=VARIANT_FILE, name=VARIANT_FILE, format=Format.ONNX.value),
            OutputFile(role="recipe", path=RECIPE_FILE, name=RECIPE_FILE, mime_type="application/json"),
        ]

    def _pass(self, name: str, began: float, path: Path) -> None:
        seconds = round(time.monotonic() - began, 3)
        self._passes.append({"name": name, "seconds": seconds, "size_bytes": path.stat().st_size})


def _make_dynamic(prepared: Path, way: dynamic.DynamicRecipe, path: Path) -> object:
    return dynamic.quantize_dynamically(prepared, path, way)


def _require_runnable(analysis: Mapping[str, Any]) -> None:
    """Refuse a model that cannot be run here: nothing could be said about what its variant computes."""
    for warning in analysis["warnings"]:
        if warning["code"] == "cannot_run_here":
            raise UnsupportedError(
                f"The model cannot be run here, so a variant could not be compared with it. {warning['detail']}",
                code="unsupported_operator",
                fix=warning["fix"],
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
