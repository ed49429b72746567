"""Device templates are read by everybody and changed in the admin pages; ``updated_at`` is kept by the database."""

from django.db import migrations

from config.database.policies import TOUCH, protect, touch


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0001_initial")]
    operations = [
        protect("catalogue_devicetemplate", see="true", change="false"),
        TOUCH,
        touch("catalogue_devicetemplate"),
    ]
