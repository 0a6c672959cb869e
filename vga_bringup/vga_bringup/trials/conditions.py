"""What a set of trials is run with, and the cell that this makes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vga_policy.cell.errors import CellError
from vga_policy.cell.schema import Cell, Strategy
from vga_policy.evaluate.trials import MAX_STEPS

SEED = 1_000_000  # of the first trial by default: demonstrations count from 0
LATENCY = 0.13  # s; the median from capture to command that `vga demo` reports on two cores

SEEN, UNSEEN = "id", "ood"  # camera sets: the training's, and with the other fixed camera


class TrialsError(RuntimeError):
    """Trials that cannot be run. The message says why and what to do."""


@dataclass(frozen=True)
class EvalRequest:
    """Trials to run: `trials` of each task, with seeds from `seed` on.

    checkpoint: directory, or a word of `actors.SPECIAL`. camera_set: SEEN or UNSEEN. latency: s from observation to the
    chunk's arrival at the driver, in process. videos: how many trials of each task are filmed, into `directory`/videos.
    python: interpreter for a checkpoint of LeRobot's. method, training: the policy's name in tables, and which training
    of it this is.
    """

    checkpoint: str
    cell: Cell
    camera_set: str
    tasks: tuple[str, ...]
    trials: int
    seed: int
    directory: Path
    in_process: bool = True
    max_steps: int = MAX_STEPS
    latency: float = LATENCY
    control: str = ""
    videos: int = 0
    python: str = sys.executable
    method: str = ""
    training: str = ""

    def seeds(self) -> list[tuple[str, int]]:
        """Task and seed of each trial, in order."""
        return [(task, self.seed + i) for task in self.tasks for i in range(self.trials)]

    def video(self, task: str, seed: int) -> Path | None:
        """Where the trial's video goes; None for one that is not filmed."""
        if seed - self.seed >= self.videos:
            return None
        return self.directory / "videos" / f"{task}_{self.camera_set}_{seed}.mp4"


def cell_for(cell: Cell, camera_set: str, strategy: str = "", trained_on: Sequence[str] = ()) -> Cell:
    """The cell with the set's cameras in its slots, and chunks executed by `strategy`, if given.

    The seen set is `trained_on`, by default the cell's own slots; in the unseen one, the fixed camera that has no slot
    takes the fixed camera's place (paper, section 6.3). Raises CellError.
    """
    names = list(trained_on) or [camera.name for camera in cell.views]
    if camera_set == UNSEEN:
        spare = [camera.name for camera in cell.cameras if camera.role == "fixed" and camera.name not in names]
        slots = [slot for slot, name in enumerate(names) if cell.camera(name).role == "fixed"]
        if not spare or not slots:
            raise CellError(f"cell '{cell.name}': the unseen view needs a second fixed camera without a slot")
        names[slots[0]] = spare[0]
    cell = cell.with_views(names)
    if not strategy:
        return cell
    return cell.model_copy(update={"execution": cell.execution.model_copy(update={"strategy": Strategy(strategy)})})
