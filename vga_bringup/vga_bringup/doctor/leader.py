"""The leader arm's serial port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vga_policy.cell.schema import Cell

from vga_bringup.doctor import robot
from vga_bringup.doctor.finding import Finding, Health


def leader(
    cell: Cell | None, adapters: Path = Path("/sys/bus/usb-serial/devices"), ports: Path = Path("/dev/serial/by-id")
) -> Iterator[Finding]:
    """The port is there, may be opened, and forwards bytes at once (FTDI adapters wait 16 ms unless told otherwise)."""
    if cell is None or cell.leader is None:
        present = sorted(str(port) for port in ports.glob("*"))
        if present:
            yield Finding("leader", Health.READY, ", ".join(present))
        elif cell is None:
            yield Finding("leader", Health.ABSENT, "no serial adapter is connected", "needed for teleoperation only")
        return
    port = Path(cell.leader.port)
    if not any(cell.leader.offsets) and not robot.is_simulated(cell):
        yield Finding("leader calibration", Health.MISSING, "every offset is 0", "vga gello calibrate --cell FILE")
    if not port.exists() and robot.is_simulated(cell):
        yield Finding("leader", Health.ABSENT, f"no simulated leader at {port}", "it runs with: vga sim --teleop true")
        return
    if not port.exists():
        others = ", ".join(str(other) for other in ports.glob("*")) or "none"
        remedy = "plug the leader in; leader.port in the cell file must be one of these"
        yield Finding("leader", Health.MISSING, f"{port} does not exist; serial ports: {others}", remedy)
        return
    if not os.access(port, os.R_OK | os.W_OK):
        remedy = "sudo usermod -a -G dialout $USER, then log in again"
        yield Finding("leader", Health.MISSING, f"{port} may not be opened", remedy)
        return
    timer = adapters / port.resolve().name / "latency_timer"
    latency = timer.read_text().strip() if timer.exists() else None
    if latency in (None, "1"):
        yield Finding("leader", Health.READY, str(port) + (", latency 1 ms" if latency else ""))
    else:
        yield Finding("leader", Health.MISSING, f"{port}, latency {latency} ms", f"echo 1 | sudo tee {timer}")
