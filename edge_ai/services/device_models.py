"""Which models run on a device: as they are, or made into what. Every answer is a plan, and none is a query."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import User
from edge_ai.engine.routes import LANES
from edge_ai.engine.spec import Format
from edge_ai.models import DeviceProfile, Model, ModelStatus
from edge_ai.services.compatibility import Cell, cells_for, targets_for

#: Planning every target of a model takes about a millisecond.
MAX_MODELS = 12


@dataclass(frozen=True, kw_only=True)
class ModelOnDevice:
    """A model, whether the device reads its file as it is, and what it can be made into for the device.

    Parameters
    ----------
    as_it_is
        ``None`` where nobody knows which formats the device reads.
    cells
        Targets of which at least one precision is possible.
    """

    model: Model
    as_it_is: bool | None
    cells: tuple[Cell, ...]


def models_for(user: User, *, device: DeviceProfile) -> list[ModelOnDevice]:
    """Hold the newest models that were not made from others against a device. One query."""
    rows = (
        Model.objects.visible_to(user)
        .filter(status=ModelStatus.READY, parent=None, analysis__isnull=False)
        .order_by("-created_at")[:MAX_MODELS]
    )
    return [_on(device, model) for model in rows]


def _on(device: DeviceProfile, model: Model) -> ModelOnDevice:
    analysis, facts = model.analysis or {}, device.facts
    wanted = tuple(target for target in LANES if not facts.formats or target.value in facts.formats)
    targets = targets_for(analysis, size_bytes=model.size_bytes, source=Format(model.format), wanted=wanted)
    return ModelOnDevice(
        model=model,
        as_it_is=model.format in facts.formats if facts.formats else None,
        cells=tuple(cell for cell in cells_for(facts, targets, analysis) if cell.possible),
    )
