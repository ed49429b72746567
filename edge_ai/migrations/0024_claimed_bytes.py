"""What a job will store, in its own row: a quota is claimed without looking at the models of all open jobs.

And the index of files by when they came, for a count that begins from an earlier one.
"""

from __future__ import annotations

from django.db import migrations, models

OPEN = models.Q(("status__in", ["pending", "queued", "running"]))


def claimed(table: str, amount: str, more: str = "") -> migrations.RunSQL:
    """Fill in what jobs of a kind claim, those among them that may run again."""
    return migrations.RunSQL(
        f"UPDATE edge_ai_job j SET claimed_bytes = {amount} FROM {table} k{more}"  # noqa: S608 - names of our own
        " WHERE k.job_ptr_id = j.id AND j.status <> 'completed'",
        migrations.RunSQL.noop,
    )


class Migration(migrations.Migration):
    dependencies = [("edge_ai", "0023_lists_of_models")]

    operations = [
        migrations.AddField("job", "claimed_bytes", models.BigIntegerField(db_default=0, default=0, editable=False)),
        migrations.AddConstraint(
            "job",
            models.CheckConstraint(condition=models.Q(("claimed_bytes__gte", 0)), name="edge_ai_job_claim_positive"),
        ),
        migrations.RemoveIndex("job", "edge_ai_job_open"),
        migrations.AddIndex(
            "job",
            models.Index(
                fields=["kind"],
                include=("claimed_bytes", "status", "started_at", "attempt_began_at"),
                condition=OPEN,
                name="edge_ai_job_claims",
            ),
        ),
        migrations.AddIndex(
            "blob", models.Index(fields=["created_at"], include=("size_bytes",), name="edge_ai_blob_newest")
        ),
        claimed("edge_ai_optimizationjob", "m.size_bytes", " JOIN edge_ai_model m ON m.id = k.model_id"),
        claimed("edge_ai_packagingjob", "m.size_bytes", " JOIN edge_ai_model m ON m.id = k.model_id"),
        claimed("edge_ai_importjob", "k.reserved_bytes"),
        migrations.RemoveConstraint("importjob", "edge_ai_importjob_reserved_positive"),
        migrations.RemoveField("importjob", "reserved_bytes"),
    ]
