"""Reports of unexpected errors to Sentry, and what must not be in them.

What is sent is chosen, not left over: kinds of errors, where in the code, and the ids by which the log tells the rest. What
people wrote, such as names of models, and what errors say in words, stays here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from config.logs import FACTS, facts_of, scrub

HEADERS = frozenset({"accept", "content-type", "content-length", "host", "user-agent", "x-request-id"})
KEPT = frozenset(
    {
        *(
            "event_id",
            "timestamp",
            "start_timestamp",
            "platform",
            "level",
            "logger",
            "release",
            "environment",
            "sdk",
            "type",
        ),
        *("transaction", "transaction_info", "fingerprint", "modules", "server_name"),
    }
)
CONTEXTS = frozenset({"trace", "runtime", "os"})
FRAME = frozenset(
    {"abs_path", "filename", "function", "module", "lineno", "in_app", "pre_context", "context_line", "post_context"}
)
SPAN = frozenset(
    {
        "op",
        "trace_id",
        "span_id",
        "parent_span_id",
        "same_process_as_parent",
        "status",
        "start_timestamp",
        "timestamp",
        "origin",
    }
)
_QUOTED = re.compile(r"“[^”]*”|«[^»]*»|\"[^\"]*\"|'[^']*'|=\([^)]*\)")
_FILE = re.compile(
    r"(?<![^\s/\\])[^\s/\\]+\.(?:onnx|ort|tflite|keras|h5|pb|xml|bin|gguf|mlmodel|mlpackage|npz|npy|zip|tar|gz|safetensors|engine|plan|param)\b"
)
#: Names of rows are in the addresses of their files.
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def begin(dsn: str, *, traces: float) -> None:
    """Report from now on."""
    import sentry_sdk  # a quarter of a second at every start, for those who use it

    sentry_sdk.init(
        dsn=dsn,
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        traces_sample_rate=traces or None,
        before_send=chosen,  # type: ignore[arg-type]  # events are mappings
        before_send_transaction=chosen,  # type: ignore[arg-type]
        before_breadcrumb=crumb,
    )


def plain(text: str) -> str:
    """Return words of our own: without what is quoted, named after a file, or a secret."""
    return _FILE.sub("…", _QUOTED.sub("…", scrub(text)))


def chosen(event: Mapping[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent of an event or a transaction."""
    sent: dict[str, Any] = {name: event[name] for name in KEPT if name in event}
    if "transaction" in sent:
        sent["transaction"] = plain(_address(str(sent["transaction"])))
    sent["contexts"] = {name: value for name, value in event.get("contexts", {}).items() if name in CONTEXTS}
    trace = sent["contexts"].get("trace")
    if trace:
        sent["contexts"]["trace"] = {name: trace[name] for name in SPAN if name in trace}
    record = hint.get("log_record")
    sent["tags"] = _ids(record)
    if "exception" in event:
        values = event["exception"].get("values", [])
        sent["exception"] = {"values": [_exception(each, sent["tags"]) for each in values]}
    entry = event.get("logentry") or {}
    if entry:
        # Without what was put into it.
        sent["logentry"] = {"message": plain(str(entry.get("message", "")))}
    if "request" in event:
        sent["request"] = _request(event["request"])
    if "breadcrumbs" in event:
        sent["breadcrumbs"] = event["breadcrumbs"]
    user = event.get("user") or {}
    if "id" in user:
        sent["user"] = {"id": user["id"]}
    if "spans" in event:
        sent["spans"] = [_span(each) for each in event["spans"]]
    return sent


def crumb(crumb: Mapping[str, Any], hint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is kept of something that happened before."""
    kept: dict[str, Any] = {name: crumb[name] for name in ("type", "category", "level", "timestamp") if name in crumb}
    record = hint.get("log_record")
    said = str(record.msg) if record is not None else str(crumb.get("message") or "")
    kept["message"] = plain(said)
    data = crumb.get("data") or {}
    kept["data"] = {name: data[name] for name in ("method", "http.method", "status_code") if name in data}
    if "url" in data:
        kept["data"]["url"] = _address(str(data["url"]))
    return kept


def _ids(record: Any) -> dict[str, str]:
    import logging

    facts = facts_of(record or logging.makeLogRecord({}))
    return {name: facts[name] for name in FACTS if name in facts}


def _exception(value: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames", [])
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "value": f"Request {ids['request_id']} in the log says more." if "request_id" in ids else "The log says more.",
        "mechanism": {
            name: each for name, each in (value.get("mechanism") or {}).items() if name in {"type", "handled"}
        },
        "stacktrace": {"frames": [{name: frame[name] for name in FRAME if name in frame} for frame in frames]},
    }


def _request(request: Mapping[str, Any]) -> dict[str, Any]:
    headers = {name: value for name, value in (request.get("headers") or {}).items() if name.lower() in HEADERS}
    return {"method": request.get("method"), "url": _address(str(request.get("url", ""))), "headers": headers}


def _address(url: str) -> str:
    """Return the path alone: questions hold what people look for, and its last part may be a file's name."""
    return _FILE.sub("…", scrub(urlsplit(url).path))


def _span(span: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: span[name] for name in SPAN if name in span}
    return kept | {"description": plain(str(span.get("description") or ""))}
