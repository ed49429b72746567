"""The report on calibration data: each finding on data made to have it, and none on data that has nothing."""

from typing import Any

import numpy as np
import pytest

from edge_ai import sample
from edge_ai.engine.evaluate.calibration import calibration_report
from edge_ai.engine.evaluate.dataset import Dataset, divide, load_dataset
from edge_ai.engine.evaluate.made_up import distance, looks_made_up, neighbours
from edge_ai.engine.evaluate.samples import sample_hashes


def smooth(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Waves of different lengths: neighbours are alike, as in a picture."""
    random = np.random.default_rng(seed)
    across = np.linspace(0, 2 * np.pi, 16)
    phases, lengths = random.uniform(0, 6, (count, 1, 1)), random.uniform(1, 6, (count, 1, 1))
    waves = np.sin(across * lengths + phases) * np.cos(across[:, np.newaxis] + phases)
    return np.asarray(waves, np.float32)


def report(
    x: np.ndarray[Any, Any], labels: np.ndarray[Any, Any] | None = None, *, samples: int = 200
) -> dict[str, Any]:
    dataset = Dataset(inputs={"x": x}, labels=labels)
    division = divide(dataset, calibration_samples=samples, judgement_samples=300, seed=0)
    return calibration_report(division, sample_hashes(dataset.inputs))


def codes(found: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in found["warnings"]}


def test_good_data_has_no_warnings() -> None:
    found = report(smooth(500), np.arange(500) % 4)
    assert found["warnings"] == []
    assert (found["samples"], found["judged_samples"], found["overlap"], found["duplicates"]) == (200, 300, 0, 0)
    assert found["advice"].startswith("200 samples are enough")
    (about,) = found["inputs"]
    assert about["coverage"] == 1.0
    assert found["classes"]["count"] == 4
    assert sum(found["classes"]["samples"]) == 200
    assert len(found["sample_hashes"]) == 200


def test_the_bundled_sample_is_real_data() -> None:
    dataset = load_dataset(sample.CALIBRATION_DATA)
    division = divide(dataset, calibration_samples=100, judgement_samples=100, seed=0)
    found = calibration_report(division, sample_hashes(dataset.inputs))
    assert found["warnings"] == []
    # A twelfth of the pixels are white, which is no clipping.
    assert found["inputs"][0]["saturation"] > 0.05


@pytest.mark.parametrize("kind", ["uniform", "normal", "zeros"])
def test_noise_and_emptiness_look_made_up(kind: str) -> None:
    random = np.random.default_rng(1)
    shape = (200, 3, 16, 16)
    made = {"uniform": random.random(shape), "normal": random.normal(size=shape), "zeros": np.zeros(shape)}[kind]
    assert looks_made_up(made.astype(np.float32)) is not None
    assert "calibration_synthetic" in codes(report(made.astype(np.float32)))
    assert looks_made_up(smooth(200)) is None
    # Features in a table are neighbours by chance.
    assert looks_made_up(random.normal(size=(5000, 4))) is None


def test_neighbours_and_distances_are_what_they_are_called() -> None:
    steps = np.tile(np.arange(50.0), (3, 1))
    assert neighbours(steps, 1) == pytest.approx(1.0)
    assert neighbours(np.tile([1.0, -1.0], (2, 20)), 1) == pytest.approx(-1.0, abs=0.01)
    even = np.linspace(0, 1, 1001)
    assert distance(even, even) == pytest.approx(1 / 1001)


def test_copies_within_and_across_are_counted() -> None:
    x = smooth(500)
    x[1::2] = x[::2]
    found = report(x)
    assert {"calibration_duplicates", "calibration_overlap"} <= codes(found)
    assert found["duplicates"] + len(found["sample_hashes"]) == 200
    small = report(smooth(40))
    assert small["overlap"] == 40
    assert "same samples" in next(w["detail"] for w in small["warnings"] if w["code"] == "calibration_overlap")


def test_a_sample_unlike_the_others_is_named_by_its_place() -> None:
    x = smooth(120)
    x[7] *= 100
    found = report(x, samples=120)
    assert found["outliers"]["count"] == 1
    assert found["outliers"]["worst"][0]["sample"] == 7
    assert {"calibration_outliers", "calibration_wide"} <= codes(found)


def test_values_that_the_range_lacks_are_told() -> None:
    x = smooth(500)
    judged = divide(Dataset(inputs={"x": x}, labels=None), calibration_samples=200, judgement_samples=300, seed=0)
    x[judged.judgement_places] *= 3
    found = report(x)
    assert "calibration_coverage" in codes(found)
    assert 0.3 < found["inputs"][0]["coverage"] < 0.999


def test_clipped_values_are_told() -> None:
    found = report(np.clip(smooth(500), -0.4, 0.4))
    assert "calibration_saturated" in codes(found)
    assert found["inputs"][0]["range"] == pytest.approx([-0.4, 0.4])


def test_uneven_and_missing_classes_are_told() -> None:
    labels = np.zeros(500, int)
    labels[:20] = 5
    found = report(smooth(500), labels)
    assert {"calibration_imbalance", "calibration_classes_missing"} <= codes(found)
    assert found["classes"]["missing"] == 4


def test_few_and_blank_samples_are_told_and_more_are_advised() -> None:
    x = smooth(20)
    x[:3] = 0.5
    found = report(x)
    assert {"calibration_few", "calibration_constant", "calibration_duplicates"} <= codes(found)
    assert found["constant"] == 3
    assert found["advice"] == "Give 100 to 300 samples: there are 20."


def test_texts_have_no_range_and_a_hash_tells_types_apart() -> None:
    dataset = Dataset(inputs={"x": np.array(["a", "b", "a"])}, labels=None)
    division = divide(dataset, calibration_samples=10, judgement_samples=10, seed=0)
    assert calibration_report(division, sample_hashes(dataset.inputs))["duplicates"] == 1
    whole = np.arange(6).reshape(2, 3)
    first, second = sample_hashes({"x": whole.astype(np.int32)}), sample_hashes({"x": whole.astype(np.float32)})
    assert not set(first) & set(second)
    assert sample_hashes({"y": whole.astype(np.int32)}) == first
