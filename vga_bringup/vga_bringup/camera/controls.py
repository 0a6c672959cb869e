"""Exposure, gain and white balance of a color sensor: locked as the cell file says, and read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pyrealsense2 as rs
from vga_policy.cell.schema import Camera


@dataclass(frozen=True)
class Control:
    """One control as the sensor reports it, in the cell file's units.

    asked: the locked value, None if left automatic. actual: read back, None if the sensor does not have the control.
    problem: why the lock does not hold; empty if it does.
    """

    name: str
    asked: float | None
    actual: float | None
    problem: str = ""

    def __str__(self) -> str:
        actual = "none" if self.actual is None else f"{self.actual:g}"
        if self.asked is None:
            return f"{actual} (automatic)"
        return f"{actual} (asked {self.asked:g}: {self.problem})" if self.problem else f"{actual} (locked)"


class _Lock(NamedTuple):
    """A value asked for in the cell file, and the sensor's option for it."""

    name: str
    option: rs.option
    value: float | None
    unit: float = 1.0  # one step of the option in the cell file's unit


def apply_controls(sensor: rs.sensor, camera: Camera) -> list[Control]:
    """Sets every control of the color sensor, locked or back to automatic, and reads it back.

    Automatic is set too: a camera keeps what an earlier program set for as long as it has power.
    """
    # Automatic exposure drives exposure and gain together, so that locking either turns it off for both.
    automatic_exposure = camera.exposure_us is None and camera.gain is None
    _set_flag(sensor, rs.option.enable_auto_exposure, automatic_exposure)
    _set_flag(sensor, rs.option.enable_auto_white_balance, camera.white_balance_k is None)
    # Never trade frame rate for exposure: the control loop counts on the rate.
    _set_flag(sensor, rs.option.auto_exposure_priority, False)
    problems = {lock.name: _set_value(sensor, lock) for lock in _locks(sensor, camera)}
    return [_read_back(sensor, lock, problems[lock.name]) for lock in _locks(sensor, camera)]


def _locks(sensor: rs.sensor, camera: Camera) -> list[_Lock]:
    # The separate RGB sensor of a D400 counts exposure in units of 100 us (UVC's); the stereo module, which is also the
    # color sensor of a D405, in us.
    exposure_unit = 100.0 if sensor.get_info(rs.camera_info.name) == "RGB Camera" else 1.0
    return [
        _Lock("exposure_us", rs.option.exposure, camera.exposure_us, exposure_unit),
        _Lock("gain", rs.option.gain, camera.gain),
        _Lock("white_balance_k", rs.option.white_balance, camera.white_balance_k),
    ]


def _set_flag(sensor: rs.sensor, option: rs.option, on: bool) -> None:
    if sensor.supports(option) and not sensor.is_option_read_only(option):
        sensor.set_option(option, float(on))


def _set_value(sensor: rs.sensor, lock: _Lock) -> str:
    """Sets a locked value; returns why it could not be, empty if it was."""
    if lock.value is None:
        return ""
    if not sensor.supports(lock.option):
        return "this camera does not have it"
    try:
        sensor.set_option(lock.option, lock.value / lock.unit)
    except RuntimeError:
        allowed = sensor.get_option_range(lock.option)
        low, high, step = (value * lock.unit for value in (allowed.min, allowed.max, allowed.step))
        return f"refused; allowed are {low:g} to {high:g} in steps of {step:g}"
    return ""


def _read_back(sensor: rs.sensor, lock: _Lock, problem: str) -> Control:
    actual = sensor.get_option(lock.option) * lock.unit if sensor.supports(lock.option) else None
    if lock.value is not None and actual is not None and not problem and abs(actual - lock.value) > lock.unit / 2:
        problem = "the camera chose another value"
    return Control(lock.name, lock.value, actual, problem)
