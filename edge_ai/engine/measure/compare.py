"""Is one model faster than another, given the latency samples of two runs?"""

from __future__ import annotations

from typing import Final, TypedDict

import numpy as np
import numpy.typing as npt

from edge_ai.engine.measure.statistics import Samples
from edge_ai.engine.spread import BETWEEN_NOISY_RUNS_SD as BETWEEN_NOISY_RUNS_SD
from edge_ai.engine.spread import BETWEEN_RUNS_SD as BETWEEN_RUNS_SD
from edge_ai.engine.spread import Verdict as Verdict
from edge_ai.engine.spread import judge as judge

_BLOCKS: Final = 20
_RESAMPLES: Final = 1000
_KEPT_PER_BLOCK: Final = 500
_SEED: Final = 0


class Comparison(TypedDict):
    """The ratio of the medians, *b* over *a* (under 1 means that *b* is faster), its 95 % interval and the verdict."""

    ratio_p50: float
    ci95: list[float]
    verdict: str


def compare(
    samples_a: Samples, samples_b: Samples, margin: float = 0.02, *, between_runs_sd: float = BETWEEN_RUNS_SD
) -> Comparison:
    """Compare two runs by the ratio of their median latencies.

    Each run is cut into consecutive blocks, and the bootstrap draws whole blocks: a disturbance that lasts longer than
    one inference then widens the interval instead of being counted as many independent samples. The interval is
    widened further by what two separate runs differ by with the same model (memory layout, and whatever changed on
    the machine in between), which no amount of samples within the two runs can show. So two runs one after the other
    can prove a clear difference, but not that two models are the same within 2 %: that takes interleaved runs.

    Parameters
    ----------
    samples_a, samples_b
        Latencies of the two runs in one unit and in the order in which they were taken, shapes (n,) and (m,).
    margin
        The largest relative difference that does not matter.
    between_runs_sd
        Relative standard deviation of a run's median between runs: `BETWEEN_RUNS_SD`, or `BETWEEN_NOISY_RUNS_SD` when
        either run was called noisy. For runs that were interleaved over restarted processes, where the samples show it
        already, pass 0.

    Returns
    -------
    Comparison
        About *b* against *a*.

    References
    ----------
    Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013.
    """
    random = np.random.default_rng(_SEED)
    ratio = float(np.median(samples_b)) / float(np.median(samples_a))
    medians_a = _resampled_medians(samples_a, random)
    medians_b = _resampled_medians(samples_b, random)
    between = random.normal(0.0, between_runs_sd * np.sqrt(2.0), _RESAMPLES)
    low, high = np.quantile(medians_b / medians_a * np.exp(between), [0.025, 0.975])
    ci95 = (min(float(low), ratio), max(float(high), ratio))
    return Comparison(ratio_p50=ratio, ci95=list(ci95), verdict=str(judge(ci95, margin)))


def _resampled_medians(samples: Samples, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return medians of block bootstrap resamples, shape (resamples,)."""
    blocks = [_thinned(block) for block in np.array_split(samples, min(_BLOCKS, len(samples)))]
    drawn = random.integers(0, len(blocks), (_RESAMPLES, len(blocks)))
    return np.array([np.median(np.concatenate([blocks[index] for index in row])) for row in drawn], dtype=np.float64)


def _thinned(block: Samples) -> Samples:
    """Bound the work: an evenly spaced part of the block's order statistics stands for the block."""
    if len(block) <= _KEPT_PER_BLOCK:
        return block
    places = np.linspace(0, len(block) - 1, _KEPT_PER_BLOCK).round().astype(np.intp)
    return np.sort(block)[places]
