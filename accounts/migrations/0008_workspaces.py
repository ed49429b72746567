"""When a workspace was made, and when it goes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_second_factor_and_sessions")]
    operations = [
        migrations.AddField(
            model_name="workspace", name="made_at", field=models.DateTimeField(editable=False, null=True)
        ),
        migrations.AddField(
            model_name="workspace", name="delete_at", field=models.DateTimeField(editable=False, null=True)
        ),
        # Those that are there are made.
        migrations.RunSQL(
            "UPDATE accounts_workspace SET made_at = created_at WHERE made_at IS NULL", migrations.RunSQL.noop
        ),
    ]
