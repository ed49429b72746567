"""The doctor's findings: each on a small network that has just that fault, and on one that has not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from edge_ai import sample
from edge_ai.engine.doctor import slow, wrong
from edge_ai.engine.doctor.align import align
from edge_ai.engine.doctor.diagnose import fault_of, precision_of, question_of
from edge_ai.engine.doctor.findings import Finding, Question, Remedy, in_order
from edge_ai.engine.doctor.layers import Looked, compare_graphs, look_into
from edge_ai.engine.doctor.onnx_graph import Graph
from edge_ai.engine.doctor.profiled import Profiled
from edge_ai.engine.evaluate.distance import OutputParity
from edge_ai.engine.evaluate.parity import MetricChange, Parity
from edge_ai.engine.formats.onnx import read_model
from edge_ai.engine.measure.slow_facts import Facts, look_into_file
from edge_ai.engine.pipeline import run
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import DiagnosisSpec, Format, Precision
from tests.engine.graphs import Told, model_of, samples, save, value, weight

FAST_CPU = ("avx2", "avx512_vnni")
SHAPE = (1, 8, 12, 12)


def chain(*between: str, channels: int = 8, layers: int = 3, wide: float = 1.0) -> onnx.ModelProto:
    """Return convolutions with operators of one input between them; ``wide``: how much larger one channel's weights are."""
    nodes, weights, last = [], [], "x"
    for number in range(layers):
        array = np.random.default_rng(number).standard_normal((channels, channels, 3, 3)).astype(np.float32) * 0.1
        array[0] *= wide
        weights.append(numpy_helper.from_array(array, f"w{number}"))
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], f"conv{number}", pads=[1, 1, 1, 1]))
        last = f"c{number}"
        for place, operator in enumerate(between[number].split() if number < len(between) else ()):
            answer = f"{'b' * (place + 1)}{number}"
            nodes.append(helper.make_node(operator, [last], [answer], f"{operator.lower()}{number}"))
            last = answer
    return model_of(nodes, [value("x", SHAPE)], [value(last, SHAPE)], weights)


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """Samples to calibrate on."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._left = [dict(feed) for feed in feeds]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None


def fed(count: int = 4, scale: float = 1.0) -> list[Feed]:
    return [{"x": samples(*SHAPE, seed=seed) * np.float32(scale)} for seed in range(count)]


def quantized(source: Path, target: Path, feeds: Sequence[Feed], **settings: Any) -> Path:
    """Write the int8 variant as onnxruntime's quantizer makes it."""
    given: dict[str, Any] = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "per_channel": True}
    quantize_static(source, target, Samples(feeds), quant_format=QuantFormat.QDQ, **(given | settings))
    return target


def looked(source: Path, variant: Path, folder: Path, feeds: Sequence[Feed] | None = None) -> Looked:
    given = list(feeds or fed())
    return look_into(
        (source, Format.ONNX, given), (variant, Format.ONNX, given), threads=1, cpus=None, workdir=folder, wrong=True
    )


def compared(source: Path, variant: Path, folder: Path, feeds: Sequence[Feed] | None = None) -> Looked:
    """Look at the values alone."""
    given = [(feed, feed) for feed in feeds or fed()]
    return compare_graphs(Graph(read_model(source)), Graph(read_model(variant)), given, folder)


def slow_case(found: Looked, variant: Path, **facts: Any) -> slow.SlowCase:
    assert found.before is not None and found.after is not None
    given: dict[str, Any] = {
        "source": Format.ONNX,
        "target": Format.ONNX,
        "before": found.before.times,
        "after": found.after.times,
        "activations": look_into_file(variant, Format.ONNX)[0],
        "cpu_flags": FAST_CPU,
    }
    return slow.SlowCase(facts=Facts(**(given | facts)), before=found.before, after=found.after, graph=found.variant)


