"""gunicorn: threads, because an upload from a slow client must not block a whole process (see docs/operations.md)."""

from __future__ import annotations

from gunicorn.http.unreader import SocketUnreader

from config import settings

# No more at once than uploads are read by: the rest would be kept, and copied again at every reading.
SocketUnreader.max_body_chunk = settings.RECEIVE_BYTES

wsgi_app = "config.wsgi:application"
bind = f"{settings.BIND_ADDRESS}:{settings.PORT}"
worker_class = "gthread"
# One import for all processes. Nothing is connected before they fork: config.wsgi loads code only.
preload_app = True
workers = settings.WEB_WORKERS
threads = settings.WEB_THREADS
timeout = 120
graceful_timeout = 20
keepalive = 5
max_requests = 5000
max_requests_jitter = 500
# The upload folder is on the same disk as the stored files; gunicorn's own heartbeat files need memory, not disk.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - a name that gunicorn makes unique with mkstemp
accesslog = None
errorlog = "-"
logger_class = "config.logs.GunicornLogger"
loglevel = settings.LOG_LEVEL.lower()
