"""Intervals for success rates and for their differences, two-sided and at 95 % unless told otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, mean, stdev
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class RateDifference:
    """Success rate of one policy less another's on the same trials.

    gained, lost: trials that only the first, only the second did. p_value: McNemar's, exact and two-sided.
    """

    value: float
    interval: Interval
    trials: int
    gained: int
    lost: int
    p_value: float


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a rate: Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212.

    Unlike the textbook interval it is never empty at 0 or all successes. Without trials it is [0, 1].
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return Interval(0.0, 1.0)
    return _wilson(successes / trials, trials, _z(confidence))


def clustered_wilson(clusters: Sequence[tuple[int, int]], confidence: float = CONFIDENCE) -> Interval:
    """Wilson's interval of the rate over all trials, where those of a cluster are alike; a cluster: successes, trials.

    Of as many independent trials as these are worth, by the variance between clusters and Student's quantile: Franco,
    Little, Louis, Slud, J. Surv. Stat. Methodol. 7 (2019), 334-364. Where all failed or all succeeded, which has no
    variance, each cluster is worth one trial. Fewer than two tell nothing: [0, 1].
    """
    successes, trials, count = sum(good for good, _ in clusters), sum(n for _, n in clusters), len(clusters)
    if count < 2 or trials == 0:
        return Interval(0.0, 1.0)
    rate = successes / trials
    if successes in (0, trials):
        return wilson(count if successes else 0, count, confidence)
    between = count / (count - 1) * sum((good - rate * n) ** 2 for good, n in clusters) / trials**2
    worth = min(rate * (1 - rate) / between, trials) if between else trials
    worth *= (_z(confidence) / _student_quantile((1 + confidence) / 2, count - 1)) ** 2
    return _wilson(rate, worth, _z(confidence))


def paired_difference(first: Sequence[bool], second: Sequence[bool], confidence: float = CONFIDENCE) -> RateDifference:
    """First's rate less second's, trial i of both having had the same scene.

    The interval is method 10 of Newcombe, Statistics in Medicine 17 (1998), 2635-2650: Wilson's intervals of both
    rates, combined with their correlation. Raises ValueError unless both have the same number of trials, at least one.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"paired trials needed, found {len(first)} and {len(second)}")
    n = len(first)
    both = sum(a and b for a, b in zip(first, second, strict=True))
    gained = sum(a and not b for a, b in zip(first, second, strict=True))
    lost = sum(b and not a for a, b in zip(first, second, strict=True))
    neither = n - both - gained - lost
    rate_1, rate_2 = (both + gained) / n, (both + lost) / n
    (low_1, high_1), (low_2, high_2) = (wilson(both + x, n, confidence) for x in (gained, lost))
    phi = _correlation(both, gained, lost, neither)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

    value = rate_1 - rate_2
    low = value - reach(rate_1 - low_1, high_2 - rate_2)
    high = value + reach(high_1 - rate_1, rate_2 - low_2)
    return RateDifference(value, Interval(low, high), n, gained, lost, mcnemar(gained, lost))


def mcnemar(gained: int, lost: int) -> float:
    """Probability that trials which differ fall as unevenly as this, or more so, were both policies equally good."""
    differing, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(differing, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**differing)


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean, for a few values drawn anew each: rates or differences, one a training seed.

    It tells how the figure would vary with another training, which an interval over trials cannot. Fewer than two
    values tell nothing: [-inf, inf].
    """
    if len(values) < 2:
        return Interval(-math.inf, math.inf)
    half = _student_quantile((1 + confidence) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(mean(values) - half, mean(values) + half)


def _wilson(rate: float, trials: float, z: float) -> Interval:
    weight = z * z / trials
    middle = (rate + weight / 2) / (1 + weight)
    half = math.sqrt(rate * (1 - rate) * weight + weight * weight / 4) / (1 + weight)
    return Interval(0.0 if rate == 0 else middle - half, 1.0 if rate == 1 else middle + half)


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: must be between 0 and 1")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    """Correlation of two paired outcomes, with the continuity correction of Newcombe's method 10."""
    product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if product == 0:
        return 0.0
    excess = float(both * neither - gained * lost)
    if excess > 0:
        excess = max(excess - (both + gained + lost + neither) / 2, 0.0)
    return excess / math.sqrt(product)


@cache
def _student_quantile(probability: float, freedom: int) -> float:
    """Quantile above 0.5 of Student's t distribution.

    With t = √freedom · tan(angle) the density is that of cos(angle)^(freedom - 1), on a finite range.
    """
    angles = np.linspace(0.0, math.pi / 2, 20001)
    density = np.cos(angles) ** (freedom - 1)
    area = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    angle = np.interp(probability - 0.5, area / (2 * area[-1]), angles)
    return float(math.sqrt(freedom) * np.tan(angle))
