"""Indexes for what the overview and the estimates read of very many jobs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("edge_ai", "0013_job_time")]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                fields=["-created_at"],
                condition=models.Q(status__in=("pending", "queued", "running")),
                name="edge_ai_job_unfinished",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                fields=["-finished_at"],
                condition=models.Q(finished_at__isnull=False),
                name="edge_ai_job_last_results",
            ),
        ),
    ]
