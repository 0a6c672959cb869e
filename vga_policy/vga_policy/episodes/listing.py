"""Finds recorded episodes in directories and says of each why it is not used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vga_policy.episodes.decisions import decision, usable
from vga_policy.episodes.metadata import FILE, load_episode

BAGS = (".mcap", ".db3", ".bag")


class DatasetError(ValueError):
    """Data that nothing can be learnt from. The message names the directory and what is wrong."""


class Skipped(NamedTuple):
    """An episode that is not used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return self.reason if str(self.path) in self.reason else f"{self.path}: {self.reason}"


def find_episodes(directories: Sequence[str | Path]) -> list[Path]:
    """Every episode below these directories, sorted: each directory that holds an episode.yaml or a bag.

    Raises DatasetError when a directory does not exist or there is no episode in any.
    """
    found: dict[Path, Path] = {}
    for directory in map(Path, directories):
        if not directory.is_dir():
            raise DatasetError(f"{directory}: no such directory")
        for path in _episodes_below(directory):
            found.setdefault(path.resolve(), path)
    if not found:
        raise DatasetError(
            f"no episode in {', '.join(map(str, directories))}: record some with `vga record` or `vga collect`"
        )
    return sorted(found.values())


def why_unusable(path: Path) -> str:
    """Why not to train on an episode: its outcome or what curation says of it; empty when it is usable.

    Raises EpisodeError or CurationError when a file that decides it cannot be read.
    """
    if usable(path):
        return ""
    curation = decision(path)
    if curation.verdict is None:
        return f"outcome: {load_episode(path).outcome or 'not judged'}"
    why = curation.decision_reason if curation.decided else "; ".join(curation.reasons)
    return f"curation: {curation.verdict}" + (f" ({why})" if why else "")


def _episodes_below(directory: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(directory):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if FILE in files or any(name.endswith(BAGS) for name in files):
            subfolders.clear()
            yield Path(folder)