def wrong_case(found: Looked, sqnr_db: float = 5.0, **fields: Any) -> wrong.WrongCase:
    output = OutputParity(name="y", sqnr_db=sqnr_db, cosine=0.5, max_abs_error=1.0)
    return wrong.WrongCase(
        target=Format.ONNX,
        precision=Precision.INT8,
        parity=Parity(outputs=(output,), samples=4, data="dataset"),
        fault="its outputs are far off.",
        taps=found.taps,
        errors=found.errors,
        losses=found.losses,
        baseline=found.baseline,
        variant=found.variant,
        nameable=frozenset() if found.baseline is None else frozenset(found.baseline.named),
        **fields,
    )


def by_code(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {finding.code: finding for finding in findings}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Looked]:
    """A network, its int8 variant without a fault, and what is seen of both."""
    folder = tmp_path_factory.mktemp("healthy")
    source = save(chain("Relu", "Relu"), folder / "source.onnx")
    variant = quantized(source, folder / "variant.onnx", fed())
    return source, variant, looked(source, variant, folder)


def test_a_healthy_variant_has_no_findings(healthy: tuple[Path, Path, Looked]) -> None:
    _, variant, found = healthy
    told = by_code(slow.causes(slow_case(found, variant)))
    faults = {
        *("weights_unpacked", "fell_back_to_float", "left_in_float", "unfused", "layout_transposes"),
        *("dynamic_convolution", "signed_activations", "int16_activations", "no_integer_instructions"),
    }
    assert not told.keys() & faults
    assert by_code(wrong.causes(wrong_case(found))).keys() == {"outputs_differ"}


def test_layers_are_aligned_with_times_errors_and_precisions(healthy: tuple[Path, Path, Looked]) -> None:
    _, _, found = healthy
    assert [row.name for row in found.rows] == ["conv0", "conv1", "conv2"]
    assert {row.precision for row in found.rows} == {"uint8"}
    for row in found.rows:
        assert row.sqnr_db is not None and 20 < row.sqnr_db < 60
        assert row.cosine is not None and row.cosine > 0.99
        assert row.baseline_ms is not None and row.variant_ms is not None
        assert "QLinearConv" in str(row.runs_as)
    assert found.rows[-1].transition == "dequantize"
    assert (found.islands, found.transitions) == (0, 2)
    worst = min(row.sqnr_db or 0.0 for row in found.rows)
    assert worst == found.rows[-1].sqnr_db, "errors add up on the way"


def test_a_model_beside_itself_is_exact(tmp_path: Path) -> None:
    source = save(chain("Relu", "HardSigmoid"), tmp_path / "source.onnx")
    found = compared(source, source, tmp_path)
    assert [row.sqnr_db for row in found.rows] == [200.0] * len(found.rows)
    assert {row.precision for row in found.rows} == {"float32"}
    assert (found.transitions, found.islands, found.losses) == (0, 0, [])


def test_islands_of_float_between_integers_are_found(tmp_path: Path) -> None:
    source = save(chain("Erf Abs", "HardSigmoid", layers=3), tmp_path / "source.onnx")
    variant = quantized(source, tmp_path / "variant.onnx", fed(), op_types_to_quantize=["Conv"])
    graph = Graph(read_model(variant))
    assert [[layer.name for layer in island] for island in graph.islands()] == [["erf0", "abs0"]]
    assert sorted(change for _, change in graph.transitions()) == ["dequantize"] * 2 + ["quantize"] * 2
    finding = by_code(slow.causes(slow_case(looked(source, variant, tmp_path), variant)))["qdq_islands"]
    assert (finding.evidence["island_count"], finding.evidence["islands"]) == (1, [["erf0", "abs0"]])
    # Integers before it and behind it, and yet no kernel that computes in them.
    assert finding.evidence["without_integer_kernel"] == {"HardSigmoid": 1}
    assert finding.evidence["operators_in_float"] == ["Abs", "Erf", "HardSigmoid"]
    assert finding.evidence["share"] >= 0.08
    assert finding.remedy is not None


