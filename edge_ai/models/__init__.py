"""The tables of a workspace."""

from edge_ai.models.analysis import AnalysisJob
from edge_ai.models.artifact import Artifact, ArtifactType
from edge_ai.models.base import Visibility
from edge_ai.models.benchmark import BenchmarkRun, ResultKind
from edge_ai.models.blob import Blob
from edge_ai.models.comparison import ComparedModel, ComparisonJob
from edge_ai.models.dataset import Dataset, DatasetKind
from edge_ai.models.day import JobDay
from edge_ai.models.device import DESCRIPTION_FIELDS, DeviceCategory, DeviceDescription, DeviceProfile
from edge_ai.models.diagnosis import DiagnosisJob
from edge_ai.models.job import (
    FINAL,
    HOUSEKEEPING,
    EventKind,
    Job,
    JobEvent,
    JobKind,
    JobStatus,
    Priority,
    Queue,
)
from edge_ai.models.model import Model, ModelFormat, ModelStatus
from edge_ai.models.optimization import OptimizationJob, OptimizationLevel, Precision
from edge_ai.models.packaging import PackagingJob
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
    "AnalysisJob",
    "Artifact",
    "ArtifactType",
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
    "EventKind",
    "Job",
    "JobDay",
    "JobEvent",
    "JobKind",
    "JobStatus",
    "Model",
    "ModelFormat",
    "ModelStatus",
    "OptimizationJob",
    "OptimizationLevel",
    "PackagingJob",
    "Precision",
    "Priority",
    "Queue",
    "ResultKind",
    "Visibility",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WebhookMessage",
]
