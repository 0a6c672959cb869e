"""Named shared memory between the processes of the simulated cell.

A segment is a file in /dev/shm that begins with the id of the process that made it. That one holds a lock on it for as
long as it lives, which is seen from any container, where the id means nothing. Making one replaces a left-over of the
same name in one step: whoever mapped the old one keeps it, and sees by `replaced` that it is time to map the new one.
(`multiprocessing.shared_memory` refuses to replace, and its resource tracker removes a segment as soon as one of its
readers ends.)
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Self

DIRECTORY = Path("/dev/shm")
PREFIX = "vga_sim"

_LOCKED = b"locked 1"  # marks segments whose maker holds a lock on them
_HEADER = struct.Struct(f"{len(_LOCKED)}sq")


def segment_path(address: str, name: str) -> Path:
    """File of segment `name` of the simulated cell whose arm has this address."""
    return DIRECTORY / f"{PREFIX}-{address}-{name}"


def remove_segments(address: str, writers: Collection[int]) -> None:
    """Removes what these processes, ended by now, left behind of the cell at this address."""
    for path in DIRECTORY.glob(f"{PREFIX}-{address}-*"):
        with suppress(OSError, ValueError):  # gone already, another user's, or no segment
            if Segment.attach(path).writer in writers:
                path.unlink()


def is_abandoned(path: Path) -> bool:
    """Whether this is a segment whose maker has ended. Raises OSError where that cannot be told."""
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its maker lives
        return file.read(len(_LOCKED)) == _LOCKED


class Segment:
    """A mapped block of shared memory. Only its creator removes its name, when it closes it.

    memory: its bytes, zero at first. writer: id of the process that made it.
    """

    def __init__(self, path: Path, descriptor: int, *, owner: bool) -> None:
        self._path = path
        self._owner = owner
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        block = memoryview(mmap.mmap(descriptor, status.st_size))
        if owner:
            # mmap keeps a duplicate of the descriptor: the lock lasts until the mapping goes, at the latest with us.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _HEADER.pack_into(block, 0, _LOCKED, os.getpid())
        _, self.writer = _HEADER.unpack_from(block)
        self.memory = block[_HEADER.size :]

    @classmethod
    def create(cls, path: Path, size: int) -> Self:
        """A new segment of `size` bytes under this name, in place of an older one."""
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            os.truncate(descriptor, _HEADER.size + size)
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
        """Gives the segment up. Arrays made of `memory` stay valid; it is freed with the last of them."""
        if self._owner and not self.replaced:
            self._path.unlink(missing_ok=True)
