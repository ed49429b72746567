"""Everything that a workspace has, at once: what 24 migrations made, which stay for studios that have some of them."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.core.serializers.json
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import edge_ai.models.base
import uuid
from django.conf import settings
from django.db import migrations, models

from config.database.backend.base import SYSTEM_ROLE, USER_ROLE
from config.database.policies import ME, TOUCH, protect, protect_by_job, protect_owned, touch

#: Owned by somebody, and shared with the workspace or not.
OWNED = (
    *("edge_ai_model", "edge_ai_dataset", "edge_ai_job", "edge_ai_artifact"),
    *("edge_ai_optimizationbatch", "edge_ai_workspaceexport"),
)
#: Owned by somebody, and seen by nobody else.
MINE_ALONE = ("edge_ai_webhookendpoint", "edge_ai_upload", "edge_ai_sharelink", "edge_ai_keptanswer")
#: Seen by whoever sees the job, by the column that names it.
OF_A_JOB = {
    "edge_ai_analysisjob": "job_ptr_id",
    "edge_ai_optimizationjob": "job_ptr_id",
    "edge_ai_benchmarkrun": "job_ptr_id",
    "edge_ai_packagingjob": "job_ptr_id",
    "edge_ai_comparisonjob": "job_ptr_id",
    "edge_ai_diagnosisjob": "job_ptr_id",
    "edge_ai_importjob": "job_ptr_id",
    "edge_ai_comparedmodel": "comparison_id",
    "edge_ai_jobevent": "job_id",
}
SUMS = ("edge_ai_jobday", "edge_ai_jobtime", "edge_ai_usageday", "edge_ai_eventday")
TOUCHED = (
    *("edge_ai_model", "edge_ai_dataset", "edge_ai_deviceprofile", "edge_ai_job", "edge_ai_artifact"),
    *("edge_ai_webhookendpoint", "edge_ai_upload", "edge_ai_sharelink", "edge_ai_optimizationbatch"),
    *("edge_ai_keptanswer", "edge_ai_workspaceexport"),
)
MY_ENDPOINT = f"EXISTS (SELECT 1 FROM edge_ai_webhookendpoint e WHERE e.id = endpoint_id AND e.owner_id = {ME})"  # noqa: S608 - constants
# The policies of the table that is asked decide what of it is seen.
OF_MY_DELIVERY = "EXISTS (SELECT 1 FROM edge_ai_webhookdelivery d WHERE d.id = delivery_id)"
OF_MY_MESSAGE = "EXISTS (SELECT 1 FROM edge_ai_webhookdelivery d WHERE d.message_id = edge_ai_webhookmessage.id)"
MODEL = "EXISTS (SELECT 1 FROM edge_ai_model m WHERE m.id = edge_ai_modellayers.model_id"
# Each workspace has its own schema, and the role in it decides.
ADMINISTERS = (
    "EXISTS (SELECT 1 FROM public.accounts_membership m JOIN public.accounts_workspace w ON w.id = m.workspace_id"  # noqa: S608 - a constant
    f" WHERE m.user_id = {ME} AND m.role IN ('owner', 'admin') AND w.schema_name = current_schema())"
)
#: Of a job that stops running, whatever stops it: an end, a lost lease, a deletion. An attempt that is given back, which
#: lowers the count of attempts, is none. It writes for whoever changed the job, who may not write into the ledger himself.
JOB_TIME = """
CREATE OR REPLACE FUNCTION studio_job_time() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    began timestamptz := coalesce(OLD.attempt_began_at, OLD.started_at);
    ended timestamptz := least(clock_timestamp(), OLD.lease_expires_at);
    outcome text := 'cancelled';
BEGIN
    IF TG_OP = 'UPDATE' THEN outcome := NEW.status; END IF;
    EXECUTE format(
        'INSERT INTO %I.edge_ai_jobtime (job, kind, attempt, outcome, began_at, ended_at, seconds)'
        ' VALUES ($1, $2, $3, $4, $5, $6, $7)', TG_TABLE_SCHEMA
    ) USING OLD.id, OLD.kind, OLD.attempt, outcome, least(began, ended), ended,
        greatest(extract(epoch FROM ended - began), 0)::double precision;
    RETURN NULL;
