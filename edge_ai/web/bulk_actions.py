"""What can be done to several models, jobs, artifacts or data sets at once."""

from __future__ import annotations

from collections.abc import Sequence

from accounts.models import User
from edge_ai.models import Artifact, BenchmarkRun, Job, JobStatus, Model, OptimizationJob, Visibility
from edge_ai.services.artifacts import delete_artifact
from edge_ai.services.datasets import delete_dataset
from edge_ai.services.jobs import cancel_job, retry_job
from edge_ai.services.models import delete_model, update_model
from edge_ai.web.bulk import Action, Bulk, of_a_colleague
from edge_ai.web.lists import ARTIFACTS, DATASETS, JOBS, MODELS

RUNS_AGAIN = (JobStatus.FAILED, JobStatus.CANCELLED)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _with_models(user: User, models: Sequence[Model]) -> str:
    keys = [model.pk for model in models]
    optimizations = OptimizationJob.objects.visible_to(user).filter(model__in=keys).count()
    benchmarks = BenchmarkRun.objects.visible_to(user).filter(model__in=keys).count()
    artifacts = Artifact.objects.visible_to(user).filter(model__in=keys).count()
    variants = Model.objects.visible_to(user).filter(parent__in=keys).exclude(pk__in=keys).count()
    gone = (
        f"With them go their files, {_count(optimizations, 'optimization job')}, {_count(benchmarks, 'benchmark')} and "
        f"{_count(artifacts, 'artifact')}. This cannot be undone."
    )
    if variants:
        gone += f" {_count(variants, 'variant')} that {'is' if variants == 1 else 'are'} not chosen "
        gone += (
            "stays, without knowing where it comes from." if variants == 1 else "stay, without knowing their origin."
        )
    return gone


def _share(visibility: Visibility, word: str, past: str, told: str) -> Action:
    def refusal(user: User, model: Model) -> str:
        return of_a_colleague(user, model) or (f"it is {past} already" if model.visibility == visibility else "")

    return Action(
        name=word.lower(),
        verb=word,
        done=past,
        icon="user",
        act=lambda user, model: update_model(user, model=model, fields={"visibility": visibility}),
        consequence=lambda user, models: told,
        refusal=refusal,
    )


def _not_waiting(user: User, job: Job) -> str:
    return of_a_colleague(user, job) or ("it has ended already" if job.is_final else "")


def _not_failed(user: User, job: Job) -> str:
    ended = "only failed and cancelled jobs run again" if job.status not in RUNS_AGAIN else ""
    return of_a_colleague(user, job) or ended


BULK_MODELS = Bulk(
    of=MODELS,
    address="edge_ai:model-bulk",
    title=lambda model: str(model.name),
    page="edge_ai:model-detail",
    others=(("optimize", "Optimize", "optimize"), ("compare", "Compare", "compare")),
    actions=(
        _share(
            Visibility.WORKSPACE, "Share", "shared", "Everyone in the workspace will see them and can use them in jobs."
        ),
        _share(
            Visibility.PRIVATE,
            "Unshare",
            "private",
            "Only you will see them from now on. What colleagues made of them stays theirs.",
        ),
        Action(
            name="delete",
            verb="Delete",
            done="deleted",
            icon="trash",
            act=lambda user, model: delete_model(user, model=model),
            consequence=_with_models,
            danger=True,
        ),
    ),
)
BULK_JOBS = Bulk(
    of=JOBS,
    address="edge_ai:job-bulk",
    title=lambda job: str(job.name or job.get_kind_display()),
    page="edge_ai:job-detail",
    actions=(
        Action(
            name="cancel",
            verb="Cancel",
            done="cancelled, or being stopped",
            icon="ban",
            act=lambda user, job: cancel_job(user, job=job),
            consequence=lambda user, jobs: "What waits ends at once; what runs stops within seconds, without a result.",
            refusal=_not_waiting,
        ),
        Action(
            name="retry",
            verb="Retry",
            done="queued again",
            icon="retry",
            act=lambda user, job: retry_job(user, job=job),
            consequence=lambda user, jobs: "Each runs again from its beginning, with all its attempts.",
            refusal=_not_failed,
        ),
    ),
)
BULK_ARTIFACTS = Bulk(
    of=ARTIFACTS,
    address="edge_ai:artifact-bulk",
    title=lambda artifact: str(artifact.file_name),
    actions=(
        Action(
            name="delete",
            verb="Delete",
            done="deleted",
            icon="trash",
            act=lambda user, artifact: delete_artifact(user, artifact=artifact),
            consequence=lambda user, artifacts: "The models they were made of stay. This cannot be undone.",
            danger=True,
        ),
    ),
)
BULK_DATASETS = Bulk(
    of=DATASETS,
    address="edge_ai:dataset-bulk",
    title=lambda dataset: str(dataset.name),
    actions=(
        Action(
            name="delete",
            verb="Delete",
            done="deleted",
            icon="trash",
            act=lambda user, dataset: delete_dataset(user, dataset=dataset),
            consequence=lambda user, datasets: "Jobs that used them keep their results. This cannot be undone.",
            danger=True,
        ),
    ),
)
