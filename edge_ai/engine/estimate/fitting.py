"""Fitting efficiencies, dispatch and spread on what was measured: for ``benchmarks/fit_estimates.py``."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.estimate.coefficients import ClassCoefficients, Coefficients
from edge_ai.engine.estimate.roofline import Roof, run_us
from edge_ai.engine.estimate.work import FREE, INTEGER, MULTIPLYING, OperatorClass, OperatorWork, TensorShape, work_of

Array = npt.NDArray[np.float64]

LEVEL: Final = 0.9
"""The share of models that the band is to hold."""

LEAST_NETWORKS: Final = 2
"""A class that fewer networks have is not fitted: another stands for it."""

#: What a second thread brings to shorter runs is lost in handing over.
SHORTEST_US: Final = 200.0

#: Where coefficients are looked for, as decimal logarithms: efficiency, bandwidth factor, dispatch in microseconds.
_EFFICIENCY, _BANDWIDTH, _DISPATCH = (-3.0, 0.3), (-1.5, 2.0), (-1.5, 2.0)
_STEPS, _ROUNDS = 11, 5
_HUBER: Final = 0.3
#: What small operators weigh beside their share of the time: an estimate adds up many of them.
_EVEN: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model that was measured.

    Parameters
    ----------
    total_us
        Of an inference on one thread, in microseconds.
    two_threads
        An inference on two threads in proportion to one on one; ``None`` where that was not measured.
    times_us
        Of one call of each operator.
    """

    name: str
    network: str
    total_us: float
    two_threads: float | None
    works: tuple[OperatorWork, ...]
    times_us: tuple[float, ...]