def test_dynamic_convolutions_are_found(tmp_path: Path) -> None:
    source = save(chain("Relu", "Relu"), tmp_path / "source.onnx")
    quantize_dynamic(source, tmp_path / "variant.onnx", weight_type=QuantType.QUInt8)
    found = looked(source, tmp_path / "variant.onnx", tmp_path)
    finding = by_code(slow.causes(slow_case(found, tmp_path / "variant.onnx")))["dynamic_convolution"]
    assert finding.evidence["operators"]["ConvInteger"]["count"] == 3
    assert finding.remedy == Remedy(
        target_format=Format.ONNX,
        precision=Precision.INT8,
        level=finding.remedy.level,  # type: ignore[union-attr]
        calibrated=True,
    )
    assert {row.precision for row in found.rows if row.type == "Conv"} == {"uint8"}
    assert all(row.sqnr_db is not None for row in found.rows)


def test_signed_activations_are_found(tmp_path: Path) -> None:
    source = save(chain("Relu"), tmp_path / "source.onnx")
    variant = quantized(source, tmp_path / "variant.onnx", fed(), activation_type=QuantType.QInt8)
    finding = by_code(slow.causes(slow_case(looked(source, variant, tmp_path), variant)))["signed_activations"]
    assert finding.evidence["activations"] == ["int8"]


def test_weights_that_are_unpacked_at_every_run_are_found(tmp_path: Path) -> None:
    io = [value("x", [1, 64, 2, 2])], [value("y", [1, 64, 2, 2])]
    plain = helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])
    source = save(model_of([plain], *io, [weight("w", 64, 64, 3, 3)]), tmp_path / "source.onnx")
    scale = numpy_helper.from_array(np.array(0.03, np.float32), "s")
    integers = np.random.default_rng(0).integers(-127, 128, (64, 64, 3, 3)).astype(np.int8)
    unpack = helper.make_node("DequantizeLinear", ["q", "s"], ["w"], "unpack")
    stored = [numpy_helper.from_array(integers, "q"), scale]
    variant = save(model_of([unpack, plain], *io, stored), tmp_path / "variant.onnx")
    found = looked(source, variant, tmp_path, [{"x": samples(1, 64, 2, 2)}])
    case = slow_case(found, variant)
    finding = by_code(slow.causes(case))["weights_unpacked"]
    assert finding.evidence["weights"] == ["unpack"]
    assert finding.remedy is not None and finding.remedy.options == {"cluster": 256}
    assert "qdq_islands" not in by_code(slow.causes(case))
    assert [row.precision for row in found.rows] == ["int8 weights"]


def test_layers_that_were_left_in_float_are_found(tmp_path: Path) -> None:
    source = save(chain("Relu", "Relu"), tmp_path / "source.onnx")
    variant = quantized(source, tmp_path / "variant.onnx", fed(), nodes_to_exclude=["conv0", "conv1"])
    finding = by_code(slow.causes(slow_case(looked(source, variant, tmp_path), variant)))["left_in_float"]
    assert [layer["name"] for layer in finding.evidence["layers"]] == ["conv0", "conv1"]
    assert (finding.evidence["count"], finding.evidence["of"]) == (2, 3)


def test_layers_that_fell_back_to_float_are_found(tmp_path: Path) -> None:
    source = save(chain(), tmp_path / "source.onnx")
    quantized(source, tmp_path / "whole.onnx", fed())
    model = onnx.load(tmp_path / "whole.onnx")
    # Without the rounding behind it there is no pattern that the runtime has an integer kernel for.
    for node in list(model.graph.node):
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"} and node.output[0].startswith("c1_"):
            model.graph.node.remove(node)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name.startswith("c1_Dequantize"):
                node.input[place] = "c1"
    variant = save(model, tmp_path / "variant.onnx")
    case = slow_case(looked(source, variant, tmp_path), variant)
    finding = by_code(slow.causes(case))["fell_back_to_float"]
    assert [layer["name"] for layer in finding.evidence["layers"]] == ["conv1"]


def rows(**operators: tuple[int, float]) -> Profiled:
    """Return a profile of one run: how many operators of each type, and their time in ms."""
    found: list[Mapping[str, Any]] = [
        {
            "name": f"{name}{place}",
            "type": name,
            "total_ms": ms / count,
            "share": 0.0,
            "reads": "float32",
            "dtype": None,
        }
        for name, (count, ms) in operators.items()
        for place in range(count)
    ]
    return Profiled(rows=found, runs=1)


