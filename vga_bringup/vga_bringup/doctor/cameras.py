"""The RealSense cameras: serial number, USB speed, and what of them is left to adjust itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from vga_policy.cell.limits import exposure_problems
from vga_policy.cell.schema import Cell

from vga_bringup.doctor.finding import Finding, Health
from vga_bringup.doctor.robot import is_simulated

REALSENSE = "8086"  # Intel's USB vendor number
LOCKED = ("exposure_us", "gain", "white_balance_k")

# librealsense blocks the whole process when a camera's USB link hangs: it is asked in a process that can be ended.
_LIST = """
import json, pyrealsense2 as rs
from vga_bringup.camera.discovery import identity
devices = rs.context().query_devices()
print(json.dumps([vars(identity(devices[i])) for i in range(len(devices))]))
"""


def cameras(cell: Cell | None) -> Iterator[Finding]:
    """Every camera of the cell; without a cell, every camera there is."""
    for name, problem in ({} if cell is None else exposure_problems(cell)).items():
        seen, _, remedy = problem.partition("; ")
        yield Finding(f"camera {name}, exposure", Health.MISSING, seen, f"in the cell file, {remedy}")
    if cell is not None and is_simulated(cell):
        yield Finding("cameras", Health.READY, "rendered: they need no hardware")
        return
    try:
        found = connected()
    except (subprocess.SubprocessError, ValueError) as error:
        yield Finding("cameras", Health.UNKNOWN, str(error), "reconnect the cameras; rs-enumerate-devices")
        return
    if cell is None:
        for camera in found.values():
            yield _speed(f"camera {camera['serial']}", camera)
        if not found:
            yield Finding("cameras", Health.ABSENT, "no RealSense is connected", _hint())
        return
    for wanted in cell.cameras:
        subject = f"camera {wanted.name}"
        if automatic := [name for name in LOCKED if getattr(wanted, name) is None]:
            seen = f"adjusts by itself: {', '.join(automatic)}"
            remedy = "lock it in the cell file before you record: it would drift between training and evaluation"
            yield Finding(f"{subject}, image", Health.ABSENT, seen, remedy)
        if wanted.serial in found:
            yield _speed(subject, found[wanted.serial])
        else:
            others = ", ".join(found) or "none"
            seen = f"serial {wanted.serial} is not connected; connected: {others}"
            yield Finding(subject, Health.MISSING, seen, _hint())


def connected() -> dict[str, dict[str, str]]:
    """model, serial and usb of every connected camera by serial. SubprocessError if librealsense fails or hangs."""
    try:
        answer = subprocess.run([sys.executable, "-c", _LIST], capture_output=True, text=True, timeout=3)
    except subprocess.TimeoutExpired:
        raise subprocess.SubprocessError("librealsense did not answer within 3 s") from None
    if answer.returncode != 0:
        raise subprocess.SubprocessError((answer.stderr.strip().splitlines() or ["librealsense failed"])[-1])
    return {camera["serial"]: camera for camera in json.loads(answer.stdout)}


def _speed(subject: str, camera: dict[str, str]) -> Finding:
    seen = f"{camera['model']}, serial {camera['serial']}, USB {camera['usb']}"
    if camera["usb"].startswith("2"):
        return Finding(subject, Health.MISSING, seen, "a USB 3 port and a USB 3 cable: USB 2 offers few profiles")
    return Finding(subject, Health.READY, seen)


def _hint(devices: Path = Path("/sys/bus/usb/devices")) -> str:
    """What to do about a camera that librealsense does not see, depending on whether the kernel sees one."""
    for device in devices.glob("*"):
        try:
            vendor, product = (device / "idVendor").read_text().strip(), (device / "product").read_text()
        except OSError:
            continue
        if vendor == REALSENSE and "RealSense" in product:
            return "USB sees a RealSense that librealsense may not open: install librealsense's udev rules, replug"
    return "plug it into a USB 3 port; serial numbers are printed on the cameras and belong in the cell file"
