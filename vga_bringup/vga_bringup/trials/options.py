"""What `vga eval sim` and `vga eval ablation` are asked for, before anything of it is looked up."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrialOptions:
    """Which trials, and how each is run: the same for every policy that is compared.

    tasks, trials, seed: `trials` of each task, with seeds from `seed` on. cell: file, or the name of a shipped one.
    strategy: how chunks are executed, empty for the cell's. max_steps: control steps of a trial. latency (s), jobs:
    see `EvalRequest` and `run_in_process`; for trials in process alone.
    """

    tasks: tuple[str, ...]
    trials: int
    seed: int
    cell: str
    strategy: str
    max_steps: int
    latency: float
    jobs: int


@dataclass(frozen=True)
class EvalOptions:
    """A policy to try. checkpoint: directory, the name of a shipped policy, or a word of `actors.SPECIAL`.

    in_process: on simulated time; otherwise through the ROS graph. videos: trials of each task that are filmed.
    method, training: the policy's name in tables, by default the checkpoint's, and which training of it this is.
    python: interpreter for a checkpoint of LeRobot's. out: directory of the results; None for `default_out`'s.
    overwrite: results that are there are made anew.
    """

    checkpoint: str
    trials: TrialOptions
    camera_set: str
    in_process: bool
    control: str = ""
    videos: int = 0
    method: str = ""
    training: str = ""
    python: str = sys.executable
    out: Path | None = None
    overwrite: bool = False
