"""Keys and memberships are their holder's business; signing in looks them up as the system."""

from django.db import migrations

from config.database.policies import ME, protect


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        protect("accounts_apikey", see=f"user_id = {ME}", change=f"user_id = {ME}"),
        # Nobody makes himself a member: memberships are changed by the studio, never in a user's name.
        protect("accounts_membership", see=f"user_id = {ME}", change="false"),
    ]
