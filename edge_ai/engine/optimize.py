"""From a model to a variant that is proven still right: converts it, tries what may work, keeps what compares best."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.choose import choose_best
from edge_ai.engine.compress.rules import check_options
from edge_ai.engine.compress.sizes import Sizes, measure_sizes_aside
from edge_ai.engine.entry import enter
from edge_ai.engine.errors import ParityError, UnsupportedError
from edge_ai.engine.evaluate.calibration import calibration_report
from edge_ai.engine.evaluate.dataset import Dataset, load_dataset
from edge_ai.engine.evaluate.gate import judge
from edge_ai.engine.evaluate.samples import sample_hashes
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.making import Making
from edge_ai.engine.original import Asked, Original
from edge_ai.engine.plan import DeviceFacts, plan_optimization, resolve_precision
from edge_ai.engine.progress import Growing, OutputFile, Progress
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.report import make_recipe, same_samples, sha256_of, size_cautions
from edge_ai.engine.routes import Route, find_route, missing_here
from edge_ai.engine.search import search
from edge_ai.engine.spec import Format, OptimizeOptions, OptimizeSpec, Precision
from edge_ai.engine.stages import Stages
from edge_ai.engine.verdict import Latency, judge_latency, slower_caution

RECIPE_FILE: Final = "recipe.json"
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
        self._told = progress
        self._progress: Progress = Growing(progress)
        self._options = OptimizeOptions.read(spec.options)
        self._source = workdir / spec.model_path
        self._dataset_path = None if spec.dataset_path is None else workdir / spec.dataset_path

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
        self._hashes = [] if dataset is None else sample_hashes(dataset.inputs)
        self._plan(original, dataset, missing)
        precision = resolve_precision(
            spec.precision, original.analysis, target=spec.target_format, has_dataset=dataset is not None
        )
        check_options(self._options, precision, route)
        original.require_runnable()
        packed = measure_sizes_aside(self._source)
        making = self._making = Making(
            spec=spec,
            options=self._options,
            precision=precision,
            scratch=self._scratch,
            progress=self._progress,
            stages=Stages(
                self._workdir,
                active=spec.keep_stages,
                facts={"source": sha256_of(self._source), "format": spec.source_format},
                progress=self._told,  # it may want to know of finished stages
            ),
        )
        asked = original.ask(
            dataset,
            self._options,
            self._progress,
            making.stages,
            calibrate=precision in {Precision.INT8, Precision.INT16X8},
            dataset_sha256=None if self._dataset_path is None else sha256_of(self._dataset_path),
        )
        making.note_pass("load", began, self._source)
        making.note_reused(asked.reused)

        entry = enter(making, route, original, asked)
        trials = search(making, route, entry, asked)
        # Nothing else may run while times are taken.
        before = packed.result()
        latency = judge_latency(
            route,
            entry.context,
            asked.reference,
            original,
            trials,
            level=spec.optimization_level,
            precision=precision,
        )
        best = choose_best(trials, spec.optimization_level, precision, spec.target_format)
        return self._finish(route, entry.context, asked, trials, best, latency, before)

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
            options = self._options
            self._making.cautions += judge(
                parity,
                self._making.bar,
                accuracy_budget=options.accuracy_budget,
                thinned=options.prune != "none" or options.cluster > 0,
            )
        except ParityError as error:
            raise self._explained(error, trials) from None
        self._progress.stage("finish", 95, "Describing the variant")
        self._making.cautions += slower_caution(best, latency, context, route.lane.target)
        handler = handler_of(route.lane.target)
        variant = self._workdir / handler.file_name
        after = handler.save(best.path, variant)
        packed = measure_sizes_aside(variant)
        self._making.cautions += size_cautions(
            before.raw, after, smaller_expected=self._making.precision is not Precision.FP32
        )
        if asked.division is not None and asked.division.overlap and asked.calibration:
            self._making.cautions.append(same_samples())
        self._making.steps.append(
            {"step": "quantize", "precision": self._making.precision.value, "way": best.name, **best.settings}
        )
        best.size_bytes = after
        described = [trial.to_json() | {"chosen": trial is best} for trial in trials]
        recipe = make_recipe(
            self._spec,
            self._options
            if asked.division is None or not asked.calibration
            else replace(self._options, calibration_samples=asked.division.calibration.samples),
            precision=self._making.precision.value,
            steps=self._making.steps,
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
            "precision": self._making.precision.value,
            "route": [format.value for format in route.formats],
            "parity": parity.to_json(),
            "latency": latency.to_json(),
            "passes": self._making.passes,
            "reused_seconds": round(self._making.stages.saved_seconds, 3),
            "trials": described,
            "steps": self._making.steps,
            "warnings": [
                *({"code": c.code, "detail": c.detail, "fix": c.fix} for c in self._making.cautions),
                *self._making.notices,
            ],
            "recipe": recipe,
            "calibration": None
            if asked.division is None or not asked.calibration
            else calibration_report(asked.division, self._hashes),
            "analysis": analysis,
        }
        return result, self._files(variant, route.lane.target, recipe)

    def _explained(self, error: ParityError, trials: Sequence[Trial]) -> ParityError:
        """Add what was tried, and which layers are the worst, to the refusal of a variant."""
        details = dict(error.details or {}) | {"trials": [trial.to_json() for trial in trials]}
        worst = next(
            (step["worst"] for step in reversed(self._making.steps) if step.get("step") == "sensitivity"), None
        )
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
