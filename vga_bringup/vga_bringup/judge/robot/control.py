"""The positive control: a robot object that plans with franky's own limits, whatever it is told.

They are the Panda's, beyond the FR3's. A judge that finds nothing wrong with them would find nothing at all.
"""

from __future__ import annotations

from typing import Any

import franky
from vga_policy.cell.schema import Arm


class _Deaf:
    """A limit of franky's that keeps its highest value and says it were what it was told."""

    def __init__(self, limit: Any) -> None:
        self._limit = limit
        limit.set(limit.max)
        self._told = limit.get()

    @property
    def max(self) -> Any:
        """See franky."""
        return self._limit.max

    def set(self, value: Any) -> None:
        """Is not passed on."""
        self._told = value

    def get(self) -> Any:
        """What was told."""
        return self._told


class FrankyLimits(franky.Robot):
    """franky.Robot whose limits on acceleration and jerk stay franky's own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._acceleration = _Deaf(super().joint_acceleration_limit)
        self._jerk = _Deaf(super().joint_jerk_limit)

    @property
    def joint_acceleration_limit(self) -> Any:
        """See franky.Robot."""
        return self._acceleration

    @property
    def joint_jerk_limit(self) -> Any:
        """See franky.Robot."""
        return self._jerk


def franky_limits(config: Arm) -> Any:
    """As robot.arm.franky_robot, for a cell without real-time kernel."""
    return FrankyLimits(config.ip, realtime_config=franky.RealtimeConfig.Ignore)
