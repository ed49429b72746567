"""Row level security on every table that belongs to users, and ``updated_at`` kept by the database."""

from django.db import migrations

from config.database.policies import ME, TOUCH, protect, protect_by_job, protect_owned, touch

TOUCHED = ("edge_ai_model", "edge_ai_dataset", "edge_ai_deviceprofile", "edge_ai_job", "edge_ai_artifact")


class Migration(migrations.Migration):
    dependencies = [("edge_ai", "0001_initial")]
    operations = [
        protect_owned("edge_ai_model"),
        protect_owned("edge_ai_dataset"),
        protect_owned("edge_ai_job"),
        protect_owned("edge_ai_artifact"),
        protect(
            "edge_ai_deviceprofile",
            see=f"is_template OR owner_id = {ME} OR visibility = 'workspace'",
            change=f"owner_id = {ME} AND NOT is_template",
        ),
        protect_by_job("edge_ai_analysisjob", "job_ptr_id"),
        protect_by_job("edge_ai_optimizationjob", "job_ptr_id"),
        protect_by_job("edge_ai_benchmarkrun", "job_ptr_id"),
        protect_by_job("edge_ai_jobevent", "job_id"),
        TOUCH,
        *(touch(table) for table in TOUCHED),
    ]
