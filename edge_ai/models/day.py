"""What a workspace's jobs came to, day by day; stays when the jobs themselves are deleted."""

from __future__ import annotations

from django.db import models

from edge_ai.models.base import known
from edge_ai.models.job import JobKind, JobStatus


class JobDay(models.Model):
    """The jobs of one kind that ended one way on one day (UTC). Written by the roll-up, which may run at any time again."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    kind = models.CharField(max_length=12, choices=JobKind.choices)
    status = models.CharField(max_length=10, choices=JobStatus.choices)
    jobs = models.PositiveIntegerField()
    attempts = models.PositiveIntegerField()
    wait_seconds = models.FloatField()
    run_seconds = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["day", "kind", "status"], name="edge_ai_jobday_once"),
            known("kind", JobKind.values, "edge_ai_jobday_kind_known"),
            known("status", JobStatus.values, "edge_ai_jobday_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.status}: {self.jobs}"