def of_profiles(before: Profiled, after: Profiled) -> dict[str, Finding]:
    facts = Facts(source=Format.ONNX, target=Format.ONNX, before=before.times, after=after.times, cpu_flags=FAST_CPU)
    return by_code(slow.causes(slow.SlowCase(facts=facts, before=before, after=after)))


def test_what_is_no_longer_fused_is_found() -> None:
    found = of_profiles(rows(FusedConv=(3, 3.0)), rows(Conv=(3, 3.0), Relu=(3, 1.0)))
    assert found["unfused"].evidence["operators"] == {"Relu": {"before": 0, "after": 3, "ms": 1.0}}
    in_integers = of_profiles(rows(Conv=(3, 3.0), Add=(2, 1.0)), rows(QLinearConv=(3, 3.0), QLinearAdd=(2, 1.0)))
    assert "unfused" not in in_integers


def test_transposes_that_were_not_there_are_found() -> None:
    found = of_profiles(rows(Conv=(3, 3.0), Transpose=(1, 0.1)), rows(Conv=(3, 3.0), Transpose=(4, 1.1)))
    assert found["layout_transposes"].evidence["count"] == 4
    assert "layout_transposes" not in of_profiles(rows(Conv=(3, 3.0)), rows(Conv=(3, 3.0), Transpose=(1, 0.1)))


def test_a_reason_of_the_optimizer_comes_with_its_evidence_and_a_remedy() -> None:
    found = of_profiles(rows(MatMul=(1, 2.0)), rows(QGemm=(1, 4.0)))["slower_kernels"]
    assert found.evidence["operators"]["QGemm"] == {"count": 1, "before_ms": 0.0, "after_ms": 4.0}
    assert found.remedy == Remedy(target_format=Format.ONNX, precision=Precision.FP16)


def test_one_scale_for_channels_that_differ_is_found(tmp_path: Path) -> None:
    source = save(chain("Relu", wide=40.0), tmp_path / "source.onnx")
    for name, per_channel in (("one", False), ("each", True)):
        variant = quantized(source, tmp_path / f"{name}.onnx", fed(), per_channel=per_channel)
        found = by_code(wrong.causes(wrong_case(compared(source, variant, tmp_path))))
        assert ("one_scale_for_all_channels" in found) == (not per_channel)
        if not per_channel:
            finding = found["one_scale_for_all_channels"]
            assert finding.evidence["count"] == 3
            assert finding.evidence["layers"][0]["channel_spread"] > 20
            assert finding.remedy is not None and finding.remedy.options == {"per_channel": True}


def test_ranges_that_are_too_narrow_or_too_wide_are_found(tmp_path: Path) -> None:
    source = save(chain("Relu", "Relu"), tmp_path / "source.onnx")
    for scale, code in ((0.1, "clipped_activations"), (40.0, "wasted_range")):
        variant = quantized(source, tmp_path / f"{code}.onnx", fed(scale=scale))
        found = by_code(wrong.causes(wrong_case(compared(source, variant, tmp_path))))
        assert found.keys() & {"clipped_activations", "wasted_range"} == {code}
        assert found[code].evidence["count"] >= 2


def test_the_one_layer_that_costs_the_accuracy_is_found(tmp_path: Path) -> None:
    model = chain("Relu", "Relu")
    source = save(model, tmp_path / "source.onnx")
    quantized(source, tmp_path / "whole.onnx", fed())
    ruined = onnx.load(tmp_path / "whole.onnx")
    for tensor in ruined.graph.initializer:
        if tensor.name == "b0_scale":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(120), tensor.name))
    found = compared(source, save(ruined, tmp_path / "variant.onnx"), tmp_path)
    finding = by_code(wrong.causes(wrong_case(found)))
    assert found.losses[0].sqnr_db < 15 < found.losses[-1].sqnr_db
    assert [layer["name"] for layer in finding["few_layers"].evidence["layers"]] == ["conv1"]
    assert finding["few_layers"].remedy == Remedy(
        target_format=Format.ONNX, precision=Precision.INT8, options={"exclude_layers": ["conv1"]}, calibrated=True
    )
    assert "wasted_range" in finding
    bad = next(row for row in found.rows if row.name == "conv1")
    assert bad.alone_sqnr_db is not None and bad.alone_sqnr_db < 15


