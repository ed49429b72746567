"""The quick comparison of two models within one process."""

from pathlib import Path

from edge_ai.engine.evaluate.parity import run_reference
from edge_ai.engine.latency import feeds_for, quick_ratio
from edge_ai.engine.measure.compare import Verdict
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.spec import Format

from . import graphs


def opened(path: Path) -> Session:
    return open_model(path, Format.ONNX, threads=1)


def test_a_network_with_many_times_the_work_is_found_slower_and_itself_the_same(tmp_path: Path) -> None:
    small = opened(graphs.save(graphs.dense_net(), tmp_path / "a.onnx"))
    large = opened(graphs.save(graphs.dense_net(hidden=8192), tmp_path / "b.onnx"))
    feeds = [{"x": graphs.samples(1, 32, seed=seed)} for seed in range(4)]
    reference = run_reference(small, feeds, data="dataset", batch=1, labels=None, softmax_outputs={})
    ours, theirs = feeds_for(reference, small), feeds_for(reference, large)
    slower, same = quick_ratio(small, large, ours, theirs), quick_ratio(small, small, ours, ours)
    assert slower.ratio > 2.0
    assert slower.verdict is Verdict.SLOWER
    assert slower.ci95[0] <= slower.ratio <= slower.ci95[1]
    # Of itself: no more than noise, however much of that the machine has.
    assert same.verdict not in {Verdict.SLOWER, Verdict.FASTER}
    assert same.ci95[0] <= 1.0 <= same.ci95[1] or 0.9 < same.ratio < 1.1
