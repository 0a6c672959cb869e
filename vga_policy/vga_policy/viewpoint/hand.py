"""A wrist camera's picture laid over its reference, by the outline of the hand, which it carries along."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vga_policy.viewpoint.reference import Pixels, Reference

OUTLINE = 60.0  # of Sobel's gradient: edges that the median of many pictures keeps are the hand's
MARGIN = 4  # px on both sides of an edge that count
SMALLEST = 0.003  # share of the picture, of an outline that can be found again
REACH = 64  # px, how far it is looked for
ALIKE = 0.7  # correlation of the outline with itself: what passes behind the hand may lower it so far
FOUND = 0.6  # likewise where it has moved, for then it looks another way
BLUR = 1.2  # px


@dataclass(frozen=True)
class Sighting:
    """Where the hand is in a live picture: `pixels` from where it was, and how alike (1: the same) there."""

    pixels: float
    likeness: float
    likeness_in_place: float


class HandOutline:
    """The outline of the hand in a reference. visible: whether there is enough of it to be found again."""

    def __init__(self, reference: Reference) -> None:
        picture = _gray(reference.picture)
        edges = np.hypot(cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)) > OUTLINE
        side = 2 * MARGIN + 1
        self.region: NDArray[np.bool_] = cv2.dilate(edges.astype(np.uint8), np.ones((side, side))) > 0
        self.visible = bool(self.region.mean() > SMALLEST)
        rows, columns = np.nonzero(self.region) if self.visible else (np.zeros(1, int), np.zeros(1, int))
        self._box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        self._outline = picture[self._box]
        self._mask = self.region[self._box].astype(np.float32)

    def find(self, live: Pixels) -> Sighting:
        """Looks for it in a live picture of the reference's size."""
        wide = cv2.copyMakeBorder(_gray(live), REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
        rows, columns = self._box
        window = wide[rows.start : rows.stop + 2 * REACH, columns.start : columns.stop + 2 * REACH]
        likeness = cv2.matchTemplate(window, self._outline, cv2.TM_CCOEFF_NORMED, mask=self._mask)
        likeness[~np.isfinite(likeness)] = -1.0  # of a part of the picture that is all of one color
        _, best, _, (column, row) = cv2.minMaxLoc(likeness)
        pixels = float(np.hypot(column - REACH, row - REACH))
        return Sighting(pixels, float(best), float(likeness[REACH, REACH]))


def _gray(picture: Pixels) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), BLUR), np.float32)