END $$
"""
RAN = "OLD.status = 'running' AND OLD.kind <> 'deletion' AND coalesce(OLD.attempt_began_at, OLD.started_at) IS NOT NULL"
JOB_TIME_TRIGGERS = [
    "CREATE TRIGGER edge_ai_job_time AFTER UPDATE OF status ON edge_ai_job FOR EACH ROW"
    f" WHEN ({RAN} AND NEW.status <> 'running' AND NEW.attempt >= OLD.attempt) EXECUTE FUNCTION studio_job_time()",
    "CREATE TRIGGER edge_ai_job_time_of_deleted AFTER DELETE ON edge_ai_job FOR EACH ROW"
    f" WHEN ({RAN}) EXECUTE FUNCTION studio_job_time()",
]


class Migration(migrations.Migration):
    replaces = [
        ("edge_ai", "0001_initial"),
        ("edge_ai", "0002_row_level_security"),
        ("edge_ai", "0003_job_priority_cache_sandbox"),
        ("edge_ai", "0004_jobs_of_every_kind"),
        ("edge_ai", "0005_webhooks"),
        ("edge_ai", "0006_measurements"),
        ("edge_ai", "0007_uploads"),
        ("edge_ai", "0008_share_links"),
        ("edge_ai", "0009_audit"),
        ("edge_ai", "0010_list_views"),
        ("edge_ai", "0011_job_batches"),
        ("edge_ai", "0012_model_pages"),
        ("edge_ai", "0013_job_time"),
        ("edge_ai", "0014_lists_of_many"),
        ("edge_ai", "0015_kept_answers"),
        ("edge_ai", "0016_telemetry"),
        ("edge_ai", "0017_workspace_exports"),
        ("edge_ai", "0018_time_of_exports"),
        ("edge_ai", "0019_uploads_in_parts"),
        ("edge_ai", "0020_artifacts_warned_of"),
        ("edge_ai", "0021_imports"),
        ("edge_ai", "0022_lists_by_index"),
        ("edge_ai", "0023_lists_of_models"),
        ("edge_ai", "0024_claimed_bytes"),
    ]

    initial = True

    dependencies = [
        ("accounts", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="Job",
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
                (
                    "kind",
                    models.CharField(
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
                (
                    "queue",
                    models.CharField(
                        choices=[("studio", "Studio"), ("benchmark", "Benchmark")], editable=False, max_length=12
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("stage", models.CharField(blank=True, max_length=40)),
                ("progress", models.PositiveSmallIntegerField(default=0)),
                ("attempt", models.PositiveSmallIntegerField(default=0)),
                ("max_attempts", models.PositiveSmallIntegerField(default=3)),
                (
                    "priority",
                    models.PositiveSmallIntegerField(choices=[(0, "Low"), (1, "Normal"), (2, "High")], default=1),
                ),
                ("run_after", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp())),
                ("enqueued_at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), null=True)),
                ("cancel_requested", models.BooleanField(default=False)),
                ("lease_token", models.UUIDField(editable=False, null=True)),
                ("lease_expires_at", models.DateTimeField(editable=False, null=True)),
                ("worker", models.CharField(blank=True, max_length=200)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("sandbox_level", models.CharField(blank=True, editable=False, max_length=10)),
                ("cache_key", models.CharField(blank=True, editable=False, max_length=64)),
                ("claimed_bytes", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("result", models.JSONField(blank=True, null=True)),
                ("error", models.JSONField(blank=True, null=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("attempt_began_at", models.DateTimeField(editable=False, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "answered_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="answered",
                        to="edge_ai.job",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "waits_for",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="waiting",
                        to="edge_ai.job",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "running")),
                        fields=["lease_expires_at"],
                        name="edge_ai_job_leases",
                    ),
                    models.Index(
                        condition=models.Q(("status", "queued")),
                        fields=["queue", "run_after"],
                        name="edge_ai_job_queued",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "queued", "running"])),
                        fields=["kind"],
                        include=("claimed_bytes", "status", "started_at", "attempt_began_at"),
                        name="edge_ai_job_claims",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")), fields=["waits_for"], name="edge_ai_job_waiting"
                    ),
                    models.Index(
                        condition=models.Q(("status", "completed"), models.Q(("cache_key", ""), _negated=True)),
                        fields=["cache_key"],
                        name="edge_ai_job_same",
                    ),
                    models.Index(fields=["owner", "-created_at"], name="edge_ai_job_mine"),
                    models.Index(
                        fields=["-created_at", "id"],
                        include=("owner", "visibility", "kind", "status", "name"),
                        name="edge_ai_job_newest",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ("pending", "queued", "running"))),
                        fields=["-created_at"],
                        name="edge_ai_job_unfinished",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)),
                        fields=["-finished_at"],
                        name="edge_ai_job_last_results",
                    ),
                    models.Index(fields=["finished_at", "id"], name="edge_ai_job_first_ended"),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)),
                        fields=["owner", "-finished_at"],
                        name="edge_ai_job_ended",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
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
                    models.CheckConstraint(
                        condition=models.Q(("queue__in", ["studio", "benchmark"])), name="edge_ai_job_queue_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "queued", "running", "completed", "failed", "cancelled"])
                        ),
                        name="edge_ai_job_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private", "workspace"])),
                        name="edge_ai_job_visibility_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("priority__in", [0, 1, 2])), name="edge_ai_job_priority_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("progress__lte", 100)), name="edge_ai_job_progress_percent"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("lease_expires_at__isnull", False),
                                ("lease_token__isnull", False),
                                ("status", "running"),
                            ),
                            models.Q(
                                models.Q(("status", "running"), _negated=True),
                                ("lease_expires_at__isnull", True),
                                ("lease_token__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_job_lease_while_running",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", False), ("status__in", ["completed", "failed", "cancelled"])
                            ),
                            models.Q(
                                models.Q(("status__in", ["completed", "failed", "cancelled"]), _negated=True),
                                ("finished_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_job_finished_when_final",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "completed"), _negated=True),
                            models.Q(("error__isnull", True), ("progress", 100), ("result__isnull", False)),
                            _connector="OR",
                        ),
                        name="edge_ai_job_completed_has_result",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "failed"), _negated=True), ("error__isnull", False), _connector="OR"
                        ),
                        name="edge_ai_job_failed_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "cancelled"), _negated=True),
                            models.Q(("cancel_requested", True), ("error__isnull", False)),
                            _connector="OR",
                        ),
                        name="edge_ai_job_cancelled_was_asked",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "running"), _negated=True),
                            models.Q(
                                ("attempt__gte", 1),
                                ("started_at__isnull", False),
                                models.Q(("worker", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_job_running_began",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status__in", ["pending", "queued"]), _negated=True),
                            models.Q(("error__isnull", True), ("result__isnull", True)),
                            _connector="OR",
                        ),
                        name="edge_ai_job_waiting_is_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "pending"), _negated=True),
                            models.Q(("attempt", 0), ("started_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="edge_ai_job_pending_not_begun",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("answered_by__isnull", True), ("status", "completed"), _connector="OR"),
                        name="edge_ai_job_answer_is_complete",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("attempt__lte", models.F("max_attempts"))),
                        name="edge_ai_job_attempts_bounded",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("claimed_bytes__gte", 0)), name="edge_ai_job_claim_positive"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "deletion"), ("status__in", ["pending", "queued", "running"])),
                        fields=("kind",),
                        name="edge_ai_job_one_deletion",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Model",
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
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True, max_length=4000)),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40), blank=True, default=list, size=20
                    ),
                ),
                ("file_name", models.CharField(max_length=255)),
                (
                    "format",
                    models.CharField(
                        choices=[
                            ("onnx", "ONNX"),
                            ("tflite", "TensorFlow Lite"),
                            ("keras", "Keras"),
                            ("saved_model", "SavedModel"),
                            ("openvino", "OpenVINO IR"),
                            ("ort", "ONNX Runtime format"),
                            ("coreml", "Core ML"),
                            ("ncnn", "NCNN"),
                            ("gguf", "GGUF"),
                            ("tensorrt", "TensorRT engine"),
                            ("other", "Other"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("uploaded", "Uploaded"),
                            ("analyzing", "Analyzing"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                            ("archived", "Archived"),
                        ],
                        default="uploaded",
                        max_length=10,
                    ),
                ),
                ("size_bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("analysis", models.JSONField(blank=True, null=True)),
                ("error", models.JSONField(blank=True, null=True)),
                ("precision", models.CharField(blank=True, max_length=20)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["-created_at", "id"], name="edge_ai_model_newest"),
                    models.Index(fields=["name", "id"], name="edge_ai_model_by_name"),
                    models.Index(fields=["size_bytes", "id"], name="edge_ai_model_by_size"),
                    models.Index(fields=["updated_at", "id"], name="edge_ai_model_by_change"),
                    models.Index(fields=["format", "id"], name="edge_ai_model_by_format"),
                    models.Index(fields=["status", "id"], name="edge_ai_model_by_status"),
                    models.Index(fields=["format", "-created_at", "id"], name="edge_ai_model_of_format"),
                    models.Index(fields=["status", "-created_at", "id"], name="edge_ai_model_of_status"),
                    django.contrib.postgres.indexes.GinIndex(fields=["tags"], name="edge_ai_model_tags"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "format__in",
                                [
                                    "onnx",
                                    "tflite",
                                    "keras",
                                    "saved_model",
                                    "openvino",
                                    "ort",
                                    "coreml",
                                    "ncnn",
                                    "gguf",
                                    "tensorrt",
                                    "other",
                                ],
                            )
                        ),
                        name="edge_ai_model_format_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["uploaded", "analyzing", "ready", "failed", "archived"])),
                        name="edge_ai_model_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private", "workspace"])),
                        name="edge_ai_model_visibility_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "ready"), _negated=True), ("analysis__isnull", False), _connector="OR"
                        ),
                        name="edge_ai_model_ready_is_analysed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "failed"), _negated=True), ("error__isnull", False), _connector="OR"
                        ),
                        name="edge_ai_model_failed_says_why",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("model_count", models.PositiveIntegerField()),
                ("stored_bytes", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("event_type", models.CharField(max_length=40)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting"),
                            ("sending", "Sending"),
                            ("delivered", "Delivered"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("schedule_began", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), null=True)),
                ("enqueued_at", models.DateTimeField(null=True)),
                ("lease_token", models.UUIDField(editable=False, null=True)),
                ("lease_expires_at", models.DateTimeField(editable=False, null=True)),
                ("http_status", models.PositiveSmallIntegerField(null=True)),
                ("latency_ms", models.FloatField(null=True)),
                ("error", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), editable=False)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name_plural": "webhook deliveries",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["next_attempt_at"],
                        name="edge_ai_webhookdelivery_due",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["pending", "sending", "delivered", "failed"])),
                        name="edge_ai_webhookdelivery_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "event_type__in",
                                [
                                    "model.ready",
                                    "model.failed",
                                    "optimization_job.completed",
                                    "optimization_job.failed",
                                    "optimization_job.cancelled",
                                    "benchmark.completed",
                                    "benchmark.failed",
                                    "benchmark.cancelled",
                                    "benchmark.regressed",
                                    "comparison.completed",
                                    "comparison.failed",
                                    "comparison.cancelled",
                                    "diagnosis.completed",
                                    "diagnosis.failed",
                                    "diagnosis.cancelled",
                                    "artifact.created",
                                    "artifact.expiring",
                                    "webhook.test",
                                ],
                            )
                        ),
                        name="edge_ai_webhookdelivery_event_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("lease_expires_at__isnull", False),
                                ("lease_token__isnull", False),
                                ("status", "sending"),
                            ),
                            models.Q(
                                models.Q(("status", "sending"), _negated=True),
                                ("lease_expires_at__isnull", True),
                                ("lease_token__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_webhookdelivery_lease_while_sending",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("next_attempt_at__isnull", False), ("status", "pending")),
                            models.Q(models.Q(("status", "pending"), _negated=True), ("next_attempt_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="edge_ai_webhookdelivery_pending_has_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("finished_at__isnull", False), ("status__in", ["delivered", "failed"])),
                            models.Q(
                                models.Q(("status__in", ["delivered", "failed"]), _negated=True),
                                ("finished_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_webhookdelivery_finished_when_final",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("schedule_began__lte", models.F("attempt"))),
                        name="edge_ai_webhookdelivery_schedule_within",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ComparisonJob",
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
                ("threads", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("margin", models.FloatField(default=0.02)),
                ("max_seconds", models.FloatField(default=120)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("max_seconds__gt", 0)), name="edge_ai_comparison_budget"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("margin__gt", 0), ("margin__lt", 1)), name="edge_ai_comparison_margin"
                    ),
                ],
            },
            bases=("edge_ai.job",),
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), editable=False)),
                ("actor_id", models.UUIDField(editable=False, null=True)),
                ("actor", models.CharField(blank=True, editable=False, max_length=254)),
                (
                    "how",
                    models.CharField(
                        choices=[
                            ("session", "In the browser"),
                            ("api_key", "By an API key"),
                            ("system", "The studio itself"),
                        ],
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("api_key", models.CharField(blank=True, editable=False, max_length=8)),
                ("address", models.CharField(blank=True, editable=False, max_length=45)),
                ("request_id", models.CharField(blank=True, editable=False, max_length=64)),
                ("action", models.CharField(editable=False, max_length=60)),
                ("object_type", models.CharField(editable=False, max_length=30)),
                ("object_id", models.UUIDField(editable=False)),
                ("object_name", models.CharField(blank=True, editable=False, max_length=200)),
                (
                    "before",
                    models.JSONField(
                        default=dict, editable=False, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
                (
                    "after",
                    models.JSONField(
                        default=dict, editable=False, encoder=django.core.serializers.json.DjangoJSONEncoder
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["-at", "-id"], name="edge_ai_audit_newest"),
                    models.Index(fields=["object_id", "-at"], name="edge_ai_audit_of_object"),
                    models.Index(fields=["actor_id", "-at"], name="edge_ai_audit_of_actor"),
                    models.Index(fields=["action", "-at"], name="edge_ai_audit_of_action"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("how__in", ["session", "api_key", "system"])),
                        name="edge_ai_auditevent_how_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("action__regex", "^[a-z_]+\\.[a-z_]+$")),
                        name="edge_ai_auditevent_action_form",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Blob",
            fields=[
                ("sha256", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("size_bytes", models.BigIntegerField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["created_at"], include=("size_bytes",), name="edge_ai_blob_newest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("sha256__regex", "^[0-9a-f]{64}$")), name="edge_ai_blob_sha256_form"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("size_bytes__gte", 0)), name="edge_ai_blob_size_positive"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Dataset",
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
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True, max_length=4000)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("calibration", "Calibration"),
                            ("evaluation", "Evaluation"),
                            ("both", "Calibration and evaluation"),
                        ],
                        default="both",
                        max_length=12,
                    ),
                ),
                ("file_name", models.CharField(max_length=255)),
                ("size_bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("header", models.JSONField()),
                ("sample_count", models.PositiveIntegerField()),
                ("has_labels", models.BooleanField()),
                (
                    "blob",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="datasets", to="edge_ai.blob"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["owner", "-created_at"], name="edge_ai_dataset_mine"),
                    models.Index(fields=["-created_at", "id"], name="edge_ai_dataset_newest"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["calibration", "evaluation", "both"])),
                        name="edge_ai_dataset_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private", "workspace"])),
                        name="edge_ai_dataset_visibility_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("sample_count__gt", 0)), name="edge_ai_dataset_not_empty"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeviceProfile",
            fields=[
                ("slug", models.SlugField(max_length=80)),
                ("name", models.CharField(max_length=200)),
                ("vendor", models.CharField(blank=True, max_length=100)),
                (
                    "category",
                    models.CharField(
                        choices=[
                            ("host", "This machine"),
                            ("single_board_computer", "Single-board computer"),
                            ("embedded_gpu", "Embedded GPU"),
                            ("accelerator_board", "Accelerator board"),
                            ("phone", "Phone"),
                            ("ai_pc", "AI PC"),
                            ("server", "Edge server"),
                            ("microcontroller", "Microcontroller"),
                        ],
                        max_length=30,
                    ),
                ),
                ("description", models.TextField(blank=True, max_length=2000)),
                ("os", models.CharField(blank=True, max_length=100, verbose_name="operating system")),
                (
                    "position",
                    models.PositiveIntegerField(default=1000, help_text="Order in lists; the smallest comes first."),
                ),
                ("cpu_model", models.CharField(blank=True, max_length=200, verbose_name="CPU")),
                (
                    "cpu_cores",
                    models.PositiveIntegerField(
                        blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                ("cpu_architecture", models.CharField(blank=True, max_length=30)),
                (
                    "cpu_extensions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=30), blank=True, default=list, size=None
                    ),
                ),
                (
                    "cpu_frequency_mhz",
                    models.PositiveIntegerField(
                        blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                (
                    "memory_mb",
                    models.PositiveIntegerField(
                        blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                ("memory_bandwidth_gb_s", models.FloatField(blank=True, null=True)),
                ("peak_gflops_fp32", models.FloatField(blank=True, null=True)),
                ("peak_gflops_fp16", models.FloatField(blank=True, null=True)),
                ("peak_tops_int8", models.FloatField(blank=True, null=True)),
                ("tdp_w", models.FloatField(blank=True, null=True)),
                ("accelerators", models.JSONField(blank=True, default=list)),
                (
                    "runtimes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=30), blank=True, default=list, size=None
                    ),
                ),
                (
                    "formats",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20), blank=True, default=list, size=None
                    ),
                ),
                (
                    "precisions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=20), blank=True, default=list, size=None
                    ),
                ),
                ("sources", models.JSONField(blank=True, default=dict)),
                (
                    "is_host",
                    models.BooleanField(default=False, help_text="The machine that the studio's workers run on."),
                ),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "visibility",
                    models.CharField(
                        choices=[("private", "Only me"), ("workspace", "Everyone in the workspace")],
                        default="private",
                        max_length=10,
                    ),
                ),
                ("is_template", models.BooleanField(default=False, editable=False)),
                ("made_from", models.SlugField(blank=True, editable=False, max_length=80)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["position", "name", "id"],
                "indexes": [models.Index(fields=["position", "name", "id"], name="edge_ai_device_order")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "category__in",
                                [
                                    "host",
                                    "single_board_computer",
                                    "embedded_gpu",
                                    "accelerator_board",
                                    "phone",
                                    "ai_pc",
                                    "server",
                                    "microcontroller",
                                ],
                            )
                        ),
                        name="edge_ai_device_category_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private", "workspace"])),
                        name="edge_ai_device_visibility_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("is_template", True), ("owner__isnull", True)),
                            models.Q(("is_template", False), ("owner__isnull", False)),
                            _connector="OR",
                        ),
                        name="edge_ai_device_template_or_owned",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_template", True)), fields=("slug",), name="edge_ai_device_template_slug"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EventDay",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("event", models.CharField(max_length=40)),
                ("events", models.PositiveIntegerField()),
                ("people", models.PositiveIntegerField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("day", "event"), name="edge_ai_eventday_once")],
            },
        ),
        migrations.CreateModel(
            name="JobDay",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                (
                    "kind",
                    models.CharField(
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
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=10,
                    ),
                ),
                ("jobs", models.PositiveIntegerField()),
                ("attempts", models.PositiveIntegerField()),
                ("wait_seconds", models.FloatField()),
                ("run_seconds", models.FloatField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("day", "kind", "status"), name="edge_ai_jobday_once"),
                    models.CheckConstraint(
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
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "queued", "running", "completed", "failed", "cancelled"])
                        ),
                        name="edge_ai_jobday_status_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(choices=[("status", "Status"), ("stage", "Stage"), ("log", "Log")], max_length=8),
                ),
                ("level", models.CharField(default="info", max_length=8)),
                ("attempt", models.PositiveSmallIntegerField(default=0)),
                ("stage", models.CharField(blank=True, max_length=40)),
                ("progress", models.PositiveSmallIntegerField(null=True)),
                ("message", models.CharField(blank=True, max_length=1000)),
                ("created_at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), editable=False)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="edge_ai.job"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["job", "id"], name="edge_ai_jobevent_story")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["status", "stage", "log"])), name="edge_ai_jobevent_kind_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("level__in", ["debug", "info", "warning", "error"])),
                        name="edge_ai_jobevent_level_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobTime",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job", models.UUIDField()),
                (
                    "kind",
                    models.CharField(
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
                ("attempt", models.PositiveSmallIntegerField()),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=10,
                    ),
                ),
                ("began_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                ("seconds", models.FloatField()),
            ],
            options={
                "indexes": [models.Index(fields=["ended_at"], name="edge_ai_jobtime_month")],
                "constraints": [
                    models.CheckConstraint(
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
                    models.CheckConstraint(
                        condition=models.Q(
                            ("outcome__in", ["pending", "queued", "running", "completed", "failed", "cancelled"])
                        ),
                        name="edge_ai_jobtime_outcome_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("seconds__gte", 0)), name="edge_ai_jobtime_not_negative"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="KeptAnswer",
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
                ("key", models.CharField(editable=False, max_length=200)),
                ("request_sha256", models.CharField(editable=False, max_length=64)),
                ("status", models.PositiveSmallIntegerField(editable=False)),
                ("headers", models.JSONField(default=dict, editable=False)),
                ("body", models.TextField(blank=True, editable=False)),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["created_at"], name="edge_ai_keptanswer_age")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private"])), name="edge_ai_keptanswer_is_private"
                    ),
                    models.UniqueConstraint(fields=("owner", "key"), name="edge_ai_keptanswer_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelLayers",
            fields=[
                (
                    "model",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="layers",
                        serialize=False,
                        to="edge_ai.model",
                    ),
                ),
                ("rows", models.JSONField()),
                ("count", models.PositiveIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="model",
            name="blob",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="models", to="edge_ai.blob"
            ),
        ),
        migrations.AddField(
            model_name="model",
            name="owner",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="model",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="variants",
                to="edge_ai.model",
            ),
        ),
        migrations.CreateModel(
            name="OptimizationBatch",
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
                ("name", models.CharField(max_length=200)),
                ("idempotency_key", models.CharField(blank=True, editable=False, max_length=200)),
                ("content_key", models.CharField(editable=False, max_length=64)),
                ("asked", models.JSONField(default=dict, editable=False)),
                ("refused", models.JSONField(default=list, editable=False)),
                ("cancelled_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "batch",
                "verbose_name_plural": "batches",
                "indexes": [
                    models.Index(fields=["owner", "content_key"], name="edge_ai_batch_same"),
                    models.Index(fields=["-created_at", "id"], name="edge_ai_batch_newest"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private", "workspace"])),
                        name="edge_ai_batch_visibility_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Upload",
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
                (
                    "purpose",
                    models.CharField(
                        choices=[("model", "Model"), ("dataset", "Data set")], default="model", max_length=10
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=200)),
                ("file_name", models.CharField(max_length=255)),
                ("length_bytes", models.BigIntegerField()),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("expires_at", models.DateTimeField()),
                ("made", models.UUIDField(blank=True, editable=False, null=True)),
                ("part_bytes", models.BigIntegerField(default=0, editable=False)),
                ("parts_id", models.CharField(blank=True, editable=False, max_length=1024)),
                ("part_sha256", models.JSONField(blank=True, default=dict, editable=False)),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["expires_at"], name="edge_ai_upload_expiry")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("purpose__in", ["model", "dataset"])), name="edge_ai_upload_purpose_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private"])), name="edge_ai_upload_is_private"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("length_bytes__gt", 0)), name="edge_ai_upload_not_empty"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageEvent",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), editable=False)),
                ("event", models.CharField(editable=False, max_length=40)),
                ("user_id", models.UUIDField(editable=False, null=True)),
                (
                    "how",
                    models.CharField(
                        choices=[
                            ("session", "In the browser"),
                            ("api_key", "By an API key"),
                            ("system", "The studio itself"),
                        ],
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("properties", models.JSONField(default=dict, editable=False)),
                ("exported_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["at"], name="edge_ai_usage_by_time"),
                    models.Index(
                        condition=models.Q(("exported_at__isnull", True)),
                        fields=["at", "id"],
                        name="edge_ai_usage_unsent",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("how__in", ["session", "api_key", "system"])),
                        name="edge_ai_usageevent_how_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("event__regex", "^[a-z_]+\\.[a-z_]+$")),
                        name="edge_ai_usageevent_event_form",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="WebhookAttempt",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("url", models.CharField(max_length=2000)),
                ("request_headers", models.JSONField(default=dict)),
                ("latency_ms", models.FloatField(null=True)),
                ("http_status", models.PositiveSmallIntegerField(null=True)),
                ("response_body", models.TextField(blank=True)),
                ("error_code", models.CharField(blank=True, max_length=20)),
                ("error", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), editable=False)),
                (
                    "delivery",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="edge_ai.webhookdelivery",
                    ),
                ),
            ],
            options={
                "ordering": ["-number"],
                "constraints": [
                    models.UniqueConstraint(fields=("delivery", "number"), name="edge_ai_webhookattempt_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("url", models.CharField(max_length=2000, verbose_name="address")),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("model.ready", "A model is ready"),
                                ("model.failed", "A model could not be read"),
                                ("optimization_job.completed", "An optimization completed"),
                                ("optimization_job.failed", "An optimization failed"),
                                ("optimization_job.cancelled", "An optimization was cancelled"),
                                ("benchmark.completed", "A benchmark completed"),
                                ("benchmark.failed", "A benchmark failed"),
                                ("benchmark.cancelled", "A benchmark was cancelled"),
                                ("benchmark.regressed", "A benchmark was slower than those before it"),
                                ("comparison.completed", "A comparison completed"),
                                ("comparison.failed", "A comparison failed"),
                                ("comparison.cancelled", "A comparison was cancelled"),
                                ("diagnosis.completed", "A diagnosis completed"),
                                ("diagnosis.failed", "A diagnosis failed"),
                                ("diagnosis.cancelled", "A diagnosis was cancelled"),
                                ("artifact.created", "An artifact was created"),
                                ("artifact.expiring", "An artifact will soon be removed"),
                            ],
                            max_length=40,
                        ),
                        size=None,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "disabled_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("by_hand", "Switched off"),
                            ("failing", "It failed for five days"),
                            ("gone", "It answered 410 Gone"),
                        ],
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("disabled_at", models.DateTimeField(editable=False, null=True)),
                ("secret", models.TextField(editable=False)),
                ("previous_secret", models.TextField(blank=True, editable=False)),
                ("previous_secret_expires_at", models.DateTimeField(editable=False, null=True)),
                ("first_failure_at", models.DateTimeField(editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["owner", "-created_at"], name="edge_ai_webhookendpoint_mine")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "events__contained_by",
                                [
                                    "model.ready",
                                    "model.failed",
                                    "optimization_job.completed",
                                    "optimization_job.failed",
                                    "optimization_job.cancelled",
                                    "benchmark.completed",
                                    "benchmark.failed",
                                    "benchmark.cancelled",
                                    "benchmark.regressed",
                                    "comparison.completed",
                                    "comparison.failed",
                                    "comparison.cancelled",
                                    "diagnosis.completed",
                                    "diagnosis.failed",
                                    "diagnosis.cancelled",
                                    "artifact.created",
                                    "artifact.expiring",
                                ],
                            ),
                            models.Q(("events", []), _negated=True),
                        ),
                        name="edge_ai_webhookendpoint_events_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("disabled_at__isnull", True), ("disabled_reason", ""), ("enabled", True)),
                            models.Q(
                                ("disabled_at__isnull", False),
                                ("disabled_reason__in", ["by_hand", "failing", "gone"]),
                                ("enabled", False),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_webhookendpoint_disabled_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("previous_secret", ""), ("previous_secret_expires_at__isnull", True)),
                            models.Q(
                                models.Q(("previous_secret", ""), _negated=True),
                                ("previous_secret_expires_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_webhookendpoint_overlap_ends",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="webhookdelivery",
            name="endpoint",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="edge_ai.webhookendpoint"
            ),
        ),
        migrations.CreateModel(
            name="WebhookMessage",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("event_type", models.CharField(max_length=40)),
                ("subject_id", models.UUIDField(null=True)),
                ("body", models.TextField()),
                ("created_at", models.DateTimeField(db_default=edge_ai.models.base.ClockTimestamp(), editable=False)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "event_type__in",
                                [
                                    "model.ready",
                                    "model.failed",
                                    "optimization_job.completed",
                                    "optimization_job.failed",
                                    "optimization_job.cancelled",
                                    "benchmark.completed",
                                    "benchmark.failed",
                                    "benchmark.cancelled",
                                    "benchmark.regressed",
                                    "comparison.completed",
                                    "comparison.failed",
                                    "comparison.cancelled",
                                    "diagnosis.completed",
                                    "diagnosis.failed",
                                    "diagnosis.cancelled",
                                    "artifact.created",
                                    "artifact.expiring",
                                    "webhook.test",
                                ],
                            )
                        ),
                        name="edge_ai_webhookmessage_event_known",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="webhookdelivery",
            name="message",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="edge_ai.webhookmessage"
            ),
        ),
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
                (
                    "blob",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="exports",
                        to="edge_ai.blob",
                    ),
                ),
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="export", to="edge_ai.job"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["owner", "-created_at"], name="edge_ai_export_mine"),
                    models.Index(fields=["expires_at"], name="edge_ai_export_expiry"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private"])), name="edge_ai_workspaceexport_is_private"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("blob__isnull", True), ("expires_at__isnull", True), ("size_bytes__isnull", True)
                            ),
                            models.Q(
                                ("blob__isnull", False), ("expires_at__isnull", False), ("size_bytes__isnull", False)
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_workspaceexport_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AnalysisJob",
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
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="analysis_jobs", to="edge_ai.model"
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
            bases=("edge_ai.job",),
        ),
        migrations.CreateModel(
            name="ShareLink",
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
                ("title", models.CharField(max_length=200)),
                ("token_sha256", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "runs",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), blank=True, default=list, size=None
                    ),
                ),
                ("against", models.UUIDField(blank=True, null=True)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("view_count", models.PositiveIntegerField(default=0, editable=False)),
                ("last_viewed_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "comparison",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="share_links",
                        to="edge_ai.comparisonjob",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["owner", "-created_at"], name="edge_ai_sharelink_mine"),
                    models.Index(fields=["expires_at"], name="edge_ai_sharelink_expiry"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private"])), name="edge_ai_sharelink_is_private"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("against__isnull", True), ("comparison__isnull", False), ("runs", [])),
                            models.Q(
                                ("against__isnull", False),
                                ("comparison__isnull", True),
                                ("runs__len__gte", 2),
                                ("runs__len__lte", 8),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_sharelink_one_subject",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="comparisonjob",
            name="dataset",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="comparisons",
                to="edge_ai.dataset",
            ),
        ),
        migrations.AddField(
            model_name="comparisonjob",
            name="device_profile",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="comparisons", to="edge_ai.deviceprofile"
            ),
        ),
        migrations.AddField(
            model_name="comparisonjob",
            name="samples_blob",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="comparisons",
                to="edge_ai.blob",
            ),
        ),
        migrations.CreateModel(
            name="ComparedModel",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("place", models.PositiveSmallIntegerField()),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="compared", to="edge_ai.model"
                    ),
                ),
                (
                    "comparison",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="compared", to="edge_ai.comparisonjob"
                    ),
                ),
            ],
            options={
                "ordering": ["place"],
                "constraints": [
                    models.UniqueConstraint(fields=("comparison", "place"), name="edge_ai_comparedmodel_one_place"),
                    models.UniqueConstraint(fields=("comparison", "model"), name="edge_ai_comparedmodel_once"),
                    models.CheckConstraint(condition=models.Q(("place__lt", 8)), name="edge_ai_comparedmodel_eight"),
                ],
            },
        ),
        migrations.CreateModel(
            name="DiagnosisJob",
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
                ("threads", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("max_seconds", models.FloatField(default=20)),
                (
                    "baseline",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="diagnoses_against",
                        to="edge_ai.model",
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="diagnoses",
                        to="edge_ai.dataset",
                    ),
                ),
                (
                    "device_profile",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="diagnoses",
                        to="edge_ai.deviceprofile",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="diagnoses", to="edge_ai.model"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("max_seconds__gt", 0)), name="edge_ai_diagnosis_budget")
                ],
            },
            bases=("edge_ai.job",),
        ),
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
                (
                    "made",
                    models.OneToOneField(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="imported_by",
                        to="edge_ai.model",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("source__in", ["url", "s3"])), name="edge_ai_importjob_source_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("sha256", ""), ("sha256__regex", "^[0-9a-f]{64}$"), _connector="OR"),
                        name="edge_ai_importjob_sha256_form",
                    ),
                ],
            },
            bases=("edge_ai.job",),
        ),
        migrations.CreateModel(
            name="OptimizationJob",
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
                (
                    "target_format",
                    models.CharField(
                        choices=[
                            ("onnx", "ONNX"),
                            ("tflite", "TensorFlow Lite"),
                            ("keras", "Keras"),
                            ("saved_model", "SavedModel"),
                            ("openvino", "OpenVINO IR"),
                            ("ort", "ONNX Runtime format"),
                            ("coreml", "Core ML"),
                            ("ncnn", "NCNN"),
                            ("gguf", "GGUF"),
                            ("tensorrt", "TensorRT engine"),
                            ("other", "Other"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "precision",
                    models.CharField(
                        choices=[
                            ("fp32", "fp32"),
                            ("fp16", "fp16"),
                            ("int8", "int8, calibrated"),
                            ("int8_dynamic", "int8, dynamic"),
                            ("int16x8", "int16 × 8"),
                            ("int4", "int4, weights only"),
                            ("fp8", "fp8"),
                            ("auto", "Choose for me"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "optimization_level",
                    models.CharField(
                        choices=[("speed", "Fastest"), ("balanced", "Balanced"), ("size", "Smallest")],
                        default="balanced",
                        max_length=10,
                    ),
                ),
                ("options", models.JSONField(blank=True, default=dict)),
                (
                    "batch",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="jobs",
                        to="edge_ai.optimizationbatch",
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="optimization_jobs",
                        to="edge_ai.dataset",
                    ),
                ),
                (
                    "device_profile",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="optimization_jobs",
                        to="edge_ai.deviceprofile",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="optimization_jobs",
                        to="edge_ai.model",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "target_format__in",
                                [
                                    "onnx",
                                    "tflite",
                                    "keras",
                                    "saved_model",
                                    "openvino",
                                    "ort",
                                    "coreml",
                                    "ncnn",
                                    "gguf",
                                    "tensorrt",
                                    "other",
                                ],
                            )
                        ),
                        name="edge_ai_optimization_format_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "precision__in",
                                ["fp32", "fp16", "int8", "int8_dynamic", "int16x8", "int4", "fp8", "auto"],
                            )
                        ),
                        name="edge_ai_optimization_precision_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("optimization_level__in", ["speed", "balanced", "size"])),
                        name="edge_ai_optimization_level_known",
                    ),
                ],
            },
            bases=("edge_ai.job",),
        ),
        migrations.AddField(
            model_name="model",
            name="producer",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="produced",
                to="edge_ai.optimizationjob",
            ),
        ),
        migrations.CreateModel(
            name="BenchmarkRun",
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
                ("threads", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("batch_size", models.PositiveIntegerField(default=1)),
                ("warmup", models.PositiveIntegerField(blank=True, null=True)),
                ("min_seconds", models.FloatField(default=3)),
                ("max_seconds", models.FloatField(default=60)),
                ("profile_operators", models.BooleanField(default=True)),
                (
                    "result_kind",
                    models.CharField(
                        choices=[("measured", "Measured"), ("estimated", "Estimated")],
                        default="measured",
                        editable=False,
                        max_length=9,
                    ),
                ),
                ("p50_ms", models.FloatField(blank=True, editable=False, null=True)),
                ("estimated_ms", models.FloatField(blank=True, editable=False, null=True)),
                (
                    "baseline",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="compared",
                        to="edge_ai.benchmarkrun",
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="benchmarks",
                        to="edge_ai.dataset",
                    ),
                ),
                (
                    "device_profile",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="benchmarks",
                        to="edge_ai.deviceprofile",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="benchmarks", to="edge_ai.model"
                    ),
                ),
                (
                    "samples_blob",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="benchmarks",
                        to="edge_ai.blob",
                    ),
                ),
                (
                    "variant_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="benchmarks_of_variant",
                        to="edge_ai.optimizationjob",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["model", "device_profile"], name="edge_ai_benchmark_best"),
                    models.Index(fields=["p50_ms", "job_ptr"], name="edge_ai_benchmark_quickest"),
                    models.Index(
                        models.OrderBy(models.F("p50_ms"), descending=True, nulls_last=True),
                        models.F("job_ptr"),
                        name="edge_ai_benchmark_slowest",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("max_seconds__gte", models.F("min_seconds")), ("min_seconds__gt", 0)),
                        name="edge_ai_benchmark_budget",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("batch_size__gte", 1)), name="edge_ai_benchmark_batch_positive"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("result_kind__in", ["measured", "estimated"])),
                        name="edge_ai_benchmark_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("estimated_ms__isnull", True), ("result_kind", "measured")),
                            models.Q(
                                ("baseline__isnull", True),
                                ("p50_ms__isnull", True),
                                ("result_kind", "estimated"),
                                ("samples_blob__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="edge_ai_benchmark_kinds_apart",
                    ),
                ],
            },
            bases=("edge_ai.job",),
        ),
        migrations.CreateModel(
            name="Artifact",
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
                (
                    "artifact_type",
                    models.CharField(
                        choices=[
                            ("optimized_model", "Optimized model"),
                            ("recipe", "Recipe"),
                            ("benchmark_samples", "Benchmark samples"),
                            ("bundle", "Bundle"),
                        ],
                        max_length=20,
                    ),
                ),
                ("file_name", models.CharField(max_length=255)),
                ("mime_type", models.CharField(max_length=100)),
                ("size_bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("target_platform", models.CharField(blank=True, max_length=100)),
                ("target_language", models.CharField(blank=True, max_length=40)),
                ("download_count", models.PositiveIntegerField(default=0)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("warned_at", models.DateTimeField(editable=False, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "blob",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="artifacts", to="edge_ai.blob"
                    ),
                ),
                (
                    "device_profile",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="artifacts",
                        to="edge_ai.deviceprofile",
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="artifacts", to="edge_ai.model"
                    ),
                ),
                (
                    "benchmark",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="artifacts",
                        to="edge_ai.benchmarkrun",
                    ),
                ),
                (
                    "optimization_job",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="artifacts",
                        to="edge_ai.optimizationjob",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["owner", "-created_at"], name="edge_ai_artifact_mine"),
                    models.Index(fields=["-created_at", "id"], name="edge_ai_artifact_newest"),
                    models.Index(fields=["expires_at"], name="edge_ai_artifact_expiry"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("artifact_type__in", ["optimized_model", "recipe", "benchmark_samples", "bundle"])
                        ),
                        name="edge_ai_artifact_type_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["private", "workspace"])),
                        name="edge_ai_artifact_visibility_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PackagingJob",
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
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="packaging_jobs", to="edge_ai.model"
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
            bases=("edge_ai.job",),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                condition=models.Q(("status", "sending")),
                fields=["endpoint", "lease_expires_at"],
                name="edge_ai_webhookdelivery_lease",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(fields=["endpoint", "-created_at", "id"], name="edge_ai_webhookdelivery_log"),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.UniqueConstraint(fields=("message", "endpoint"), name="edge_ai_webhookdelivery_once"),
        ),
        migrations.AddIndex(
            model_name="model",
            index=models.Index(fields=["owner", "-created_at"], name="edge_ai_model_mine"),
        ),
        migrations.AddIndex(
            model_name="model",
            index=models.Index(fields=["parent"], name="edge_ai_model_variants"),
        ),
        migrations.AddConstraint(
            model_name="model",
            constraint=models.UniqueConstraint(fields=("producer",), name="edge_ai_model_one_per_job"),
        ),
        # -- row level security: whose rows are seen and changed, beneath the ORM
        *(protect_owned(table) for table in OWNED),
        *(protect(table, see=f"owner_id = {ME}", change=f"owner_id = {ME}") for table in MINE_ALONE),
        *(protect_by_job(table, column) for table, column in OF_A_JOB.items()),
        protect(
            "edge_ai_deviceprofile",
            see=f"is_template OR owner_id = {ME} OR visibility = 'workspace'",
            change=f"owner_id = {ME} AND NOT is_template",
        ),
        protect("edge_ai_webhookdelivery", see=MY_ENDPOINT, change=MY_ENDPOINT),
        # What was told, and what was answered, is written by the studio alone.
        protect("edge_ai_webhookmessage", see=OF_MY_MESSAGE, change="false"),
        protect("edge_ai_webhookattempt", see=OF_MY_DELIVERY, change="false"),
        # The model's own policies decide who sees them.
        protect("edge_ai_modellayers", see=f"{MODEL})", change=f"{MODEL} AND m.owner_id = {ME})"),
        # Sums over everybody's work: any member may read them, and the studio alone writes them.
        *(protect(table, see="true", change="false") for table in SUMS),
        protect("edge_ai_usageevent", see="false", change="false"),
        migrations.RunSQL(
            f"REVOKE ALL ON edge_ai_usageevent FROM {USER_ROLE}",
            f"GRANT ALL ON edge_ai_usageevent TO {USER_ROLE}",
        ),
        protect("edge_ai_auditevent", see=ADMINISTERS, change="false"),
        # Append-only, for the studio itself as well: the roles were given everything with every new table.
        migrations.RunSQL(
            [
                f"REVOKE UPDATE, DELETE, TRUNCATE ON edge_ai_auditevent FROM {USER_ROLE}, {SYSTEM_ROLE}",
                f"REVOKE INSERT ON edge_ai_auditevent FROM {USER_ROLE}",
            ],
            [
                f"GRANT UPDATE, DELETE ON edge_ai_auditevent TO {USER_ROLE}, {SYSTEM_ROLE}",
                f"GRANT INSERT ON edge_ai_auditevent TO {USER_ROLE}",
            ],
        ),
        # -- triggers
        TOUCH,
        *(touch(table) for table in TOUCHED),
        migrations.RunSQL(JOB_TIME, "DROP FUNCTION IF EXISTS studio_job_time()"),
        migrations.RunSQL(
            JOB_TIME_TRIGGERS,
            ["DROP TRIGGER edge_ai_job_time ON edge_ai_job", "DROP TRIGGER edge_ai_job_time_of_deleted ON edge_ai_job"],
        ),
    ]
