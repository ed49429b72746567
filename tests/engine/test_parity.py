"""The figures of parity against closed forms, and the gate that they are held to."""

import math
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from edge_ai.engine.errors import ParityError
from edge_ai.engine.evaluate.distance import MAX_SQNR_DB, OutputParity, compare_output
from edge_ai.engine.evaluate.gate import find_fault, judge
from edge_ai.engine.evaluate.parity import (
    MetricChange,
    Parity,
    compare_variant,
    run_reference,
)
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.spec import Format, Precision

from . import graphs


def test_an_error_of_a_hundredth_is_40_db() -> None:
    x = np.array([[3.0, -4.0]], np.float32)
    found = compare_output("y", [(x, x * np.float32(1.01))])
    assert found.sqnr_db == pytest.approx(40.0, abs=1e-3)
    assert found.cosine == pytest.approx(1.0)
    assert found.max_abs_error == pytest.approx(0.04, abs=1e-6)


def test_sums_go_over_all_samples_not_over_their_ratios() -> None:
    # Signal 100 + 1, noise 0 + 1: 10·log10(101).
    pairs = [(np.array([10.0]), np.array([10.0])), (np.array([1.0]), np.array([0.0]))]
    assert compare_output("y", pairs).sqnr_db == pytest.approx(10 * math.log10(101))


def test_orthogonal_and_opposite_answers() -> None:
    assert compare_output("y", [(np.array([1.0, 0.0]), np.array([0.0, 1.0]))]).cosine == pytest.approx(0.0)
    opposite = compare_output("y", [(np.array([1.0, 2.0]), np.array([-1.0, -2.0]))])
    assert opposite.cosine == pytest.approx(-1.0)
    assert opposite.sqnr_db == pytest.approx(10 * math.log10(1 / 4))


def test_equal_answers_get_the_largest_figure_and_silence_against_noise_the_smallest() -> None:
    zero, one = np.zeros(3), np.ones(3)
    assert compare_output("y", [(one, one)]).sqnr_db == MAX_SQNR_DB
    assert compare_output("y", [(zero, one)]).sqnr_db == -MAX_SQNR_DB
    assert (compare_output("y", [(zero, zero)]).cosine, compare_output("y", [(zero, one)]).cosine) == (1.0, 0.0)


def test_whole_numbers_are_compared_by_agreement() -> None:
    found = compare_output("y", [(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]))])
    assert (found.agreement, found.sqnr_db) == (0.75, None)


def test_top_1_counts_rows_of_scores() -> None:
    x = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    y = np.array([[0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.6, 0.4]])
    assert compare_output("y", [(x, y)], classes=True).top1_agreement == 0.75
    assert compare_output("y", [(x, y)]).top1_agreement is None


def test_logits_are_recovered_from_a_softmax() -> None:
    logits = np.array([[2.0, -1.0, -1.0], [0.0, 3.0, -3.0]])
    noisy = logits + np.array([[0.0, 0.3, -0.3], [0.3, 0.0, -0.3]])

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    found = compare_output("y", [(softmax(logits), softmax(noisy))], softmax_axis=1)
    # Both sets of logits have a mean of 0 in each row, so centring changes nothing: signal 6 + 18, noise 4 · 0.09.
    assert found.logits_sqnr_db == pytest.approx(10 * math.log10(24 / 0.36))


def test_infinities_of_the_source_are_no_fault_of_the_variant() -> None:
    x = np.array([1.0, -np.inf])
    assert compare_output("y", [(x, np.array([1.0, -1e30]))]).finite
    assert not compare_output("y", [(x, np.array([np.nan, -np.inf]))]).finite


def test_another_shape_is_no_parity() -> None:
    assert not compare_output("y", [(np.zeros((1, 2)), np.zeros((1, 3)))]).same_shape


def opened(path: Path) -> Session:
    return open_model(path, Format.ONNX, threads=1)


def test_a_known_change_of_a_weight_gives_the_sqnr_that_it_must(tmp_path: Path) -> None:
    source = graphs.dense_net()
    variant = graphs.dense_net()
    last = variant.graph.initializer[1]
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) * np.float32(1.1), last.name))
    paths = [graphs.save(source, tmp_path / "a.onnx"), graphs.save(variant, tmp_path / "b.onnx")]
    feeds = [{"x": graphs.samples(1, 32, seed=seed)} for seed in range(10)]
    reference = run_reference(opened(paths[0]), feeds, data="dataset", batch=1, labels=None, softmax_outputs={})
    found = compare_variant(reference, opened(paths[1]))
    # The last layer is linear and all of it is a tenth larger: 20 dB, and the largest score stays where it is.
    assert found.sqnr_db == pytest.approx(20.0, abs=1e-3)
    assert (found.samples, found.data, found.top1_agreement) == (10, "dataset", 1.0)
    assert found.informative and found.metric is None


