"""Ways of running a policy's function: operation by operation, traced on a CPU, recorded on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vga_policy.inference.compile import Forward, compare, fuse, record, trace
from vga_policy.inference.function import ChunkFunction
from vga_policy.inference.packing import PackedFunction, Packing, Size
from vga_policy.inference.preprocess import square

Views = tuple[NDArray[np.uint8], ...]
"""An image [H, W, 3] for each view, in slot order."""

Run = Callable[[Views, Tensor, NDArray[np.float64]], NDArray[np.float64]]
"""Prepared views, embedding [1, E] and proprioception [P], all on the host, to ChunkFunction's [2, H, A]."""

RECORDINGS_KEPT = 4  # each for images of other sizes


@dataclass(frozen=True)
class Shape:
    """Of what a function takes: how many views, the side of their squares, numbers of language and proprioception."""

    views: int
    size: int
    language: int
    proprioception: int

    def made_up(self, seed: int, sizes: Sequence[Size] | None = None) -> tuple[Views, Tensor, NDArray[np.float64]]:
        """Noise in place of an observation, with squares, or with images of other sizes."""
        rng = np.random.default_rng(seed)
        sizes = [(self.size, self.size)] * self.views if sizes is None else sizes
        views = tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes)
        language = torch.from_numpy(rng.standard_normal((1, self.language), np.float32))
        return views, language, rng.standard_normal(self.proprioception)


class Running(Protocol):
    """A function that is ready to be called again and again, with what an observation brings."""

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> Views:
        """What the host does with the images before the call."""

    def __call__(self, views: Views, language: Tensor, proprioception: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `Run`."""


class Stepwise:
    """One operation at a time, on any device. The host resizes the images."""

    def __init__(self, function: ChunkFunction, shape: Shape, device: torch.device) -> None:
        self.function: Forward = function.to(device)
        self._shape, self._device = shape, device

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> Views:
        """Squares."""
        return tuple(square(image, self._shape.size) for image in images)

    @torch.inference_mode()
    def __call__(self, views: Views, language: Tensor, proprioception: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squares, embedding [1, E] and proprioception [P] to [2, H, A]."""
        return self.function(*self.tensors(views, language, proprioception)).cpu().numpy()

    def tensors(
        self, views: Views, language: Tensor, proprioception: NDArray[np.float64]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same on the device."""
        values = torch.from_numpy(np.stack(views)), language, torch.from_numpy(np.array(proprioception))
        squares, language, felt = (value.to(self._device) for value in values)
        return squares, language, felt


class Traced(Stepwise):
    """On a CPU, as one call; the host resizes the images.

    Raises RecordingError when that does not give what the operations give one by one.
    """

    def __init__(self, function: ChunkFunction, shape: Shape, device: torch.device) -> None:
        super().__init__(function, shape, device)
        first, other = shape.made_up(0), shape.made_up(1)
        expected = self(*other)
        self.function = trace(function, self.tensors(*first))
        _compare(function, (expected, self(*other), self(*first)), device)


class Recorded:
    """On a GPU: one copy there of all that an observation brings, one CUDA graph, one copy back of the chunk.

    Images of sizes that are new take the time of a recording. Raises RecordingError when a recording does not give what
    the operations give one by one, on images that the host has resized. network: what is recorded of it, fused or not.
    """

    def __init__(self, function: ChunkFunction, shape: Shape, device: torch.device, *, fused: bool = True) -> None:
        self._stepwise = Stepwise(function, shape, device)
        self._shape, self._device = shape, device
        self._function = function
        if fused:
            inputs = function.network_inputs(*self._stepwise.tensors(*shape.made_up(0)))
            with torch.cuda.device(device):
                self._function = function.around(fuse(function.network, inputs))
        self.network: Forward = self._function.network
        self._recording = lru_cache(RECORDINGS_KEPT)(self._record)

    def prepare(self, images: Sequence[NDArray[np.uint8]]) -> Views:
        """As they are, but for those smaller than the network's squares."""
        side = self._shape.size
        return tuple(image if min(image.shape[:2]) >= side else square(image, side) for image in images)

    @torch.inference_mode()
    def __call__(self, views: Views, language: Tensor, proprioception: NDArray[np.float64]) -> NDArray[np.float64]:
        """Images, embedding [1, E] and proprioception [P] to [2, H, A]."""
        sizes = tuple((view.shape[0], view.shape[1]) for view in views)
        return self._recording(sizes)(views, language, proprioception)

    def _record(self, sizes: tuple[Size, ...]) -> Run:
        shape, device = self._shape, self._device
        packing = Packing(shape.proprioception, shape.language, sizes)
        packed = packing.empty(pinned=device.type == "cuda")
        first, other = (shape.made_up(seed, sizes) for seed in (0, 1))
        packing.fill(packed, *first)
        replay = record(PackedFunction(self._function, packing, shape.size).to(device), (packed,), device)

        def run(views: Views, language: Tensor, proprioception: NDArray[np.float64]) -> NDArray[np.float64]:
            packing.fill(packed, views, language, proprioception)
            return replay(packed).cpu().numpy()

        images, language, proprioception = other
        expected = self._stepwise(self._stepwise.prepare(images), language, proprioception)
        _compare(self._function, (expected, run(*other), run(*first)), device)
        return run


def _compare(function: ChunkFunction, answers: tuple[NDArray[np.float64], ...], device: torch.device) -> None:
    """Compares chunks as they are meant: a command may have a sign, which a hair turns."""
    half = function.action_half.cpu()
    expected, found, first = (torch.from_numpy(values[0]) for values in answers)
    compare(expected, found, first, device, unit=torch.where(half > 0, half, 1.0))
