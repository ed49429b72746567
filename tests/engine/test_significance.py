"""McNemar's exact test against the binomial distribution and published examples."""

import math

import numpy as np
import pytest

from edge_ai.engine.evaluate.significance import PairedChange, mcnemar, two_sided_binomial


def compare(only_first: int, only_second: int, both: int, neither: int = 0) -> PairedChange:
    first = np.repeat([True, False, True, False], [only_first, only_second, both, neither])
    second = np.repeat([False, True, True, False], [only_first, only_second, both, neither])
    return mcnemar(first, second)


@pytest.mark.parametrize(("first", "second", "p"), [(0, 5, 2 / 32), (1, 9, 22 / 1024), (3, 3, 1.0), (0, 0, 1.0)])
def test_the_test_is_the_binomial_one(first: int, second: int, p: float) -> None:
    assert two_sided_binomial(first, second) == two_sided_binomial(second, first) == pytest.approx(p)


def test_large_counts_agree_with_the_normal_approximation() -> None:
    first, second = 4800, 5000
    z = (abs(first - second) - 1) / math.sqrt(first + second)
    assert two_sided_binomial(first, second) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)
    assert two_sided_binomial(0, 10_000) == 0.0


def test_the_sentence_tells_points_and_significance() -> None:
    found = compare(10, 7, 500, 233)
    assert found.samples == 750
    assert found.difference == pytest.approx(-0.4)
    assert not found.significant
    assert found.sentence == "0.4 points lower, not significant at n = 750"
    assert compare(2, 20, 478).sentence == "3.6 points higher, significant at n = 500"
    assert compare(0, 0, 9, 1).sentence == "the same samples right, at n = 10"
    assert compare(4, 4, 92).sentence == "as often right, on other samples; not significant at n = 100"
    assert compare(1, 0, 9999).sentence == "0.01 points lower, not significant at n = 10,000"


def test_the_interval_is_bonett_and_prices() -> None:
    found = compare(10, 7, 500, 233)
    lost, gained = 11 / 752, 8 / 752
    half = 1.959964 * math.sqrt((lost + gained - (gained - lost) ** 2) / 752)
    assert found.ci95 == pytest.approx((100 * (gained - lost - half), 100 * (gained - lost + half)), rel=1e-5)
    assert found.ci95[0] < found.difference < found.ci95[1]


def test_other_samples_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not the same samples"):
        mcnemar(np.zeros(3, bool), np.zeros(4, bool))
    with pytest.raises(ValueError, match="not the same samples"):
        mcnemar(np.zeros(0, bool), np.zeros(0, bool))
