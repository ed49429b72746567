"""Times by operator of TensorFlow Lite models: what tags mean, and the profiler itself on the bundled sample."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ai import sample
from edge_ai.engine.measure.litert_profile import NotProfiledError, Profiled, Tagged, runs_by_operator
from edge_ai.engine.measure.profile import share_out


@pytest.mark.parametrize(
    ("tag", "kind", "reads", "dtype", "provider"),
    [
        ("Convolution (NHWC, QC8) DWConv", "Convolution", "int8", "int8", "XNNPACK, DWConv"),
        ("Fully Connected (NC, QS8, QC8W) GEMM", "Fully Connected", "int8", "int8", "XNNPACK, GEMM"),
        ("Fully Connected (NC, F32) GEMM", "Fully Connected", "float32", "float32", "XNNPACK, GEMM"),
        ("Convert (NC, F32, QS8)", "QUANTIZE", "float32", "int8", "XNNPACK"),
        ("Convert (NC, QS8, F32)", "DEQUANTIZE", "int8", "float32", "XNNPACK"),
        ("Convert (NC)", "Convert", None, None, "XNNPACK"),
        ("Add (ND)", "Add", None, None, "XNNPACK"),
        ("AVERAGE_POOL_2D", "AVERAGE_POOL_2D", None, None, "LiteRT"),
    ],
)
def test_tags_tell_what_computes_and_in_what(
    tag: str, kind: str, reads: str | None, dtype: str | None, provider: str
) -> None:
    tagged = Tagged.of(tag)
    assert (tagged.name, tagged.type) == (tag, kind)
    assert (tagged.told.reads, tagged.told.dtype, tagged.told.provider) == (reads, dtype, provider)


def test_operators_of_one_name_are_told_apart_by_their_place() -> None:
    run = [("Add (ND)", 0, 3), ("Add (ND)", 1, 5)]
    times, told = runs_by_operator([run, [("Add (ND)", 0, 1), ("Add (ND)", 1, 7)]])
    assert sorted(times.values()) == [[3.0, 1.0], [5.0, 7.0]]
    rows = share_out(times, told)
    assert [(row["count"], row["total_ms"], row["median_ms"], row["share"]) for row in rows] == [
        (2, 0.012, 0.006, 0.75),
        (2, 0.004, 0.002, 0.25),
    ]


def test_the_profiler_times_every_operator_of_a_run() -> None:
    with np.load(sample.EVALUATION_DATA) as stored:
        name = next(key for key in stored.files if key != "labels")
        images = stored[name][:2].astype(np.float32)
    model = Profiled(sample.TFLITE_MODEL, ["image"], threads=1)
    for image in images:
        model.fill({"image": image.reshape(1, *image.shape[-3:])})
        told = model.profiled(model.run)
        assert sum(tag.startswith("Convolution") for tag, _, _ in told) >= 3
        # The last run's alone: what was told before is forgotten.
        assert len(told) < 30


def test_what_the_profiler_does_not_take_has_a_reason() -> None:
    with pytest.raises(NotProfiledError, match="other inputs"):
        Profiled(sample.TFLITE_MODEL, ["image", "mask"], threads=1)
    model = Profiled(sample.TFLITE_MODEL, ["image"], threads=1)
    with pytest.raises(NotProfiledError, match="other sizes"):
        model.fill({"image": np.zeros((2, 64, 64, 1), np.float32)})
