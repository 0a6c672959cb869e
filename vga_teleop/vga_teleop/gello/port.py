"""A serial port for this process alone. A port that somebody else uses is an error that names them."""

from __future__ import annotations

import fcntl
import os
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import serial
from dynamixel_sdk import PortHandler

READ_TIMEOUT = 0.001  # s; with the SDK's own, zero, waiting for an answer keeps a whole processor busy


class PortError(Exception):
    """The port cannot be used, or no longer. The message says why and what to do."""


def open_port(path: str, baudrate: int) -> PortHandler:
    """Opens a serial port and locks it. Raises PortError."""
    if not Path(path).exists():
        raise PortError(
            f"{path} does not exist: plug the leader in (a simulated one comes with sim_leader); leader.port in the "
            "cell file names its port"
        )
    if owners := list(holders(path)):
        raise PortError(f"{path} is in use by {', '.join(owners)}: stop that first")
    handler = PortHandler(path)
    try:
        if not handler.setBaudRate(baudrate):
            raise PortError(f"leader.baudrate {baudrate} is not one the Dynamixel SDK knows")
        handler.ser.timeout = READ_TIMEOUT
        fcntl.flock(handler.ser.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handler.closePort()
        raise PortError(f"{path} is in use by {', '.join(holders(path)) or 'another user'}: stop that first") from None
    except (serial.SerialException, OSError, termios.error) as error:  # the last: it is unplugged meanwhile
        if handler.is_open:
            handler.closePort()
        raise PortError(f"{path} cannot be opened: {_reason(error)}") from None
    return handler


def is_simulated(path: str) -> bool:
    """Whether a program, and no hardware, is at the other end: a pseudo-terminal."""
    return os.path.realpath(path).startswith("/dev/pts/")


def holders(path: str) -> Iterator[str]:
    """The other processes that have the port open, as far as we may see: name and process id."""
    device = os.path.realpath(path)
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):  # ended meanwhile, or another user's
            if any(os.path.realpath(file) == device for file in (process / "fd").iterdir()):
                yield f"{(process / 'comm').read_text().strip()} (process {process.name})"


def _reason(error: Any) -> str:
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == 13:
        return "permission denied: sudo usermod -a -G dialout $USER, then log in again"
    return str(error)