def fit_all(rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Fit what the measured rows of the benchmark tell; returns what the file holds.

    Every network is left out once, with all its variants, and estimated by what the others tell: how far that was off is
    the band. Whether the band holds what it claims is tried on each network with a band from the others.
    """
    models = [read_row(row) for row in rows]
    roof = roof_of(machine)
    networks = sorted({model.network for model in models})
    residuals: dict[str, list[float]] = {}
    two_threads: dict[str, list[float]] = {}
    for network in networks:
        rest = fit([model for model in models if model.network != network], roof)
        left_out = [model for model in models if model.network == network]
        residuals[network] = [float(np.log(m.total_us / run_us(m.works, roof, rest))) for m in left_out]
        two_threads[network] = [
            float(np.log(m.total_us * m.two_threads / run_us(m.works, on_two(roof), rest)))
            for m in left_out
            if m.two_threads
        ]
    low, high = band_of(residuals)
    held = [
        float(np.mean([_within(error, band_of(_without(residuals, network))) for error in errors]))
        for network, errors in residuals.items()
    ]
    everything = [error for errors in residuals.values() for error in errors]
    both = [error for errors in two_threads.values() for error in errors]
    return {
        "coefficients": fit(models, roof).to_json(),
        "band": {"level": LEVEL, "low": float(np.exp(low)), "high": float(np.exp(high))},
        "memory": fit_memory(rows),
        "models": networks,
        "validation": {
            "method": "every network left out once with all its variants, estimated by a fit on the others",
            "networks": len(networks),
            "variants": len(models),
            "median_error": float(np.exp(np.median(np.abs(everything))) - 1),
            "largest_ratio": float(np.exp(np.max(np.abs(everything)))),
            "coverage": float(np.mean(held)),
            "coverage_two_threads": float(np.mean([low <= error <= high for error in both])) if both else None,
            "measured_over_estimated": {
                model.name: round(float(np.exp(error)), 3)
                for network in networks
                for model, error in zip([m for m in models if m.network == network], residuals[network], strict=True)
            },
        },
    }


def fit(models: Sequence[Measured], roof: Roof) -> Coefficients:
    """Fit the coefficients on some models."""
    weights = model_weights(models)
    by_class: dict[OperatorClass, list[tuple[float, float, float, float]]] = defaultdict(list)
    seen_in: dict[OperatorClass, set[str]] = defaultdict(set)
    for model in models:
        spent = sum(work.calls * time_us for work, time_us in zip(model.works, model.times_us, strict=True))
        for work, time_us in zip(model.works, model.times_us, strict=True):
            share = work.calls * time_us / spent + _EVEN / len(model.works)
            by_class[work.operator_class].append(
                (work.flops / work.fill, work.size_bytes, time_us, share * weights[model.name])
            )
            seen_in[work.operator_class].add(model.network)
    classes = {
        kind: fit_class(kind, np.array(points, dtype=np.float64), roof)
        for kind, points in by_class.items()
        if len(seen_in[kind]) >= LEAST_NETWORKS or kind is OperatorClass.ELEMENTWISE
    }
    for kind in (OperatorClass.MATRIX, OperatorClass.CONVOLUTION, OperatorClass.MOVEMENT, OperatorClass.ELEMENTWISE):
        if kind not in classes and by_class[kind]:
            classes[kind] = fit_class(kind, np.array(by_class[kind], dtype=np.float64), roof)
    bare = Coefficients(classes=classes, run_us=0.0, call_us=0.0, parallel=0.0)
    return _with_parallel(_with_overhead(bare, models, weights, roof), models, weights, roof)


def fit_class(kind: OperatorClass, points: Array, roof: Roof) -> ClassCoefficients:
    """Fit one class.

    Parameters
    ----------
    points
        Operations (over the share of lanes that they fill), bytes, measured microseconds and weight of each operator, shape
        (operators, 4).
    """
    flops, size_bytes, times_us, weights = points.T
    peak = (roof.int8_ops_per_us if kind in INTEGER else None) or roof.flops_per_us
    computes = kind in MULTIPLYING or kind is OperatorClass.MATH
    moves = kind not in FREE and kind is not OperatorClass.MATH
    bounds = [_EFFICIENCY if computes else (0.0, 0.0), _BANDWIDTH if moves else (0.0, 0.0), _DISPATCH]
    ideal_compute, ideal_move = flops / peak * computes, size_bytes / roof.bytes_per_us * moves

    def loss(place: Array) -> Array:
        efficiency, bandwidth, dispatch = 10.0 ** place[:, :, None].transpose(1, 0, 2)
        estimated = np.maximum(ideal_compute / efficiency, ideal_move / bandwidth) + dispatch
        return np.asarray(_huber(np.log(times_us / estimated)) @ weights)

    found = 10.0 ** search(loss, bounds)
    return ClassCoefficients(
        compute_efficiency=float(found[0]) if computes else None,
        bandwidth_factor=float(found[1]) if moves else None,
        dispatch_us=float(found[2]),
    )


def search(loss: Any, bounds: Sequence[tuple[float, float]]) -> Array:
    """Return where a function of a few numbers is least: on a grid, then on finer ones around the best place.

    Parameters
    ----------
    loss
        Takes places of shape (places, numbers) and returns their values, shape (places,).
    """
    box = np.array(bounds, dtype=np.float64)
    limits = box.copy()
    best = box.mean(axis=1)
    for _ in range(_ROUNDS):
        axes = [np.linspace(low, high, _STEPS if high > low else 1) for low, high in box]
        places = np.array(list(itertools.product(*axes)), dtype=np.float64)
        best = places[int(np.argmin(loss(places)))]
        width = (box[:, 1] - box[:, 0]) / 5
        box = np.clip(np.stack([best - width, best + width], axis=1), limits[:, :1], limits[:, 1:])
    return np.asarray(best)


def _with_overhead(
    bare: Coefficients, models: Sequence[Measured], weights: Mapping[str, float], roof: Roof
) -> Coefficients:
    inside = np.array([run_us(model.works, roof, bare) for model in models])
    calls = np.array([sum(work.calls for work in model.works) for model in models])
    totals = np.array([model.total_us for model in models])
    heavy = np.array([weights[model.name] for model in models])

    def loss(place: Array) -> Array:
        run, call = 10.0**place.T
        return np.asarray(_huber(np.log(totals / (inside + run[:, None] + call[:, None] * calls))) @ heavy)

    run, call = 10.0 ** search(loss, [(-1.0, 2.0), (-2.0, 1.0)])
    return Coefficients(classes=bare.classes, run_us=float(run), call_us=float(call), parallel=0.0)


def _with_parallel(
    one: Coefficients, models: Sequence[Measured], weights: Mapping[str, float], roof: Roof
) -> Coefficients:
    both = [model for model in models if model.two_threads]
    if not both:
        return one
    heavy = np.array([weights[model.name] for model in both])

    def loss(place: Array) -> Array:
        values = []
        for (parallel,) in place:
            tried = _in_parallel(one, float(parallel))
            # Only what the second thread changed: how far one thread's estimate is off is no matter of threads.
            gained = [run_us(m.works, on_two(roof), tried) / run_us(m.works, roof, tried) for m in both]
            real = [m.two_threads or 1.0 for m in both]
            values.append(float(_huber(np.log(np.array(real) / np.array(gained))) @ heavy))
        return np.array(values)

    return _in_parallel(one, float(search(loss, [(0.0, 1.0)])[0]))


def _in_parallel(one: Coefficients, parallel: float) -> Coefficients:
    return Coefficients(classes=one.classes, run_us=one.run_us, call_us=one.call_us, parallel=parallel)


def fit_memory(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fit how much memory a loaded model takes, by its weights and activations, with the band of networks left out."""
    known = [row for row in rows if row["activation_bytes"] is not None and row["memory_bytes"] > 0]

    def fitted(chosen: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
        held = np.array([row["weight_bytes"] + row["activation_bytes"] for row in chosen], dtype=np.float64)
        taken = np.array([row["memory_bytes"] for row in chosen], dtype=np.float64)

        def loss(place: Array) -> Array:
            base, factor = 10.0**place.T
            return np.asarray(_huber(np.log(taken / (base[:, None] + factor[:, None] * held))).sum(axis=1))

        base, factor = 10.0 ** search(loss, [(4.0, 8.0), (-0.3, 1.0)])
        return float(base), float(factor)

    residuals: dict[str, list[float]] = defaultdict(list)
    for row in known:
        base, factor = fitted([each for each in known if each["network"] != row["network"]])
        expected = base + factor * (row["weight_bytes"] + row["activation_bytes"])
        residuals[row["network"]].append(float(np.log(row["memory_bytes"] / expected)))
    low, high = band_of(residuals)
    base, factor = fitted(known)
    return {
        "base_bytes": base,
        "factor": factor,
        "band": {"level": LEVEL, "low": float(np.exp(low)), "high": float(np.exp(high))},
        "variants": len(known),
    }


def band_of(residuals: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """Return between which logarithms of measured over estimated the middle `LEVEL` of networks lie.

    Each network counts once, however many variants it has. With few networks the quantiles lie further out than those of
    the sample, as a network that was not seen falls outside of the outermost more often than within (conformal).
    """
    errors = np.array([error for each in residuals.values() for error in each])
    weights = np.array([1 / len(each) for each in residuals.values() for _ in each])
    order = np.argsort(errors)
    errors, reached = errors[order], np.cumsum(weights[order])
    tail = (1 - LEVEL) / 2 * (len(residuals) + 1)
    low = errors[int(np.searchsorted(reached, min(tail, reached[-1])))]
    high = errors[int(np.searchsorted(reached, max(0.0, reached[-1] + 1 - tail), side="left").clip(0, len(errors) - 1))]
    return float(low), float(high)


def model_weights(models: Sequence[Measured]) -> dict[str, float]:
    """Return what each model counts: the variants of one network share its weight."""
    count: dict[str, int] = defaultdict(int)
    for model in models:
        count[model.network] += 1
    return {model.name: 1 / count[model.network] for model in models}


def read_row(row: Mapping[str, Any]) -> Measured:
    """Return a model from a line of what was measured."""
    works = tuple(
        work_of(item["type"], item["type"], _shapes(item["inputs"]), _shapes(item["outputs"]), calls=item["calls"])
        for item in row["operators"]
    )
    return Measured(
        name=row["name"],
        network=row["network"],
        total_us=row["total_us"],
        two_threads=_two_threads(row),
        works=works,
        times_us=tuple(item["us"] for item in row["operators"]),
    )


def _shapes(told: Sequence[Sequence[Any]]) -> list[TensorShape]:
    return [TensorShape(dtype=dtype, shape=tuple(shape)) for dtype, shape in told]


def _two_threads(row: Mapping[str, Any]) -> float | None:
    """Return what a second thread brings to a run that is long enough to tell."""
    if row["two_threads_us"] is None or row["total_us"] < SHORTEST_US:
        return None
    return float(row["two_threads_us"] / row["total_us"])


def roof_of(machine: Mapping[str, Any]) -> Roof:
    """Return the roof of one processor of the measured machine."""
    return Roof(
        flops_per_us=machine["peak_gflops_fp32"] * 1e3,
        int8_ops_per_us=machine["peak_tops_int8"] * 1e6,
        bytes_per_us=machine["memory_bandwidth_gb_s"] * 1e3,
    )


def on_two(roof: Roof) -> Roof:
    """Return the same machine with two threads at work."""
    return Roof(
        flops_per_us=roof.flops_per_us,
        int8_ops_per_us=roof.int8_ops_per_us,
        bytes_per_us=roof.bytes_per_us,
        threads=2,
    )


def _huber(errors: Array) -> Array:
    size = np.abs(errors)
    return np.asarray(np.where(size <= _HUBER, 0.5 * size**2, _HUBER * (size - 0.5 * _HUBER)))


def _within(error: float, band: tuple[float, float]) -> bool:
    return band[0] <= error <= band[1]


def _without(residuals: Mapping[str, Sequence[float]], network: str) -> dict[str, Sequence[float]]:
    return {name: errors for name, errors in residuals.items() if name != network}
