"""What people do with a workspace: single events, which nobody but the studio sees, and their sums by day."""

import edge_ai.models.base
import uuid
from django.db import migrations, models

from config.database.backend.base import USER_ROLE
from config.database.policies import protect


class Migration(migrations.Migration):
    dependencies = [
        ("edge_ai", "0015_kept_answers"),
    ]

    operations = [
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
        # Single events are read and written by the studio alone; people see the sums.
        protect("edge_ai_usageevent", see="false", change="false"),
        protect("edge_ai_eventday", see="true", change="false"),
        migrations.RunSQL(
            f"REVOKE ALL ON edge_ai_usageevent FROM {USER_ROLE}",
            f"GRANT ALL ON edge_ai_usageevent TO {USER_ROLE}",
        ),
    ]
