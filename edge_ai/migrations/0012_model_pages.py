"""The layers of models, seen by who sees the model."""

import django.db.models.deletion
from django.db import migrations, models

from config.database.policies import ME, protect

MODEL = "EXISTS (SELECT 1 FROM edge_ai_model m WHERE m.id = edge_ai_modellayers.model_id"


class Migration(migrations.Migration):
    dependencies = [("edge_ai", "0011_job_batches")]

    operations = [
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
        # The model's own policies decide who sees them.
        protect("edge_ai_modellayers", see=f"{MODEL})", change=f"{MODEL} AND m.owner_id = {ME})"),
    ]
