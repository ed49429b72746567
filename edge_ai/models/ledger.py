"""What a workspace used: the time of every attempt at a job, and what it had day by day. Deleting jobs changes neither."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from edge_ai.models.base import known
from edge_ai.models.job import JobKind, JobStatus


class JobTime(models.Model):
    """How long an attempt at a job ran. Written by a trigger when a job stops running, whatever stops it.

    ``outcome`` is what the job was then: queued for another attempt, or ended. An attempt whose worker was lost counts until
    its lease ran out; one that was given back, since somebody stopped the workers, does not count.
    """

    id = models.BigAutoField(primary_key=True)
    # No foreign key: the row outlives its job.
    job = models.UUIDField()
    kind = models.CharField(max_length=12, choices=JobKind.choices)
    attempt = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=10, choices=JobStatus.choices)
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    seconds = models.FloatField()

    class Meta:
        constraints = [
            known("kind", JobKind.values, "edge_ai_jobtime_kind_known"),
            known("outcome", JobStatus.values, "edge_ai_jobtime_outcome_known"),
            models.CheckConstraint(condition=Q(seconds__gte=0), name="edge_ai_jobtime_not_negative"),
        ]
        indexes = [models.Index(fields=["ended_at"], name="edge_ai_jobtime_month")]  # minutes of a month

    def __str__(self) -> str:
        return f"{self.kind} {self.job}: {self.seconds:.1f} s"


class UsageDay(models.Model):
    """What a workspace had at the end of a day (UTC), as the roll-up saw it last."""

    day = models.DateField(primary_key=True)
    model_count = models.PositiveIntegerField()
    stored_bytes = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.day}: {self.stored_bytes} bytes"
