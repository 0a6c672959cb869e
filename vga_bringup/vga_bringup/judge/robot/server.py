"""The judging robot: franka-sim's server, with a record of every command that it was sent and of all its objections.

A program of its own, run by the Python of .venv-judge, where this project is not installed: it imports franka-sim and
NumPy only. It serves until its standard input is closed, then writes the record, NumPy's .npz:

    rows [N, len(COLUMNS)]     one for each command: received, or made up by the robot for a lost one (`kind`)
    motions [M, 24]            motion, t, mode, then the robot's dq_d, ddq_d and tau_J_d [7] each at its start
    objections                 JSON list of what broke a limit: see `Recorder._object`
    stops                      JSON list of the instants at which the robot aborted a motion: s
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

SCALARS = ("t", "kind", "id", "fresh", "motion", "mode")
COLUMNS = (*SCALARS, *(f"{name}{joint}" for name in ("signal", "q", "dq") for joint in range(1, 8)))
RECEIVED, EXTRAPOLATED = 0, 1
BLOCK = 300_000  # rows for which memory is taken at once, before the first: taking more would hold up a cycle
MODES = ("NONE", "VELOCITY", "TORQUE")  # those that the driver uses; others are recorded as NONE
READY = "ready"
NICENESS = -10  # so that what else runs here costs fewer cycles, where the system permits it
Call = Callable[..., Any]


class Recorder:
    """Keeps what passes through franka-sim's checker; `install` puts it there."""

    def __init__(self) -> None:
        self._blocks = [np.full((BLOCK, len(COLUMNS)), 0.0)]  # written to, so that the memory is there
        self._count = 0  # of rows
        self._lock = threading.Lock()
        self._motions: list[list[float]] = []
        self._objections: list[dict[str, Any]] = []
        self._stops: list[float] = []

    def install(self, checker: type) -> None:
        """Wraps the methods of franka-sim's MotionLimitChecker through which commands and readings pass."""
        for name, wrap in (
            ("start_motion", self._start_motion),
            ("absorb_command", self._absorb_command),
            ("extrapolate", self._extrapolate),
            ("check_measured_velocity", self._measured("measured")),
            ("check_measured_cartesian_velocity", self._measured("measured")),
            ("check_self_collision", self._measured("self_collision")),
            ("latch", self._latch),
        ):
            setattr(checker, name, wrap(getattr(checker, name)))

    def write(self, path: Path) -> None:
        """Writes the record; it appears complete or not at all."""
        with self._lock:
            work = path.with_suffix(".part.npz")
            np.savez(
                work,
                rows=np.concatenate(self._blocks)[: self._count],
                motions=np.array(self._motions, dtype=float).reshape(-1, 24),
                objections=np.array(json.dumps(self._objections)),
                stops=np.array(json.dumps(self._stops)),
            )
            os.replace(work, path)

    def _start_motion(self, original: Call) -> Call:
        def wrapped(checker: Any, mode: Any, state: dict[str, Any], motion_id: int = 0) -> Any:
            seed = [float(x) for name in ("dq_d", "ddq_d", "tau_J_d") for x in (state.get(name) or [0.0] * 7)]
            with self._lock:
                self._motions.append([motion_id, time.monotonic(), _mode(mode), *seed])
            return original(checker, mode, state, motion_id)

        return wrapped

    def _absorb_command(self, original: Call) -> Call:
        def wrapped(checker: Any, command: dict[str, Any], joint_positions: Any = None, **options: Any) -> Any:
            judged = checker._active
            absorbed = original(checker, command, joint_positions, **options)
            if judged:
                self._row(checker, RECEIVED, command, options["fresh"], absorbed.violation)
            return absorbed

        return wrapped

    def _extrapolate(self, original: Call) -> Call:
        def wrapped(checker: Any, message_id: int) -> Any:
            made = original(checker, message_id)
            if made is not None:
                self._row(checker, EXTRAPOLATED, made[0], False, made[1])
            return made

        return wrapped

    def _measured(self, source: str) -> Callable[[Call], Call]:
        def wrap(original: Call) -> Call:
            def wrapped(checker: Any, *arguments: Any, **options: Any) -> Any:
                violation = original(checker, *arguments, **options)
                if violation is not None:
                    with self._lock:
                        self._object(violation, source, time.monotonic(), checker._motion_id)
                return violation

            return wrapped

        return wrap

    def _latch(self, original: Call) -> Call:
        def wrapped(checker: Any) -> Any:
            self._stops.append(time.monotonic())
            return original(checker)

        return wrapped

    def _row(self, checker: Any, kind: int, command: dict[str, Any], fresh: bool, violation: Any) -> None:
        now = time.monotonic()
        mode = _mode(checker._mode)
        signal: Sequence[float] = command["tau_J_d" if MODES[mode] == "TORQUE" else "dq_c"]
        with self._lock:
            if violation is not None:
                self._object(violation, "command", now, checker._motion_id, row=self._count)
            block, index = divmod(self._count, BLOCK)
            if block == len(self._blocks):
                self._blocks.append(np.zeros((BLOCK, len(COLUMNS))))
            row = self._blocks[block][index]
            row[:6] = (now, kind, command.get("message_id", 0), fresh, checker._motion_id, mode)
            row[6:13] = signal
            row[13:20] = checker._joint_positions
            row[20:27] = checker._measured_velocity or (0.0,) * 7
            self._count += 1

    def _object(self, violation: Any, source: str, t: float, motion: int, row: int = -1) -> None:
        """One objection: its source, the name and the unit by which franka-sim knows it, and the figures.

        joint: 1 to 7, 0 where it is about none. value, limit: in `unit`. row: of the command, -1 where it is none.
        """
        digits = "".join(c for c in violation.axis if c.isdigit())
        self._objections.append({
            "t": t, "motion": motion, "row": row, "source": source, "name": violation.error_name,
            "unit": violation.unit, "axis": violation.axis, "joint": int(digits) if len(digits) == 1 else 0,
            "value": float(violation.value), "limit": float(violation.limit),
        })  # fmt: skip


def _mode(mode: Any) -> int:
    name = getattr(mode, "name", "NONE")
    return MODES.index(name) if name in MODES else 0


def main() -> None:
    """Serves until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True, help="to listen at")
    parser.add_argument("--record", type=Path, required=True, help="file to write at the end")
    parser.add_argument("--enforce", action="store_true", help="stop a motion that breaks a limit, as the arm would")
    parser.add_argument("--whole", action="store_true", help="with a hand, and stopping for lost commands too")
    arguments = parser.parse_args()

    from franka_sim import FrankaSimServer
    from franka_sim.limits.checker import MotionLimitChecker

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    recorder = Recorder()
    recorder.install(MotionLimitChecker)
    server = FrankaSimServer(
        host=arguments.address, enable_gripper=arguments.whole, enforce_motion_limits=arguments.enforce,
        enforce_comm_constraints=arguments.whole,
    )  # fmt: skip

    def end() -> None:
        sys.stdin.read()
        recorder.write(arguments.record)
        os._exit(0)

    def announce() -> None:
        while not getattr(server.physics_sim, "running", False):
            time.sleep(0.02)
        gc.collect()
        gc.freeze()  # what lives so far lives to the end: a collection need not look at it
        print(READY, flush=True)

    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    threading.Thread(target=end, daemon=True).start()
    threading.Thread(target=announce, daemon=True).start()
    server.start()


if __name__ == "__main__":
    main()
