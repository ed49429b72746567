"""What the client decides by itself, without a studio."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edge_ai_studio import NotConfigured, Refused, Studio, Unreachable
from edge_ai_studio._sync import resources, transport
from edge_ai_studio._sync.downloads import begins_at
from edge_ai_studio.cli.completion import script_for
from edge_ai_studio.cli.main import COMMANDS, main
from edge_ai_studio.cli.parser import EXITS, make_parser
from edge_ai_studio.config import Access, config_file, find_access, save_access
from edge_ai_studio.fields import device_fits
from edge_ai_studio.gate import (
    check_accuracy,
    check_latency,
    check_size,
    check_speed,
    passed,
    to_junit,
    to_markdown,
)
from tests.studio import ROOT

DEVICES = [
    {"name": "Raspberry Pi 5 (8 GB)", "slug": "raspberry-pi-5"},
    {"name": "Raspberry Pi 5 (8 GB) with AI HAT+ (26 TOPS)", "slug": "raspberry-pi-5-hat"},
    {"name": "Pixel 8", "slug": "pixel-8"},
]


def test_the_blocking_client_is_made_from_the_awaited_one() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "client" / "generate_sync.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("raspberry pi 5", ["Raspberry Pi 5 (8 GB)"]),
        ("raspberry-pi-5-hat", ["Raspberry Pi 5 (8 GB) with AI HAT+ (26 TOPS)"]),
        ("Raspberry Pi 5 (8 GB)", ["Raspberry Pi 5 (8 GB)"]),
        ("pixel", ["Pixel 8"]),
        ("raspberry", ["Raspberry Pi 5 (8 GB)", "Raspberry Pi 5 (8 GB) with AI HAT+ (26 TOPS)"]),
        ("toaster", []),
    ],
)
def test_a_name_means_a_device(wanted: str, found: list[str]) -> None:
    assert [row["name"] for row in device_fits(list(DEVICES), wanted)] == found


def test_a_kept_key_is_its_users_alone_and_goes_to_its_own_studio_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAI_CONFIG", str(tmp_path / "deep" / "config.json"))
    for name in ("EDGEAI_URL", "EDGEAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotConfigured, match="Where is the studio"):
        find_access()
    save_access(Access(url="https://studio.example.com", key="eas_x"))
    assert stat.S_IMODE(config_file().stat().st_mode) == 0o600
    assert find_access() == Access(url="https://studio.example.com", key="eas_x")
    with pytest.raises(NotConfigured, match="no API key for https://evil"):
        find_access("https://evil.example.com")
    with pytest.raises(NotConfigured, match="no address"):
        find_access("ftp://studio.example.com", "eas_x")
    for same in ("https://studio.example.com/", "https://studio.example.com/api/edge/v1/"):
        assert find_access(same) == Access(url="https://studio.example.com", key="eas_x")
    for nowhere in ("https://studio.example.com:82o2", "http://", "https:///x"):
        with pytest.raises(NotConfigured, match="no address"):
            find_access(nowhere, "eas_x")
    for no_key in ("eas_schlüssel", "eas_ x", "eas_x\x00"):
        with pytest.raises(NotConfigured, match="no API key"):
            find_access("https://studio.example.com", no_key)
    config_file().write_text("not json")
    with pytest.raises(NotConfigured):
        find_access()


@contextmanager
def faulty(*faults: int, retry_after: str = "0") -> Iterator[tuple[Studio, list[tuple[str, str]]]]:
    """A studio that answers with these statuses first, where 0 is to break off, and a client of it.

    Yields the client, and the method and Idempotency-Key of every request.
    """
    asked: list[tuple[str, str]] = []

    class Answers(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.headers.get("Idempotency-Key", "")))
            status = faults[len(asked) - 1] if len(asked) <= len(faults) else 200
            if not status:
                self.connection.close()
                return
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", retry_after)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  # as http.server calls them

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Studio(f"http://127.0.0.1:{server.server_port}", "eas_x") as studio:
            yield studio, asked
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """Whatever else may have the address of a studio."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (200, b"<html>", {"Content_Type": "text/html"}, "is no studio"),
        (
            301,
            b"",
            {"Location": "https://studio.example.com/api/edge/v1/me/"},
            "leads on to https://studio.example.com.",
        ),
        (404, b"<html>", {"Content_Type": "text/html"}, "answered 404, and not as a studio does"),
        (401, b"{}", {"Content_Type": "application/json"}, "answered 401, and not as a studio does"),
    ],
)
def test_what_is_no_studio_is_told(
    status: int, body: bytes, headers: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(status, body, **headers) as url:
        assert main(["me", "--url", url, "--key", "eas_x"]) == 5
    told = capsys.readouterr().err
    assert said in told and url in told


def test_a_refusal_is_told_once_and_a_file_that_is_no_model_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    field = {"field": "events", "code": "invalid_request", "detail": "This field is required."}
    problem = {"code": "invalid_request", "detail": "events: This field is required.", "errors": [field]}
    assert str(Refused(422, problem)).count("required") == 1
    assert str(Refused(422, problem | {"errors": [field, field | {"field": "url"}]})).count("required") == 2
    body = b'{"code": "model_unreadable", "detail": "It is a text."}'
    with answering(422, body, Content_Type="application/problem+json") as url:
        assert main(["me", "--url", url, "--key", "eas_x"]) == 4
    assert "It is a text." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["upload", "empty.onnx"], "empty.onnx is empty"),
        (["upload", "."], "is a folder"),
        (["upload", "model.onnx", "--sha256", "0" * 64], "--sha256 is for"),
        (["upload", "model.onnx", "--kind", "both"], "--kind is for"),
        (["upload", "data.npz", "--dataset", "--tag", "x"], "--tag is for"),
    ],
)
def test_what_cannot_be_sent_is_told_before_anything_is(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.onnx").touch()
    assert main([*arguments, "--url", "http://127.0.0.1:9", "--key", "eas_x"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "first"), [("bytes 5-9/10", 5), ("bytes 0-9/10", 0), ("", 0), ("bytes */10", 0), ("lines 1-2/3", 0)]
)
def test_the_first_byte_of_what_comes_is_known_by_its_range(header: str, first: int) -> None:
    assert begins_at(header) == first


@pytest.mark.parametrize("option", ["--max-size-mb=nan", "--max-p50-ms=-1", "--max-accuracy-drop=5", "--margin=inf"])
def test_a_gate_takes_no_limit_that_is_none(option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(["gate", "model.onnx", option])
    assert ended.value.code == 2


def test_a_model_that_could_not_be_judged_has_reports_that_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.xml").write_text("<of an earlier run/>")
    reports = ["--markdown", str(tmp_path / "new" / "report.md"), "--junit", str(tmp_path / "report.xml")]
    with answering(404, b"gone") as url:
        assert main(["gate", "m.onnx", "--max-size-mb", "1", *reports, "--url", url, "--key", "eas_x"]) == 5
    assert "Not judged: m.onnx" in (tmp_path / "new" / "report.md").read_text(encoding="utf-8")
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()  # noqa: S314  # our own
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert "answered 404" in (suite.find("testcase/error").get("message") or "")  # type: ignore[union-attr]


@pytest.mark.parametrize("faults", [(0,), (500,), (502, 0, 503), (429, 429), (0, 409)])
def test_what_is_posted_is_asked_again_under_one_key(faults: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_pause", lambda left: 0.0)
    with faulty(*faults) as (studio, asked):
        assert studio.transport.ask("POST", "models/", json={}).status_code == 200
        assert len(asked) == len(faults) + 1
        assert len(set(asked)) == 1 and asked[0][1]
        studio.transport.ask("POST", "models/", json={})
        assert asked[-1][1] != asked[0][1], "every request has a key of its own"


def test_asking_again_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_pause", lambda left: 0.0)
    ends: list[tuple[int, Callable[[Studio], Any], type[Exception]]] = [
        (0, lambda studio: studio.transport.ask("POST", "models/"), Unreachable),
        (500, lambda studio: studio.transport.ask("GET", "me/"), Refused),
        (429, lambda studio: studio.transport.ask("DELETE", "models/x/"), Refused),
    ]
    for fault, ask, kind in ends:
        with faulty(*[fault] * 9) as (studio, asked), pytest.raises(kind):
            ask(studio)
        assert len(asked) == transport.TRIES


def test_waiting_outlives_a_restart_of_the_studio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_pause", lambda left: 0.0)
    monkeypatch.setattr(resources, "FIRST_PAUSE", 0.0)
    with faulty(*[0] * 7, *[502] * 6) as (studio, asked):
        job = resources.BenchmarkJob(studio, {"id": "x", "status": "running", "stage": "", "progress": 0})
        since = job._look(None)
        assert since is not None and job._look(since) == since
        assert job._look(since) is None and len(asked) == 14
    monkeypatch.setattr(resources, "SILENCE", 0.0)
    with faulty(*[0] * 5) as (studio, _), pytest.raises(Unreachable):
        resources.BenchmarkJob(studio, {"id": "x", "status": "running", "stage": "", "progress": 0}).wait()
    with faulty(404) as (studio, _), pytest.raises(Refused):
        resources.BenchmarkJob(studio, {"id": "x", "status": "running", "stage": "", "progress": 0}).wait()


@pytest.mark.parametrize(
    ("method", "fault"), [("PATCH", 0), ("DELETE", 0), ("PATCH", 500), ("DELETE", 502), ("POST", 409)]
)
def test_what_may_have_been_done_without_a_key_is_not_done_twice(method: str, fault: int) -> None:
    with faulty(fault) as (studio, asked), pytest.raises((Unreachable, Refused)):
        studio.transport.ask(method, "models/x/", json={})
    assert len(asked) == 1


def test_retry_after_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("edge_ai_studio._sync.transport.time.sleep", slept.append)
    with faulty(429, retry_after="7") as (studio, _):
        studio.transport.ask("GET", "me/")
    assert slept == [7.0]


def _latency(p50: float, low: float, high: float) -> dict[str, Any]:
    return {"p50": p50, "ci95": [low, high]}


@pytest.mark.parametrize(
    ("latency", "outcome"),
    [
        (_latency(9.0, 8.0, 11.0), "passed"),
        (_latency(10.5, 9.5, 11.5), "uncertain"),
        (_latency(12.0, 11.0, 13.0), "failed"),
    ],
)
def test_a_limit_of_latency_fails_beyond_chance_only(latency: dict[str, Any], outcome: str) -> None:
    assert check_latency(latency, 10.0).outcome == outcome


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        ("faster", "passed"),
        ("same", "passed"),
        ("inconclusive", "uncertain"),
        ("slower", "failed"),
        ("new", "uncertain"),
    ],
)
def test_the_studios_verdict_decides_on_speed(verdict: str, outcome: str) -> None:
    pair = {"ratio_p50": 1.1, "ci95": [1.0, 1.2], "verdict": verdict}
    assert check_speed(pair, 0.02).outcome == outcome


@pytest.mark.parametrize(
    ("difference", "ci95", "outcome"),
    [(0.5, [-1, 2], "passed"), (-0.5, [-3, 1], "passed"), (-2.0, [-5, 0.5], "uncertain"), (-5.0, [-7, -3], "failed")],
)
def test_a_paired_loss_fails_beyond_chance_only(difference: float, ci95: list[float], outcome: str) -> None:
    paired = {"difference": difference, "ci95": ci95, "n": 500, "sentence": "…"}
    assert check_accuracy({"accuracy": paired}, {}, 0.01).outcome == outcome


def test_an_accuracy_that_was_not_measured_lets_nothing_through() -> None:
    check = check_accuracy({}, {"delta": {"accuracy": None}, "accuracy_reason": "the data has no labels"}, 0.01)
    assert check.outcome == "failed"
    assert "no labels" in check.detail
    assert check_accuracy({}, {"delta": {"accuracy": -0.02, "metric": "miou"}}, 0.01).outcome == "failed"
    assert check_accuracy({}, {"delta": {"accuracy": -0.005, "metric": "miou"}}, 0.01).outcome == "passed"


def test_strict_keeps_back_what_is_uncertain() -> None:
    checks = [check_size(1_000_000, 2), check_latency(_latency(10.5, 9.5, 11.5), 10)]
    assert passed(checks, strict=False)
    assert not passed(checks, strict=True)
    assert not passed([check_size(3_000_000, 2)], strict=False)


def test_the_reports_hold_strange_names() -> None:
    name = "a|b](javascript:1)<script>\n\x00&\"'"
    checks = [check_size(3_000_000, 2), check_latency(_latency(10.5, 9.5, 11.5), 10)]
    markdown = to_markdown(checks, model=name, device="This machine", baseline=name, good=False, link="https://s/x/")
    assert "<script>" not in markdown
    assert "](javascript" not in markdown
    assert markdown.count("\n| ") == 3
    suite = ElementTree.fromstring(to_junit(checks, model=name, device="d", strict=False))  # noqa: S314  # our own
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.find("failure") is not None for case in suite.iter("testcase")] == [True, False]
    strict = ElementTree.fromstring(to_junit(checks, model=name, device="d", strict=True))  # noqa: S314
    assert strict.get("failures") == "2"


