from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("edge_ai", "0018_time_of_exports"),
    ]

    operations = [
        migrations.AddField(
            model_name="upload",
            name="part_bytes",
            field=models.BigIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="upload",
            name="parts_id",
            field=models.CharField(blank=True, editable=False, max_length=1024),
        ),
        migrations.AddField(
            model_name="upload",
            name="part_sha256",
            field=models.JSONField(blank=True, default=dict, editable=False),
        ),
    ]
