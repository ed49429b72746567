"""What a hostile model would try, tried by real children at every level; and that honest engines work at every level."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edge_ai.engine.spec import AnalyzeSpec, BenchmarkSpec, Format, OptimizeSpec, Precision, Spec, spec_to_json
from edge_ai.sample import CALIBRATION_DATA, ONNX_MODEL
from edge_ai.sandbox import (
    CODE_DIR,
    Child,
    Level,
    Limits,
    SandboxError,
    bubblewrap,
    inside,
    places,
    python_module,
    seccomp,
)
from edge_ai.sandbox import policy as policies
from edge_ai.sandbox.attacks import ATTACKS
from edge_ai.sandbox.limits import address_bytes_for
from edge_ai.sandbox.probe import advice, find, layers, try_level
from tests.edge_ai.sandboxes import need, trial
from tests.edge_ai.test_sandbox import LIMITS, finish

HELD = [Level.STRONG, Level.STANDARD, Level.PARTIAL]
#: What stops nothing must be seen to stop nothing; whether these succeed depends on the user and the kernel.
DEPENDS = {"mount", "make_device", "gain_rights", "keep_rights", "fork", "make_namespace", "deep_calls"} | (
    {"trace", "read_memory", "read_environment", "kill", "limit_another"} if os.geteuid() == 0 else set()
)
AN_INTERPRETER_FOR_ALL = "/usr/bin/python3"


@pytest.mark.parametrize("attack", [attack.__name__ for attack in ATTACKS])
@pytest.mark.parametrize("level", HELD)
def test_an_attack_is_stopped(level: Level, attack: str) -> None:
    need_or_see(level)
    found = next(each for each in trial(level).attacks if each.name == attack)
    assert found.stopped, found.how


def need_or_see(level: Level) -> None:
    """Skip only where the level cannot even be begun: what lets an attack through is what this is to find."""
    if not trial(level).attacks:
        need(level)


def test_the_attacks_are_attacks() -> None:
    tried = try_level(Level.NONE)
    through = {each.name for each in tried.attacks if not each.stopped}
    assert {attack.__name__ for attack in ATTACKS} - DEPENDS <= through
    assert not tried.works


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can become an ordinary user to try this.")
@pytest.mark.skipif(not Path(AN_INTERPRETER_FOR_ALL).exists(), reason="No interpreter that everybody may run.")
def test_every_attack_is_stopped_for_an_ordinary_user_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    code = (
        "import json\nfrom edge_ai.sandbox.levels import Level\nfrom edge_ai.sandbox.probe import try_level\n"
        "for level in ('strong', 'standard', 'partial'):\n"
        "    tried = try_level(Level(level)); print(json.dumps([level, tried.works, tried.why]))\n"
    )
    version = [AN_INTERPRETER_FOR_ALL, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if subprocess.run(version, check=False).returncode:
        pytest.skip(f"{AN_INTERPRETER_FOR_ALL} is older than 3.11.")
    if not os.access(CODE_DIR, os.R_OK) or places.closed_to_others(
        read=[places.PACKAGE], passed=places.PACKAGE.parents
    ):
        pytest.skip("The code lies where an ordinary user cannot read it.")
    done = subprocess.run(
        [AN_INTERPRETER_FOR_ALL, "-P", "-c", code],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CODE_DIR), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        user=54321,
        group=54321,
        extra_groups=[],
    )
    assert done.returncode == 0, done.stderr
    tried = {level: (works, why) for level, works, why in map(json.loads, done.stdout.splitlines())}
    for level in (Level.STANDARD, Level.STRONG, Level.PARTIAL):
        works, why = tried[level.value]
        if level is Level.STANDARD and trial(level).works and inside.landlock_abi() >= policies.LANDLOCK_SIGNALS:
            assert works, why
        if "does not stop" in why:
            pytest.fail(f"{level}: {why}")


@pytest.mark.parametrize("folder", ["/", "/usr", "/home", str(CODE_DIR), str(CODE_DIR / "edge_ai")])
def test_no_folder_that_others_need_is_ever_given_away(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(os, "lchown", lambda *arguments: given.append(arguments))
    with pytest.raises(ValueError, match="can be given away"):
        places.hand_over(Path(folder), 1_900_000_000)
    assert given == []


# -- what is said of it ----------------------------------------------------------------------------------------------------
def test_the_best_level_that_works_is_found() -> None:
    found = find("auto", allow_none=False)
    working = [level for level in HELD if trial(level).works]
    assert found.level is (working[0] if working else Level.NONE)
    report = json.loads(json.dumps(found.report()))
    assert report["level"] == found.level
    assert {each["name"] for each in report["attacks"]} == {attack.__name__ for attack in ATTACKS}
    assert {each["name"] for each in report["layers"]} >= {"bubblewrap", "Landlock", "seccomp", "user"}


def test_without_bubblewrap_standard_is_the_best(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need(Level.STANDARD)
    monkeypatch.setattr(bubblewrap, "find", lambda: None)
    found = find("auto", allow_none=False)
    assert (found.level, found.refused) == (Level.STANDARD, "")
    assert found.trials[0].why == "The sandbox level “strong” needs bubblewrap, which is not installed."
    assert any("Install bubblewrap" in line for line in found.report()["advice"])
    with pytest.raises(SandboxError):
        Child([sys.executable, "-c", ""], folder=tmp_path, stdin=b"", limits=LIMITS, level=Level.STRONG)


def test_a_kernel_without_landlock_leaves_bubblewrap_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "landlock_abi", lambda: 0)
    found = find("auto", allow_none=False)
    if trial(Level.PARTIAL).works:
        assert (found.level, found.refused) == (Level.PARTIAL, "")
    assert [each.works for each in found.trials[:2]] == [False, False]
    assert "needs Landlock" in found.trials[1].why
    monkeypatch.setattr(bubblewrap, "find", lambda: None)
    found = find("auto", allow_none=False)
    assert found.level is Level.NONE
    assert "No level of the sandbox works" in found.refused
    assert find("auto", allow_none=True).refused == ""


def test_a_level_that_is_named_and_does_not_work_refuses_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "find", lambda: None)
    found = find("strong", allow_none=True)
    assert found.level is Level.NONE
    assert "SANDBOX_LEVEL is strong, which does not work on this host" in found.refused
    assert "not installed" in found.refused
    assert find("none", allow_none=False).refused and not find("none", allow_none=True).refused


def test_a_layer_that_is_missing_in_the_new_process_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need(Level.STANDARD)
    # The parent believes that the kernel has what it then does not have.
    monkeypatch.setattr(inside, "LANDLOCK_RESTRICT_SELF", 100_000)
    child = Child(
        [sys.executable, "-c", "print('ran')"], folder=tmp_path, stdin=b"", limits=LIMITS, level=Level.STANDARD
    )
    lines = finish(child)
    assert ("out", "ran") not in lines
    assert child.returncode == inside.NOT_HELD
    assert isinstance(child.killed_for, SandboxError)
    assert child.killed_for.code == "sandbox_unavailable" and not child.killed_for.retryable
    assert "Landlock" in str(child.killed_for)


def test_a_child_that_is_killed_before_it_was_held_blames_no_sandbox(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need(Level.STANDARD)
    monkeypatch.setattr("edge_ai.sandbox.child.held_or_ended", lambda policy, ready: os.kill(os.getpid(), 9))
    child = Child(
        [sys.executable, "-c", "print('ran')"], folder=tmp_path, stdin=b"", limits=LIMITS, level=Level.STANDARD
    )
    assert finish(child) == []
    assert (child.returncode, child.killed_for) == (-9, None), "another attempt is worth it"


def test_a_program_that_ends_like_a_missing_layer_is_believed_nothing(tmp_path: Path) -> None:
    code = f"import os; os.write(2, b'sandbox: Landlock\\n'); os._exit({inside.NOT_HELD})"
    child = Child([sys.executable, "-c", code], folder=tmp_path, stdin=b"", limits=LIMITS)
    finish(child)
    assert (child.returncode, child.killed_for) == (inside.NOT_HELD, None)


def test_what_is_said_fits_the_host() -> None:
    for level in Level:
        for layer in layers(level):
            assert isinstance(layer["on"], bool) and layer["detail"]
    assert advice(Level.STRONG, ()) == [] or inside.landlock_abi() < policies.LANDLOCK_SIGNALS


# -- the filter ------------------------------------------------------------------------------------------------------------
def run_filter(program: bytes, machine: int, number: int, *arguments: int) -> int:
    """Run a seccomp program as the kernel does; returns its verdict."""
    data = struct.pack("=IIQ6Q", number, machine, 0, *(*arguments, *[0] * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    at, value = 0, 0
    while True:
        operation, yes, no, operand = code[at]
        at += 1
        if operation == seccomp.LOAD:
            value = int(struct.unpack_from("=I", data, operand)[0])
        elif operation == seccomp.AND:
            value &= operand
        elif operation == seccomp.RETURN:
            return int(operand)
        else:
            jump = {
                seccomp.JUMP_EQUAL: value == operand,
                seccomp.JUMP_AT_LEAST: value >= operand,
                seccomp.JUMP_ANY_BIT: bool(value & operand),
            }[operation]
            at += yes if jump else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("old_kernel", [False, True])
def test_the_filter_decides_as_it_should(machine: str, old_kernel: bool) -> None:
    program = seccomp.program(own_signals=old_kernel, keep_length=old_kernel, machine=machine)
    assert program is not None
    known = seccomp.MACHINES[machine]

    def verdict(name: str, *arguments: int) -> int:
        number = seccomp.CALLS[name][known.column]
        assert number is not None
        return run_filter(program, known.audit, number, *arguments)

    for name in seccomp.DENIED:
        if seccomp.CALLS[name][known.column] is not None:
            assert verdict(name) == seccomp.DENY, name
    for name in seccomp.EMPTY:
        if seccomp.CALLS[name][known.column] is not None:
            assert verdict(name) == seccomp.NOTHING, name
    assert verdict("clone3") == seccomp.ERRNO | errno.ENOSYS
    assert verdict("clone", 0x3D0F00) == seccomp.ALLOW, "a thread"
    assert verdict("clone", 0x10000000 | 17) == seccomp.DENY, "a user namespace"
    assert verdict("socketpair", 1, 1 | 0o2000000) == seccomp.ALLOW
    assert verdict("socketpair", 1, 2) == verdict("socketpair", 2, 1) == seccomp.DENY
    assert verdict("prlimit64", 0) == seccomp.ALLOW and verdict("prlimit64", 77) == seccomp.DENY
    assert verdict("ioctl", 0, 0x5412) == seccomp.DENY and verdict("ioctl", 0, 0x5401) == seccomp.ALLOW
    assert verdict("fchmod", 3, 0o644) == seccomp.ALLOW
    assert verdict("fchmod", 3, 0o666) == verdict("fchmod", 3, 0o4755) == verdict("fchmod", 3, 0) == seccomp.NOTHING
    signal_others, cut = (seccomp.DENY, seccomp.DENY) if old_kernel else (seccomp.ALLOW, seccomp.ALLOW)
    assert verdict("kill", 5) == verdict("kill", 2**32 - 1) == signal_others
    assert (
        verdict("kill", 0) == verdict("kill", inside.OWN_PID) == verdict("tgkill", inside.OWN_PID + 1) == seccomp.ALLOW
    )
    assert verdict("truncate") == verdict("openat", 0, 0, 0o1000) == cut
    assert verdict("openat", 0, 0, 0o1001) == verdict("openat", 0, 0, 0) == seccomp.ALLOW
    other = seccomp.MACHINES["aarch64" if machine == "x86_64" else "x86_64"]
    assert run_filter(program, other.audit, 0) == seccomp.KILL
    if machine == "x86_64":
        assert run_filter(program, known.audit, 0x4000_0000 | 41) == seccomp.ERRNO | errno.ENOSYS, "x32"
    assert run_filter(program, known.audit, 999) == seccomp.ALLOW
    assert len(program) // 8 < 4096, "the kernel takes no more"


def test_a_processor_that_is_not_known_has_no_filter() -> None:
    assert seccomp.program(own_signals=False, keep_length=False, machine="riscv64") is None


@pytest.mark.skipif(platform.machine() not in seccomp.MACHINES, reason="No filter for this processor.")
def test_signals_are_held_without_landlocks_help(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    need(Level.STANDARD)
    monkeypatch.setattr(policies, "landlock_abi", lambda: 5)
    monkeypatch.setattr(policies, "new_user", lambda *_, **__: (None, False))
    code = (
        "import os, signal, subprocess, sys\n"
        "own = subprocess.Popen(['/usr/bin/sleep', '60'], stderr=subprocess.DEVNULL)\n"
        "own.kill(); print(own.wait())\n"
        f"for pid in ({os.getpid()}, -1):\n"
        "    try: os.kill(pid, 0); print('sent')\n"
        "    except PermissionError: print('refused')\n"
    )
    child = Child([sys.executable, "-c", code], folder=tmp_path, stdin=b"", limits=LIMITS, level=Level.STANDARD)
    assert [text for _, text in finish(child)] == ["-9", "refused", "refused"]


def test_the_address_space_grows_with_the_model() -> None:
    small, large = address_bytes_for(1000, 1 << 40), address_bytes_for(1 << 30, 1 << 40)
    assert small >= 4 << 30 and large - small == pytest.approx(3 << 30, abs=4000)
    assert address_bytes_for(1 << 40, 64 << 30) == 64 << 30


# -- honest work -----------------------------------------------------------------------------------------------------------
def engine(level: Level, folder: Path, spec: Spec, *inputs: Path) -> dict[str, object]:
    """Do a job as a worker does; returns the engine's result."""
    for path in inputs:
        target = folder / ("model.onnx" if path == ONNX_MODEL else path.name)
        shutil.copy(path, target)
        target.chmod(0o444)
    limits = Limits(wall_seconds=120, memory_bytes=8 << 30, address_bytes=address_bytes_for(1 << 20, 64 << 30))
    child = Child(
        python_module("edge_ai.engine", "run"),
        folder=folder,
        stdin=json.dumps(spec_to_json(spec)).encode(),
        limits=limits,
        level=level,
    )
    lines = finish(child, seconds=150)
    assert child.returncode == 0, lines
    answer: dict[str, object] = json.loads([text for stream, text in lines if stream == "out"][-1])
    assert answer["type"] == "result"
    return answer