def test_labels_give_the_metric_of_both(tmp_path: Path) -> None:
    source, variant = graphs.dense_net(), graphs.dense_net()
    last = variant.graph.initializer[1]
    last.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(last), last.name))
    paths = [graphs.save(source, tmp_path / "a.onnx"), graphs.save(variant, tmp_path / "b.onnx")]
    feeds = [{"x": graphs.samples(1, 32, seed=seed)} for seed in range(20)]
    plain = run_reference(opened(paths[0]), feeds, data="dataset", batch=1, labels=None, softmax_outputs={})
    labels = np.array([int(answer[0].argmax()) for answer in plain.answers])
    reference = run_reference(opened(paths[0]), feeds, data="dataset", batch=1, labels=labels, softmax_outputs={})
    metric = compare_variant(reference, opened(paths[1])).metric
    # The variant answers the negative: the right class is now the least likely one.
    assert metric is not None
    assert (metric.name, metric.reference, metric.variant, metric.drop, metric.samples) == ("top1", 1.0, 0.0, 1.0, 20)


def test_answers_that_never_change_prove_little(tmp_path: Path) -> None:
    path = graphs.save(graphs.dense_net(), tmp_path / "a.onnx")
    feeds = [{"x": np.zeros((1, 32), np.float32)}] * 3
    reference = run_reference(opened(path), feeds, data="random", batch=1, labels=None, softmax_outputs={})
    found = compare_variant(reference, opened(path))
    assert not found.informative
    assert "uninformative_input" in {caution.code for caution in judge(found, Precision.FP16, accuracy_budget=0.02)}


def parity(sqnr_db: float | None, metric: tuple[float, float] | None = None, **facts: object) -> Parity:
    output = OutputParity(name="y", sqnr_db=sqnr_db, cosine=0.9, max_abs_error=0.1, **facts)  # type: ignore[arg-type]
    change = None if metric is None else MetricChange(name="top1", reference=metric[0], variant=metric[1], samples=500)
    return Parity(outputs=(output,), samples=100, data="dataset", metric=change)


@pytest.mark.parametrize(
    ("sqnr_db", "precision", "passes"),
    [
        (39.9, Precision.FP32, False),
        (40.0, Precision.FP32, True),
        (24.9, Precision.FP16, False),
        (25.0, Precision.FP16, True),
        (7.9, Precision.INT8, False),
        (8.0, Precision.INT8, True),
        (7.9, Precision.INT8_DYNAMIC, False),
    ],
)
def test_without_labels_the_floor_decides(sqnr_db: float, precision: Precision, passes: bool) -> None:
    assert (find_fault(parity(sqnr_db), precision, accuracy_budget=0.02) is None) is passes


@pytest.mark.parametrize(
    ("sqnr_db", "metric", "budget", "passes"),
    [
        (5.0, (0.90, 0.89), 0.02, True),
        (5.0, (0.90, 0.87), 0.02, False),
        (5.0, (0.90, 0.87), 0.05, True),
        (30.0, (0.90, 0.80), 0.02, False),
        (2.9, (0.90, 0.90), 0.02, False),
    ],
)
def test_with_labels_the_metric_decides_above_3_db(
    sqnr_db: float, metric: tuple[float, float], budget: float, passes: bool
) -> None:
    assert (find_fault(parity(sqnr_db, metric), Precision.INT8, accuracy_budget=budget) is None) is passes


def test_a_refusal_names_the_figures_and_what_to_try() -> None:
    with pytest.raises(ParityError) as caught:
        judge(parity(5.0), Precision.INT8, accuracy_budget=0.02)
    assert caught.value.code == "parity_failed"
    assert "5.0 dB" in caught.value.message and "8 dB" in caught.value.message
    assert "fp16" in caught.value.fix
    assert (caught.value.details or {})["parity"]["sqnr_db"] == 5.0
    with pytest.raises(ParityError) as caught:
        judge(parity(5.0, (0.988, 0.102)), Precision.FP16, accuracy_budget=0.02, thinned=True)
    assert "top-1 accuracy falls from 98.80 % to 10.20 %" in caught.value.message
    assert "by more than the 2 points that may be lost" in caught.value.message
    assert caught.value.fix.startswith("Prune or cluster less")


def test_nan_or_another_shape_never_pass() -> None:
    for facts in ({"finite": False}, {"same_shape": False}):
        with pytest.raises(ParityError):
            judge(parity(100.0, (0.9, 0.9), **facts), Precision.INT8, accuracy_budget=1.0)


def test_what_is_unusually_far_passes_with_a_warning() -> None:
    assert [c.code for c in judge(parity(19.0), Precision.INT8, accuracy_budget=0.02)] == ["low_parity"]
    assert judge(parity(20.0), Precision.INT8, accuracy_budget=0.02) == []
    assert [c.code for c in judge(parity(44.0), Precision.FP16, accuracy_budget=0.02)] == ["low_parity"]


def test_the_worst_output_counts() -> None:
    outputs = tuple(
        OutputParity(name=str(db), sqnr_db=db, cosine=1 - 1 / db, max_abs_error=1 / db) for db in (50.0, 10.0, 30.0)
    )
    found = Parity(outputs=outputs, samples=1, data="random")
    assert (found.sqnr_db, found.cosine, found.max_abs_error) == (10.0, 0.9, 0.1)
