"""What LeRobot normalizes with: minimum, maximum, mean, deviation and quantiles of every feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
LEVELS = 256

Statistics = dict[str, list[Any]]


def of_numbers(values: NDArray[Any]) -> Statistics:
    """Of a feature's values [N] or [N, D], in float64."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": columns.min(axis=0), "max": columns.max(axis=0)}
    found |= {"mean": columns.mean(axis=0), "std": columns.std(axis=0)}
    quantiles = np.quantile(columns, list(QUANTILES.values()), axis=0)
    found |= dict(zip(QUANTILES, quantiles, strict=True))
    return {**{key: each.tolist() for key, each in found.items()}, "count": [len(values)]}


def histogram(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """How often each level occurs in each channel of these pictures [H, W, 3]: int64 [3, 256]."""
    counts = np.zeros((3, LEVELS), dtype=np.int64)
    for picture in pictures:
        for channel in range(3):
            counts[channel] += np.bincount(picture[..., channel].ravel(), minlength=LEVELS)
    return counts


def of_pictures(levels: NDArray[np.int64], pictures: int) -> Statistics:
    """Of images with this histogram [3, 256], each number as [3, 1, 1] of values from 0 to 1."""
    values = np.arange(LEVELS) / (LEVELS - 1)
    shares = levels / levels.sum(axis=1, keepdims=True)
    mean = shares @ values
    found = {
        "min": [values[np.flatnonzero(channel)[0]] for channel in levels],
        "max": [values[np.flatnonzero(channel)[-1]] for channel in levels],
        "mean": mean,
        "std": np.sqrt(np.maximum(shares @ values**2 - mean**2, 0.0)),
    }
    rising = np.cumsum(shares, axis=1)
    found |= {name: values[(rising < share).sum(axis=1)] for name, share in QUANTILES.items()}
    return {**{key: np.reshape(each, (3, 1, 1)).tolist() for key, each in found.items()}, "count": [pictures]}