@pytest.mark.parametrize("level", [*HELD, Level.NONE])
def test_an_honest_model_is_analysed_at_every_level(level: Level, tmp_path: Path) -> None:
    need(level)
    answer = engine(level, tmp_path, AnalyzeSpec(model_path="model.onnx", format=Format.ONNX), ONNX_MODEL)
    assert answer["result"]["parameter_count"] > 0  # type: ignore[index]  # JSON


@pytest.mark.parametrize("level", [Level.STRONG, Level.STANDARD])
def test_a_benchmark_measures_and_describes_the_machine(level: Level, tmp_path: Path) -> None:
    need(level)
    spec = BenchmarkSpec(
        model_path="model.onnx", format=Format.ONNX, threads=1, warmup=2, min_seconds=0.2, max_seconds=0.5, cpus=(0,)
    )
    result = engine(level, tmp_path, spec, ONNX_MODEL)["result"]
    assert result["latency_ms"]["p50"] > 0  # type: ignore[index]  # JSON
    assert result["environment"]["cpu_model"] or platform.machine() != "x86_64"  # type: ignore[index]  # JSON


@pytest.mark.parametrize("target", [Format.ONNX, Format.OPENVINO, Format.NCNN])
def test_an_honest_model_is_converted_at_the_best_level(target: Format, tmp_path: Path) -> None:
    level = next((each for each in HELD if trial(each).works), Level.NONE)
    precision = Precision.INT8 if target is Format.ONNX else Precision.FP16
    spec = OptimizeSpec(
        model_path="model.onnx",
        source_format=Format.ONNX,
        target_format=target,
        precision=precision,
        dataset_path=CALIBRATION_DATA.name,
        options={"search": False},
    )
    answer = engine(level, tmp_path, spec, ONNX_MODEL, CALIBRATION_DATA)
    made_files = answer["files"]
    assert isinstance(made_files, list) and made_files
    assert (tmp_path / made_files[0]["path"]).stat().st_uid == os.geteuid(), "it was handed back"
