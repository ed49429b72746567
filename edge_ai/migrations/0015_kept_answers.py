"""Answers to requests with an Idempotency-Key."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from config.database.policies import ME, protect, touch


class Migration(migrations.Migration):
    dependencies = [
        ("edge_ai", "0014_lists_of_many"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
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
        protect("edge_ai_keptanswer", see=f"owner_id = {ME}", change=f"owner_id = {ME}"),
        touch("edge_ai_keptanswer"),
    ]
