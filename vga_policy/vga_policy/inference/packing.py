"""All that an observation brings in one stretch of memory, so that it goes to a GPU in one copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vga_policy.inference.area import Area
from vga_policy.inference.function import ChunkFunction

Size = tuple[int, int]
"""Height and width of an image."""


@dataclass(frozen=True)
class Packing:
    """Where in the bytes what is: proprioception (P float64), language (E float32), then the images of these sizes."""

    proprioception: int
    language: int
    sizes: tuple[Size, ...]

    def empty(self, *, pinned: bool) -> Tensor:
        """Bytes for one observation, on the host; pinned ones are copied to a GPU without another copy in between."""
        return torch.empty(self._ends[-1], dtype=torch.uint8, pin_memory=pinned)

    def fill(
        self, packed: Tensor, views: Sequence[NDArray[np.uint8]], language: Tensor, proprioception: NDArray[np.float64]
    ) -> None:
        """Writes an observation into bytes on the host."""
        places, told, felt = self.split(packed)
        told.copy_(language)
        felt.numpy()[:] = proprioception
        for place, view in zip(places, views, strict=True):
            place.numpy()[:] = view

    def split(self, packed: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Views of the bytes: the images, uint8 [H, W, 3] each, language [1, E] and proprioception [P]."""
        felt, told, *images = (packed[begin:end] for begin, end in pairwise(self._ends))
        views = [image.view(*size, 3) for image, size in zip(images, self.sizes, strict=True)]
        return views, told.view(torch.float32)[None], felt.view(torch.float64)

    @property
    def _ends(self) -> list[int]:
        # The largest first: each kind of number then lies where it may.
        lengths = 8 * self.proprioception, 4 * self.language, *(3 * height * width for height, width in self.sizes)
        return [0, *accumulate(lengths)]


class PackedFunction(nn.Module):
    """ChunkFunction of packed bytes, with images as cameras give them: they are resized here."""

    def __init__(self, function: ChunkFunction, packing: Packing, size: int) -> None:
        super().__init__()
        self.function = function
        self.areas = nn.ModuleList(Area(height, width, size) for height, width in packing.sizes)
        self._packing = packing

    def forward(self, packed: Tensor) -> Tensor:
        """Bytes to float64 [2, H, A], as ChunkFunction."""
        views, language, proprioception = self._packing.split(packed)
        squares = torch.stack([area(view) for area, view in zip(self.areas, views, strict=True)])
        return self.function(squares, language, proprioception)
