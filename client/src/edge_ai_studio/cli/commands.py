"""What each command does."""

from __future__ import annotations

import argparse
import getpass
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from edge_ai_studio._sync.client import Studio
from edge_ai_studio._sync.resources import Dataset, Job, Model
from edge_ai_studio.cli.output import print_json, print_pairs, print_table, tell
from edge_ai_studio.config import Access, clean_key, clean_url, find_access, forget_access, save_access
from edge_ai_studio.errors import JobFailed, NoSuchName, NotConfigured, NotFound, StudioError
from edge_ai_studio.progress import BytesBar, megabytes

#: What these options of `upload` are for.
UPLOAD_OPTIONS = {
    "--sha256": "what the studio fetches, with --from-url; what is sent from here is verified anyway",
    "--kind": "data, with --dataset",
    "--tag": "models: data sets have no tags",
    "--no-wait": "models: there is nothing to wait for with a data set",
}


def login(given: argparse.Namespace) -> int:
    """Try an address and a key, and keep them when they work."""
    url = given.address or given.url or (input("Address of the studio: ") if sys.stdin.isatty() else "")
    if not url:
        raise NotConfigured("Where is the studio? Give its address: edgeai login https://studio.example.com")
    url = clean_url(url)
    key = clean_key(given.key or (getpass.getpass("API key: ") if sys.stdin.isatty() else sys.stdin.readline()))
    if not key:
        raise NotConfigured("There is no API key: paste one, give --key, or send it to the standard input.")
    with Studio(url, key) as studio:
        told = studio.me()
    path = save_access(Access(url=url, key=key))
    if given.json:
        print_json(told)
    else:
        print(f"Signed in as {told['user']['email']} in “{told['workspace']['name']}”. Kept in {path}.")
    return 0


def logout(given: argparse.Namespace) -> int:
    """Forget what `login` kept."""
    print(
        "Forgotten. The key itself still works: revoke it in the studio."
        if forget_access()
        else "There was nothing kept."
    )
    return 0


def me(studio: Studio, given: argparse.Namespace) -> None:
    """Show whom the key belongs to."""
    told = studio.me()
    if given.json:
        return print_json(told)
    used = {name: value for name, value in (told.get("usage") or {}).items() if not isinstance(value, dict | list)}
    print_pairs(
        [
            ("studio", find_access(given.url, given.key).url),
            ("user", told["user"]["email"]),
            ("workspace", f"{told['workspace']['name']} ({told['workspace']['slug']})"),
            ("role", told["role"]),
            ("scopes", told["scopes"]),
            *((name.replace("_", " "), value) for name, value in used.items()),
        ]
    )
    return None


def devices(studio: Studio, given: argparse.Namespace) -> None:
    """List the devices."""
    rows = studio.devices(search=given.search)
    if given.json:
        return print_json([row.data for row in rows])
    print_table(
        ["name", "processor", "cores", "memory", "kind"],
        (
            [
                row.name,
                row.data.get("cpu_model"),
                row.data.get("cpu_cores"),
                megabytes(1e6 * row.data["memory_mb"]) if row.data.get("memory_mb") else "",
                "this machine" if row.is_host else "template" if row.is_template else "own",
            ]
            for row in rows
        ),
    )
    return None


def models(studio: Studio, given: argparse.Namespace) -> None:
    """List the models."""
    rows = list(itertools.islice(studio.models(search=given.search, format=given.format, tag=given.tag), given.limit))
    if given.json:
        return print_json([row.data for row in rows])
    print_table(
        ["id", "name", "format", "precision", "size", "status"],
        ([row.id, row.name, row.format, row.precision, megabytes(row.size_bytes), row.status] for row in rows),
    )
    return None


