"""Intervals against what defines them, computed another way, and against coverage by full enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from vga_policy.evaluate.intervals import Interval, clustered_wilson, mcnemar, mean_interval, paired_difference, wilson

Z = 1.959963984540054


def score_bound(successes: int, trials: int, side: int) -> float:
    """The rate from which the observed one is Z standard deviations away, by bisection."""
    observed = successes / trials

    def outside(rate: float) -> bool:
        return abs(observed - rate) > Z * math.sqrt(rate * (1 - rate) / trials)

    inner, outer = observed, float(side > 0)
    for _ in range(200):
        middle = (inner + outer) / 2
        inner, outer = (inner, middle) if outside(middle) else (middle, outer)
    return inner


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 20), (16, 20), (20, 20), (83, 100), (1, 1)])
def test_wilson_inverts_the_score_test(successes, trials):
    low, high = wilson(successes, trials)
    assert low == pytest.approx(score_bound(successes, trials, -1), abs=1e-9)
    assert high == pytest.approx(score_bound(successes, trials, +1), abs=1e-9)


def test_wilson_at_the_ends():
    assert wilson(0, 20).low == 0.0
    assert wilson(20, 20).high == 1.0
    assert wilson(0, 0) == Interval(0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        wilson(3, 2)


def test_wilson_narrows_with_trials_and_widens_with_confidence():
    assert np.ptp(wilson(80, 100)) < np.ptp(wilson(16, 20)) < np.ptp(wilson(16, 20, confidence=0.99))


def pairs(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * (both + gained) + [False] * (lost + neither)
    second = [True] * both + [False] * gained + [True] * lost + [False] * neither
    return first, second


def test_paired_difference_of_uncorrelated_outcomes_is_the_unpaired_score_interval():
    """With no correlation left, method 10 is the square-and-add of Newcombe's unpaired method."""
    first, second = pairs(4, 4, 4, 4)
    found = paired_difference(first, second)
    low, high = wilson(8, 16)
    reach = math.hypot(0.5 - low, high - 0.5)
    assert found.value == 0.0
    assert found.interval == pytest.approx((-reach, reach))


def test_paired_difference_is_antisymmetric():
    first, second = pairs(11, 6, 2, 1)
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.value == pytest.approx(0.2)
    assert (there.gained, there.lost) == (6, 2)
    assert back.interval == pytest.approx((-there.interval.high, -there.interval.low))
    assert back.p_value == there.p_value


def test_pairing_narrows_the_interval_where_outcomes_agree():
    agreeing = paired_difference(*pairs(45, 5, 0, 50))
    unrelated = paired_difference(*pairs(25, 30, 25, 20))
    assert np.ptp(agreeing.interval) < 0.6 * np.ptp(unrelated.interval)


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.1, 0.2), (0.1, 0.3, 0.3, 0.3), (0.75, 0.1, 0.05, 0.1)])
def test_paired_interval_covers_the_true_difference(shares):
    """Coverage over all outcomes of 20 trials, each with its multinomial probability."""
    n, truth, covered = 20, shares[1] - shares[2], 0.0
    for counts in itertools.product(range(n + 1), repeat=3):
        if (rest := n - sum(counts)) < 0:
            continue
        ways = math.factorial(n) // math.prod(map(math.factorial, (*counts, rest)))
        low, high = paired_difference(*pairs(*counts, rest)).interval
        if low <= truth <= high:
            covered += ways * math.prod(share**count for share, count in zip(shares, (*counts, rest), strict=True))
    assert 0.93 <= covered <= 0.99


def test_paired_difference_needs_pairs():
    with pytest.raises(ValueError, match="found 2 and 1"):
        paired_difference([True, False], [True])
    with pytest.raises(ValueError, match="found 0 and 0"):
        paired_difference([], [])


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (4, 0), (5, 2), (3, 3), (1, 9)])
def test_mcnemar_counts_coin_tosses(gained, lost):
    tosses = gained + lost
    as_uneven = sum(
        abs(2 * sum(toss) - tosses) >= abs(gained - lost) for toss in itertools.product((0, 1), repeat=tosses)
    )
    assert mcnemar(gained, lost) == pytest.approx(as_uneven / 2**tosses)


def test_mean_interval_is_students():
    # Quantiles 0.975 of Student's t: 12.7062 with 1 degree of freedom, 4.3027 with 2, 2.2622 with 9.
    for count, quantile in ((2, 12.7062), (3, 4.3027), (10, 2.2622)):
        values = np.arange(count, dtype=float)
        half = quantile * values.std(ddof=1) / math.sqrt(count)
        assert mean_interval(values.tolist()) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-4)
    assert mean_interval([0.5]) == (-math.inf, math.inf)


def test_trials_of_a_task_that_are_alike_count_as_one():
    """Where tasks have rates of their own, the interval covers the rate over all tasks as often as it says."""
    random = np.random.default_rng(0)
    covered = {wilson: 0, clustered_wilson: 0}
    for _ in range(1000):
        trials = random.integers(6, 50, 10)
        clusters = list(zip(random.binomial(trials, random.beta(1.0, 1.0, 10)).tolist(), trials.tolist(), strict=True))
        both = {wilson: wilson(*np.sum(clusters, axis=0).tolist()), clustered_wilson: clustered_wilson(clusters)}
        for kind, (low, high) in both.items():
            assert 0.0 <= low <= high <= 1.0
            covered[kind] += low <= 0.5 <= high
    assert covered[wilson] < 700
    assert 930 <= covered[clustered_wilson] <= 980


def test_of_tasks_that_are_all_or_nothing_no_trial_counts_but_the_first():
    ten = [(10, 10)] * 6 + [(0, 10)] * 4
    one = [(1, 1)] * 6 + [(0, 1)] * 4
    assert clustered_wilson(ten) == pytest.approx(clustered_wilson(one))
    assert clustered_wilson([(10, 10)] * 4) == wilson(4, 4)
    assert clustered_wilson([(0, 9), (0, 3)]) == wilson(0, 2)
    assert clustered_wilson([(3, 9)]) == clustered_wilson([]) == (0.0, 1.0)
    low, high = clustered_wilson([(3, 6)] * 40)  # tasks that do not differ: trials are independent
    assert wilson(120, 240) == pytest.approx((low, high), abs=0.01)
