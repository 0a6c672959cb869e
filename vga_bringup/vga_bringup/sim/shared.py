"""Named shared memory between the processes of the simulated cell.

A segment is a file in /dev/shm. Creating one replaces a left-over of the same name in one step: whoever mapped the old
one keeps it, and sees by `replaced` that it is time to map the new one. (`multiprocessing.shared_memory` refuses to
replace, and its resource tracker unlinks a segment as soon as one of its readers ends.)
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from typing import Self

DIRECTORY = Path("/dev/shm")
PREFIX = "vga_sim"


def segment_path(address: str, name: str) -> Path:
    """File of segment `name` of the simulated cell whose arm has this address."""
    return DIRECTORY / f"{PREFIX}-{address}-{name}"


class Segment:
    """A mapped block of shared memory. Only its creator removes its name, when it closes it."""

    def __init__(self, path: Path, descriptor: int, *, owner: bool) -> None:
        self._path = path
        self._owner = owner
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self.buffer = mmap.mmap(descriptor, status.st_size)

    @classmethod
    def create(cls, path: Path, size: int) -> Self:
        """A new segment of `size` zero bytes under this name, in place of an older one."""
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        try:
            os.truncate(descriptor, size)
            segment = cls(path, descriptor, owner=True)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        return segment

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Maps an existing segment; FileNotFoundError if there is none."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            return cls(path, descriptor, owner=False)
        finally:
            os.close(descriptor)

    @property
    def replaced(self) -> bool:
        """Whether the name now belongs to another segment, or to none."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return True
        return (status.st_dev, status.st_ino) != self._identity

    def close(self) -> None:
        """Gives the segment up. Arrays made of `buffer` stay valid; the memory is freed with the last of them."""
        if self._owner and not self.replaced:
            self._path.unlink(missing_ok=True)
