"""What is said to differ between two environments."""

import numpy as np

from edge_ai.engine.environments import environment_differences
from edge_ai.engine.measure.environment import describe_machine

HERE = {
    "cpu_model": "Example CPU",
    "cpu_flags": ["avx2", "fma"],
    "governor": None,
    "memory_mb": 16000,
    "threads": 2,
    "cpus": [0, 1],
    "pinned": False,
    "runtime": "litert",
    "litert": "2.3.0",
    "libraries": {"numpy": "2.4.6", "ai-edge-litert": "2.3.0"},
    "studio_commit": "0123456789abcdef",
}


def told(**fields: object) -> list[dict[str, object]]:
    return environment_differences(HERE, HERE | fields)


def test_the_same_environment_differs_in_nothing() -> None:
    assert told() == []
    assert environment_differences(describe_machine([0]), describe_machine([0])) == []


def test_each_difference_is_told_with_both_values_and_in_words() -> None:
    (found,) = told(threads=1)
    assert found == {"field": "threads", "a": 2, "b": 1, "detail": "threads: 2 in the baseline, 1 in this run"}
    assert [each["detail"] for each in told(cpus=[1], pinned=True, governor="powersave")] == [
        "processors used: 0, 1 in the baseline, 1 in this run",
        "pinning: not pinned in the baseline, pinned in this run",
        "frequency governor: none known in the baseline, powersave in this run",
    ]


def test_vector_instructions_are_told_by_what_one_lacks() -> None:
    (found,) = told(cpu_flags=["fma", "amx_tile", "avx512f"])
    assert found["detail"] == (
        "vector instructions only in the baseline: avx2; vector instructions only in this run: amx_tile, avx512f"
    )
    assert told(cpu_flags=["fma", "avx2"]) == []


def test_versions_of_libraries_are_compared_where_both_are_known() -> None:
    (found,) = told(libraries={"numpy": "2.5.0", "ai-edge-litert": "2.3.0", "openvino": "2026.4.1"})
    assert (found["field"], found["a"], found["b"]) == ("libraries.numpy", "2.4.6", "2.5.0")


def test_the_runtime_of_an_older_result_is_compared_all_the_same() -> None:
    old = {name: value for name, value in HERE.items() if name != "libraries"} | {"litert": "2.2.0"}
    (found,) = environment_differences(old, HERE)
    assert (found["field"], found["a"], found["b"]) == ("libraries.ai-edge-litert", "2.2.0", "2.3.0")


def test_what_one_does_not_have_is_no_difference_and_a_little_memory_neither() -> None:
    assert environment_differences({}, HERE) == []
    assert told(sandbox_level="full") == []
    assert told(memory_mb=15900) == []
    assert [each["field"] for each in told(memory_mb=8000)] == ["memory_mb"]


def test_a_commit_is_told_by_its_first_twelve_digits() -> None:
    (found,) = told(studio_commit="fedcba9876543210")
    assert found["detail"] == "commit of the studio: 0123456789ab in the baseline, fedcba987654 in this run"


def test_the_versions_are_those_of_the_packages() -> None:
    libraries = describe_machine([0])["libraries"]
    assert isinstance(libraries, dict)
    assert libraries["numpy"] == np.__version__
