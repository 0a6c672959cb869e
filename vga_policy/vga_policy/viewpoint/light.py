"""How much lighter or darker a picture is than another of the same, and how its colors have shifted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vga_policy.viewpoint.reference import Pixels

DARKEST, LIGHTEST = 12, 243  # of 255: beyond, a pixel does not tell how much light there was
FEWEST = 200  # pixels
AGREE = 0.7  # share of the pixels


class Light(NamedTuple):
    """Live light in shares of the reference's: `green`, by which brightness is judged, and red and blue against it."""

    green: float
    red: float
    blue: float


def compare_light(reference: Pixels, live: Pixels, where: NDArray[np.bool_]) -> Light | None:
    """The light of a live picture over a reference, where both show the same [H, W]; None where too little tells.

    Seven pixels of ten agree on a change, or there is none: so much of it may be covered by what was not there.
    """
    tells = where.copy()
    for picture in (reference, live):
        tells &= (picture > DARKEST).all(axis=-1) & (picture < LIGHTEST).all(axis=-1)
    if tells.sum() < FEWEST:
        return None
    red, green, blue = (np.log(_linear(live[tells])) - np.log(_linear(reference[tells]))).T
    return Light(*(float(np.exp(_agreed(change))) for change in (green, red - green, blue - green)))


def _agreed(changes: NDArray[np.float64]) -> float:
    """The least change that AGREE of them reach; 0 where they do not agree on its sign."""
    low, high = np.quantile(changes, (1 - AGREE, AGREE))
    return float(np.clip(0.0, low, high))


def _linear(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Light in shares of white, of pixels as sRGB codes them."""
    share = values / 255.0
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