def datasets(studio: Studio, given: argparse.Namespace) -> None:
    """List the data sets."""
    rows = list(itertools.islice(studio.datasets(search=given.search), given.limit))
    if given.json:
        return print_json([row.data for row in rows])
    print_table(
        ["id", "name", "kind", "samples", "size"],
        ([row.id, row.name, row.kind, row.sample_count, megabytes(row.data["size_bytes"])] for row in rows),
    )
    return None


def upload(studio: Studio, given: argparse.Namespace) -> None:
    """Upload a model or data."""
    shared = "workspace" if given.share else None
    if bool(given.from_url) == bool(given.file) or (given.from_url and given.dataset):
        raise StudioError("Give either a file, or for a model --from-url.")
    for option, value, needs in (
        ("--sha256", given.sha256, given.from_url),
        ("--kind", given.kind, given.dataset),
        ("--tag", given.tag, not given.dataset),
        ("--no-wait", given.no_wait, not given.dataset),
    ):
        if value and not needs:
            raise StudioError(f"{option} is for {UPLOAD_OPTIONS[option]}.")
    if given.from_url:
        asked = {"url": given.from_url, "sha256": given.sha256, "name": given.name, "visibility": shared}
        job = studio.submit_import(**asked, tags=given.tag or None)
        job.wait(progress=not given.json)
        fetched = job.model()
        return show_model(fetched if given.no_wait else fetched.wait(), as_json=given.json)
    bar = BytesBar(sys.stderr, Path(given.file).name)
    if given.dataset:
        data = studio.upload_dataset(given.file, name=given.name, kind=given.kind, visibility=shared, progress=bar)
        if given.json:
            return print_json(data.data)
        print_pairs([("id", data.id), ("name", data.name), ("samples", data.sample_count), ("kind", data.kind)])
        return None
    model = studio.upload_model(
        given.file, name=given.name, tags=given.tag or None, visibility=shared, wait=not given.no_wait, progress=bar
    )
    return show_model(model, as_json=given.json)


def analyze(studio: Studio, given: argparse.Namespace) -> None:
    """Show what is in a model."""
    show_model(model_of(studio, given.model), as_json=given.json)


def show_model(model: Model, *, as_json: bool) -> None:
    """Print a model."""
    if as_json:
        return print_json(model.data)
    found = model.analysis or {}
    operators = found.get("operators") or {}
    most = sorted(operators.items(), key=lambda each: -each[1])
    print_pairs(
        [
            ("id", model.id),
            ("name", model.name),
            ("format", model.format),
            ("precision", model.precision),
            ("status", model.status),
            ("size", megabytes(model.size_bytes)),
            ("sha256", model.sha256),
            ("parameters", f"{found['parameter_count']:,}" if found.get("parameter_count") is not None else None),
            ("MACs", f"{found['macs']:,}" if found.get("macs") is not None else None),
            ("opset", found.get("opset")),
            *(("input", _tensor(each)) for each in found.get("inputs") or []),
            *(("output", _tensor(each)) for each in found.get("outputs") or []),
            ("operators", ", ".join(f"{name} {count}" for name, count in most[:12]) + (" …" if len(most) > 12 else "")),
            *(
                ("warning", each.get("detail") or each)
                for each in found.get("warnings") or []
                if isinstance(each, dict)
            ),
        ]
    )
    return None


