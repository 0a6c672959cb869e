"""What a study compares, drawn and written before its first trial: study.yaml, cell.yaml and starts.json.

study.yaml is fieldtrial's. Arms are policies under views, conditions are tasks and starts; every arm meets every
condition once. A start is a seed, from which object positions, rotations and the arm's pose are drawn (paper, appendix
F.2); starts.json says what was drawn, for the person who sets the scene.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from vga_policy.cell.compatibility import differences
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import locate, shipped
from vga_policy.checkpoints.checkpoint import CheckpointError, load_contract
from vga_policy.files import write_atomically

from vga_bringup.sim.scene.task import TaskError, in_words
from vga_bringup.sim.tasks.registry import arrange
from vga_bringup.study.errors import StudyError
from vga_bringup.trials.actors import OPERATOR, SPECIAL, digest, is_baseline, trained_on
from vga_bringup.trials.conditions import TrialsError, cell_for
from vga_bringup.trials.evaluation import named

STUDY, CELL, STARTS = "study.yaml", "cell.yaml", "starts.json"
MOST_SEEDS = 2**31
HEADER = """\
# A study of fieldtrial's, made by vga eval robot --create and locked: the trials' order and the arms' codes are drawn.
# What is changed from now on is an amendment: fieldtrial amend STUDY --reason "...".
"""


@dataclass(frozen=True)
class StudyPlan:
    """What is to be compared.

    policies: checkpoints by their names in tables. views: camera sets, of `trials.conditions`. trials: of each task,
    policy and view. seed: of the first start; the others count on from it. max_steps: control steps of a trial.
    """

    policies: Mapping[str, str]
    views: Sequence[str]
    tasks: Sequence[str]
    trials: int
    seed: int
    max_steps: int
    cell: str


@dataclass(frozen=True)
class Thing:
    """An object on the table: its name, position (m, arm's base frame), and turn about the vertical (deg)."""

    name: str
    x: float
    y: float
    turned: float


@dataclass(frozen=True)
class Start:
    """Where a trial starts. instruction: what the policy is told. arm: joint angles, rad."""

    task: str
    seed: int
    instruction: str
    things: tuple[Thing, ...]
    arm: tuple[float, ...]

    def in_words(self) -> str:
        """What lies where."""
        return "; ".join(
            f"{thing.name} at x {thing.x:.3f} m, y {thing.y:+.3f} m, turned {thing.turned:+.0f} deg"
            for thing in self.things
        )


def create(plan: StudyPlan, folder: Path) -> None:
    """Writes the study's files into `folder`. Raises StudyError, CellError."""
    if (folder / STUDY).exists():
        raise StudyError(f"{folder / STUDY} is there already: give another folder, or run this one without --create")
    cell = load_cell(cell_path(plan.cell))
    starts = [_drawn(task, plan.seed + i) for task in plan.tasks for i in range(plan.trials)]
    arms = [arm for name, checkpoint in plan.policies.items() for arm in _arms(name, checkpoint, plan, cell)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / CELL, dump_cell(cell))
        write_atomically(folder / STARTS, json.dumps([asdict(start) for start in starts], indent=1) + "\n")
        protocol = digest_of(folder)
        for arm in arms:
            arm["serving"]["protocol"] = protocol
        text = yaml.safe_dump(_spec(plan, folder, arms, cell), sort_keys=False, allow_unicode=True)
        write_atomically(folder / STUDY, HEADER + text)
    except OSError as error:
        raise StudyError(f"{folder}: cannot be written: {error.strerror}; give another folder") from None


def digest_of(folder: Path) -> str:
    """Names what study.yaml builds on: the cell and the starts. Raises StudyError."""
    try:
        data = b"".join((folder / name).read_bytes() for name in (CELL, STARTS))
    except OSError as error:
        raise StudyError(f"{error.filename}: {error.strerror}: a study needs its folder as --create wrote it") from None
    return hashlib.sha256(data).hexdigest()[:16]


def read_starts(folder: Path) -> dict[tuple[str, int], Start]:
    """What was drawn, by task and seed. `digest_of` holds that it is what was written."""
    plain = json.loads((folder / STARTS).read_text(encoding="utf-8"))
    starts = [
        Start(**{**one, "things": tuple(Thing(**t) for t in one["things"]), "arm": tuple(one["arm"])}) for one in plain
    ]
    return {(start.task, start.seed): start for start in starts}


def require_usable(name: str, checkpoint: str, cell: Cell) -> list[str]:
    """Cameras that the arm's policy was trained with. Raises StudyError where it cannot act in the cell."""
    if checkpoint == OPERATOR or is_baseline(checkpoint):
        raise StudyError(f"policy {name}: {checkpoint} is nothing that the policy's node runs: give a checkpoint")
    try:
        cameras = trained_on(checkpoint)
        found = [] if checkpoint in SPECIAL else differences(cell, load_contract(Path(checkpoint)))
    except (TrialsError, CheckpointError) as error:
        raise StudyError(f"policy {name}: {error}") from None
    if found:
        raise StudyError(
            f"policy {name}: {checkpoint} is for another cell than '{cell.name}': {'; '.join(map(str, found))}: "
            "give a checkpoint that was trained in a cell like this one"
        )
    return cameras


def _drawn(task: str, seed: int) -> Start:
    try:
        scene = arrange(task, seed)
    except TaskError as error:
        raise StudyError(str(error)) from None
    things = tuple(
        Thing(in_words(name), round(place.x, 4), round(place.y, 4), round(math.degrees(place.yaw), 1))
        for name, place in scene.placements.items()
    )
    return Start(task, seed, scene.instruction, things, tuple(scene.arm_start))


def _arms(name: str, checkpoint: str, plan: StudyPlan, cell: Cell) -> list[dict[str, Any]]:
    """The arms of one policy: one a view."""
    place = _placed(checkpoint)
    cameras = require_usable(name, place, cell)
    arms = []
    for view in plan.views:
        try:
            seen = [camera.name for camera in cell_for(cell, view, trained_on=cameras).views]
        except CellError as error:
            raise StudyError(f"policy {name}, view {view}: {error}") from None
        # A shipped policy is called by its name, which holds on every machine.
        told = checkpoint if checkpoint in shipped() and not Path(checkpoint).exists() else place
        policy = {"name": name, "checkpoint": told, "weights": digest(place)}
        serving = {"view": view, "cameras": seen, "max_steps": plan.max_steps}
        arms.append({"id": _identifier(f"{name}-{view}"), "runner": "manual", "policy": policy, "serving": serving})
    return arms


def _placed(checkpoint: str) -> str:
    return checkpoint if checkpoint in SPECIAL else str(locate(checkpoint).absolute())


def _spec(plan: StudyPlan, folder: Path, arms: list[dict[str, Any]], cell: Cell) -> dict[str, Any]:
    """The study in fieldtrial's words."""
    several = len(arms) > 1
    last = plan.seed + plan.trials - 1
    # Under the first view, the last policy against the first one; of a single policy, its last view against its first.
    treatment = arms[(len(plan.policies) - 1) * len(plan.views)] if len(plan.policies) > 1 else arms[-1]
    comparison = {"comparison": {"treatment": treatment["id"], "control": arms[0]["id"]}} if several else {}
    return {
        "fieldtrial": 1,
        "name": _identifier(folder.resolve().name),
        "title": f"{', '.join(plan.policies)} in cell {cell.name}",
        "rubric": {"stages": [{"id": "done", "label": "the task is done"}], "success": "done"},
        "limits": {"timeout_s": round(plan.max_steps * cell.dt, 3)},
        "arms": arms,
        "conditions": {"factors": {"task": {"values": list(plan.tasks)}, "start": {"range": [plan.seed, last]}}},
        "design": {
            "type": "randomized_block" if several else "single_arm",
            "blinding": "operator",
            "seed": secrets.randbelow(MOST_SEEDS),
        },
        "analysis": {"primary": comparison, "secondary": ["time_to_success"]},
    }


def _identifier(text: str) -> str:
    """The nearest that fieldtrial takes for a name."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9_.-]", "-", text).strip("-")[:64] or "study"


def policies(words: Sequence[str]) -> dict[str, str]:
    """Checkpoints by name, of CHECKPOINT or NAME=CHECKPOINT. Raises StudyError for a name that two have."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, checkpoint = word.partition("=")
        if not equals:
            name, checkpoint = named(word), word
        if name in found:
            raise StudyError(f"two policies called {name}: tell them apart: --policies {name}={checkpoint} OTHER=...")
        found[name] = checkpoint
    return found
