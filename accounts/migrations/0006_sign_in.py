"""The cache that all processes share, and addresses that are their holder's business."""

from django.db import migrations

from config.database.policies import ME, protect

MINE = f"EXISTS (SELECT 1 FROM account_emailaddress a WHERE a.id = email_address_id AND a.user_id = {ME})"  # noqa: S608 - made of names


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_invitations"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]
    operations = [
        # Unlogged: limits that a crash of the server forgets begin anew, and nothing else is kept here.
        migrations.RunSQL(
            [
                "CREATE UNLOGGED TABLE studio_cache"
                " (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL)",
                "CREATE INDEX studio_cache_expires ON studio_cache (expires)",
            ],
            "DROP TABLE studio_cache",
        ),
        protect("account_emailaddress", see=f"user_id = {ME}", change="false"),
        protect("account_emailconfirmation", see=MINE, change="false"),
    ]
