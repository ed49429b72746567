"""The job that fetches a model from elsewhere: a link, or a key of the operator's bucket."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from edge_ai.models.base import OwnedQuerySet, known
from edge_ai.models.job import Job
from edge_ai.models.model import Model


class ImportSource(models.TextChoices):
    """Where a file is fetched from."""

    URL = "url", "Link"
    S3 = "s3", "S3 bucket"


class ImportJob(Job):
    """A file that is fetched and becomes a model, once. ``visibility`` is the model's as well.

    ``address`` is what people and logs are shown. The whole address, whose query may be a password in all but name, is
    encrypted, and forgotten when the file is there.
    """

    source = models.CharField(max_length=4, choices=ImportSource.choices)
    address = models.CharField(max_length=2000)
    closed_url = models.TextField(blank=True, editable=False)
    sha256 = models.CharField(max_length=64, blank=True)
    model_name = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True, max_length=4000)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True, size=20)
    # One visible result for each job, whatever is delivered twice.
    made = models.OneToOneField(
        Model, on_delete=models.SET_NULL, null=True, blank=True, related_name="imported_by", editable=False
    )

    objects: ClassVar[OwnedQuerySet[ImportJob]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("source", ImportSource.values, "edge_ai_importjob_source_known"),
            models.CheckConstraint(
                condition=models.Q(sha256="") | models.Q(sha256__regex=r"^[0-9a-f]{64}$"),
                name="edge_ai_importjob_sha256_form",
            ),
        ]
