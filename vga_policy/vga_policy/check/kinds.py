"""Which kind of thing a path is, by the names of its files alone."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import HERE, shipped
from vga_policy.episodes import decisions, metadata
from vga_policy.episodes.listing import BAGS, DatasetError, find_episodes

CELLS, WEIGHTS = (".yaml", ".yml"), (".safetensors", ".pt", ".pth")
CHECKPOINT_FILES = {"config.json", "model.safetensors", "normalization.json", "cell.yaml", "embodiment.json"}
RUN_FILES = {"config.json", "origin.json", "log.jsonl"}
MARKS = {  # a file that only one kind of directory has
    "geometry.json": "GEOMETRY",
    "results.json": "RESULTS",
    "scenes.json": "SCENES",
    "demonstrations.json": "DEMONSTRATIONS",
    metadata.FILE: "EPISODE",
}


class Kind(StrEnum):
    """What `vga check` knows, in words."""

    BAG = "bag"
    EPISODE = "episode"
    EPISODES = "directory of episodes"
    DATASET = "LeRobot dataset"
    SCENES = "scenes"
    DEMONSTRATIONS = "demonstrations without bags"
    CHECKPOINT = "checkpoint"
    GEOMETRY = "pretrained geometry"
    VGGT = "weights of VGGT"
    RUN = "training run"
    RESULTS = "results of trials"
    CELL = "cell file"


def find(name: str) -> tuple[Path, Kind | None]:
    """The path meant by `name`, which may also be a shipped policy's or cell's, and its kind; None: not recognized."""
    path = Path(name)
    if path.exists() or path.is_symlink():
        if path.name in (metadata.FILE, decisions.FILE):  # part of an episode
            path = path.absolute().parent
        return path, _file(path) if path.is_file() else _directory(path)
    if name in shipped():
        return HERE / name, Kind.CHECKPOINT
    if path.suffix or len(path.parts) != 1:
        return path, None
    try:
        return cell_path(name), Kind.CELL
    except ValueError:
        return path, None


def _file(path: Path) -> Kind | None:
    if path.name == "results.json":
        return Kind.RESULTS
    by_suffix = [(CELLS, Kind.CELL), (BAGS, Kind.BAG), (WEIGHTS, Kind.VGGT)]
    return next((kind for suffixes, kind in by_suffix if path.suffix in suffixes), None)


def _directory(path: Path) -> Kind | None:
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:
        return None
    for mark, kind in MARKS.items():
        if mark in names:
            return Kind[kind]
    if (path / "meta" / "info.json").is_file():
        return Kind.DATASET
    if len(names & RUN_FILES) > 1:
        return Kind.RUN
    if len(names & CHECKPOINT_FILES) > 1:
        return Kind.CHECKPOINT
    if any(name.endswith(BAGS) for name in names):
        return Kind.BAG
    if any(name.endswith(WEIGHTS) for name in names):
        return Kind.VGGT
    try:
        return Kind.EPISODES if find_episodes([path]) else None
    except DatasetError:
        return None
