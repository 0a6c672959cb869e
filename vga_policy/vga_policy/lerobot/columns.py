"""Columns of a Parquet table as numbers, each value looked at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vga_policy.lerobot.errors import LeRobotError, quoted

LARGEST = 2**62


def vector(table: pa.Table, name: str, *, whole: bool = False) -> NDArray[Any]:
    """A column of N numbers, or of lists of one: float64 [N], int64 [N] when they must be whole.

    Raises LeRobotError naming the row of the first value that is none, not finite, or larger than a time in ns.
    """
    values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in _listed(table, name)]
    for row, value in enumerate(values):
        if not _is_number(value) or (whole and value != int(value)):
            raise _refusal(name, row, value, "a whole number" if whole else "a number")
    return np.array([int(value) for value in values] if whole else values, dtype=np.int64 if whole else np.float64)


def matrix(table: pa.Table, name: str, width: int, *, whole: bool = False) -> NDArray[Any]:
    """A column of N lists of `width` numbers: float64 or int64 [N, width]. Raises LeRobotError as :func:`vector`."""
    rows = _listed(table, name)
    for row, value in enumerate(rows):
        if width == 1 and _is_number(value):
            rows[row] = value = [value]
        if not isinstance(value, list) or len(value) != width or not all(map(_is_number, value)):
            raise _refusal(name, row, value, f"{width} finite numbers")
    return np.array(rows, dtype=np.int64 if whole else np.float64).reshape(len(rows), width)


def _listed(table: pa.Table, name: str) -> list[Any]:
    try:
        return list(table[name].to_pylist())
    except (pa.ArrowException, ValueError) as error:  # texts that are no UTF-8, times of no calendar
        raise LeRobotError(f"column {name}: damaged: {quoted(str(error))}: write the dataset anew") from None


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < LARGEST
    )


def _refusal(name: str, row: int, value: Any, expected: str) -> LeRobotError:
    return LeRobotError(
        f"{name}: row {row} should be {expected} (found {quoted(value)}): correct or remove the episode"
    )
