"""Which format a variant is made in where nobody says."""

from __future__ import annotations

from edge_ai.engine.routes import targets_of
from edge_ai.engine.spec import Format
from edge_ai.models import Model


def usual_target(model: Model) -> str:
    """Return the model's own format where variants can be made in it, else the first that it can become."""
    own, reachable = Format(model.format), targets_of(Format(model.format))
    return (own if own in reachable else next(iter(reachable), Format.ONNX)).value
