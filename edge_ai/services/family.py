"""The family of a model: what it was made from, up to the original, and everything that was made from that."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from accounts.models import User
from edge_ai.models import Model

MAX_DEPTH = 20
MAX_MEMBERS = 60
# From a model up to its original, then down to all that came of it. Rows that one may not see end the way.
FAMILY = """
WITH RECURSIVE up (id, parent_id, depth) AS (
    SELECT id, parent_id, 0 FROM edge_ai_model WHERE id = %s
    UNION ALL
    SELECT m.id, m.parent_id, up.depth + 1 FROM edge_ai_model m JOIN up ON m.id = up.parent_id WHERE up.depth < %s
), down (id, depth) AS (
    (SELECT id, 0 FROM up ORDER BY depth DESC LIMIT 1)
    UNION ALL
    SELECT m.id, down.depth + 1 FROM edge_ai_model m JOIN down ON m.parent_id = down.id WHERE down.depth < %s
)
SELECT id, depth FROM down ORDER BY depth LIMIT %s
"""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A model of a family; ``depth`` is 0 for the original."""

    model: Model
    depth: int


def family_of(user: User, *, model: Model) -> list[Member]:
    """Return the members of a family that the user sees, each behind what it was made from, small ones first."""
    with connection.cursor() as cursor:
        cursor.execute(FAMILY, [model.pk, MAX_DEPTH, MAX_DEPTH, MAX_MEMBERS])
        ids = [row[0] for row in cursor.fetchall()]
    rows = Model.objects.visible_to(user).filter(pk__in=ids).select_related("parent").order_by("size_bytes", "pk")
    seen = {row.pk: row for row in rows}
    below: dict[UUID | None, list[Model]] = defaultdict(list)
    for row in seen.values():
        below[row.parent_id if row.parent_id in seen else None].append(row)
    found: list[Member] = []

    def walk(above: UUID | None, depth: int) -> None:
        for row in below[above]:
            found.append(Member(model=row, depth=depth))
            walk(row.pk, depth + 1)

    walk(None, 0)
    return found
