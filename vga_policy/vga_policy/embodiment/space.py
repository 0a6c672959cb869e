"""The numbers of an action or of a proprioception: what each is, in which unit, and how a model is given it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray


class ChannelKind(StrEnum):
    """What a number tells.

    DELTA is a change of the hand's pose in a step, as a share of the largest that is allowed. ROTATION is a part of an
    axis times its angle. WIDTH is the hand's total opening, FINGER where one finger is. SIGN opens the hand where it is
    negative and closes it where it is positive.
    """

    JOINT = "absolute_joint"
    POSITION = "position"
    ROTATION = "rotation"
    DELTA = "delta_pose"
    WIDTH = "gripper_width"
    FINGER = "finger_position"
    SIGN = "gripper_sign"


PARTS = {
    ChannelKind.JOINT: "joints",
    ChannelKind.POSITION: "pose",
    ChannelKind.ROTATION: "pose",
    ChannelKind.DELTA: "pose",
    ChannelKind.WIDTH: "gripper",
    ChannelKind.FINGER: "gripper",
    ChannelKind.SIGN: "gripper",
}
"""What of the robot a kind belongs to, as reports call it."""


@dataclass(frozen=True)
class Channel:
    """One number.

    unit: "1" for a share or a sign. normalization: "percentile" maps the range of the training data to -1..1; "none" is
    for what is in -1..1 as it is. relative_to: of an action, the channel of proprioception that a relative target is
    an offset from; None where it never is one. bounds: what a command is kept within, both included.
    """

    name: str
    kind: ChannelKind
    unit: str
    normalization: Literal["percentile", "none"] = "percentile"
    relative_to: str | None = None
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"{self.name}: bounds must ascend (found {list(self.bounds)})")

    def __str__(self) -> str:
        within = "" if self.bounds is None else f" in {list(self.bounds)}"
        to = "" if self.relative_to is None else f" relative to {self.relative_to}"
        return f"{self.name}: {self.kind}, {self.unit}, {self.normalization}{to}{within}"

    @property
    def of_hand(self) -> bool:
        """Whether it tells of the hand's fingers, not of the arm."""
        return PARTS[self.kind] == "gripper"


@dataclass(frozen=True)
class Space:
    """The channels of a vector, in order."""

    channels: tuple[Channel, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) != len(names):
            raise ValueError(f"channels: need one at least, each of another name (found {names})")

    def __len__(self) -> int:
        return len(self.channels)

    @property
    def names(self) -> list[str]:
        """Of the channels."""
        return [channel.name for channel in self.channels]

    @cached_property
    def arm(self) -> NDArray[np.int64]:
        """Positions of the channels that tell of the arm."""
        return self._where([not channel.of_hand for channel in self.channels])

    @cached_property
    def hand(self) -> NDArray[np.int64]:
        """Positions of the channels that tell of the hand."""
        return self._where([channel.of_hand for channel in self.channels])

    @cached_property
    def as_it_is(self) -> NDArray[np.int64]:
        """Positions of the channels that are not normalized."""
        return self._where([channel.normalization == "none" for channel in self.channels])

    @cached_property
    def reported(self) -> dict[str, NDArray[np.int64]]:
        """Positions of the channels of each part of the robot, by the part's name and unit, as `joints_rad`."""
        keys = [f"{PARTS[channel.kind]}_{channel.unit}".removesuffix("_1") for channel in self.channels]
        return {key: self._where([key == other for other in keys]) for key in dict.fromkeys(keys)}

    def command(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values [..., N] as they are sent to the robot: within their bounds, a sign as -1 or 1."""
        low, high = self.bounds
        return np.where(self.signs, np.where(values > 0.0, 1.0, -1.0), np.clip(values, low, high))

    def closed(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether commands [..., N] close the hand. Raises ValueError when none of the channels tells."""
        for position in self.hand.tolist():
            channel = self.channels[position]
            if channel.kind is ChannelKind.SIGN:
                return np.asarray(values[..., position] > 0)
            if channel.kind is ChannelKind.WIDTH and channel.bounds is not None:
                return np.asarray(values[..., position] <= sum(channel.bounds) / 2)
        raise ValueError(f"no channel commands the hand (found {self.names})")

    @cached_property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and the greatest that a command may be; infinite where it has no bounds."""
        low, high = zip(*(channel.bounds or (-np.inf, np.inf) for channel in self.channels), strict=True)
        return np.array(low), np.array(high)

    @cached_property
    def signs(self) -> NDArray[np.bool_]:
        """Which channels are signs."""
        return np.array([channel.kind is ChannelKind.SIGN for channel in self.channels])

    @staticmethod
    def _where(chosen: Collection[bool]) -> NDArray[np.int64]:
        return np.flatnonzero(np.array(list(chosen), dtype=bool))
