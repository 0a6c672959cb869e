"""Directories that appear whole or not at all, and the names that point to the newest of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_directory(directory: Path) -> Iterator[Path]:
    """A directory to write into; it becomes `directory` when everything is written and on the disk."""
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


def point(link: Path, target: Path) -> None:
    """Makes `link` point to `target`, beside or below it; a reader finds the old target or the new one."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)


def _synchronise(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