def optimize(studio: Studio, given: argparse.Namespace) -> None:
    """Make a variant."""
    wanted: dict[str, Any] = {
        "target_format": given.format,
        "level": given.level,
        "dataset": dataset_of(studio, given.dataset),
        "options": _options(given.option),
    }
    model = model_of(studio, given.model)
    if given.dry_run:
        plan = studio.plan_optimization(model, given.device, given.precision, **wanted)
        return print_json(plan) if given.json else _show_plan(plan)
    job = studio.submit_optimization(model, given.device, given.precision, name=given.name, fresh=given.fresh, **wanted)
    if given.wait or given.output:
        job.wait(progress=not given.json, timeout=given.timeout)
    saved = None
    if given.output:
        saved = studio.download(job.model(), given.output, progress=BytesBar(sys.stderr, "variant"))
    if given.json:
        return print_json(job.data | ({"saved": str(saved)} if saved else {}))
    result = job.result or {}
    parity = result.get("parity") or {}
    print_pairs(
        [
            ("job", job.id),
            ("status", job.status),
            ("variant", result.get("model")),
            ("size", megabytes(result["size_bytes"]) if result.get("size_bytes") else None),
            ("smaller by", f"× {result['compression_ratio']:.3g}" if result.get("compression_ratio") else None),
            ("SQNR", f"{parity['sqnr_db']:.1f} dB" if parity.get("sqnr_db") is not None else None),
            ("same class", f"{parity['top1_agreement']:.2%}" if parity.get("top1_agreement") is not None else None),
            *(("warning", f"{each.get('detail')} {each.get('fix') or ''}".strip()) for each in job.warnings),
            ("saved", saved),
        ]
    )
    return None


def benchmark(studio: Studio, given: argparse.Namespace) -> None:
    """Measure a model."""
    job = studio.submit_benchmark(
        model_of(studio, given.model),
        given.device,
        dataset=dataset_of(studio, given.dataset),
        threads=given.threads,
        batch_size=given.batch_size,
        max_seconds=given.max_seconds,
        name=given.name,
    )
    if given.wait:
        job.wait(progress=not given.json, timeout=given.timeout)
    if given.json:
        return print_json(job.data)
    result, times = job.result or {}, job.latency_ms
    print_pairs(
        [
            ("job", job.id),
            ("status", job.status),
            ("kind", job.kind),
            ("estimated", f"{job.estimated_ms:.4g} ms" if job.estimated_ms is not None else None),
            *(
                (name, f"{times[name]:.4g} ms" + (_interval(times["ci95"]) if name == "p50" else ""))
                for name in ("p50", "p90", "p95", "p99")
                if times.get(name) is not None
            ),
            ("throughput", f"{result['throughput_per_s']:.4g} /s" if result.get("throughput_per_s") else None),
            ("peak memory", megabytes(1e6 * peak) if (peak := (result.get("memory_mb") or {}).get("peak")) else None),
            *((f"accuracy, {name}", f"{value:.4g}") for name, value in (result.get("accuracy") or {}).items()),
            ("noise", (result.get("noise") or {}).get("verdict")),
        ]
    )
    return None


def compare(studio: Studio, given: argparse.Namespace) -> None:
    """Measure models by turns."""
    job = studio.compare(
        [model_of(studio, each) for each in given.models],
        given.device,
        dataset=dataset_of(studio, given.dataset),
        threads=given.threads,
        margin=given.margin,
        max_seconds=given.max_seconds,
        name=given.name,
    )
    if given.wait:
        job.wait(progress=not given.json, timeout=given.timeout)
    if given.json:
        return print_json(job.data)
    print_pairs([("job", job.id), ("status", job.status)])
    runs = {run["model"]: run for run in (job.result or {}).get("runs") or []}
    for pair in job.pairs:
        print(
            f"{runs[pair['b']].get('name') or pair['b']} is {pair['verdict']}: × {pair['ratio_p50']:.3g}"
            f"{_interval(pair['ci95'])} the time of {runs[pair['a']].get('name') or pair['a']}"
            + (f"; {paired['sentence']}" if (paired := pair.get("accuracy")) else "")
        )
    for run in runs.values():
        found = ", ".join(f"{name} {value:.4g}" for name, value in (run.get("accuracy") or {}).items())
        if found or (given.dataset and run.get("accuracy_reason")):
            print(f"{run.get('name') or run['model']}: {found or run['accuracy_reason']}")
    return None


