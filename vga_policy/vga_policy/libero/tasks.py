"""The suites of the benchmark and their tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vga_policy.libero import wheel
from vga_policy.libero.errors import LiberoError

# After which the published evaluations give a trial up: steps of 1/20 s, without those in which the scene settles.
STEP_LIMITS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520}
SUITES = tuple(STEP_LIMITS)
EVALUATION_STATES = 50


@dataclass(frozen=True)
class LiberoTask:
    """One task. name: as its files are called; instruction: as the policy is told."""

    suite: str
    index: int
    name: str
    instruction: str
    bddl: Path
    states: Path

    @property
    def label(self) -> str:
        """`libero_spatial/3`."""
        return f"{self.suite}/{self.index}"

    @property
    def step_limit(self) -> int:
        """Steps of a trial, without those in which the scene settles."""
        return STEP_LIMITS[self.suite]

    @property
    def has_fixtures(self) -> bool:
        """Whether a reset draws where something stands that is no part of a state: more than a floor or a table."""
        listed = re.search(r"\(:fixtures([^()]*)\)", self.bddl.read_text(encoding="utf-8"))
        kinds = re.findall(r"- (\S+)", listed[1]) if listed else []
        return any(kind != "floor" and not kind.endswith("table") for kind in kinds)

    def initial_states(self) -> NDArray[np.float64]:
        """The states [50, D] from which policies are evaluated: time, positions and velocities of the simulation."""
        return np.asarray(wheel.load().read_states(self.states), dtype=np.float64)


@cache
def tasks(suite: str) -> tuple[LiberoTask, ...]:
    """The ten tasks of a suite in the order of the benchmark. Raises LiberoError for an unknown suite."""
    if suite not in STEP_LIMITS:
        raise LiberoError(f"suite {suite!r} is unknown; known: {', '.join(SUITES)}")
    package = wheel.load()
    with wheel.quiet():
        known = package.suites.get_benchmark(suite)(task_order_index=0).tasks
    return tuple(
        LiberoTask(
            suite,
            index,
            found.name,
            found.language,
            package.bddl / found.problem_folder / found.bddl_file,
            package.states / found.problem_folder / found.init_states_file,
        )
        for index, found in enumerate(known)
    )


def task_named(name: str) -> LiberoTask:
    """The task of this name, or label, in any suite. Raises LiberoError where there is none."""
    for suite in SUITES:
        for task in tasks(suite):
            if name in (task.name, task.label):
                return task
    raise LiberoError(f"task {name!r} is in none of {', '.join(SUITES)}")
