"""The web application, for gunicorn."""

from __future__ import annotations

import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()
# Addresses and views are loaded now, in the process that the web server forks, and not at each worker's first request.
import_module(settings.ROOT_URLCONF)
