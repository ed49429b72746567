"""From a model to a variant that is proven still right: converts it, tries what may work, keeps what compares best."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.choose import DROP_STEP, choose_best
from edge_ai.engine.compress.rules import IN_FLOAT, check_options
from edge_ai.engine.compress.sizes import Sizes, measure_sizes_aside
from edge_ai.engine.convert.base import Conversion, convert
from edge_ai.engine.errors import EngineError, ParityError, UnsupportedError
from edge_ai.engine.evaluate.dataset import Dataset, load_dataset
from edge_ai.engine.evaluate.gate import WARNING_DB, find_fault, judge
from edge_ai.engine.evaluate.pairing import pair, translate
from edge_ai.engine.evaluate.parity import Parity, compare_variant, unchecked
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.lanes.base import LaneContext, size_of, ways_of
from edge_ai.engine.original import Asked, Original
from edge_ai.engine.plan import Caution, DeviceFacts, plan_optimization, resolve_precision
from edge_ai.engine.progress import OutputFile, Progress
from edge_ai.engine.quantize.trial import QUANTIZER_FAILURES, Trial, first_line, in_words
from edge_ai.engine.report import make_recipe, same_samples, size_cautions
from edge_ai.engine.routes import Route, find_route, missing_here
from edge_ai.engine.runtime import RUNTIMES, open_model
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, OptimizeSpec, Precision
from edge_ai.engine.verdict import Latency, judge_latency, slower_caution

RECIPE_FILE: Final = "recipe.json"
MAX_SEARCH_SECONDS: Final = 300.0
"""No further way is begun after it, once there is one that is good enough."""

GOOD_DB: Final = {
    Precision.FP32: 80.0,
    Precision.FP16: 45.0,
    Precision.INT8: 30.0,
    Precision.INT8_DYNAMIC: 20.0,
    Precision.INT16X8: 40.0,
    Precision.INT4: 20.0,
    Precision.FP8: 20.0,
}
"""A variant this close, in dB, ends the search for ``balanced``: the next ones would cost time and gain little."""

# Nothing but the model and the data restrict what this function tries; what suits a device was decided before.
_ANY_DEVICE: Final = DeviceFacts(
    name="This machine", is_host=True, architecture="", extensions=(), formats=(), precisions=(), memory_mb=None
)
_NOT_CHECKED: Final = (
    "No runtime on this machine runs the target format, so what the variant computes was not compared."
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
        The result of an optimization job of the API, with ``route``, ``trials``, ``latency`` and the variant's ``analysis``,
        and the files: role "model", and the recipe as "recipe" and "recipe_yaml".

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
        self._scratch = workdir / "scratch"
        self._progress = progress
        self._options = OptimizeOptions.read(spec.options)
        self._source = workdir / spec.model_path
        self._dataset_path = None if spec.dataset_path is None else workdir / spec.dataset_path
        self._passes: list[dict[str, object]] = []
        self._steps: list[dict[str, object]] = []
        self._cautions: list[Caution] = []
        self._notices: list[dict[str, str]] = []

    def run(self) -> tuple[dict[str, Any], list[OutputFile]]:
        """Do it."""
        self._scratch.mkdir(exist_ok=True)
        try:
            return self._make()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _make(self) -> tuple[dict[str, Any], list[OutputFile]]:
        spec = self._spec
        missing = missing_here()
        route = find_route(spec.source_format, spec.target_format, missing=missing)
        self._progress.stage("load", 2, "Reading the model")
        began = time.monotonic()
        original = Original(self._source, spec.source_format, self._scratch)
        dataset = None if self._dataset_path is None else load_dataset(self._dataset_path)
        self._plan(original, dataset, missing)
        self._precision = resolve_precision(
            spec.precision, original.analysis, target=spec.target_format, has_dataset=dataset is not None
        )
        check_options(self._options, self._precision, route)
        original.require_runnable()
        packed = measure_sizes_aside(self._source)
        asked = original.ask(
            dataset, self._options, self._progress, calibrate=self._precision in {Precision.INT8, Precision.INT16X8}
        )
        self._pass("load", began, self._source)

        context = self._enter(route, original, asked)
        trials = self._search(route, context, asked)
        # Nothing else may run while times are taken.
        before = packed.result()
        latency = judge_latency(
            route, context, asked.reference, original, trials, level=spec.optimization_level, precision=self._precision
        )
        best = choose_best(trials, spec.optimization_level, self._precision, spec.target_format)
        return self._finish(route, context, asked, trials, best, latency, before)

    def _plan(self, original: Original, dataset: Dataset | None, missing: frozenset[str]) -> None:
        """Refuse what can never work, now that the model itself has been read."""
        spec = self._spec
        plan_optimization(
            analysis=original.analysis,
            size_bytes=self._source.stat().st_size,
            source_format=spec.source_format,
            target_format=spec.target_format,
            precision=spec.precision,
            optimization_level=spec.optimization_level,
            options=spec.options,
            device=_ANY_DEVICE,
            dataset=dataset.header() if dataset else None,
            missing_tools=missing,
        )

    def _enter(self, route: Route, original: Original, asked: Asked) -> LaneContext:
        """Convert the original to what the lane starts from."""
        model, format = original.path, original.format
        inputs, outputs = asked.reference.inputs, asked.reference.outputs
        calibration: Sequence[Feed] = asked.calibration
        sample: Feed | None = asked.reference.feeds[0]
        model = self._compress(model, format, sample)
        for number, edge in enumerate(route.edges):
            self._progress.stage("convert", 8 + 4 * number, f"Converting from {edge.source} to {edge.target}")
            began = time.monotonic()
            target = self._scratch / f"converted-{number}" / f"model{_suffix(edge.target)}"
            target.parent.mkdir()
            done = convert(
                edge,
                Conversion(
                    source=model,
                    target=target,
                    workdir=target.parent,
                    inputs=inputs,
                    sample=sample,
                    progress=self._progress,
                ),
            )
            self._pass(f"convert {edge.source} to {edge.target}", began, target)
            self._steps.append(
                {
                    "step": "convert",
                    "from": edge.source.value,
                    "to": edge.target.value,
                    "tool": edge.tool,
                    **done.settings,
                }
            )
            self._notices += [dict(warning) for warning in done.warnings]
            model, format = target, edge.target
            session = open_model(model, format, threads=0, optimize=False)
            names = pair(inputs, session.inputs)
            calibration = [translate(feed, names, inputs, session.inputs) for feed in calibration]
            sample = None if sample is None else translate(sample, names, inputs, session.inputs)
            inputs, outputs = tuple(session.inputs), tuple(session.outputs)
            model = self._compress(model, format, sample)
        return LaneContext(
            model=model,
            format=format,
            inputs=inputs,
            outputs=outputs,
            precision=self._precision,
            level=self._spec.optimization_level,
            options=self._options,
            calibration=calibration,
            sample=sample,
            workdir=self._scratch,
            progress=self._progress,
            passes=self._passes,
            steps=self._steps,
            cautions=self._cautions,
        )

    def _compress(self, model: Path, format: Format, sample: Feed | None) -> Path:
        """Make the network smaller where it passes as ONNX, once, before its precision is reduced."""
        target = self._scratch / "compressed" / "model.onnx"
        if not self._options.compresses or format is not Format.ONNX or target.exists():
            return model
        # Loads onnx, which most other routes do without.
        from edge_ai.engine.compress.steps import compress

        self._progress.stage("compress", 12, "Compressing the network")
        began = time.monotonic()
        target.parent.mkdir()
        self._steps += compress(model, target, self._options, target.parent, precision=self._precision, sample=sample)
        self._pass("compress", began, target)
        return target

    def _search(self, route: Route, context: LaneContext, asked: Asked) -> list[Trial]:
        """Try ways until one is good, all of them where the level asks for a choice, or one where no search is wanted."""
        trials: list[Trial] = []
        end_s = time.monotonic() + MAX_SEARCH_SECONDS
        for trial in ways_of(route, context):
            trials.append(trial)
            self._attempt(trial, len(trials), route.lane.target, asked)
            if not self._options.search:
                break
            if self._spec.optimization_level is OptimizationLevel.BALANCED and self._good(trial):
                break
            if time.monotonic() > end_s and any(other.fair for other in trials):
                self._progress.log("info", "The search ends here, to bound its time.")
                break
        if not trials:
            raise UnsupportedError(
                f"There is nothing here that {self._precision} would change.",
                code="nothing_to_quantize",
                fix="Keep the model as it is.",
            )
        return trials

    def _attempt(self, trial: Trial, number: int, target: Format, asked: Asked) -> None:
        """Make a variant and compare it."""
        percent = min(85, 15 + 10 * number)
        began = time.monotonic()
        try:
            self._progress.stage("quantize", percent, trial.name)
            trial.make(trial.path)
            trial.seconds = time.monotonic() - began
            trial.size_bytes = size_of(trial.path)
            self._pass(f"quantize: {trial.name}", began, trial.path)
            self._progress.stage("parity", percent + 5, f"Comparing with the original: {trial.name}")
            compared = time.monotonic()
            trial.parity = self._compare(trial, target, asked)
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
        if trial.failure is not None or trial.parity is None:
            self._progress.log("warning", f"{trial.name}: {trial.failure.message if trial.failure else 'not made'}")
            return
        trial.fault = find_fault(trial.parity, self._bar, accuracy_budget=self._options.accuracy_budget)
        self._progress.log("info", f"{trial.name}: {in_words(trial.parity)}")

    def _compare(self, trial: Trial, target: Format, asked: Asked) -> Parity:
        if target not in RUNTIMES:
            return unchecked(_NOT_CHECKED)
        return compare_variant(asked.reference, open_model(trial.path, target, threads=0))

    @property
    def _bar(self) -> Precision:
        """The precision whose closeness is asked for: fewer or other weights move the answers as much as int8 does."""
        lossy = bool(self._options.cluster) or self._options.prune != "none"
        return Precision.INT8 if lossy and self._precision in IN_FLOAT else self._precision

    def _good(self, trial: Trial) -> bool:
        """Whether the search may end with this one."""
        parity = trial.parity
        if parity is None or not trial.fair:
            return False
        enough = GOOD_DB.get(self._precision, WARNING_DB.get(self._precision, 20.0))
        drop = parity.metric.drop if parity.metric else 0.0
        return (parity.sqnr_db is None or parity.sqnr_db >= enough) and drop <= DROP_STEP

    def _finish(
        self,
        route: Route,
        context: LaneContext,
        asked: Asked,
        trials: list[Trial],
        best: Trial,
        latency: Latency,
        before: Sizes,
    ) -> tuple[dict[str, Any], list[OutputFile]]:
        parity = best.parity
        if parity is None:
            raise UnsupportedError("The variant was not compared.", code="parity_failed", fix="Choose fp16.")
        try:
            self._cautions += judge(parity, self._bar, accuracy_budget=self._options.accuracy_budget)
        except ParityError as error:
            raise self._explained(error, trials) from None
        self._progress.stage("finish", 95, "Describing the variant")
        self._cautions += slower_caution(best, latency, context, route.lane.target)
        handler = handler_of(route.lane.target)
        variant = self._workdir / handler.file_name
        after = handler.save(best.path, variant)
        packed = measure_sizes_aside(variant)
        self._cautions += size_cautions(before.raw, after, smaller_expected=self._precision is not Precision.FP32)
        if asked.division is not None and asked.division.overlap and asked.calibration:
            self._cautions.append(same_samples())
        self._steps.append({"step": "quantize", "precision": self._precision.value, "way": best.name, **best.settings})
        best.size_bytes = after
        described = [trial.to_json() | {"chosen": trial is best} for trial in trials]
        recipe = make_recipe(
            self._spec,
            self._options
            if asked.division is None or not asked.calibration
            else replace(self._options, calibration_samples=asked.division.calibration.samples),
            precision=self._precision.value,
            steps=self._steps,
            tools=route.tools,
            source=self._source,
            dataset=self._dataset_path,
            variant=variant,
            route=[format.value for format in route.formats],
        )
        check = self._scratch / "variant"
        check.mkdir(exist_ok=True)
        analysis = handler.inspect(variant, check)
        result = {
            "size_bytes": after,
            "gzip_bytes": packed.result().gzip,
            "original_gzip_bytes": before.gzip,
            "compression_ratio": round(before.raw / after, 4),
            "precision": self._precision.value,
            "route": [format.value for format in route.formats],
            "parity": parity.to_json(),
            "latency": latency.to_json(),
            "passes": self._passes,
            "trials": described,
            "steps": self._steps,
            "warnings": [
                *({"code": c.code, "detail": c.detail, "fix": c.fix} for c in self._cautions),
                *self._notices,
            ],
            "recipe": recipe,
            "analysis": analysis,
        }
        return result, self._files(variant, route.lane.target, recipe)

    def _explained(self, error: ParityError, trials: Sequence[Trial]) -> ParityError:
        """Add what was tried, and which layers are the worst, to the refusal of a variant."""
        details = dict(error.details or {}) | {"trials": [trial.to_json() for trial in trials]}
        worst = next((step["worst"] for step in reversed(self._steps) if step.get("step") == "sensitivity"), None)
        message = error.message
        if isinstance(worst, list) and worst:
            details["worst_layers"] = worst
            names = ", ".join(f"{item['layer']} ({item['operator']}, {item['sqnr_db']:.1f} dB)" for item in worst[:3])
            message = f"{message} The worst layers are {names}."
        return ParityError(message, code=error.code, fix=error.fix, details=details)

    def _files(self, variant: Path, target: Format, recipe: dict[str, Any]) -> list[OutputFile]:
        from edge_ai.engine.recipe import to_json, to_yaml

        (self._workdir / RECIPE_FILE).write_text(to_json(recipe))
        yaml = Path(RECIPE_FILE).with_suffix(".yaml").name
        (self._workdir / yaml).write_text(to_yaml(recipe))
        return [
            OutputFile(role="model", path=variant.name, name=variant.name, format=target.value),
            OutputFile(role="recipe", path=RECIPE_FILE, name=RECIPE_FILE, mime_type="application/json"),
            OutputFile(role="recipe_yaml", path=yaml, name=yaml, mime_type="application/yaml"),
        ]

    def _pass(self, name: str, began: float, path: Path) -> None:
        seconds = round(time.monotonic() - began, 3)
        self._passes.append({"name": name, "seconds": seconds, "size_bytes": size_of(path)})


def _suffix(format: Format) -> str:
    """Return what a converted model's name ends with; SavedModels are folders."""
    return {Format.SAVED_MODEL: "", Format.OPENVINO: ""}.get(format, f".{format.value}")
