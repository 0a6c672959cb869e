"""The dialogue of a calibration: what the person is asked to do, and what is concluded from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import ARM_JOINTS, Leader

from vga_teleop.gello.bus import Bus, ReadError
from vga_teleop.gello.calibration import CalibrationError, find_offsets, find_sign, gripper_range
from vga_teleop.gello.cell_file import write_leader
from vga_teleop.gello.joints import angle

Vector = NDArray[np.float64]

SAMPLES = 20  # readings averaged
STILL = 0.03  # rad of movement among them that count as held still
LOOK_S = 0.02
PATIENCE = 60.0  # s for one movement
ATTEMPTS = 5

Ask = Callable[[str], object]


def run(
    path: Path,
    leader: Leader,
    pose: Sequence[float],
    *,
    signs: Sequence[int] | None = None,
    exact: bool = False,
    ask: Ask = input,
    say: Callable[[str], None] = print,
) -> int:
    """Calibrates the leader with a person's help and writes the result into the cell file at `path`; 0.

    pose: joint angles [7] (rad) of the pose the person is asked to hold. signs: if known already.
    ask: shows a request and returns once the person has done it. Raises PortError, CalibrationError, CellError;
    the file is then as it was.
    """
    with Bus(leader) as bus:
        say(f"Reading {leader.port}. Nothing is written to the servos.")
        found = np.array(signs if signs is not None else [_sign(bus, joint, ask, say) for joint in range(ARM_JOINTS)])
        ask(f"Hold the leader as the arm stands at {_figures(pose)} rad, trigger let go, then press Enter")
        held = _held(bus)
        offsets, residuals = find_offsets(held[:ARM_JOINTS], np.array(pose), found, exact=exact)
        ask("Pull the trigger all the way, hold it, then press Enter")
        closed, opened = gripper_range(float(_held(bus)[ARM_JOINTS]), float(held[ARM_JOINTS]))
    write_leader(
        path,
        {
            "offsets": [round(float(offset), 6) for offset in offsets],
            "signs": [int(sign) for sign in found],
            "gripper_closed": round(closed, 4),
            "gripper_open": round(opened, 4),
        },
    )
    say(f"The pose was held within {np.abs(residuals).max():.2f} rad. Written to {path}")
    return 0


def _sign(bus: Bus, joint: int, ask: Ask, say: Callable[[str], None]) -> int:
    """Has one joint turned and returns its sign."""
    for _ in range(ATTEMPTS):
        ask(
            f"Joint {joint + 1}: press Enter, then turn it by 30 degrees in the direction in which the arm's joint "
            f"{joint + 1} counts up (counter-clockwise about its axis)"
        )
        try:
            sign = _turned(bus, joint)
        except CalibrationError as error:
            say(f"{error}. Once more:")
        else:
            say(f"Joint {joint + 1}: sign {sign:+d}")
            return sign
    raise CalibrationError(f"the sign of joint {joint + 1} remains unknown; give --signs if you know them")


def _turned(bus: Bus, joint: int) -> int:
    """Waits until a joint has been turned; its sign."""
    before, deadline = _held(bus), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        sign = find_sign(before[:ARM_JOINTS], _read(bus)[:ARM_JOINTS], joint)
        if sign is not None:
            return sign
    raise CalibrationError(f"joint {joint + 1} was not turned within {PATIENCE:g} s")


def _held(bus: Bus) -> Vector:
    """Mean servo angles [8] (rad) of a leader that is held still. Raises CalibrationError when it is not."""
    readings = np.array([_read(bus) for _ in range(SAMPLES)])
    if (moved := np.ptp(readings, axis=0)).max() > STILL:
        raise CalibrationError(f"joint {int(moved.argmax()) + 1} moved: hold the leader still, and begin again")
    return np.asarray(readings.mean(axis=0))


def _read(bus: Bus) -> Vector:
    """Servo angles [8], rad."""
    for _ in range(ATTEMPTS):
        try:
            return angle(bus.read().ticks)
        except ReadError as error:
            reason = str(error)
    raise CalibrationError(f"the servos cannot be read: {reason}. `vga gello ping` lists those that answer")


def _figures(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in values) + "]"
