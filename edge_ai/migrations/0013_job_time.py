"""The ledger of job minutes, kept by a trigger, and what a workspace had day by day."""

from django.conf import settings
from django.db import migrations, models

from config.database.policies import protect

#: Of a job that stops running, whatever stops it: an end, a lost lease, a deletion. An attempt that is given back, which
#: lowers the count of attempts, is none. It writes for whoever changed the job, who may not write into the ledger himself.
FUNCTION = """
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
TRIGGERS = [
    "CREATE TRIGGER edge_ai_job_time AFTER UPDATE OF status ON edge_ai_job FOR EACH ROW"
    f" WHEN ({RAN} AND NEW.status <> 'running' AND NEW.attempt >= OLD.attempt) EXECUTE FUNCTION studio_job_time()",
    "CREATE TRIGGER edge_ai_job_time_of_deleted AFTER DELETE ON edge_ai_job FOR EACH ROW"
    f" WHEN ({RAN}) EXECUTE FUNCTION studio_job_time()",
]
#: What ran before there was a ledger: of each job, from its first attempt to its end.
BEFORE = (
    "INSERT INTO edge_ai_jobtime (job, kind, attempt, outcome, began_at, ended_at, seconds)"
    " SELECT id, kind, attempt, status, started_at, finished_at, greatest(extract(epoch FROM finished_at - started_at), 0)"
    " FROM edge_ai_job WHERE started_at IS NOT NULL AND finished_at IS NOT NULL AND kind <> 'deletion'"
)


class Migration(migrations.Migration):
    dependencies = [
        ("edge_ai", "0012_model_pages"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
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
        ),
        migrations.CreateModel(
            name="UsageDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("model_count", models.PositiveIntegerField()),
                ("stored_bytes", models.BigIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="job",
            name="attempt_began_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("status__in", ["pending", "queued", "running"])),
                fields=["kind"],
                name="edge_ai_job_open",
            ),
        ),
        migrations.AddIndex(
            model_name="jobtime",
            index=models.Index(fields=["ended_at"], name="edge_ai_jobtime_month"),
        ),
        migrations.AddConstraint(
            model_name="jobtime",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        ["analysis", "optimization", "benchmark", "comparison", "packaging", "diagnosis", "deletion"],
                    )
                ),
                name="edge_ai_jobtime_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="jobtime",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("outcome__in", ["pending", "queued", "running", "completed", "failed", "cancelled"])
                ),
                name="edge_ai_jobtime_outcome_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="jobtime",
            constraint=models.CheckConstraint(
                condition=models.Q(("seconds__gte", 0)), name="edge_ai_jobtime_not_negative"
            ),
        ),
        # Sums over everybody's work: any member may read them, and the studio alone writes them.
        protect("edge_ai_jobtime", see="true", change="false"),
        protect("edge_ai_usageday", see="true", change="false"),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION IF EXISTS studio_job_time()"),
        migrations.RunSQL(
            TRIGGERS,
            ["DROP TRIGGER edge_ai_job_time ON edge_ai_job", "DROP TRIGGER edge_ai_job_time_of_deleted ON edge_ai_job"],
        ),
        migrations.RunSQL(BEFORE, migrations.RunSQL.noop),
    ]
