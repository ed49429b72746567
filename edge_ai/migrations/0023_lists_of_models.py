"""Indexes for the orders and the filters of the list of models, which took longer the more models there were."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("edge_ai", "0022_lists_by_index")]

    operations = [
        migrations.AddIndex("model", models.Index(fields=["name", "id"], name="edge_ai_model_by_name")),
        migrations.AddIndex("model", models.Index(fields=["size_bytes", "id"], name="edge_ai_model_by_size")),
        migrations.AddIndex("model", models.Index(fields=["updated_at", "id"], name="edge_ai_model_by_change")),
        migrations.AddIndex("model", models.Index(fields=["format", "id"], name="edge_ai_model_by_format")),
        migrations.AddIndex("model", models.Index(fields=["status", "id"], name="edge_ai_model_by_status")),
        migrations.AddIndex(
            "model", models.Index(fields=["format", "-created_at", "id"], name="edge_ai_model_of_format")
        ),
        migrations.AddIndex(
            "model", models.Index(fields=["status", "-created_at", "id"], name="edge_ai_model_of_status")
        ),
    ]
