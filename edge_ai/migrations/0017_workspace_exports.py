"""Exports of workspaces, each for whoever asked for it alone."""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models

from config.database.policies import protect_owned, touch


class Migration(migrations.Migration):
    dependencies = [
        ("edge_ai", "0016_telemetry"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="WorkspaceExport",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "visibility",
                    models.CharField(
                        choices=[("private", "Only me"), ("workspace", "Everyone in the workspace")],
                        default="private",
                        max_length=10,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("size_bytes", models.BigIntegerField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="edge_ai_job_kind_known",
        ),
        migrations.RemoveConstraint(
            model_name="jobday",
            name="edge_ai_jobday_kind_known",
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
                        ],
                    )
                ),
                name="edge_ai_jobday_kind_known",
            ),
        ),
        migrations.AddField(
            model_name="workspaceexport",
            name="blob",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="exports", to="edge_ai.blob"
            ),
        ),
        migrations.AddField(
            model_name="workspaceexport",
            name="job",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="export", to="edge_ai.job"
            ),
        ),
        migrations.AddField(
            model_name="workspaceexport",
            name="owner",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="workspaceexport",
            index=models.Index(fields=["owner", "-created_at"], name="edge_ai_export_mine"),
        ),
        migrations.AddIndex(
            model_name="workspaceexport",
            index=models.Index(fields=["expires_at"], name="edge_ai_export_expiry"),
        ),
        migrations.AddConstraint(
            model_name="workspaceexport",
            constraint=models.CheckConstraint(
                condition=models.Q(("visibility__in", ["private"])), name="edge_ai_workspaceexport_is_private"
            ),
        ),
        migrations.AddConstraint(
            model_name="workspaceexport",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("blob__isnull", True), ("expires_at__isnull", True), ("size_bytes__isnull", True)),
                    models.Q(("blob__isnull", False), ("expires_at__isnull", False), ("size_bytes__isnull", False)),
                    _connector="OR",
                ),
                name="edge_ai_workspaceexport_whole",
            ),
        ),
        protect_owned("edge_ai_workspaceexport"),
        touch("edge_ai_workspaceexport"),
    ]
