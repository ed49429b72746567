"""An optimization's request with something changed: whether that works, in words, and as an address of the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse

from accounts.models import User
from edge_ai.engine.errors import EngineError
from edge_ai.models import DeviceProfile, ModelFormat
from edge_ai.services.optimizations import OptimizationRequest, plan_optimization
from edge_ai.web.option_fields import shown_options
from edge_ai.web.wording import precision

WORDS: Final = ("target_format", "precision", "optimization_level")
ROWS: Final = ("device_profile", "dataset")
#: Servers refuse longer ones.
LONGEST_ADDRESS: Final = 3000


def changed_request(
    user: User, asked: OptimizationRequest, changes: Mapping[str, Any], *, made: str = ""
) -> OptimizationRequest | None:
    """Return a request with changes, such as the ``nearest`` of a refusal; ``None`` where it is the same or is refused too.

    Parameters
    ----------
    changes
        Fields of the request; ``options`` are added to those that it has, and a device by name is “This machine”.
    made
        The precision that was made of it, where that is not wanted once more.
    """
    known = {name: changes[name] for name in (*WORDS, *ROWS) if name in changes}
    if "device_profile" in known and not isinstance(known["device_profile"], DeviceProfile):
        known["device_profile"] = DeviceProfile.objects.visible_to(user).filter(is_host=True, is_template=True).first()
        if known["device_profile"] is None:
            return None
    changed = replace(asked, **known, options={**asked.options, **changes.get("options", {})})
    if changed == asked:
        return None
    try:
        plan = plan_optimization(user, request=changed)
    except EngineError:
        return None
    if plan is None or (known.keys() == {"precision"} and not changes.get("options") and plan.precision == made):
        return None
    return changed


def address_of(
    changed: OptimizationRequest, *, against: OptimizationRequest | None = None, **parameters: str
) -> str | None:
    """Return the form that asks for a request, as an address; ``None`` where that would be too long.

    Parameters
    ----------
    against
        A request that the form begins with already: only what differs from it is in the address.
    """
    query: dict[str, Any] = dict(parameters)
    for name in WORDS:
        if against is None or getattr(changed, name) != getattr(against, name):
            query[name] = getattr(changed, name)
    for name in ROWS:
        row = getattr(changed, name)
        if row is not None and (against is None or row != getattr(against, name)):
            query[name] = str(row.pk)
    begun: Mapping[str, Any] = {} if against is None else against.options
    new = {name: value for name, value in changed.options.items() if name not in begun or begun[name] != value}
    query |= {name: "on" if value is True else value for name, value in shown_options(new).items()}
    address = f"{reverse('edge_ai:optimization-create', args=[changed.model.pk])}?{urlencode(query)}"
    return address if len(address) <= LONGEST_ADDRESS else None


def words_of(asked: OptimizationRequest, changed: OptimizationRequest) -> str:
    """Return what a changed request does, such as “Make it in fp16”."""
    if changed.dataset is not None and changed.dataset != asked.dataset:
        return f"Use the data “{changed.dataset.name}”, {changed.dataset.sample_count:,} samples"
    said = []
    if changed.precision != asked.precision:
        said.append(f"in {precision(changed.precision)}")
    if changed.target_format != asked.target_format:
        said.append(f"as {ModelFormat(changed.target_format).label}")
    if changed.device_profile != asked.device_profile:
        said.append(f"for {changed.device_profile.name}")
    if said:
        return f"Make it {' '.join(said)}"
    if changed.optimization_level != asked.optimization_level:
        return "Measure every way, take the fastest"
    return _option_words(asked.options, changed.options)


def _option_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    kept = len(after.get("exclude_layers") or ()) - len(before.get("exclude_layers") or ())
    if kept > 0:
        return f"Keep the {kept} worst layers in float" if kept > 1 else "Keep the worst layer in float"
    if after.get("search") and not before.get("search", True):
        return "Try several settings"
    if after.get("calibration_samples") != before.get("calibration_samples"):
        return f"Calibrate on {after['calibration_samples']} samples"
    if after.get("calibration_method") != before.get("calibration_method"):
        method = str(after.get("calibration_method"))
        return "Let the studio choose the calibration" if method == "auto" else f"Calibrate by {method}"
    return "Choose what works"
