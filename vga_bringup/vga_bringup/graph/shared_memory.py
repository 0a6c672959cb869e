"""Removes shared memory that killed processes left behind: Fast DDS participants and the simulated cell."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from vga_bringup.sim.physics.shared import PREFIX as SIMULATION

MEMORY = Path("/dev/shm")
SETTLING = 1.0  # s that a new participant may take from creating a file to locking it


def remove_leftovers(memory: Path = MEMORY) -> list[str]:
    """Removes every segment and port that nobody uses any more; returns their names.

    The owner of Fast DDS's `fastrtps_X` holds a lock on `fastrtps_X_el` (`_sl` when shared) for as long as it lives,
    so a free lock means a dead owner. A file that a process still has mapped is left to it in any case.
    """
    mapped = _mapped_names(memory)
    removed = []
    for file in [*memory.glob("fastrtps_*"), *memory.glob(f"{SIMULATION}-*")]:
        if file.name.endswith(("_el", "_sl")) or file.name in mapped or _is_new(file):
            continue
        locks = [file.with_name(file.name + suffix) for suffix in ("_el", "_sl")]
        if any(map(_is_held, locks)):
            continue
        for leftover in (file, *locks, file.with_name(f"sem.{file.name}_mutex")):
            leftover.unlink(missing_ok=True)
        removed.append(file.name)
    return sorted(removed)


def _is_new(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_ctime < SETTLING
    except FileNotFoundError:
        return True


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held, or another user's
        return True
    return False


def _mapped_names(memory: Path) -> set[str]:
    """Names of the files in `memory` that any process we may look into has mapped."""
    names = set()
    for process in os.scandir("/proc"):
        if not process.name.isdecimal():
            continue
        try:
            maps = Path(process.path, "maps").read_text()
        except OSError:  # ended meanwhile, or another user's
            continue
        names |= {line.rpartition("/")[2] for line in maps.splitlines() if f" {memory}/" in line}
    return names
