"""Plans with limits, and limits that one workspace has instead."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


#: Generous, as suits a studio of one's own: it keeps a runaway script from filling it, and no more.
DEFAULT = (
    "INSERT INTO accounts_plan (id, name, description, is_default, max_models, max_stored_bytes, max_open_jobs)"
    " SELECT gen_random_uuid(), 'Standard', 'The studio''s usual limits.', true, 10000, 1099511627776, 1000"
    " WHERE NOT EXISTS (SELECT 1 FROM accounts_plan WHERE is_default)"
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_workspaces"),
    ]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="max_job_minutes",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Minutes that jobs may run in a calendar month (UTC).",
                null=True,
                verbose_name="job minutes",
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="max_models",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Models, variants included, those that jobs are making among them.",
                null=True,
                verbose_name="models",
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="max_open_jobs",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Jobs that wait or run at one time; more are refused.",
                null=True,
                verbose_name="open jobs",
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="max_stored_bytes",
            field=models.PositiveBigIntegerField(
                blank=True,
                help_text="Bytes of all files, each counted once; uploads under way too.",
                null=True,
                verbose_name="stored bytes",
            ),
        ),
        migrations.AddField(
            model_name="workspace",
            name="max_upload_bytes",
            field=models.PositiveBigIntegerField(
                blank=True,
                help_text="Largest file; never more than MAX_UPLOAD_BYTES and MAX_DATASET_BYTES.",
                null=True,
                verbose_name="bytes of one upload",
            ),
        ),
        migrations.AlterField(
            model_name="workspace",
            name="concurrent_jobs",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Jobs that run at once on each queue; others wait in line. Empty everywhere: WORKSPACE_CONCURRENT_JOBS.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                (
                    "max_models",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Models, variants included, those that jobs are making among them.",
                        null=True,
                        verbose_name="models",
                    ),
                ),
                (
                    "max_stored_bytes",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="Bytes of all files, each counted once; uploads under way too.",
                        null=True,
                        verbose_name="stored bytes",
                    ),
                ),
                (
                    "max_job_minutes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Minutes that jobs may run in a calendar month (UTC).",
                        null=True,
                        verbose_name="job minutes",
                    ),
                ),
                (
                    "max_open_jobs",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Jobs that wait or run at one time; more are refused.",
                        null=True,
                        verbose_name="open jobs",
                    ),
                ),
                (
                    "max_upload_bytes",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="Largest file; never more than MAX_UPLOAD_BYTES and MAX_DATASET_BYTES.",
                        null=True,
                        verbose_name="bytes of one upload",
                    ),
                ),
                (
                    "concurrent_jobs",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Jobs that run at once on each queue; others wait in line. Empty everywhere: WORKSPACE_CONCURRENT_JOBS.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=60, unique=True)),
                (
                    "description",
                    models.CharField(
                        blank=True, help_text="What members of a workspace read about it.", max_length=300
                    ),
                ),
                (
                    "is_default",
                    models.BooleanField(
                        default=False,
                        help_text="The plan of every workspace that has none of its own; there is one.",
                        verbose_name="default",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "ordering": ("name",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("is_default",),
                        name="accounts_plan_one_default",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("concurrent_jobs__isnull", True), ("concurrent_jobs__gte", 1), _connector="OR"
                        ),
                        name="accounts_plan_runs_something",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="workspace",
            name="plan",
            field=models.ForeignKey(
                blank=True,
                help_text="Empty: the default plan.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="workspaces",
                to="accounts.plan",
            ),
        ),
        migrations.RunSQL(DEFAULT, migrations.RunSQL.noop),
    ]
