"""The table of a model's layers: found, sorted and paged as the address says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accounts.access import MemberRequest
from edge_ai.engine.layers import MAX_LAYERS, WITHOUT_LAYERS
from edge_ai.engine.spec import Format
from edge_ai.models import Model
from edge_ai.services.layers import layers_of, reading_layers
from edge_ai.web.listing import SEARCH_LENGTH, Listing, ListOf
from edge_ai.web.pages import chosen

LAYERS = ListOf(
    address="edge_ai:model-detail",
    one="layer",
    many="layers",
    columns={name: name for name in ("place", "name", "type", "parameters", "macs", "precision")},
    default="place",
    size=50,
)


@dataclass(kw_only=True)
class LayerList(Listing):
    """A page of layers. Its rows are no query's, and its addresses name the tab."""

    @property
    def view(self) -> dict[str, str]:
        return {"tab": "layers"} | super().view


def layers_context(request: MemberRequest, model: Model) -> dict[str, Any]:
    """Return what the tab needs: the rows of a page, or why there are none."""
    refusal = WITHOUT_LAYERS.get(Format(model.format), "")
    kept = None if refusal else layers_of(request.user, model=model)
    if kept is None:
        reading = None if refusal else reading_layers(request.user, model=model)
        return {"layers_refusal": refusal, "reading_layers": reading, "layers_kept": False}
    search = request.GET.get("search", "").strip()[:SEARCH_LENGTH]
    types = sorted({row["type"] for row in kept.rows})
    type_ = chosen(request, "type", types)
    total = sum(row["macs"] or 0 for row in kept.rows)
    found = [
        row
        for row in (_shown(place, row, total) for place, row in enumerate(kept.rows, 1))
        if search.casefold() in f"{row['name']} {row['type']}".casefold() and type_ in {"", row["type"]}
    ]
    ordering = request.GET.get("ordering", "")
    if ordering.removeprefix("-") not in LAYERS.columns:
        ordering = LAYERS.default
    _sort(found, ordering)
    asked = request.GET.get("page", "")
    pages = max(1, -(-len(found) // LAYERS.size))
    number = min(pages, max(1, int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 6 else 1))
    shown = LayerList(
        of=LAYERS,
        path=request.path,
        search=search,
        values={"type": type_},
        ordering=ordering,
        size=LAYERS.size,
        number=number,
        rows=found[(number - 1) * LAYERS.size : number * LAYERS.size],
        more=number < pages,
        count=len(found),
    )
    return {
        "layers_kept": True,
        "listing": shown,
        "types": types,
        "layer_count": kept.count,
        "layers_left_out": max(0, kept.count - MAX_LAYERS),
        "found_macs": sum(row["macs"] or 0 for row in found),
        "found_parameters": sum(row["parameters"] for row in found),
    }


def _shown(place: int, row: Mapping[str, Any], total: int) -> dict[str, Any]:
    share = row["macs"] / total if total and row["macs"] else None
    return {**row, "place": place, "share": share, "percent": None if share is None else 100 * share}


def _sort(rows: list[dict[str, Any]], ordering: str) -> None:
    """Sort by a column, equal rows by their place; what is not known comes last, whichever way round."""
    field = LAYERS.columns[ordering.removeprefix("-")]
    rows.sort(key=lambda row: row["place"])
    rows.sort(key=lambda row: _key(row[field]), reverse=ordering.startswith("-"))
    rows.sort(key=lambda row: row[field] is None)


def _key(value: Any) -> Any:
    return (isinstance(value, str), value.casefold() if isinstance(value, str) else value or 0)