def test_every_command_and_exit_status_is_documented() -> None:
    told = (ROOT / "docs" / "client.md").read_text()
    for command in [*COMMANDS, "login", "logout", "completion"]:
        assert f"`edgeai {command}`" in told
    for status in EXITS:
        assert f"\n| {status} |" in told
    gate = make_parser()._subparsers._group_actions[0].choices["gate"]  # type: ignore[union-attr, index]
    options = {option for action in gate._actions for option in action.option_strings if option.startswith("--")}
    shared = {"--help", "--url", "--key", "--json", "--device", "--dataset", "--threads", "--max-seconds", "--timeout"}
    told = (ROOT / "docs" / "ci-gate.md").read_text()
    assert not [option for option in options - shared if f"`{option}`" not in told]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["edgeai", "op"], ["optimize"]),
        (["edgeai", "optimize", "--prec"], ["--precision"]),
        (["edgeai", "optimize", "--precision", "int8_"], ["int8_dynamic"]),
        (["edgeai", "jobs", "can"], ["cancel"]),
        (["edgeai", "jobs", "--kind", "di"], ["diagnosis"]),
        (["edgeai", "dia"], ["diagnose"]),
    ],
)
def test_bash_completes(line: list[str], expected: list[str]) -> None:
    script = script_for("bash", make_parser())
    words = " ".join(f'"{word}"' for word in line)
    ask = f"{script}\nCOMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _edgeai; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["/bin/bash", "-euc", ask], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected


def test_the_other_shells_have_a_script() -> None:
    zsh = script_for("zsh", make_parser())
    assert 0 < zsh.index("&& compinit -u") < zsh.index("&& bashcompinit") < zsh.index("_edgeai()")
    fish = script_for("fish", make_parser())
    assert "complete -c edgeai -n '__fish_seen_subcommand_from optimize' -l precision -x -a 'auto int8" in fish
