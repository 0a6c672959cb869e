"""The ChArUco board: a chessboard with ArUco markers in its white squares, found in pictures and printed to scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 5, 7  # squares
MODULES = 8  # of a square; a marker is 6 of them wide: 4 bits and its border
MARKER = 6
MILLIMETER = 72 / 25.4  # in points, PDF's unit
PAPERS = {"a4": (210.0, 297.0), "a3": (297.0, 420.0), "letter": (215.9, 279.4)}  # mm
RULER = 100.0  # mm
MARGIN = 6.0  # mm that printers leave white
FEWEST = 8  # corners, of a board that counts as seen


@dataclass(frozen=True)
class Sight:
    """The board in a picture. corners: float64 [N, 3], m, of the board; pixels: float64 [N, 2]."""

    corners: NDArray[np.float64]
    pixels: NDArray[np.float64]


@dataclass(frozen=True)
class Board:
    """A board of 5 x 7 squares. square: their edge, m. Its frame: origin in a corner, x along the 5, y along the 7."""

    square: float = 0.035

    @cached_property
    def _charuco(self) -> Any:
        markers = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        return cv2.aruco.CharucoBoard((COLUMNS, ROWS), self.square, self.square * MARKER / MODULES, markers)

    @cached_property
    def modules(self) -> NDArray[np.bool_]:
        """Which modules are black: bool [7 x 8, 5 x 8]."""
        picture = self._charuco.generateImage((COLUMNS * MODULES * 10, ROWS * MODULES * 10))
        return np.asarray(picture)[5::10, 5::10] < 128

    def find(self, picture: NDArray[np.uint8]) -> Sight | None:
        """The board in a picture [H, W, 3], RGB; None where fewer than FEWEST of its corners are seen."""
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        pixels, ids, _, _ = cv2.aruco.CharucoDetector(self._charuco).detectBoard(gray)
        if ids is None or len(ids) < FEWEST:
            return None
        corners = np.asarray(self._charuco.getChessboardCorners(), np.float64)[ids.ravel()]
        return Sight(corners, np.asarray(pixels, np.float64).reshape(-1, 2))

    def pdf(self, paper: str) -> bytes:
        """A page with the board, true to scale, and a ruler to check the printer by. Raises ValueError: too large."""
        wide, high = PAPERS[paper]
        edge = 1000 * self.square / MODULES
        left, bottom = (wide - COLUMNS * MODULES * edge) / 2, (high - ROWS * MODULES * edge) / 2 + 4
        if left < MARGIN or bottom < MARGIN + 8:
            most = min((wide - 2 * MARGIN) / COLUMNS, (high - 2 * MARGIN - 8) / ROWS)
            raise ValueError(
                f"squares of {1000 * self.square:g} mm do not fit on {paper}: at most {int(most)} mm, or larger paper"
            )
        boxes = [
            (left + column * edge, bottom + (ROWS * MODULES - 1 - row) * edge, width * edge, edge)
            for row, column, width in self.runs()
        ]
        boxes += [(left, bottom - 6, RULER, 0.3), (left, bottom - 7, 0.3, 2), (left + RULER - 0.3, bottom - 7, 0.3, 2)]
        drawn = "".join(f"{_points(*box)} re\n" for box in boxes) + "f\n"
        words = f"squares of {1000 * self.square:g} mm; the line is {RULER:g} mm long: print at 100 %"
        text = f"BT /F1 8 Tf {_points(left + RULER + 2, bottom - 7)} Td ({words}) Tj ET\n"
        return _page(drawn + text, wide, high)

    def runs(self) -> list[tuple[int, int, int]]:
        """The black modules as row, first column and length of each run."""
        found = []
        for row, modules in enumerate(self.modules):
            steps = np.flatnonzero(np.diff(np.concatenate([[False], modules, [False]]).astype(np.int8)))
            found += [(row, int(start), int(end - start)) for start, end in zip(steps[::2], steps[1::2], strict=True)]
        return found


def _points(*millimeters: float) -> str:
    return " ".join(f"{value * MILLIMETER:.4f}" for value in millimeters)


def _page(content: str, wide: float, high: float) -> bytes:
    """A PDF of one page of so many mm with this content."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {_points(wide, high)}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}endstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    page, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(page))
        page += f"{number} 0 obj\n{body}\nendobj\n".encode("ascii")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root 1 0 R >>\n"
    return page + f"{end}startxref\n{len(page)}\n%%EOF\n".encode("ascii")
