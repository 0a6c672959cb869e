"""Finds recorded episodes in directories and says of each why it is not used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vga_policy.episodes.decisions import Verdict, decision, usable
from vga_policy.episodes.metadata import FILE, load_episode

BAGS = (".mcap", ".db3", ".bag", ".mcap.zstd", ".mcap.lz4", ".db3.zstd", ".db3.lz4")
LONGEST_REASON = 200  # characters besides the path
OTHERS = {  # by a file of theirs: directories that are taken for one of episodes
    "meta/info.json": "it is a LeRobot dataset; make episodes of it with "
    "`vga import lerobot DATASET --out EPISODES --cell CELL`",
    "scenes.json": "it has scenes, which `vga pretrain --scenes` learns from",
}
FEW = 3  # episodes that are told of one by one
DAMAGED = "damaged"
NO_INSTRUCTION = "no instruction: write into its episode.yaml what the arm does"


class DatasetError(ValueError):
    """Data that nothing can be learned from. The message names the directory and what is wrong."""


class Skipped(NamedTuple):
    """An episode that is not used, and why. kind: the same in a word or two, to count such episodes by."""

    path: Path
    reason: str
    kind: str = DAMAGED

    def __str__(self) -> str:
        return self.reason if str(self.path) in self.reason else f"{self.path}: {self.reason}"

    @classmethod
    def because(cls, path: Path, error: Exception) -> Skipped:
        """An episode left out because of an error of any kind; one that nobody foresaw is told by its name as well."""
        text = (str(error).strip() or "no more is known").splitlines()[0]
        if not type(error).__module__.startswith("vga_policy."):
            text = f"{path}: {type(error).__name__}: {text}"
        return cls(path, text[: LONGEST_REASON + len(str(path))])


def find_episodes(directories: Sequence[str | Path]) -> list[Path]:
    """Every episode below these directories, sorted: each directory that holds an episode.yaml or a bag.

    Links are followed; an episode that several paths lead to is named by the one without links, if there is one.

    Raises DatasetError when a directory does not exist or there is no episode in any.
    """
    found: dict[Path, Path] = {}
    for directory in map(Path, directories):
        if not directory.is_dir():
            raise DatasetError(f"{directory}: no such directory")
    for links in (False, True):
        for directory in map(Path, directories):
            for path in _episodes_below(directory, links):
                found.setdefault(path.resolve(), path)
    if not found:
        remedies = [remedy for mark, remedy in OTHERS.items() for place in directories if Path(place, mark).is_file()]
        remedy = next(iter(remedies), "record some with `vga record` or `vga collect`")
        raise DatasetError(f"no episode in {', '.join(map(str, directories))}: {remedy}")
    return sorted(found.values())


def why_unusable(path: Path) -> Skipped | None:
    """Why not to train on an episode: its outcome or what curation says of it; None when it is usable.

    Raises EpisodeError or CurationError when a file that decides it cannot be read.
    """
    if usable(path):
        return None if load_episode(path).says_what_to_do else Skipped(path, NO_INSTRUCTION, "no instruction")
    curation = decision(path)
    if curation.verdict in (None, Verdict.ACCEPT):  # the label, corrected after an accepting proposal perhaps
        outcome = load_episode(path).outcome or "not judged"
        return Skipped(path, f"outcome: {outcome}", outcome)
    why = curation.decision_reason if curation.decided else "; ".join(curation.reasons)
    return Skipped(path, f"curation: {curation.verdict}" + (f" ({why})" if why else ""), str(curation.verdict))


def left_out(skipped: Sequence[Skipped], used: int) -> str:
    """Episodes that are not used beside `used` that are, in one line: how many, why, and which command tells more."""
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(each.kind for each in skipped).most_common())
    where = Path(os.path.commonpath([each.path.absolute().parent for each in skipped]))
    where = where.relative_to(Path.cwd()) if where.is_relative_to(Path.cwd()) else where
    return f"{len(skipped)} of {len(skipped) + used} left out ({counts}): vga curate {where}"


def why_none(skipped: Sequence[Skipped]) -> str:
    """Why no episode is left: few of them on a line each, more in one line."""
    return "".join(f"\n  {each}" for each in skipped) if len(skipped) <= FEW else f" {left_out(skipped, 0)}"


def _episodes_below(directory: Path, links: bool) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder, subfolders, files in os.walk(directory, followlinks=links):
        if (place := Path(folder).resolve()) in seen:
            subfolders.clear()
            continue
        seen.add(place)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if FILE in files or any(name.endswith(BAGS) for name in files):
            subfolders.clear()
            yield Path(folder)
