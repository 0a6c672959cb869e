"""Rendered frames on their way to the simulated cameras: for each camera a ring in shared memory.

The renderer fills the slots in turn and then raises `written`; a reader copies a slot and then looks whether the
renderer has come round to it meanwhile. Neither waits for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Camera

from vga_bringup.sim.physics.shared import Segment, segment_path

SLOTS = 8


@dataclass(frozen=True)
class SimFrame:
    """One rendered frame.

    number: counts from 0. captured: system time of the drawn state, s. sim_time: its simulated time, s.
    due: system time at which the camera delivers it, s.
    color: uint8 [H, W, 3], RGB. depth: uint16 [H, W], mm, from color's viewpoint, 0 where there is none;
        None if the camera has no depth.
    """

    number: int
    captured: float
    sim_time: float
    due: float
    color: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None


class FrameRing:
    """What writer and reader have in common. `written` frames so far, `late` of them finished after they were due."""

    def __init__(self, segment: Segment, camera: Camera) -> None:
        layout = _layout(camera)
        if len(segment.memory) != layout.itemsize:
            raise ValueError(f"camera '{camera.name}': this cell file's profile is not the running simulated cell's")
        self._segment = segment
        self._ring = np.ndarray((), layout, segment.memory)

    @property
    def writer(self) -> int:
        """Id of the process that draws the frames, or did when it was killed."""
        return self._segment.writer

    @property
    def written(self) -> int:
        """Number of frames written so far; the newest is `written` - 1."""
        return int(self._ring["written"])

    @property
    def late(self) -> int:
        """How many of them were ready only after they were due."""
        return int(self._ring["late"])

    def close(self) -> None:
        """Gives the ring up."""
        self._segment.close()

    def _slot(self, number: int) -> Any:
        return self._ring["slots"][number % SLOTS]


class FrameWriter(FrameRing):
    """The renderer's end."""

    def __init__(self, address: str, camera: Camera) -> None:
        super().__init__(Segment.create(segment_path(address, camera.name), _layout(camera).itemsize), camera)

    @property
    def color(self) -> NDArray[np.uint8]:
        """Where to draw the next frame, [H, W, 3]."""
        return self._slot(self.written)["color"]

    @property
    def depth(self) -> NDArray[np.uint16]:
        """Where to put the next frame's depth, [H, W]; only if the camera has depth."""
        return self._slot(self.written)["depth"]

    def publish(self, captured: float, sim_time: float, due: float, finished: float) -> None:
        """Hands the frame just drawn over. Times in s, as in SimFrame; `finished` is now."""
        slot = self._slot(self.written)
        slot["captured"], slot["sim_time"], slot["due"] = captured, sim_time, due
        self._ring["late"] += finished > due
        self._ring["written"] += np.uint64(1)  # NumPy 1.26 would make a float of uint64 + int


class FrameReader(FrameRing):
    """A camera's end. Raises FileNotFoundError while it is not simulated, ValueError if with another profile."""

    def __init__(self, address: str, camera: Camera) -> None:
        super().__init__(Segment.attach(segment_path(address, camera.name)), camera)

    @property
    def withdrawn(self) -> bool:
        """Whether the cell was stopped or started anew: make another reader."""
        return self._segment.replaced

    def read(self, number: int) -> SimFrame | None:
        """A copy of a frame; None if it is not there yet or no more."""
        if number >= self.written:
            return None
        slot = self._slot(number)
        frame = SimFrame(
            number=number,
            captured=float(slot["captured"]),
            sim_time=float(slot["sim_time"]),
            due=float(slot["due"]),
            color=slot["color"].copy(),
            depth=slot["depth"].copy() if "depth" in slot.dtype.names else None,
        )
        # Once `written` has come so far, the renderer may have been drawing over the slot during the copy.
        return frame if self.written < number + SLOTS else None


def _layout(camera: Camera) -> np.dtype:
    width, height = camera.color.width, camera.color.height
    slot: list[Any] = [("captured", "f8"), ("sim_time", "f8"), ("due", "f8"), ("color", "u1", (height, width, 3))]
    if camera.depth:
        slot.append(("depth", "<u2", (height, width)))
    return np.dtype([("written", "u8"), ("late", "u8"), ("slots", slot, (SLOTS,))])
