"""Accounts at a provider are their holder's business; sign-in changes them as the system, and nobody reads the rest."""

from django.db import migrations

from config.database.policies import ME, protect


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_rate_limits"),
        ("socialaccount", "0006_alter_socialaccount_extra_data"),
    ]
    operations = [
        protect("socialaccount_socialaccount", see=f"user_id = {ME}", change="false"),
        protect("socialaccount_socialtoken", see="false", change="false"),
        protect("socialaccount_socialapp", see="false", change="false"),
    ]