def diagnose(studio: Studio, given: argparse.Namespace) -> None:
    """Look why a variant is worse."""
    job = studio.diagnose(
        model_of(studio, given.model),
        baseline=model_of(studio, given.baseline) if given.baseline else None,
        device=given.device,
        dataset=dataset_of(studio, given.dataset),
        threads=given.threads,
        max_seconds=given.max_seconds,
        name=given.name,
    )
    if given.wait:
        job.wait(progress=not given.json, timeout=given.timeout)
    if given.json:
        return print_json(job.data)
    result = job.result or {}
    print_pairs(
        [("job", job.id), ("status", job.status), ("matter", job.question), ("in words", result.get("summary"))]
    )
    for each in job.findings:
        print_pairs([(str(each["severity"]), f"{each['title']} [{each['code']}]"), ("", each.get("fix"))])
    return None


def package(studio: Studio, given: argparse.Namespace) -> None:
    """Make a bundle."""
    job = studio.package(model_of(studio, given.model), name=given.name)
    if given.wait or given.output:
        job.wait(progress=not given.json, timeout=given.timeout)
    saved = job.download(given.output, progress=BytesBar(sys.stderr, "bundle")) if given.output else None
    if given.json:
        return print_json(job.data | ({"saved": str(saved)} if saved else {}))
    result = job.result or {}
    print_pairs(
        [
            ("job", job.id),
            ("status", job.status),
            ("artifact", result.get("artifact")),
            ("size", megabytes(result["size_bytes"]) if result.get("size_bytes") else None),
            *(("file", each["path"]) for each in result.get("files") or []),
            ("saved", saved),
        ]
    )
    return None


def batch(studio: Studio, given: argparse.Namespace) -> None:
    """Make many variants."""
    made = studio.optimize_many(
        [model_of(studio, each) for each in given.models],
        given.device,
        given.precision,
        target_format=given.format,
        level=given.level,
        dataset=dataset_of(studio, given.dataset),
        options=_options(given.option),
        name=given.name,
        strict=given.strict,
        fresh=given.fresh,
    )
    if given.wait:
        made.wait(progress=not given.json, timeout=given.timeout, check=False)
    if given.json:
        print_json(made.data)
    else:
        print_pairs([("batch", made.id), ("status", made.status)])
        print_table(
            ["model", "device", "precision", "format", "status", "variant", "size", "SQNR"],
            (
                [
                    *(job[name] for name in ("model_name", "device_name", "precision", "target_format", "status")),
                    job["variant"],
                    megabytes(job["size_bytes"]) if job["size_bytes"] else "",
                    f"{job['sqnr_db']:.1f} dB" if job["sqnr_db"] is not None else "",
                ]
                for job in made.data["jobs"]
            ),
        )
        for each in made.refused:
            print(f"! {each['model_name']} for {each['device_name']} in {each['precision']}: {each['detail']}")
    if made.done and made.status != "completed":
        raise JobFailed(made.data | {"error": made.error})
    return


def download(studio: Studio, given: argparse.Namespace) -> None:
    """Save a model's file."""
    model = studio.model(given.model)
    saved = studio.download(model, given.output, progress=BytesBar(sys.stderr, model.name))
    print_json({"saved": str(saved), "sha256": model.sha256}) if given.json else print(saved)


def jobs(studio: Studio, given: argparse.Namespace) -> None:
    """List, follow, cancel or retry jobs."""
    if given.action == "list":
        rows = list(itertools.islice(studio.jobs(given.kind, status=given.status), given.limit))
        if given.json:
            return print_json([row.data for row in rows])
        print_table(
            ["id", "status", "stage", "progress", "name", "created"],
            ([row.id, row.status, row.stage, f"{row.progress} %", row.name, row.data["created_at"]] for row in rows),
        )
        return None
    if not given.job:
        raise StudioError(f"Which job? Give its id: edgeai jobs {given.action} ID")
    job = studio.job(given.job)
    if given.action == "log":
        return _show_log(job, as_json=given.json)
    if given.action == "cancel":
        job.cancel()
    elif given.action == "retry":
        job.retry()
    elif given.action == "wait":
        job.wait(progress=not given.json, timeout=given.timeout)
    if given.json:
        return print_json(job.data)
    error = job.error or {}
    print_pairs(
        [
            ("job", job.id),
            ("status", job.status),
            ("stage", job.stage),
            ("progress", f"{job.progress} %"),
            ("error", error.get("code")),
            ("why", error.get("detail") or error.get("message")),
            ("fix", error.get("fix")),
        ]
    )
    return None


