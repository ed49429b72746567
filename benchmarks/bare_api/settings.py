"""Django without anything: no middleware, nobody who asks, no workspaces. It reads the table as the role that owns it."""

from __future__ import annotations

import os

from config import settings as studio

SECRET_KEY = studio.SECRET_KEY
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.bare_api.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"]
MIDDLEWARE: list[str] = []
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": studio.DATABASES["default"]["HOST"],
        "NAME": studio.DATABASES["default"]["NAME"],
        "USER": "studio_owner",
        "PASSWORD": studio.DATABASE_OWNER_PASSWORD,
        "CONN_MAX_AGE": studio.DATABASES["default"]["CONN_MAX_AGE"],
        "CONN_HEALTH_CHECKS": studio.DATABASES["default"]["CONN_HEALTH_CHECKS"],
        "OPTIONS": {"options": f"-c search_path={os.environ['BARE_SCHEMA']}"},
    }
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
