"""Values of a cell that cannot be meant: of another unit than the key's, or an address that is none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from vga_policy.cell.schema import Cell
from vga_policy.cell.values import values

# The largest that can be meant, by unit: an arm reaches 0.9 m, and what waits 5 s is no control.
MOST = {"m": 5.0, "s": 5.0, "rad": 2 * math.pi, "kg": 3.0, "kg m^2": 1.0, "N": 200.0, "Nm": 150.0, "N and Nm": 250.0}
OTHERS = {"m": "mm", "s": "ms", "rad": "degrees", "kg": "g"}  # what such a value is of, most likely
ANY = ("leader.",)  # a servo's zero may be turns away, and an offset may fade as slowly as one likes
FASTEST = 100.0  # Hz of a policy
SOFTEST = 1.0  # rad/s^2 of a stop: the arm would go on for seconds


def implausible(cell: Cell) -> Iterator[str]:
    """A line for each: key, value, what is allowed."""
    for key, value, unit, _ in values(cell, cell.model_dump(mode="json")):
        most = MOST.get(unit or "")
        if most is None or key.startswith(ANY):
            continue
        largest = max((abs(number) for number in _numbers(value)), default=0.0)
        if largest > most:
            other = f"; is it in {OTHERS[str(unit)]}?" if unit in OTHERS else ""
            yield f"{key}: {largest:g} {unit} cannot be meant, {most:.3g} at most{other}"
    if cell.control_rate_hz > FASTEST:
        yield f"control_rate_hz: {cell.control_rate_hz:g} Hz cannot be meant, {FASTEST:g} at most"
    if cell.execution.stop_acceleration < SOFTEST:
        yield (
            f"execution.stop_acceleration: {cell.execution.stop_acceleration:g} rad/s^2 would hardly brake the arm; "
            f"{SOFTEST:g} at least"
        )
    if min(cell.arm.payload.inertia[::4]) < 0:
        yield f"arm.payload.inertia: {min(cell.arm.payload.inertia[::4]):g} on the diagonal; no mass has that"
    if re.fullmatch(r"[\d.]+", cell.arm.ip) and not _is_address(cell.arm.ip):
        yield f"arm.ip: {cell.arm.ip} is no address: four numbers from 0 to 255, as Desk shows them"


def _numbers(value: Any) -> Iterator[float]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, int | float):
            yield float(each)


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        ip_address(text)
        return True
    return False
