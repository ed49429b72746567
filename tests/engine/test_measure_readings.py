"""What is read from the kernel and from the runtime's profile, on files whose content is known."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_ai.engine.measure.energy import EnergyReading, energy_between_mj, read_energy
from edge_ai.engine.measure.environment import describe_machine, read_container, read_governor, read_processor
from edge_ai.engine.measure.memory import measure_of_used, peak_of, read_high_water_mb, read_rise_mb, read_used_mb
from edge_ai.engine.measure.profile import MAX_OPERATORS, sum_operators
from edge_ai.engine.measure.runner import EMPTY_MODEL


def kernel(name: str, op: str, start_us: int, duration_us: int, index: int = 0, thread: int = 1) -> dict[str, Any]:
    args = {"op_name": op, "node_index": str(index)}
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": start_us,
        "dur": duration_us,
        "tid": thread,
        "args": args,
    }


def model_run(start_us: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": start_us, "dur": 50, "tid": 1}


def test_operators_are_added_up_over_the_runs_and_the_warm_up_is_left_out() -> None:
    events = [model_run(0), kernel("a", "Conv", 1, 1000), model_run(2000), kernel("a", "Conv", 2001, 30)]
    events += [kernel("b", "Relu", 2040, 10, 1), model_run(3000), kernel("a", "Conv", 3001, 50)]
    events += [kernel("b", "Relu", 3060, 10, 1)]
    untold = {"dtype": None, "reads": None, "provider": None}
    assert sum_operators(events, skip_runs=1) == [
        {"name": "a", "type": "Conv", "count": 2, "total_ms": 0.08, "median_ms": 0.04, "share": 0.8} | untold,
        {"name": "b", "type": "Relu", "count": 2, "total_ms": 0.02, "median_ms": 0.01, "share": 0.2} | untold,
    ]


def test_time_in_a_subgraph_belongs_to_its_operators_and_is_counted_once() -> None:
    events = [model_run(0), kernel("loop", "Loop", 10, 100), kernel("mul", "MatMul", 20, 60), kernel("x", "Add", 85, 5)]
    rows = {row["name"]: row["total_ms"] for row in sum_operators(events)}
    assert rows == {"loop": 0.035, "mul": 0.06, "x": 0.005}


def test_nodes_without_a_name_are_kept_apart_by_their_index() -> None:
    rows = sum_operators([model_run(0), kernel("", "Conv", 1, 4, 1), kernel("", "Conv", 10, 6, 2)])
    assert [(row["name"], row["total_ms"]) for row in rows] == [("Conv", 0.006), ("Conv", 0.004)]


def test_a_large_graph_keeps_its_shares_summing_to_one() -> None:
    events = [kernel(f"n{number}", "Add", 10 * number, 1 + number % 5, number) for number in range(1000)]
    rows = sum_operators([model_run(0), *events])
    assert len(rows) == MAX_OPERATORS
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert sum(row["count"] for row in rows) == 1000
    assert rows[-1]["name"] == "601 shorter operators"


def test_a_profile_without_measurable_time_has_no_division_by_zero() -> None:
    assert sum_operators([model_run(0), kernel("a", "Add", 1, 0)])[0]["share"] == 0
    assert sum_operators([]) == []


def test_energy_is_the_sum_over_packages_and_survives_an_overflow(tmp_path: Path) -> None:
    for name, energy_uj in (("intel-rapl:0", 5_000), ("intel-rapl:1", 999_000), ("intel-rapl:0:0", 4_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{energy_uj}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("999999\n")
    before = read_energy(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("8000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000\n")
    after = read_energy(tmp_path)
    assert isinstance(before, EnergyReading)
    assert isinstance(after, EnergyReading)
    assert set(before.energy_uj) == {"intel-rapl:0", "intel-rapl:1"}
    assert energy_between_mj(before, after) == pytest.approx((3_000 + 2_000) / 1e3)


def test_energy_that_cannot_be_read_is_a_reason_and_not_a_number(tmp_path: Path) -> None:
    assert "no RAPL" in str(read_energy(tmp_path / "absent"))
    (tmp_path / "intel-rapl:0").mkdir()
    assert "may not read" in str(read_energy(tmp_path))


def test_memory_prefers_the_proportional_share(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t    3000 kB\nVmRSS:\t    2000 kB\n")
    assert read_used_mb(tmp_path) == pytest.approx(2.048)
    assert measure_of_used(tmp_path) == "rss"
    assert read_high_water_mb(tmp_path) == pytest.approx(3.072)
    (tmp_path / "smaps_rollup").write_text("00400000-7fff ---p [rollup]\nRss: 2000 kB\nPss:                1000 kB\n")
    assert read_used_mb(tmp_path) == pytest.approx(1.024)
    assert measure_of_used(tmp_path) == "pss"
    assert read_rise_mb(tmp_path) == pytest.approx(1.024)
    assert read_used_mb(tmp_path / "absent") is None
    assert read_rise_mb(tmp_path / "absent") is None


def test_memory_of_this_process_is_believable() -> None:
    before_mb = read_used_mb()
    # More than what was freed before can serve: the allocator gets it from the system, and gives it back.
    held = np.ones(100_000_000, dtype=np.uint8)
    during_mb = read_used_mb()
    del held
    rise_mb = read_rise_mb()
    assert before_mb is not None
    assert during_mb is not None
    assert rise_mb is not None
    assert during_mb - before_mb > 75
    assert rise_mb > 75


def test_processor_is_named_with_its_vector_instructions_only(tmp_path: Path) -> None:
    x86, arm = tmp_path / "x86", tmp_path / "arm"
    x86.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse4_2 avx2 smep lm avx512_vnni\n")
    arm.write_text("processor\t: 0\nFeatures\t: fp asimd crc32 asimddp\n\nModel\t\t: Raspberry Pi 5\n")
    assert read_processor(x86) == ("Some CPU @ 2 GHz", ["avx2", "avx512_vnni", "sse4_2"])
    assert read_processor(arm) == ("Raspberry Pi 5", ["asimd", "asimddp"])
    assert read_processor(tmp_path / "absent") == (None, [])


def test_governor_and_container_are_read_or_unknown(tmp_path: Path) -> None:
    assert read_governor([0], tmp_path) is None
    (tmp_path / "cpu0" / "cpufreq").mkdir(parents=True)
    (tmp_path / "cpu0" / "cpufreq" / "scaling_governor").write_text("performance\n")
    assert read_governor([0, 1], tmp_path) == "performance"
    assert read_container(tmp_path) is None
    (tmp_path / ".dockerenv").touch()
    assert read_container(tmp_path) == "docker"


def test_machine_is_described_without_gaps() -> None:
    facts = describe_machine([0])
    assert set(facts) >= {"cpu_model", "cpu_flags", "cores", "governor", "memory_mb", "kernel", "container", "python"}


def test_the_empty_model_is_a_valid_model_that_answers_its_input() -> None:
    onnx.checker.check_model(onnx.load_from_string(EMPTY_MODEL), full_check=True)
    session = onnxruntime.InferenceSession(EMPTY_MODEL, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.array([3.0], dtype=np.float32)})[0].tolist() == [3.0]


def test_the_peak_is_the_most_of_all_readings() -> None:
    assert peak_of(30.0, 2.0, earlier_mb=(20.0, 31.0)) == 32.0
    # Another process has mapped the same libraries meanwhile.
    assert peak_of(30.0, 0.5, earlier_mb=(20.0, 31.0)) == 31.0
    assert peak_of(30.0, 0.5, earlier_mb=(None, None)) == 30.5
    assert peak_of(None, 0.5, earlier_mb=(20.0, 31.0)) is None
    assert peak_of(30.0, None, earlier_mb=(20.0, 31.0)) is None
