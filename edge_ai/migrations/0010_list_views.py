"""An index for the notices of ended jobs: those of one person, the latest first."""

from __future__ import annotations

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("edge_ai", "0009_audit"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                fields=["owner", "-finished_at"],
                condition=models.Q(finished_at__isnull=False),
                name="edge_ai_job_ended",
            ),
        ),
    ]