def test_the_layer_that_makes_the_error_is_found(tmp_path: Path) -> None:
    source = save(chain("Relu", "Relu"), tmp_path / "source.onnx")
    quantized(source, tmp_path / "whole.onnx", fed())
    ruined = onnx.load(tmp_path / "whole.onnx")
    for tensor in ruined.graph.initializer:
        if tensor.name == "w1_quantized":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))
    found = compared(source, save(ruined, tmp_path / "variant.onnx"), tmp_path)
    finding = by_code(wrong.causes(wrong_case(found)))["error_jumps"]
    (layer,) = finding.evidence["layers"]
    assert layer["name"] == "conv1" and layer["given_sqnr_db"] > 25 > 10 > layer["sqnr_db"]
    assert finding.remedy is not None and finding.remedy.options == {"exclude_layers": ["conv1"]}


def test_overflow_is_found_where_it_begins(tmp_path: Path) -> None:
    model = chain()
    source = save(model, tmp_path / "source.onnx")
    broken = onnx.ModelProto.FromString(model.SerializeToString())
    wide = numpy_helper.to_array(broken.graph.initializer[1]).copy()
    wide[...] = np.inf
    broken.graph.initializer[1].CopyFrom(numpy_helper.from_array(wide, "w1"))
    found = compared(source, save(broken, tmp_path / "variant.onnx"), tmp_path)
    finding = by_code(wrong.causes(wrong_case(found)))["not_finite"]
    assert (finding.evidence["first"], finding.evidence["layers"]) == ("conv1", 2)


def test_a_softmax_in_integers_is_found(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "dense"),
        helper.make_node("Softmax", ["h"], ["y"], "scores", axis=-1),
    ]
    model = model_of(nodes, [value("x", [1, 32])], [value("y", [1, 8])], [weight("w", 32, 8)])
    source = save(model, tmp_path / "source.onnx")
    feeds: list[Feed] = [{"x": samples(1, 32, seed=seed)} for seed in range(3)]
    for types, wanted in ((["MatMul", "Softmax"], True), (["MatMul"], False)):
        variant = quantized(source, tmp_path / "variant.onnx", feeds, op_types_to_quantize=types)
        found = by_code(wrong.causes(wrong_case(compared(source, variant, tmp_path, feeds))))
        assert ("final_activation_in_integers" in found) == wanted


def test_renamed_layers_are_aligned_by_their_order() -> None:
    ours = chain("Relu", "HardSigmoid")
    theirs = onnx.ModelProto.FromString(ours.SerializeToString())
    for node in theirs.graph.node:
        node.name = f"renamed/{node.name}"
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name[0] in "cb":
                    names[place] = f"renamed/{name}"
    theirs.graph.output[0].name = f"renamed/{theirs.graph.output[0].name}"
    owner, taps = align(Graph(ours), Graph(theirs))
    assert owner["renamed/conv1"] == "conv1"
    assert [tap.variant for tap in taps] == ["renamed/b0", "renamed/c1", "renamed/b1", "renamed/c2"]


def test_what_is_the_matter_is_decided_by_measurement() -> None:
    assert question_of(slower=True, wrong=True) is Question.BOTH
    assert question_of(slower=True, wrong=False) is Question.SLOWER
    assert question_of(slower=False, wrong=True) is Question.WRONG
    assert question_of(slower=False, wrong=False) is Question.NEITHER

    def parity(sqnr_db: float, drop: float | None = None) -> Parity:
        output = OutputParity(name="y", sqnr_db=sqnr_db, cosine=1.0, max_abs_error=0.1)
        metric = None if drop is None else MetricChange(name="top1", reference=0.9, variant=0.9 - drop, samples=100)
        return Parity(outputs=(output,), samples=100, data="dataset", metric=metric)

    assert fault_of(parity(30.0), Precision.INT8) is None
    assert "20 dB is usual" in str(fault_of(parity(15.0), Precision.INT8))
    assert fault_of(parity(15.0, drop=0.0), Precision.INT8) is None, "labels decide where there are some"
    assert "top-1 accuracy falls" in str(fault_of(parity(30.0, drop=0.05), Precision.INT8))
    assert [precision_of(name) for name in ("qdq-int8", "dynamic-int8", "fp16", "fp32", None)] == [
        *(Precision.INT8, Precision.INT8_DYNAMIC, Precision.FP16, Precision.FP32, Precision.FP32)
    ]


