"""What a model can become, and on which devices that runs: every cell is a plan, and none is a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.conf import settings

from accounts.models import User
from edge_ai.engine.errors import EngineError
from edge_ai.engine.feasible import check_device, memory_needed
from edge_ai.engine.plan import DeviceFacts, plan_optimization
from edge_ai.engine.routes import LANES, RUNTIME_OF, find_route
from edge_ai.engine.spec import Format, OptimizationLevel, Precision
from edge_ai.models import DeviceProfile, Model
from edge_ai.services.converters import missing_tools
from edge_ai.services.readiness import require_usable

WORKS, NEEDS_DATASET, REFUSED = "works", "needs_dataset", "refused"
STATUSES: Final = (WORKS, NEEDS_DATASET, REFUSED)
#: What a model can be made into.
TARGET_FORMATS: Final = tuple(target.value for target in LANES)
MAX_DEVICES: Final = 200

#: Restricts nothing: what the model itself rules out is told once, not for every device.
_ANY_DEVICE: Final = DeviceFacts(
    name="any device", is_host=True, architecture="", extensions=(), formats=(), precisions=(), memory_mb=None
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Whether a variant in a format and precision can be made.

    Parameters
    ----------
    status
        ``works``, ``needs_dataset`` (with a data set it works) or ``refused``.
    code, reason, fix
        Of a refusal, or of the data that is needed; ``None`` where it works.
    expected_size_bytes
        By the weights; ``None`` where that is not known.
    """

    precision: str
    status: str
    code: str | None = None
    reason: str | None = None
    fix: str | None = None
    expected_size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A format, the way to it, and the precisions that it is made in.

    Parameters
    ----------
    runtime
        What runs it on this machine; ``None`` where nothing does.
    route
        The formats on the way; empty where there is none.
    reason
        Why there is no way.
    """

    format: str
    runtime: str | None
    route: tuple[str, ...]
    reason: str | None
    precisions: tuple[Answer, ...]

    @property
    def one_refusal(self) -> Answer | None:
        """One answer for all precisions, where they are refused for the same reason."""
        return _one_refusal(self.precisions)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A target on a device."""

    format: str
    precisions: tuple[Answer, ...]

    @property
    def possible(self) -> tuple[Answer, ...]:
        """What can be made for the device, with a data set or without."""
        return tuple(answer for answer in self.precisions if answer.status != REFUSED)

    @property
    def refused(self) -> tuple[Answer, ...]:
        """What cannot."""
        return tuple(answer for answer in self.precisions if answer.status == REFUSED)

    @property
    def one_refusal(self) -> Answer | None:
        """One answer for all precisions, where they are refused for the same reason."""
        return _one_refusal(self.precisions)


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """A device with a cell for every target."""

    device: DeviceProfile
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Compatibility:
    """The answers for one model. Not ``decided`` while its analysis is not done: then nothing is known."""

    decided: bool
    targets: tuple[Target, ...]
    devices: tuple[DeviceRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; a cell leaves out the expected size, which is that of the target."""
        return {
            "decided": self.decided,
            "targets": [asdict(target) for target in self.targets],
            "devices": [
                {
                    "device_profile": str(row.device.pk),
                    "name": row.device.name,
                    "category": row.device.category,
                    "cells": [
                        {
                            "target_format": cell.format,
                            "precisions": [
                                {name: value for name, value in asdict(answer).items() if name != "expected_size_bytes"}
                                for answer in cell.precisions
                            ],
                        }
                        for cell in row.cells
                    ],
                }
                for row in self.devices
            ],
        }


def compatibility_of(user: User, *, model: Model, category: str = "", target_format: str = "") -> Compatibility:
    """Say what a model can become, and where that runs. One query: that for the devices.

    Parameters
    ----------
    category
        Only devices of it; all devices where it is empty.
    target_format
        Only that format; every one where it is empty.

    Raises
    ------
    EngineError
        The code that the model's analysis failed with.
    """
    require_usable(model)
    if model.analysis is None:
        return Compatibility(decided=False, targets=(), devices=())
    wanted = (Format(target_format),) if target_format else tuple(LANES)
    targets = targets_for(model.analysis, size_bytes=model.size_bytes, source=Format(model.format), wanted=wanted)
    devices = DeviceProfile.objects.visible_to(user)
    if category:
        devices = devices.filter(category=category)
    rows = tuple(
        DeviceRow(device=device, cells=cells_for(device.facts, targets, model.analysis))
        for device in devices[:MAX_DEVICES]
    )
    return Compatibility(decided=True, targets=targets, devices=rows)


def targets_for(
    analysis: Mapping[str, Any], *, size_bytes: int, source: Format, wanted: Sequence[Format] = tuple(LANES)
) -> tuple[Target, ...]:
    """Say what a model can become, whatever the device."""
    missing = missing_tools()
    found = []
    for target in wanted:
        try:
            route, reason = tuple(format.value for format in find_route(source, target, missing=missing).formats), None
        except EngineError as error:
            route, reason = (), error.message
        answers = tuple(
            _answer(analysis, size_bytes, source, target, precision, missing) for precision in LANES[target].precisions
        )
        found.append(
            Target(format=target.value, runtime=RUNTIME_OF.get(target), route=route, reason=reason, precisions=answers)
        )
    return tuple(found)


def cells_for(device: DeviceFacts, targets: Sequence[Target], analysis: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Hold a device against what a model can become."""
    return tuple(
        Cell(
            format=target.format,
            precisions=tuple(_on(device, Format(target.format), answer, analysis) for answer in target.precisions),
        )
        for target in targets
    )


def _one_refusal(answers: Sequence[Answer]) -> Answer | None:
    alike = len({(answer.reason, answer.fix) for answer in answers}) == 1
    return answers[0] if alike and answers[0].status == REFUSED else None


def _answer(
    analysis: Mapping[str, Any],
    size_bytes: int,
    source: Format,
    target: Format,
    precision: Precision,
    missing: frozenset[str],
) -> Answer:
    try:
        plan = plan_optimization(
            analysis=analysis,
            size_bytes=size_bytes,
            source_format=source,
            target_format=target,
            precision=precision,
            optimization_level=OptimizationLevel.BALANCED,
            options={},
            device=_ANY_DEVICE,
            dataset=None,
            missing_tools=missing,
            memory_bytes=settings.ENGINE_MEMORY_BYTES,
        )
    except EngineError as error:
        return Answer(
            precision=precision.value,
            status=NEEDS_DATASET if error.code == "dataset_required" else REFUSED,
            code=error.code,
            reason=error.message,
            fix=error.fix,
        )
    return Answer(precision=precision.value, status=WORKS, expected_size_bytes=plan.expected_size_bytes)


def _on(device: DeviceFacts, target: Format, answer: Answer, analysis: Mapping[str, Any]) -> Answer:
    if answer.status == REFUSED:
        return answer
    try:
        precision = Precision(answer.precision)
        check_device(target, precision, device, needed_bytes=memory_needed(analysis, precision))
    except EngineError as error:
        return Answer(precision=answer.precision, status=REFUSED, code=error.code, reason=error.message, fix=error.fix)
    return answer
