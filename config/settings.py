"""All settings, read from the environment by :mod:`config.env`. ``docs/settings.md`` lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured

from config import env
from config.features import Feature
from config.generated_secrets import load_or_create

# Lets managers, admin pages and forms say at run time which model they are of.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

# -- where things are --------------------------------------------------------------------------------------------------
DATA_DIR = env.folder(
    "STUDIO_DATA_DIR",
    BASE_DIR / "var",
    "Where the studio keeps what it writes: embedded database, stored files, work folders, generated secrets.",
    shown_default="var/ beside manage.py",
)
PORT = env.integer("PORT", 8000, "Port that the web server listens on.", low=1, high=65535)
BIND_ADDRESS = env.text(
    "STUDIO_BIND", "127.0.0.1", "Address that the web server listens on; 0.0.0.0 for every interface."
)
WEB_WORKERS = env.integer("WEB_WORKERS", 2, "Web server processes.", low=1, high=64)
WEB_THREADS = env.integer("WEB_THREADS", 8, "Threads of each web server process.", low=1, high=256)
DEBUG = env.flag("DEBUG", False, "Show tracebacks in the browser. Never in production.")

# -- database ----------------------------------------------------------------------------------------------------------
_runtime = env.database_url(
    "DATABASE_URL",
    "PostgreSQL 15 or later, with the role that web and workers use (neither superuser nor owner of the tables). "
    "Unset: an embedded server in the data folder.",
)
_owner = env.database_url(
    "DATABASE_OWNER_URL",
    "The same database with the role that owns the tables; used only to migrate and to create workspaces. "
    "Required by those commands when DATABASE_URL is set.",
)
DATABASE_ADMIN_ADDRESS = env.database_url(
    "DATABASE_ADMIN_URL",
    "A role that may create roles and databases; used only by `manage.py bootstrap`, to make the studio's roles.",
)
DATABASE_IDENTITY = env.choice(
    "STUDIO_DATABASE_IDENTITY",
    "runtime",
    ("runtime", "owner"),
    "Which role this process connects as. manage.py chooses owner for the commands that change the schema.",
)
EMBEDDED_DATABASE = _runtime is None
EMBEDDED_DATA_DIR = DATA_DIR / "postgres"
EMBEDDED_FAST = env.flag(
    "STUDIO_EMBEDDED_FAST",
    False,
    "Run the embedded database without waiting for the disk. For tests: a power cut would lose data.",
)
_conn_max_age = env.integer(
    "DATABASE_CONN_MAX_AGE",
    600,
    "Seconds a database connection is kept. With 0 the queue is three times slower.",
    low=0,
)

_generated = load_or_create(DATA_DIR) if EMBEDDED_DATABASE else {}
DATABASE_OWNER_PASSWORD = _generated.get("database_owner_password", _owner.password if _owner else "")
DATABASE_WEB_PASSWORD = _generated.get("database_web_password", _runtime.password if _runtime else "")
_database_name = env.text("STUDIO_DATABASE_NAME", "studio", "Name of the database in the embedded server.")


def _database() -> dict[str, Any]:
    as_owner = DATABASE_IDENTITY == "owner"
    shared: dict[str, Any] = {
        "ENGINE": "config.database.backend",
        "CONN_MAX_AGE": _conn_max_age,
        "CONN_HEALTH_CHECKS": True,
        "ACTS_FOR_USERS": not as_owner,
        "DISABLE_SERVER_SIDE_CURSORS": False,
    }
    if EMBEDDED_DATABASE:
        from config.embedded_postgres import socket_dir

        return shared | {
            "HOST": str(socket_dir(EMBEDDED_DATA_DIR)),
            "NAME": _database_name,
            "USER": "studio_owner" if as_owner else "studio_web",
            "PASSWORD": DATABASE_OWNER_PASSWORD if as_owner else DATABASE_WEB_PASSWORD,
            "EMBEDDED_DATA_DIR": EMBEDDED_DATA_DIR,
            "EMBEDDED_FAST": EMBEDDED_FAST,
        }
    address = _owner if as_owner else _runtime
    if address is None:
        raise ImproperlyConfigured("This command changes the schema: set DATABASE_OWNER_URL to the role that owns it.")
    return shared | {
        "HOST": address.host,
        "PORT": address.port,
        "NAME": address.name,
        "USER": address.user,
        "PASSWORD": address.password,
        "OPTIONS": dict(address.options),
    }


DATABASES = {"default": _database()}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- secrets and hosts ---------------------------------------------------------------------------------------------------
SECRET_KEY = env.text(
    "SECRET_KEY",
    _generated.get("secret_key", ""),
    "Signs sessions and download links. Required when DATABASE_URL is set.",
    shown_default="generated into the data folder with the embedded database",
)
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is required when DATABASE_URL is set.")
SECRET_KEY_FALLBACKS = env.words(
    "SECRET_KEY_FALLBACKS", (), "Earlier values of SECRET_KEY: what they signed or encrypted still opens."
)
ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS", ("localhost", ".localhost", "127.0.0.1", "[::1]"), "Host names that the studio answers to."
)
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", (), "Origins, with scheme, that may post forms from a proxy.")
HTTPS = env.flag(
    "STUDIO_HTTPS",
    not EMBEDDED_DATABASE,
    "The studio is reached over HTTPS: secure cookies, redirect from http, HSTS.",
    shown_default="yes when DATABASE_URL is set",
)
TRUST_PROXY = env.flag(
    "STUDIO_TRUST_PROXY",
    False,
    "A reverse proxy in front sets X-Forwarded-Proto, strips it from clients' requests, and adds who asked to "
    "X-Forwarded-For.",
)
PROXIES = env.integer(
    "STUDIO_PROXIES",
    1,
    "How many reverse proxies stand in front, where STUDIO_TRUST_PROXY is yes: who asked is so many places from the end "
    "of X-Forwarded-For.",
    low=1,
)
if TRUST_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ALLAUTH_TRUSTED_PROXY_COUNT = PROXIES if TRUST_PROXY else 0
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health/$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "config.errors.csrf_failure"
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'self'"],
        "frame-ancestors": ["'none'"],
        "manifest-src": ["'self'"],
    }
}

if env.flag(
    "STUDIO_ALLOW_ROOT", False, "Running as root is meant, as in some containers: no warning by `check --deploy`."
):
    SILENCED_SYSTEM_CHECKS = ["edge_ai.W001"]

# -- applications --------------------------------------------------------------------------------------------------------
SHARED_APPS = [
    # Before django_tenants, whose templates of the admin site have inline styles, and hide a workspace's rows.
    "django.contrib.admin",
    "django_tenants",
    "accounts",
    "edge_ai.catalogue",
    "edge_ai.fleet",
    "waffle",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.sitemaps",
    "django.contrib.staticfiles",
    "django_q",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "csp",
]
TENANT_APPS = ["edge_ai"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL = "accounts.Workspace"
TENANT_DOMAIN_MODEL = "accounts.Domain"
TENANT_LIMIT_SET_CALLS = True
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "edge_ai:overview"
LOGOUT_REDIRECT_URL = "edge_ai:landing"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# -- signing in ------------------------------------------------------------------------------------------------------------
SIGN_UP = env.choice(
    "SIGN_UP",
    "invite",
    ("open", "invite", "off"),
    "Who may make an account: anybody with an address (open), only who is invited (invite), or nobody but the operator (off).",
)
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Edge AI Studio] "
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_FORMS = {
    "login": "accounts.sign_in_forms.SignInForm",
    "signup": "accounts.sign_in_forms.SignUpForm",
    "add_email": "accounts.sign_in_forms.ChangeAddressForm",
    "change_password": "accounts.sign_in_forms.ChangePasswordForm",
    "set_password": "accounts.sign_in_forms.SetPasswordForm",
    "reset_password": "accounts.sign_in_forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.sign_in_forms.NewPasswordForm",
    "reauthenticate": "accounts.sign_in_forms.PasswordAgainForm",
}
MFA_ADAPTER = "accounts.second_factor.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Edge AI Studio"
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "authenticate": "accounts.second_factor.CodeForm",
    "reauthenticate": "accounts.second_factor.CodeAgainForm",
    "activate_totp": "accounts.second_factor.AddAppForm",
    "authenticate_webauthn": "accounts.second_factor.PasskeyForm",
    "login_webauthn": "accounts.second_factor.PasskeyAloneForm",
    "reauthenticate_webauthn": "accounts.second_factor.PasskeyAgainForm",
    "add_webauthn": "accounts.second_factor.AddPasskeyForm",
}

OIDC_ISSUER = env.text(
    "OIDC_ISSUER",
    "",
    "Issuer of an OpenID provider, such as https://login.example.com/realms/lab, by which people may sign in too. Unset: "
    "there is none. See docs/signing-in.md.",
).rstrip("/")
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID", "", "What the provider calls the studio; required with OIDC_ISSUER.")
OIDC_CLIENT_SECRET = env.text(
    "OIDC_CLIENT_SECRET", "", "The studio's secret at the provider; required with OIDC_ISSUER."
)
OIDC_NAME = env.text("OIDC_NAME", "single sign-on", "What the button on the sign-in page calls the provider.")
if OIDC_ISSUER and not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
    raise ImproperlyConfigured("OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_CLIENT_SECRET.")
SOCIALACCOUNT_ADAPTER = "accounts.single_sign_on.SingleSignOnAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "provider_class": "accounts.single_sign_on.OpenIdProvider",
        "APPS": [
            {
                "provider_id": "sso",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_ISSUER},
            }
        ]
        if OIDC_ISSUER
        else [],
    }
}

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
# Hosts that mean no workspace in particular.
PLAIN_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]", "testserver"})
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.CompressPagesMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.middleware.RequestIdMiddleware",
    "edge_ai.web.public_pages.RobotsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "config.middleware.BodyLimitMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.errors.NotAllowedMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.WorkspaceMiddleware",
    "accounts.rates.RateLimitMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "libraries": {
                "studio": "edge_ai.web.templatetags.studio",
                "blocks": "edge_ai.web.templatetags.blocks",
            },
            "context_processors": [
                "edge_ai.web.public_pages.canonical",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.workspace",
            ],
        },
    }
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [
    ("css", BASE_DIR / "static" / "css"),
    ("js", BASE_DIR / "static" / "js"),
    ("vendor", BASE_DIR / "static" / "vendor"),
    ("img", BASE_DIR / "static" / "img"),
]
STATIC_ROOT = DATA_DIR / "staticfiles"

# -- stored files --------------------------------------------------------------------------------------------------------
STORAGE_BACKENDS = ("local", "s3", "gcs", "azure")
STORAGE_BACKEND = env.choice(
    "STORAGE_BACKEND", "local", STORAGE_BACKENDS, "Where model files, data sets and artifacts are kept."
)
STORAGE_FALLBACK_BACKEND = env.choice(
    "STORAGE_FALLBACK_BACKEND",
    "none",
    ("none", *STORAGE_BACKENDS),
    "Where files are looked for that STORAGE_BACKEND lacks, while they are moved there; see docs/operations.md.",
)
if STORAGE_FALLBACK_BACKEND == STORAGE_BACKEND:
    raise ImproperlyConfigured("STORAGE_FALLBACK_BACKEND must be another than STORAGE_BACKEND, or none.")
_local_storage = {
    "BACKEND": "django.core.files.storage.FileSystemStorage",
    "OPTIONS": {"location": DATA_DIR / "blobs", "file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
}
#: What is read from a service lies in memory up to this, in bytes; the rest goes to a file without a name.
_SPOOL_BYTES = 8 << 20
S3_CONNECT_SECONDS = env.integer("S3_CONNECT_SECONDS", 5, "How long to wait for a connection to the S3 service.", low=1)
S3_READ_SECONDS = env.integer("S3_READ_SECONDS", 30, "How long the S3 service may stay silent.", low=1)
S3_ENCRYPTION = env.choice(
    "S3_ENCRYPTION",
    "none",
    ("none", "aes256", "aws:kms"),
    "Encryption that is asked of the S3 service for each file: by its own keys, or by one of a key management service; "
    "none: as the bucket says.",
)
S3_KMS_KEY_ID = env.text("S3_KMS_KEY_ID", "", "Key for S3_ENCRYPTION=aws:kms; unset: the account's own for S3.")
_s3_encryption = {
    "none": {},
    "aes256": {"ServerSideEncryption": "AES256"},
    "aws:kms": {"ServerSideEncryption": "aws:kms"} | ({"SSEKMSKeyId": S3_KMS_KEY_ID} if S3_KMS_KEY_ID else {}),
}
S3_STORAGE = {
    "BACKEND": "config.s3.StudioS3Storage",
    "OPTIONS": {
        "bucket_name": env.text("S3_BUCKET", "", "Bucket, when STORAGE_BACKEND is s3."),
        "endpoint_url": env.text("S3_ENDPOINT_URL", "", "Endpoint of an S3-compatible service; unset for AWS.") or None,
        "region_name": env.text("S3_REGION", "", "Region of the bucket.") or None,
        "access_key": env.text("S3_ACCESS_KEY_ID", "", "Access key; unset to use the machine's own identity.") or None,
        "secret_key": env.text("S3_SECRET_ACCESS_KEY", "", "Secret of the access key.") or None,
        "object_parameters": _s3_encryption[S3_ENCRYPTION],
        "max_memory_size": _SPOOL_BYTES,
        "file_overwrite": True,
        "querystring_auth": True,
    },
}
_gcs_key = env.text(
    "GCS_KMS_KEY_NAME", "", "Key of Cloud KMS that files are encrypted with; unset: as the bucket says."
)
GCS_STORAGE = {
    "BACKEND": "config.gcs.StudioGoogleStorage",
    "OPTIONS": {
        "bucket_name": env.text("GCS_BUCKET", "", "Bucket, when STORAGE_BACKEND is gcs."),
        "project_id": env.text("GCS_PROJECT", "", "Project of the bucket; unset: the credentials'.") or None,
        "credentials_file": env.text(
            "GCS_CREDENTIALS_FILE",
            "",
            "Key of a service account, a JSON file; unset: the machine's own identity, which must be allowed to sign.",
        )
        or None,
        "sa_email": env.text(
            "GCS_SERVICE_ACCOUNT",
            "",
            "Address of the service account that signs links, where the machine's own identity has none.",
        )
        or None,
        "endpoint_url": env.text(
            "GCS_ENDPOINT_URL", "", "Another endpoint of the service; one with http:// is an emulator's."
        )
        or None,
        "object_parameters": {"kms_key_name": _gcs_key} if _gcs_key else {},
        "max_memory_size": _SPOOL_BYTES,
        "file_overwrite": True,
        "querystring_auth": True,
    },
}
AZURE_STORAGE = {
    "BACKEND": "config.azure.StudioAzureStorage",
    "OPTIONS": {
        "account_name": env.text("AZURE_ACCOUNT", "", "Storage account, when STORAGE_BACKEND is azure."),
        "azure_container": env.text("AZURE_CONTAINER", "", "Container in the storage account."),
        "account_key": env.text("AZURE_ACCOUNT_KEY", "", "Key of the account; unset: the machine's own identity.")
        or None,
        "endpoint_url": env.text(
            "AZURE_ENDPOINT_URL", "", "Another address of the account, such as that of an emulator."
        )
        or None,
        # The library's own patience is minutes.
        "client_options": {
            **{"connection_timeout": 5, "read_timeout": 30},
            **{"retry_total": 2, "initial_backoff": 1, "increment_base": 2, "random_jitter_range": 1},
        },
        "max_memory_size": _SPOOL_BYTES,
        "overwrite_files": True,
    },
}
BLOB_STORAGES: dict[str, dict[str, Any]] = {
    "local": _local_storage,
    "s3": S3_STORAGE,
    "gcs": GCS_STORAGE,
    "azure": AZURE_STORAGE,
}
STORAGES: dict[str, dict[str, Any]] = {
    "default": _local_storage,
    "blobs": BLOB_STORAGES[STORAGE_BACKEND],
    "staticfiles": {"BACKEND": "config.staticfiles.StudioStaticFilesStorage"},
}
if STORAGE_FALLBACK_BACKEND != "none":
    STORAGES["blobs_fallback"] = BLOB_STORAGES[STORAGE_FALLBACK_BACKEND]
UPLOAD_DIR = DATA_DIR / "uploads"
WORK_DIR = DATA_DIR / "work"
RESUMABLE_DIR = DATA_DIR / "resumable"
for _folder in (UPLOAD_DIR, WORK_DIR, RESUMABLE_DIR):
    _folder.mkdir(parents=True, exist_ok=True)
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = UPLOAD_DIR
MAX_UPLOAD_BYTES = env.integer("MAX_UPLOAD_BYTES", 4 * 1024**3, "Largest model file accepted, in bytes.", low=1024)
MAX_DATASET_BYTES = env.integer("MAX_DATASET_BYTES", 10**9, "Largest data set accepted, in bytes.", low=1024)
DISK_RESERVE_BYTES = env.integer(
    "DISK_RESERVE_BYTES", 1024**3, "Free disk that resumable uploads leave alone, in bytes.", low=0
)
UPLOAD_PART_BYTES = env.integer(
    "UPLOAD_PART_BYTES",
    16 * 1024**2,
    "How long the parts are in which clients send files straight to S3, in bytes. Files of more than a thousand such parts "
    "have longer ones.",
    low=5 * 1024**2,
    high=5 * 1024**3,
)
DOWNLOAD_URL_SECONDS = env.integer(
    "DOWNLOAD_URL_SECONDS", 300, "How long a signed download link works.", low=5, high=86_400
)
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
#: By how much the bodies of uploads are read, and received, at once.
RECEIVE_BYTES = 256 << 10

# -- jobs ----------------------------------------------------------------------------------------------------------------
STUDIO_WORKERS = env.integer("STUDIO_WORKERS", 2, "Jobs that the studio cluster of this host runs at once.", low=1)
JOB_LEASE_SECONDS = env.integer(
    "JOB_LEASE_SECONDS",
    30,
    "A worker that stays silent this long loses its job, which is then run again.",
    low=4,
    high=3600,
)
JOB_GRACE_SECONDS = env.integer(
    "JOB_GRACE_SECONDS",
    10,
    "How long jobs may go on when their supervisor is told to stop; what is cut short then is run again.",
    low=0,
    high=86400,
)
JOB_MAX_ATTEMPTS = env.integer(
    "JOB_MAX_ATTEMPTS", 3, "How often a job is started before it fails for good.", low=1, high=20
)
WORKSPACE_CONCURRENT_JOBS = env.integer(
    "WORKSPACE_CONCURRENT_JOBS",
    4,
    "Jobs of one workspace that run at once on each queue, unless the workspace says otherwise.",
    low=1,
)
JOB_WALL_SECONDS = env.integer("JOB_WALL_SECONDS", 3600, "Longest time that one attempt may run.", low=1, high=7000)
ANALYSIS_WALL_SECONDS = env.integer(
    "ANALYSIS_WALL_SECONDS",
    300,
    "Longest time that reading an uploaded model may take: a damaged file may keep a library busy for ever.",
    low=1,
    high=7000,
)
ENGINE_MEMORY_BYTES = env.integer(
    "ENGINE_MEMORY_BYTES",
    12 * 1024**3,
    "Memory that a job's processes may use together; a job that uses more is ended.",
    low=512 * 1024**2,
)
ENGINE_ADDRESS_BYTES = env.integer(
    "ENGINE_ADDRESS_BYTES",
    64 * 1024**3,
    "Most address space that an engine process may have. It gets 4 GB, 128 MB for each processor, and three times the "
    "size of its model.",
    low=4 * 1024**3,
)
ENGINE_OUTPUT_BYTES = env.integer(
    "ENGINE_OUTPUT_BYTES",
    16 * 1024**3,
    "Files that a job may have in its folder, its input among them; a job that has more is ended.",
    low=64 * 1024**2,
)
SANDBOX_LEVEL = env.choice(
    "SANDBOX_LEVEL",
    "auto",
    ("auto", "strong", "standard", "partial", "none"),
    "How jobs are held, see docs/sandbox.md; auto: as well as this host can. Where a level that is named does not work, "
    "jobs are refused.",
)
SANDBOX_ALLOW_NONE = env.flag(
    "SANDBOX_ALLOW_NONE",
    False,
    "Run jobs where nothing holds them. A hostile model can then do whatever workers can.",
)
SANDBOX_PROBED = env.text(
    "SANDBOX_PROBED", "", "What a supervisor found, for the workers that it starts. Not to be set by hand."
)
ENGINE_WARM = env.flag(
    "ENGINE_WARM",
    True,
    "Let each worker keep a process that has TensorFlow loaded, about 0.7 GB, so that jobs that need it begin at once.",
)
ENGINE_WARM_IDLE_SECONDS = env.integer(
    "ENGINE_WARM_IDLE_SECONDS", 600, "A warm process ends after so many seconds without a job.", low=1
)
STAGE_CACHE_BYTES = env.integer(
    "STAGE_CACHE_BYTES",
    5 * 1024**3,
    "Disk that finished stages of optimizations may take on this host, for retries and further variants; 0: none are kept.",
    low=0,
)
STAGE_CACHE_HOURS = env.integer(
    "STAGE_CACHE_HOURS", 48, "Finished stages that no job has used for so long are removed.", low=1
)
BENCHMARK_CPUS = env.cpu_list(
    "BENCHMARK_CPUS", "Processors that benchmarks are pinned to; unset: all that are available."
)
UPLOAD_EXPIRY_SECONDS = env.integer(
    "UPLOAD_EXPIRY_SECONDS",
    86_400,
    "What an upload that was never finished left behind is removed after this long.",
    low=60,
)
ARTIFACT_DAYS = env.integer(
    "ARTIFACT_DAYS",
    0,
    "Artifacts that are made from now on are removed so many days later, unless the workspace or its plan says otherwise; 0: "
    "never.",
    low=0,
)
ARTIFACT_WARNING_DAYS = env.integer(
    "ARTIFACT_WARNING_DAYS",
    7,
    "So many days before an artifact is removed its owner is told, by mail too, though not in the first half of its time. "
    "0: nobody is told.",
    low=0,
)
EXPORT_DAYS = env.integer(
    "EXPORT_DAYS", 7, "Exports of workspaces are removed so many days after they were made.", low=1, high=90
)
WEBHOOK_WORKERS = env.integer("WEBHOOK_WORKERS", 2, "Webhook deliveries that this host makes at once.", low=1, high=64)
QUEUE_RETRY_SECONDS = 28_800
Q_CLUSTER = {
    "name": "studio",
    "orm": "default",
    "broker_class": "edge_ai.fleet.broker.WakingBroker",
    "workers": STUDIO_WORKERS,
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.5,
    "timeout": 7200,
    "retry": QUEUE_RETRY_SECONDS,
    "ack_failures": True,
    "max_attempts": 1,
    "max_rss": 1_500_000,
    "recycle": 50,
    "save_limit": 1000,
    "catch_up": False,
    "label": "Queue",
    "ALT_CLUSTERS": {
        "benchmark": {
            "workers": 1,
            "queue_limit": 1,
            "bulk": 1,
            "poll": 0.5,
            "timeout": 7200,
            "retry": QUEUE_RETRY_SECONDS,
            "ack_failures": True,
            "max_attempts": 1,
            "scheduler": False,
        },
        # Apart from the jobs, so that slow receivers never hold one up. An attempt takes seconds, and so may be given up
        # on sooner.
        "webhook": {
            "workers": WEBHOOK_WORKERS,
            "queue_limit": 1,
            "bulk": 1,
            "poll": 0.5,
            "timeout": 120,
            "retry": 600,
            "ack_failures": True,
            "max_attempts": 1,
        },
    },
}
QUEUES = ("studio", "benchmark", "webhook")
# Which cluster does what is scheduled: the one whose workers are never busy for long.
CHORE_QUEUE = "webhook"
# One cache for all processes and hosts, so that limits hold over all of them; see accounts/migrations/0006_sign_in.py.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "studio_cache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
    # Each process's own, so that no page asks the database which features are on, nor every change of a form what is used.
    "memory": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "memory",
        "TIMEOUT": env.integer(
            "STUDIO_MEMORY_SECONDS",
            15,
            "How long a process may go by feature flags that were changed since, and warn by what a workspace had used.",
            low=1,
        ),
    },
}
# -- features ------------------------------------------------------------------------------------------------------------
FEATURES_OFF = frozenset(
    env.words(
        "STUDIO_FEATURES_OFF",
        (),
        f"Features that are off unless a flag in the admin pages says otherwise, of {', '.join(Feature)}.",
    )
)
if strangers := FEATURES_OFF - set(Feature):
    raise ImproperlyConfigured(
        f"STUDIO_FEATURES_OFF names {', '.join(sorted(strangers))}; there are {', '.join(Feature)}."
    )
WAFFLE_FLAG_MODEL = "accounts.Flag"
WAFFLE_CACHE_NAME = "memory"
# The admin pages have their own, for what counts here.
WAFFLE_ENABLE_ADMIN_PAGES = False

# -- webhooks and mail ---------------------------------------------------------------------------------------------------
WEBHOOK_SECONDS = env.integer(
    "WEBHOOK_SECONDS",
    15,
    "How long one delivery of a webhook may take: name, connection and the whole answer.",
    low=1,
    high=60,
)
WEBHOOK_ALLOW_NETWORKS = env.networks(
    "WEBHOOK_ALLOW_NETWORKS",
    "Private networks that webhooks may be sent to, on any port, such as 10.20.0.0/16. Unset: public addresses alone, "
    "on the ports 80 and 443.",
)
WEBHOOK_LOG_DAYS = env.integer(
    "WEBHOOK_LOG_DAYS", 90, "How long the log of webhooks keeps what was delivered or has failed.", low=7
)
IMPORT_SECONDS = env.integer("IMPORT_SECONDS", 3600, "How long an import may take to fetch its file.", low=1, high=7000)
IMPORT_ALLOW_NETWORKS = env.networks(
    "IMPORT_ALLOW_NETWORKS",
    "Private networks that models may be imported from, on any port, such as 10.20.0.0/16. Unset: public addresses alone, "
    "on the ports 80 and 443.",
)
IMPORT_S3_BUCKET = env.text("IMPORT_S3_BUCKET", "", "Bucket that models may be imported from by key; unset: from none.")
IMPORT_S3_PREFIX = env.text(
    "IMPORT_S3_PREFIX",
    "{workspace_id}/",
    "What stands before every key that is imported. {workspace_id} is the id of the workspace that asks, and no other ever has "
    "it; {workspace} is its short name, which whoever makes a workspace chooses. Without either, all workspaces read the same "
    "keys.",
)
if IMPORT_S3_PREFIX and not IMPORT_S3_PREFIX.endswith("/"):
    raise ImproperlyConfigured(
        "IMPORT_S3_PREFIX must end with a slash, so that no workspace's prefix begins another's."
    )
IMPORT_S3_ENDPOINT_URL = env.text(
    "IMPORT_S3_ENDPOINT_URL", "", "Endpoint of the S3-compatible service of IMPORT_S3_BUCKET; unset for AWS."
)
IMPORT_S3_REGION = env.text("IMPORT_S3_REGION", "", "Region of IMPORT_S3_BUCKET.")
IMPORT_S3_ACCESS_KEY_ID = env.text(
    "IMPORT_S3_ACCESS_KEY_ID", "", "Access key for IMPORT_S3_BUCKET; unset to use the machine's own identity."
)
IMPORT_S3_SECRET_ACCESS_KEY = env.text("IMPORT_S3_SECRET_ACCESS_KEY", "", "Secret of that access key.")
TELEMETRY_DAYS = env.integer(
    "TELEMETRY_DAYS",
    90,
    "How long single events of use are kept; their sums by day stay. See docs/telemetry.md.",
    low=3,
)
TELEMETRY_FILE = env.text(
    "TELEMETRY_FILE", "", "File that events of use are appended to, as JSON, one a line. Unset: none is written."
)
TELEMETRY_URL = env.text(
    "TELEMETRY_URL",
    "",
    "Address that events of use are posted to, as JSON, one a line; it is called as webhooks are, and WEBHOOK_ALLOW_NETWORKS "
    "holds for it. Unset: nothing leaves the studio.",
)
TELEMETRY_TOKEN = env.text(
    "TELEMETRY_TOKEN", "", "Sent to TELEMETRY_URL as `Authorization: Bearer`; unset: nothing is."
)
PUBLIC_URL = env.text(
    "STUDIO_PUBLIC_URL",
    "",
    "Where people reach the studio, such as https://studio.example.com, for links in webhooks and mails. "
    "Unset: links are paths without a host.",
).rstrip("/")
EMAIL_HOST = env.text("EMAIL_HOST", "", "Mail server for the few mails that the studio writes; unset: to the log.")
EMAIL_FOLDER = env.text("EMAIL_FOLDER", "", "Folder that mails are written to as files, where EMAIL_HOST is unset.")
EMAIL_FILE_PATH = EMAIL_FOLDER or None
EMAIL_BACKEND = (
    f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased' if EMAIL_FOLDER else 'console'}.EmailBackend"
)
EMAIL_PORT = env.integer("EMAIL_PORT", 587, "Port of the mail server.", low=1, high=65535)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "", "User at the mail server; unset: none is needed.")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "", "Password at the mail server.")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", True, "Speak to the mail server by STARTTLS.")
EMAIL_TIMEOUT = 10
WORKSPACE_CREATION = env.flag(
    "WORKSPACE_CREATION",
    EMBEDDED_DATABASE,
    "People may make workspaces themselves. The workers of the webhook queue need DATABASE_OWNER_URL then.",
    shown_default="no when DATABASE_URL is set",
)
WORKSPACES_PER_OWNER = env.integer("WORKSPACES_PER_OWNER", 10, "Workspaces that one person may own.", low=1)
WORKSPACE_GRACE_DAYS = env.integer(
    "WORKSPACE_GRACE_DAYS", 14, "Days between the wish to delete a workspace and its removal.", low=1, high=365
)
INVITATION_DAYS = env.integer(
    "INVITATION_DAYS", 7, "How long an invitation to a workspace can be accepted.", low=1, high=90
)
INVITATIONS_PER_HOUR = env.integer(
    "INVITATIONS_PER_HOUR",
    20,
    "Invitations that a workspace may send within an hour, those sent again included.",
    low=1,
)
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "studio@localhost", "Sender of the studio's mails.")

# -- API -----------------------------------------------------------------------------------------------------------------
API_RATE_PER_MINUTE = env.integer(
    "API_RATE_PER_MINUTE",
    6000,
    "Requests that one API key may make in a minute, unless the key says otherwise, and one person by a browser's session; "
    "0: any number.",
    low=0,
)
CORS_ALLOWED_ORIGINS = env.words(
    "CORS_ALLOWED_ORIGINS",
    (),
    "Origins, such as https://app.example.com, whose pages may call the API with a key from a browser. Unset: none.",
)
if CORS_ALLOWED_ORIGINS:
    # Keys alone: cookies never travel from other origins. Signed links are what downloads lead to.
    INSTALLED_APPS += ["corsheaders"]
    MIDDLEWARE.insert(0, "corsheaders.middleware.CorsMiddleware")
    CORS_URLS_REGEX = r"^/(api|files)/"
    CORS_ALLOW_CREDENTIALS = False
    CORS_ALLOW_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE")
    _tus = ("tus-resumable", "upload-checksum", "upload-length", "upload-metadata", "upload-offset")
    CORS_ALLOW_HEADERS = (
        *("accept", "authorization", "content-type", "x-tenant-id", "x-request-id", "range", "if-range"),
        *("idempotency-key", "if-match", "if-none-match", *_tus),
    )
    CORS_EXPOSE_HEADERS = (
        *("ETag", "Location", "Idempotent-Replayed", "Retry-After", "X-Request-ID"),
        *("Accept-Ranges", "Content-Disposition", "Content-Range"),
        *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
        *("Tus-Resumable", "Tus-Version", "Upload-Expires", "Upload-Length", "Upload-Offset"),
    )
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["edge_ai.api.authentication.StudioAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["edge_ai.api.permissions.MayUseStudio"],
    "DEFAULT_RENDERER_CLASSES": ["edge_ai.api.negotiation.StudioJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "edge_ai.api.pagination.StudioCursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "edge_ai.api.schema.StudioAutoSchema",
    "EXCEPTION_HANDLER": "edge_ai.api.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Edge AI Accelerator Studio",
    "DESCRIPTION": "Upload a model, name a device and a goal, get back a smaller, faster model that is proven still right.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/edge/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "edge_ai.api.schema.add_headers"],
}

# -- words to the operator -----------------------------------------------------------------------------------------------
LOG_LEVEL = env.choice(
    "LOG_LEVEL", "info", ("debug", "info", "warning", "error"), "How much is written to the log."
).upper()
LOG_FORMAT = env.choice(
    "STUDIO_LOG_FORMAT",
    "text",
    ("text", "json"),
    "How the log is written: a line for people, or a JSON object on each line with the request, the workspace, the user and "
    "the job that it is about. Secrets are in neither.",
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "facts": {"()": "config.logs.FactsFilter"},
        "not_health": {"()": "config.middleware.HealthProbeFilter"},
    },
    "formatters": {"chosen": {"()": "config.logs.formatter", "kind": LOG_FORMAT}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen", "filters": ["facts"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"filters": ["not_health"]},
        "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django-q": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        # Azure's library tells every request and answer.
        "azure.core": {"level": "WARNING"},
    },
}
SENTRY_DSN = env.text(
    "SENTRY_DSN",
    "",
    "Where unexpected errors are reported, without secrets, words of errors and what people named; unset: nowhere.",
)
SENTRY_TRACES_PERCENT = env.integer(
    "SENTRY_TRACES_PERCENT",
    0,
    "Of how many requests in a hundred their times are reported there, too.",
    low=0,
    high=100,
)
if SENTRY_DSN:
    from config.reports import begin

    begin(SENTRY_DSN, traces=SENTRY_TRACES_PERCENT / 100)
