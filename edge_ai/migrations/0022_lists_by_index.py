"""Indexes that lists of very many jobs and benchmarks are read from without their rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("edge_ai", "0021_imports")]

    operations = [
        migrations.RemoveIndex(model_name="job", name="edge_ai_job_newest"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                fields=["-created_at", "id"],
                include=("owner", "visibility", "kind", "status", "name"),
                name="edge_ai_job_newest",
            ),
        ),
        migrations.AddIndex(
            model_name="job", index=models.Index(fields=["finished_at", "id"], name="edge_ai_job_first_ended")
        ),
        migrations.AddIndex(
            model_name="benchmarkrun",
            index=models.Index(fields=["p50_ms", "job_ptr"], name="edge_ai_benchmark_quickest"),
        ),
        migrations.AddIndex(
            model_name="benchmarkrun",
            index=models.Index(
                models.OrderBy(models.F("p50_ms"), descending=True, nulls_last=True),
                models.F("job_ptr"),
                name="edge_ai_benchmark_slowest",
            ),
        ),
    ]
