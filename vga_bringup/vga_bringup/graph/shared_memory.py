"""Removes shared memory that killed processes left behind: Fast DDS participants and the simulated cell."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from vga_bringup.sim.physics.shared import PREFIX as SIMULATION
from vga_bringup.sim.physics.shared import is_abandoned

MEMORY = Path("/dev/shm")
PORT = "fastrtps_port"
SETTLING = 1.0  # s that a new participant may take from creating a file to locking it


def remove_leftovers(memory: Path = MEMORY) -> list[str]:
    """Removes every segment and port that nobody uses any more; returns their names.

    The owner of Fast DDS's `fastrtps_X` holds a lock on `fastrtps_X_el` (`_sl` when shared) for as long as it lives,
    that of a simulated cell's segment on the segment itself, so a free lock means a dead owner, in this container or in
    another. A file that a process still has mapped is left to it in any case, and so is what cannot be judged or may
    not be removed, as other users' files. Without a lock only this user's ports are taken: nobody listens at those.
    """
    try:
        mapped = _mapped_names(memory)
        files = [*memory.glob("fastrtps_*"), *memory.glob(f"{SIMULATION}-*")]
    except OSError:
        return []
    removed = []
    for file in files:
        if file.name.endswith(("_el", "_sl")) or file.name in mapped or _is_new(file):
            continue
        try:
            if is_abandoned(file) if file.name.startswith(SIMULATION) else _is_free(file):
                _remove(file)
                removed.append(file.name)
        except OSError:  # held, another user's, or gone meanwhile
            continue
    return sorted(removed)


def _is_free(file: Path) -> bool:
    """Whether no lock of a Fast DDS file is held. Raises OSError where one is, or is another user's."""
    found = False
    for lock in _locks(file):
        with suppress(FileNotFoundError), lock.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = True
    return found or (file.name.startswith(PORT) and file.stat().st_uid == os.geteuid())


def _remove(file: Path) -> None:
    for leftover in (file, *_locks(file), file.with_name(f"sem.{file.name}_mutex")):
        leftover.unlink(missing_ok=True)


def _locks(file: Path) -> list[Path]:
    return [file.with_name(file.name + suffix) for suffix in ("_el", "_sl")]


def _is_new(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_ctime < SETTLING
    except OSError:
        return True


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
