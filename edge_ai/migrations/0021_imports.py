"""Imports: the jobs that fetch models from elsewhere."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from config.database.policies import protect_by_job


class Migration(migrations.Migration):
    dependencies = [
        ("edge_ai", "0020_artifacts_warned_of"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportJob",
            fields=[
                (
                    "job_ptr",
                    models.OneToOneField(
                        auto_created=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        parent_link=True,
                        primary_key=True,
                        serialize=False,
                        to="edge_ai.job",
                    ),
                ),
                ("source", models.CharField(choices=[("url", "Link"), ("s3", "S3 bucket")], max_length=4)),
                ("address", models.CharField(max_length=2000)),
                ("closed_url", models.TextField(blank=True, editable=False)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("model_name", models.CharField(blank=True, max_length=200)),
                ("description", models.TextField(blank=True, max_length=4000)),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), blank=True, default=list, size=20
                    ),
                ),
                ("reserved_bytes", models.BigIntegerField(default=0, editable=False)),
            ],
            bases=("edge_ai.job",),
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="edge_ai_job_kind_known",
        ),
        migrations.RemoveConstraint(
            model_name="jobday",
            name="edge_ai_jobday_kind_known",
        ),
        migrations.RemoveConstraint(
            model_name="jobtime",
            name="edge_ai_jobtime_kind_known",
        ),
        migrations.AlterField(
            model_name="job",
            name="kind",
            field=models.CharField(
                choices=[
                    ("analysis", "Analysis"),
                    ("optimization", "Optimization"),
                    ("benchmark", "Benchmark"),
                    ("comparison", "Comparison"),
                    ("packaging", "Packaging"),
                    ("diagnosis", "Diagnosis"),
                    ("deletion", "Clearing of storage"),
                    ("export", "Export of the workspace"),
                    ("import", "Import"),
                ],
                editable=False,
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="jobday",
            name="kind",
            field=models.CharField(
                choices=[
                    ("analysis", "Analysis"),
                    ("optimization", "Optimization"),
                    ("benchmark", "Benchmark"),
                    ("comparison", "Comparison"),
                    ("packaging", "Packaging"),
                    ("diagnosis", "Diagnosis"),
                    ("deletion", "Clearing of storage"),
                    ("export", "Export of the workspace"),
                    ("import", "Import"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="jobtime",
            name="kind",
            field=models.CharField(
                choices=[
                    ("analysis", "Analysis"),
                    ("optimization", "Optimization"),
                    ("benchmark", "Benchmark"),
                    ("comparison", "Comparison"),
                    ("packaging", "Packaging"),
                    ("diagnosis", "Diagnosis"),
                    ("deletion", "Clearing of storage"),
                    ("export", "Export of the workspace"),
                    ("import", "Import"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "analysis",
                            "optimization",
                            "benchmark",
                            "comparison",
                            "packaging",
                            "diagnosis",
                            "deletion",
                            "export",
                            "import",
                        ],
                    )
                ),
                name="edge_ai_job_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="jobday",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "analysis",
                            "optimization",
                            "benchmark",
                            "comparison",
                            "packaging",
                            "diagnosis",
                            "deletion",
                            "export",
                            "import",
                        ],
                    )
                ),
                name="edge_ai_jobday_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="jobtime",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "analysis",
                            "optimization",
                            "benchmark",
                            "comparison",
                            "packaging",
                            "diagnosis",
                            "deletion",
                            "export",
                            "import",
                        ],
                    )
                ),
                name="edge_ai_jobtime_kind_known",
            ),
        ),
        migrations.AddField(
            model_name="importjob",
            name="made",
            field=models.OneToOneField(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="imported_by",
                to="edge_ai.model",
            ),
        ),
        migrations.AddConstraint(
            model_name="importjob",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["url", "s3"])), name="edge_ai_importjob_source_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="importjob",
            constraint=models.CheckConstraint(
                condition=models.Q(("sha256", ""), ("sha256__regex", "^[0-9a-f]{64}$"), _connector="OR"),
                name="edge_ai_importjob_sha256_form",
            ),
        ),
        migrations.AddConstraint(
            model_name="importjob",
            constraint=models.CheckConstraint(
                condition=models.Q(("reserved_bytes__gte", 0)), name="edge_ai_importjob_reserved_positive"
            ),
        ),
        protect_by_job("edge_ai_importjob", "job_ptr_id"),
    ]
