"""Directories that appear whole or not at all, the names that point to the newest of them, and who may write there."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = logging.getLogger(__name__)


@contextmanager
def whole_directory(directory: Path) -> Iterator[Path]:
    """A directory to write into; it becomes `directory` when everything is written and on the disk.

    One process at a time makes it: what is found there unfinished was left by one that was killed.
    """
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for file in unfinished.iterdir():
            if file.is_file():
                _synchronise(file)
        unfinished.rename(directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same file `lock`. One that is killed is no longer inside."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("%s: another process is writing there; waiting for its end", lock.parent)
            fcntl.flock(opened, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(opened, fcntl.LOCK_UN)  # closing does not, while workers forked inside have it open


def point(link: Path, target: Path) -> None:
    """Makes `link` point to `target`, beside or below it; a reader finds the old target or the new one."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)


def _synchronise(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
