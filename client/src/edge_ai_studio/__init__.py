"""Client of the Edge AI Accelerator Studio.

    from edge_ai_studio import Studio

    studio = Studio("https://studio.example.com", "eas_…")
    model = studio.upload_model("model.onnx")
    job = model.optimize(device="Raspberry Pi 5", precision="int8").wait(progress=True)
    job.model().download("model-int8.onnx")

:class:`Studio` blocks; :class:`AsyncStudio` has the same methods to be awaited.
"""

from __future__ import annotations

__version__ = "0.1.0"

from edge_ai_studio._async.client import AsyncStudio
from edge_ai_studio._async.resources import (
    AsyncArtifact,
    AsyncBatch,
    AsyncBenchmarkJob,
    AsyncComparisonJob,
    AsyncDataset,
    AsyncDevice,
    AsyncDiagnosisJob,
    AsyncImportJob,
    AsyncJob,
    AsyncModel,
    AsyncOptimizationJob,
    AsyncPackageJob,
    AsyncWebhook,
)
from edge_ai_studio._sync.client import Studio
from edge_ai_studio._sync.resources import (
    Artifact,
    Batch,
    BenchmarkJob,
    ComparisonJob,
    Dataset,
    Device,
    DiagnosisJob,
    ImportJob,
    Job,
    Model,
    OptimizationJob,
    PackageJob,
    Webhook,
)
from edge_ai_studio.errors import (
    AnalysisFailed,
    Corrupt,
    JobFailed,
    NoSuchName,
    NotAuthenticated,
    NotConfigured,
    NotFound,
    NotPermitted,
    Refused,
    StudioError,
    TooMany,
    Unreachable,
    WaitedTooLong,
)

__all__ = [
    "AnalysisFailed",
    "Artifact",
    "AsyncArtifact",
    "AsyncBatch",
    "AsyncBenchmarkJob",
    "AsyncComparisonJob",
    "AsyncDataset",
    "AsyncDevice",
    "AsyncDiagnosisJob",
    "AsyncImportJob",
    "AsyncJob",
    "AsyncModel",
    "AsyncOptimizationJob",
    "AsyncPackageJob",
    "AsyncStudio",
    "AsyncWebhook",
    "Batch",
    "BenchmarkJob",
    "ComparisonJob",
    "Corrupt",
    "Dataset",
    "Device",
    "DiagnosisJob",
    "ImportJob",
    "Job",
    "JobFailed",
    "Model",
    "NoSuchName",
    "NotAuthenticated",
    "NotConfigured",
    "NotFound",
    "NotPermitted",
    "OptimizationJob",
    "PackageJob",
    "Refused",
    "Studio",
    "StudioError",
    "TooMany",
    "Unreachable",
    "WaitedTooLong",
    "Webhook",
    "__version__",
]
