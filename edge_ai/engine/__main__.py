"""The engine alone: ``python -m edge_ai.engine``. ``run`` is how the studio's workers call it; :mod:`.cli` is for people."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from edge_ai.engine.errors import EngineError, InternalError, ResourceError
from edge_ai.engine.progress import Level
from edge_ai.engine.spec import refuse, spec_from_json

# onnxruntime reports what it is used for unless it is told not to, before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

MAX_TEXT = 2000
MAX_ITEMS = 1000


class JsonLines:
    """Progress as the worker reads it: one JSON object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, message: dict[str, Any]) -> None:
        """Write one message and push it out."""
        self._stream.write(json.dumps(message, allow_nan=False) + "\n")
        self._stream.flush()

    def stage(self, name: str, progress: int, message: str = "") -> None:
        """Tell that a stage has begun."""
        self.write({"type": "stage", "stage": name, "progress": int(progress), "message": message})

    def log(self, level: Level, message: str) -> None:
        """Tell something worth keeping."""
        self.write({"type": "log", "level": level, "message": message})

    def stage_done(self, key: str) -> None:
        """Tell that a finished stage may be kept for another attempt."""
        self.write({"type": "stage_done", "key": key})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # The quantizers advise on steps that were done already; what matters is told through progress.
    logging.disable(logging.WARNING)
    if arguments[:1] == ["run"]:
        return _serve()
    # What only people need is loaded only for them.
    from edge_ai.engine.cli import run_command

    return run_command(arguments)


def _serve() -> int:
    """Answer one spec from standard input with JSON lines on standard output."""
    return answer(_do)


def answer(work: Callable[[JsonLines], dict[str, Any]]) -> int:
    """Do ``work``, and tell on standard output what came of it: a message of its own, or an error's; returns the status."""
    # Libraries print where they like: the protocol keeps the real output for itself and gives them the log.
    protocol = JsonLines(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    try:
        protocol.write(work(protocol))
    except EngineError as error:
        protocol.write(describe_failure(error))
        return 1
    except MemoryError:
        protocol.write(describe_failure(_out_of_memory()))
        return 1
    except Exception as error:
        # The outermost boundary of the process: the person gets a code, the log gets the traceback.
        traceback.print_exc()
        protocol.write(describe_failure(_out_of_memory() if _is_memory(error) else _unexpected()))
        return 1
    return 0


def _do(protocol: JsonLines) -> dict[str, Any]:
    spec = spec_from_json(_read_request(sys.stdin))
    # Heavy libraries are loaded by the pipeline, after the spec has been understood.
    from edge_ai.engine.pipeline import run

    done = run(spec, Path.cwd(), protocol)
    return {
        "type": "result",
        "result": done.result,
        "files": [
            {"role": f.role, "path": f.path, "name": f.name, "format": f.format, "mime_type": f.mime_type}
            for f in done.files
        ],
    }


def _read_request(stream: IO[str]) -> dict[str, Any]:
    """Read the one JSON object that says what is to be done."""
    try:
        data = json.load(stream)
    except ValueError as error:
        raise refuse("kind", f"The description of the work is not JSON: {error}.", "Send one JSON object.") from None
    if not isinstance(data, dict):
        raise refuse("kind", "The description of the work is not a JSON object.", "Send one JSON object.")
    return data


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return "bad_alloc" in text or "failed to allocate memory" in text or "out of memory" in text


def _out_of_memory() -> ResourceError:
    return ResourceError(
        "The work needed more memory than it may use.",
        code="resource_limit",
        fix="Try a smaller model, a smaller data set or a smaller batch.",
    )


def _unexpected() -> InternalError:
    return InternalError(
        "Something unexpected happened in the engine.",
        code="internal_error",
        fix="The job's log has the details; try again, and report it if it stays.",
        retryable=False,
    )


def describe_failure(error: EngineError) -> dict[str, Any]:
    return {
        "type": "error",
        "code": error.code,
        "message": _shortened(str(error)),
        "fix": _shortened(error.fix),
        "retryable": error.retryable,
        "field": error.field,
        "details": _shortened(error.details or {}),
    }


def _shortened(value: Any) -> Any:
    """Cut what a stranger's file may have made endless: texts, and lists of them."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"
    if isinstance(value, dict):
        return {key[:MAX_TEXT] if isinstance(key, str) else key: _shortened(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shortened(item) for item in value[:MAX_ITEMS]]
    return value


if __name__ == "__main__":
    sys.exit(main())
