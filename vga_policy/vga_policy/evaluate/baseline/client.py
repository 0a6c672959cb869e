"""A policy trained by LeRobot as an actor: its own interpreter serves it, over a pipe."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vga_policy.cell.schema import ARM_JOINTS, Cell
from vga_policy.evaluate.baseline import wire
from vga_policy.observation.observation import ActionChunk, Observation

SERVER = Path(__file__).with_name("lerobot_serve.py")
CONFIG, IMAGES = "config.json", "observation.images."
EXECUTED = 25  # steps of a chunk before the policy is asked anew (paper, Table 7)
FOREIGN = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")  # of our environment
STOP_WITHIN = 5.0  # s


class BaselineError(RuntimeError):
    """The baseline cannot be used, or ended. The message says why."""


def cameras(checkpoint: Path) -> list[str] | None:
    """Cameras a LeRobot checkpoint was trained with, by slot; None when the directory is none of LeRobot's."""
    try:
        config = json.loads((checkpoint / CONFIG).read_text(encoding="utf-8"))
        features = config["input_features"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return [name.removeprefix(IMAGES) for name in features if name.startswith(IMAGES)]


class Baseline:
    """Starts the server; a context manager, or close it. One core. Raises BaselineError.

    python: interpreter that has LeRobot.
    """

    def __init__(self, checkpoint: Path, python: str, cell: Cell, executed: int = EXECUTED) -> None:
        self._cell = cell
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [python, str(SERVER), str(checkpoint.absolute()), str(cell.action.horizon), str(executed)]
        self._said = TemporaryFile()  # noqa: SIM115 - closed with the rest; not a pipe, which nobody would empty
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=environment
            )
        except OSError as error:
            raise BaselineError(f"{python}: cannot be run: {error.strerror}") from None
        try:
            ready = int(self._receive()["ready"][0])
            if ready != len(cell.views):
                raise BaselineError(f"{checkpoint}: trained with {ready} cameras, the cell shows {len(cell.views)}")
        except BaselineError:
            self.close()
            raise

    def __enter__(self) -> Baseline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def act(self, observation: Observation) -> ActionChunk:
        """The next steps of the chunk the policy is at. Raises BaselineError."""
        assert self._process.stdin is not None
        request: dict[str, NDArray[Any]] = {
            **{f"image_{slot}": image for slot, image in enumerate(observation.images)},
            "state": observation.proprioception,
            "instruction": wire.text(observation.instruction),
            "stamp_ns": np.array([observation.stamp_ns]),
            "dt": np.array([self._cell.dt]),
        }
        with suppress(BrokenPipeError):  # why it ended is told by what it said, which comes next
            wire.send(self._process.stdin, request)
        actions = self._receive()["actions"].astype(np.float64)
        width = np.clip(actions[:, ARM_JOINTS], 0.0, self._cell.gripper.max_width)
        return ActionChunk.of_joints(actions[:, :ARM_JOINTS], width)

    def _receive(self) -> dict[str, NDArray[Any]]:
        assert self._process.stdout is not None
        message = wire.receive(self._process.stdout)
        if message is None:
            self._process.wait(STOP_WITHIN)
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            raise BaselineError(f"the baseline's server ended: {lines[-1] if lines else 'it said nothing'}")
        return message
