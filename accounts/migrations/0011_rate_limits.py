"""How often a key may be used, and how often it was within the minute."""

import django.core.validators
from django.db import migrations, models

from config.database.policies import ME, protect


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_features")]
    operations = [
        migrations.AddField(
            model_name="apikey",
            name="rate_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Requests a minute; empty: the studio's limit.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("rate_per_minute__isnull", True), ("rate_per_minute__gt", 0), _connector="OR"),
                name="accounts_apikey_rate_positive",
            ),
        ),
        # Unlogged: counts that a crash of the server forgets begin anew, and counting never waits for the disk.
        migrations.RunSQL(
            "CREATE UNLOGGED TABLE studio_api_rate"
            " (subject uuid PRIMARY KEY, holder uuid NOT NULL, began timestamptz NOT NULL, used integer NOT NULL)"
            " WITH (fillfactor = 50)",
            "DROP TABLE studio_api_rate",
        ),
        protect("studio_api_rate", see=f"holder = {ME}", change=f"holder = {ME}"),
    ]
