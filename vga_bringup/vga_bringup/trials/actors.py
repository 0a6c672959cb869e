"""What acts in the trials: a checkpoint, LeRobot's too, or one of the yardsticks that need none."""

from __future__ import annotations

from pathlib import Path

from vga_policy.checkpoints import checkpoint as checkpoints
from vga_policy.checkpoints import no_such
from vga_policy.checkpoints.checkpoint import CheckpointError, load_contract, require_files, robot_cell
from vga_policy.evaluate.baseline.client import Baseline, BaselineError, cameras
from vga_policy.evaluate.environment import Actor
from vga_policy.inference.policy import Policy, PolicyError
from vga_policy.inference.untrained import untrained_policy
from vga_policy.text.pretrained import EncoderError

from vga_bringup.trials.conditions import EvalRequest, TrialsError
from vga_bringup.trials.in_process_environment import InProcessEnvironment
from vga_bringup.trials.oracle import OracleActor

UNTRAINED, OPERATOR = "untrained", "operator"
SPECIAL = {
    UNTRAINED: "random weights: the floor",
    OPERATOR: "the scripted operator's demonstration of the very trial, as chunks: the ceiling",
}


def open_actor(request: EvalRequest, environment: InProcessEnvironment) -> Actor:
    """The request's actor, on one core. Raises TrialsError when the checkpoint cannot be used in its cell."""
    checkpoint, cell = request.checkpoint, request.cell
    if checkpoint == OPERATOR:
        return OracleActor(cell, environment)
    if checkpoint == UNTRAINED:
        return untrained_policy(cell)
    try:
        if is_baseline(checkpoint):
            return Baseline(Path(checkpoint), request.python, cell)
        return Policy.from_pretrained(checkpoint, cell)
    except (BaselineError, CheckpointError, EncoderError, PolicyError) as error:
        raise TrialsError(str(error)) from None


def is_baseline(checkpoint: str) -> bool:
    """Whether the directory is a policy that LeRobot has trained."""
    return cameras(Path(checkpoint)) is not None


def trained_on(checkpoint: str) -> list[str]:
    """Cameras of the slots the checkpoint was trained with; none for one of SPECIAL. Raises TrialsError."""
    if checkpoint in SPECIAL:
        return []
    if not Path(checkpoint).is_dir():
        raise TrialsError(f"{no_such(checkpoint)}, nor a yardstick ({', '.join(SPECIAL)})")
    if (names := cameras(Path(checkpoint))) is not None:
        return names
    try:
        require_files(Path(checkpoint))
        return [camera.name for camera in robot_cell(load_contract(Path(checkpoint)), checkpoint).views]
    except CheckpointError as error:
        raise TrialsError(str(error)) from None


def digest(checkpoint: str) -> str:
    """Names the weights, so that a result can be told from another training's; empty for one of SPECIAL."""
    return "" if checkpoint in SPECIAL else checkpoints.digest(Path(checkpoint))
