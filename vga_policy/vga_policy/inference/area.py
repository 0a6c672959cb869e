"""OpenCV's resampling by area in torch's operations, so that a GPU can do it: the same bytes.

Policies are trained on what OpenCV makes of images. Its sums are repeated here in its order and its float32, product by
product and sum by sum. A compiler that joins the two (FMA) turns about one value of a thousand by one of 255.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CLOSE_TO_A_PIXEL = 1e-3  # OpenCV leaves out the share of a pixel that is smaller


class Area(nn.Module):
    """Squeezes uint8 images [H, W, 3] of one size whole to [size, size, 3], as `preprocess.square` does."""

    row_indices: Tensor
    row_shares: Tensor
    column_indices: Tensor
    column_shares: Tensor

    def __init__(self, height: int, width: int, size: int) -> None:
        """Raises ValueError for images that are smaller than the square: OpenCV enlarges in another way."""
        super().__init__()
        if min(height, width) < size:
            raise ValueError(f"images of {width} x {height} would be enlarged to {size} x {size}")
        self._whole = (height // size, width // size) if height % size == width % size == 0 else None
        for name, length in (("row", height), ("column", width)):
            indices, shares = _shares(length, size)
            self.register_buffer(f"{name}_indices", torch.from_numpy(indices), persistent=False)
            self.register_buffer(f"{name}_shares", torch.from_numpy(shares), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 [H, W, 3] to uint8 [size, size, 3]."""
        if self._whole == (1, 1):
            return image
        if self._whole is not None:
            return _mean(image, *self._whole)
        columns = _weighed(image.float(), 1, self.column_indices, self.column_shares[..., None])
        rows = _weighed(columns, 0, self.row_indices, self.row_shares[..., None, None])
        return rows.round().to(torch.uint8)


def _mean(image: Tensor, height: int, width: int) -> Tensor:
    """The mean of every block of height x width whole pixels."""
    total = image.int().unflatten(0, (-1, height)).unflatten(2, (-1, width)).sum((1, 3))
    if height == width == 2:
        return ((total + 2) // 4).to(torch.uint8)
    return (total.float() * float(np.float32(1.0) / np.float32(height * width))).round().to(torch.uint8)


def _weighed(image: Tensor, axis: int, indices: Tensor, shares: Tensor) -> Tensor:
    """The sum of the shares of the pixels along an axis; indices [taps, size], shares to match."""
    total = image.index_select(axis, indices[0]) * shares[0]
    for index, share in zip(indices[1:], shares[1:], strict=True):
        total = total + image.index_select(axis, index) * share
    return total


def _shares(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of `length` pixels each of `size` is made of, and each one's share in it: [taps, size] both.

    What has fewer than others is filled up with a share of 0.
    """
    scale = 1.0 / (size / length)
    made_of: list[list[tuple[int, float]]] = []
    for place in range(size):
        begin, end = place * scale, place * scale + scale
        cell = min(scale, length - begin)
        last = min(math.floor(end), length - 1)
        first = min(math.ceil(begin), last)
        parts = [(pixel, 1.0 / cell) for pixel in range(first, last)]
        if first - begin > CLOSE_TO_A_PIXEL:
            parts.insert(0, (first - 1, (first - begin) / cell))
        if end - last > CLOSE_TO_A_PIXEL:
            parts.append((last, min(end - last, 1.0, cell) / cell))
        made_of.append(parts)
    taps = max(map(len, made_of))
    indices, shares = np.zeros((taps, size), np.int64), np.zeros((taps, size), np.float32)
    for place, parts in enumerate(made_of):
        for tap, (pixel, share) in enumerate(parts):
            indices[tap, place], shares[tap, place] = pixel, share
    return indices, shares