def test_findings_come_in_order_with_remedies_that_can_be_run() -> None:
    remedy = Remedy(target_format=Format.ONNX, precision=Precision.INT8, calibrated=True)
    found = [
        Finding(code=code, title=".", evidence={}, fix=".", weight=weight, remedy=remedy)
        for code, weight in (("a", 0.05), ("b", 0.5), ("a", 0.2))
    ]
    assert [(one.code, one.severity) for one in in_order(found)] == [("b", "high"), ("a", "medium")]
    assert found[1].to_json(has_dataset=False)["fix_job"] is None
    told = found[1].to_json(has_dataset=True, certain=False)
    assert (told["severity"], told["fix_job"]["precision"]) == ("low", "int8")


def test_a_whole_diagnosis_of_a_wrong_variant(tmp_path: Path) -> None:
    source = save(chain("Relu", "Relu", wide=200.0), tmp_path / "baseline.onnx")
    quantized(source, tmp_path / "model.onnx", fed(scale=0.02), per_channel=False)
    np.savez(tmp_path / "dataset.npz", allow_pickle=False, x=np.concatenate([feed["x"] for feed in fed(8)]))
    told = Told()
    spec = DiagnosisSpec(
        model_path="model.onnx",
        format=Format.ONNX,
        baseline_path="baseline.onnx",
        baseline_format=Format.ONNX,
        dataset_path="dataset.npz",
        threads=1,
        max_seconds=0.5,
    )
    result = run(spec, tmp_path, told).result
    assert result["question"] in {"wrong", "both"}
    codes = {finding["code"] for finding in result["findings"]}
    assert {"clipped_activations", "one_scale_for_all_channels", "outputs_differ"} <= codes
    assert all(finding["fix_job"] is not None for finding in result["findings"] if finding["code"] in codes)
    assert [layer["name"] for layer in result["layers"]] == ["conv0", "conv1", "conv2"]
    assert result["parity"]["fault"]
    assert result["latency"]["verdict"] in {"faster", "slower", "same", "inconclusive"}
    assert told.stages[0][0] == "prepare"


def test_a_tensorflow_lite_network_is_looked_into_by_its_tensors(tmp_path: Path) -> None:
    shutil.copy(sample.TFLITE_MODEL, tmp_path / "model.tflite")
    from edge_ai.engine.runtime.litert import open_session

    inputs = open_session(tmp_path / "model.tflite", Format.TFLITE, threads=1).inputs
    shape = [axis if isinstance(axis, int) else 1 for axis in inputs[0].shape or ()]
    feeds: list[Feed] = [{inputs[0].name: samples(*shape)}]
    side = (tmp_path / "model.tflite", Format.TFLITE, feeds)
    found = look_into(side, side, threads=1, cpus=None, workdir=tmp_path, wrong=True)
    convolutions = [row for row in found.rows if row.type == "CONV_2D"]
    assert convolutions and all(row.sqnr_db == 200.0 for row in convolutions)
    assert {row.precision for row in convolutions} == {"float32"}


def test_a_mistake_of_types_is_not_made_of_whole_numbers() -> None:
    graph = Graph(
        model_of(
            [helper.make_node("ArgMax", ["x"], ["y"], axis=1)],
            [value("x", [1, 4])],
            [value("y", [1, 1], TensorProto.INT64)],
        )
    )
    assert [(layer.name, layer.precision) for layer in graph.layers] == [("ArgMax:y", "float32")]
