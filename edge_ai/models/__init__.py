"""The tables of a workspace."""

from edge_ai.models.analysis import AnalysisJob
from edge_ai.models.artifact import Artifact, ArtifactType
from edge_ai.models.audit import AuditAction, AuditEvent
from edge_ai.models.base import Visibility, seen
from edge_ai.models.batch import OptimizationBatch
from edge_ai.models.benchmark import BenchmarkRun, ResultKind
from edge_ai.models.blob import Blob
from edge_ai.models.comparison import ComparedModel, ComparisonJob
from edge_ai.models.dataset import Dataset, DatasetKind
from edge_ai.models.day import JobDay
from edge_ai.models.device import DESCRIPTION_FIELDS, DeviceCategory, DeviceDescription, DeviceProfile
from edge_ai.models.diagnosis import DiagnosisJob
from edge_ai.models.export import WorkspaceExport
from edge_ai.models.imported import ImportJob, ImportSource
from edge_ai.models.job import (
    FINAL,
    HOUSEKEEPING,
    UNFINISHED,
    EventKind,
    Job,
    JobEvent,
    JobKind,
    JobStatus,
    Priority,
    Queue,
)
from edge_ai.models.kept_answer import KeptAnswer
from edge_ai.models.layers import ModelLayers
from edge_ai.models.ledger import JobTime, UsageDay
from edge_ai.models.model import Model, ModelFormat, ModelStatus
from edge_ai.models.optimization import OptimizationJob, OptimizationLevel, Precision
from edge_ai.models.packaging import PackagingJob
from edge_ai.models.share_link import ShareLink
from edge_ai.models.telemetry import Event, EventDay, UsageEvent
from edge_ai.models.upload import Upload, UploadPurpose
from edge_ai.models.webhook import (
    TEST_EVENT,
    DeliveryStatus,
    DisabledReason,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookMessage,
)

__all__ = [
    "DESCRIPTION_FIELDS",
    "FINAL",
    "HOUSEKEEPING",
    "TEST_EVENT",
    "UNFINISHED",
    "AnalysisJob",
    "Artifact",
    "ArtifactType",
    "AuditAction",
    "AuditEvent",
    "BenchmarkRun",
    "Blob",
    "ComparedModel",
    "ComparisonJob",
    "Dataset",
    "DatasetKind",
    "DeliveryStatus",
    "DeviceCategory",
    "DeviceDescription",
    "DeviceProfile",
    "DiagnosisJob",
    "DisabledReason",
    "Event",
    "EventDay",
    "EventKind",
    "ImportJob",
    "ImportSource",
    "Job",
    "JobDay",
    "JobEvent",
    "JobKind",
    "JobStatus",
    "JobTime",
    "KeptAnswer",
    "Model",
    "ModelFormat",
    "ModelLayers",
    "ModelStatus",
    "OptimizationBatch",
    "OptimizationJob",
    "OptimizationLevel",
    "PackagingJob",
    "Precision",
    "Priority",
    "Queue",
    "ResultKind",
    "ShareLink",
    "Upload",
    "UploadPurpose",
    "UsageDay",
    "UsageEvent",
    "Visibility",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookMessage",
    "WorkspaceExport",
    "seen",
]
