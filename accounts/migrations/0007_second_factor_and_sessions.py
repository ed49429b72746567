"""Second factors and sessions are their holder's business; sign-in changes them as the system."""

from django.db import migrations

from config.database.policies import ME, protect


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_sign_in"),
        ("mfa", "0003_authenticator_type_uniq"),
        ("usersessions", "0001_initial"),
    ]
    operations = [
        protect("mfa_authenticator", see=f"user_id = {ME}", change="false"),
        protect("usersessions_usersession", see=f"user_id = {ME}", change="false"),
    ]