def webhooks(studio: Studio, given: argparse.Namespace) -> None:
    """List, add, test or delete webhooks."""
    if given.action == "list":
        rows = list(studio.webhooks())
        if given.json:
            return print_json([row.data for row in rows])
        print_table(
            ["id", "address", "events", "state"],
            ([row.id, row.data["url"], row.data["events"], "on" if row.data["enabled"] else "off"] for row in rows),
        )
        return None
    if not given.target:
        raise StudioError(f"Which webhook? edgeai webhooks {given.action} {'URL' if given.action == 'add' else 'ID'}")
    if given.action == "add":
        made = studio.create_webhook(given.target, given.event)
        if given.json:
            return print_json(made.data)
        print_pairs([("id", made.id), ("address", made.data["url"]), ("secret", made.data.get("secret"))])
        tell("The secret is shown this once: it is what signatures are checked with.")
        return None
    try:
        hook = studio.webhook(given.target)
    except NotFound as error:
        raise NoSuchName(f"There is no webhook {given.target}: `edgeai webhooks` lists their ids.") from error
    if given.action == "test":
        told = hook.test()
        print_json(told) if given.json else print(f"A test is on its way to {hook.data['url']}.")
        return None
    hook.delete()
    if not given.json:
        print("Deleted.")
    return None


def model_of(studio: Studio, wanted: str) -> Model:
    """Return the model that an argument means: a file is uploaded."""
    if Path(wanted).is_file():
        return studio.upload_model(wanted, progress=BytesBar(sys.stderr, Path(wanted).name))
    try:
        return studio.model(wanted).wait()
    except NoSuchName as error:
        raise NoSuchName(f"There is no file {wanted} here, and no model of that name in the studio.") from error


def dataset_of(studio: Studio, wanted: str | None) -> Dataset | None:
    """Return the data set that an argument means: a file is uploaded."""
    if wanted is None:
        return None
    if Path(wanted).is_file():
        return studio.upload_dataset(wanted, progress=BytesBar(sys.stderr, Path(wanted).name))
    try:
        return studio.dataset(wanted)
    except NoSuchName as error:
        raise NoSuchName(f"There is no file {wanted} here, and no data set of that name in the studio.") from error


def _options(given: list[str]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise StudioError(f"“{each}” is no option: write NAME=JSON, such as percentile=99.9.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value  # a bare word
    return found or None


def _show_plan(plan: dict[str, Any]) -> None:
    for each in plan.get("stages") or []:
        print(f"- {each.get('title') or each.get('name')}")
    for each in plan.get("warnings") or []:
        print(f"! {each.get('detail')} {each.get('fix') or ''}".rstrip())
    seconds = (plan.get("estimate") or {}).get("seconds")
    print(f"About {seconds:.0f} s." if seconds else "How long it takes is not known yet.")


def _show_log(job: Job, *, as_json: bool) -> None:
    after, rows = 0, []
    while page := job.events(after=after):
        rows += page
        after = page[-1]["seq"]
    if as_json:
        return print_json(rows)
    for row in rows:
        print(f"{row['created_at']}  {row['stage'] or row['kind']:<14}  {row['message']}")
    return None


def _tensor(each: dict[str, Any]) -> str:
    return f"{each['name']}  {each['dtype']}  {'×'.join(str(side) for side in each.get('shape') or []) or 'scalar'}"


def _interval(ends: list[float]) -> str:
    return f" ({ends[0]:.4g} to {ends[1]:.4g})"
