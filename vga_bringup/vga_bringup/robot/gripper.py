"""The Franka hand: commands that never block the arm, the latest one wins.

The hand answers slowly (0.1 s and more) and one command at a time, so it is served by a thread of its own and
everybody else reads a cached state. A command that overtakes a running one stops it first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import franky
from vga_policy.contract.cell import Gripper as GripperConfig

from vga_bringup.robot.connection import Connector
from vga_bringup.robot.faults import explain
from vga_bringup.robot.jobs import Job

log = logging.getLogger(__name__)

HAND_PORT = 1338  # fixed by libfranka
PERIOD = 0.02  # s between two readings; the real hand answers more slowly
STALLED = 10.0  # s after which a command without an answer is reported
EMPTY = 0.0025  # m: fingers closed to this hold nothing, whatever libfranka calls it


@dataclass(frozen=True)
class Move:
    """Fingers to a total opening, m."""

    width: float


@dataclass(frozen=True)
class Grasp:
    """Close with force on whatever is there."""


@dataclass(frozen=True)
class Homing:
    """Find the maximum opening."""


Command = Move | Grasp | Homing


def decide(width: float, last: Command | None, config: GripperConfig) -> Command | None:
    """The command that brings the hand from its last command to the wanted opening; None when it is there already.

    Closing below `grasp_below` grasps and is only undone by asking for `release_above`; in between, changes
    smaller than `min_change` are not worth a command.
    """
    closed = isinstance(last, Grasp)
    if width <= config.grasp_below:
        return None if closed else Grasp()
    if closed and width < config.release_above:
        return None
    if isinstance(last, Move) and abs(width - last.width) < config.min_change:
        return None
    return Move(min(width, config.max_width))


@dataclass(frozen=True)
class GripperState:
    """Cached state of the hand; widths are total openings in m.

    stamp_ns: system clock of the reading. commanded_width: newest command, the measured width before the first.
    problem: why the hand does not obey, empty when it does.
    """

    stamp_ns: int = 0
    width: float = 0.0
    max_width: float = 0.0
    commanded_width: float = 0.0
    is_grasped: bool = False
    moving: bool = False
    connected: bool = False
    problem: str = "not connected yet"


class _Execution:
    """One command being carried out by the hand, in a thread because the hand's calls block."""

    def __init__(self, command: Command, call: Callable[[], bool]) -> None:
        self.command = command
        self.superseded = False
        self.success = False
        self.error: Exception | None = None
        self.started = time.monotonic()
        self._call = call
        self._thread = threading.Thread(target=self._run, name="gripper-command", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.success = bool(self._call())
        except Exception as error:
            self.error = error


class Gripper:
    """The hand of one robot. `command` and `home` return at once; `state` is never older than a reading.

    hand_factory: builds franky's Gripper, or a stand-in, for an address.
    on_state: called with every reading, in the hand's thread.
    """

    def __init__(
        self,
        host: str,
        config: GripperConfig,
        hand_factory: Callable[[str], Any] = franky.Gripper,
        on_state: Callable[[GripperState], None] | None = None,
    ) -> None:
        self._config = config
        self._connector = Connector(host, HAND_PORT, lambda: hand_factory(host))
        self._on_state = on_state
        self._lock = threading.Lock()
        self._state = GripperState()
        self._wanted: float | None = None
        self._homing: Job | None = None
        self._last: Command | None = None
        self._execution: _Execution | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gripper", daemon=True)

    @property
    def state(self) -> GripperState:
        """The newest reading."""
        with self._lock:
            return self._state

    def start(self) -> None:
        """Starts serving the hand, connecting as long as it takes."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; the fingers stay where they are."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        self._finish_homing(False, "the driver is shutting down")

    def command(self, width: float) -> None:
        """Asks for a total opening, m. Replaces every earlier command that has not been carried out."""
        with self._lock:
            self._wanted = width

    def home(self) -> Job:
        """Starts homing. The job fails at once when the hand is not connected or homes already."""
        with self._lock:
            if not self._state.connected:
                return Job.failed(f"gripper: {self._state.problem}")
            if self._homing is not None:
                return Job.failed("gripper: homing already")
            self._homing = Job("homing")
            return self._homing

    def _run(self) -> None:
        while not self._closing.is_set():
            hand = self._connector.take()
            if hand is None:
                if problem := self._connector.problem:
                    self._disconnected(problem)
                self._closing.wait(PERIOD)
                continue
            with self._lock:
                self._wanted = None  # a command from while it was away must not move the fingers now
            try:
                log.info("gripper connected")
                self._serve(hand)
            except Exception as error:
                self._disconnected(f"connection lost: {explain(error)}")

    def _serve(self, hand: Any) -> None:
        """Reads and commands the hand until it is lost or we close."""
        problem = ""
        while not self._closing.is_set():
            started = time.monotonic()
            reading = hand.state
            running = self._execution
            if running is not None and running.done:
                problem = self._finish(running)
                self._execution = None
            elif running is not None and started - running.started > STALLED:
                problem = f"no answer to {running.command} for {started - running.started:.0f} s"
            self._publish(reading, problem)
            self._advance(hand)
            self._closing.wait(max(0.0, PERIOD - (time.monotonic() - started)))

    def _advance(self, hand: Any) -> None:
        """Starts the next command, stopping the running one when it is overtaken."""
        with self._lock:
            wanted, homing = self._wanted, self._homing
        running = self._execution
        if running is not None and isinstance(running.command, Homing):
            overtaken = homing is not None and homing.cancelled
        else:
            command = self._next(wanted, homing)
            if running is None and command is not None:
                self._last = command
                self._execution = _Execution(command, lambda: self._call(hand, command))
            overtaken = running is not None and command is not None
        if running is not None and overtaken and not running.superseded:
            running.superseded = True
            self._last = None
            hand.stop()

    def _next(self, wanted: float | None, homing: Job | None) -> Command | None:
        if homing is not None:
            return Homing()
        return None if wanted is None else decide(wanted, self._last, self._config)

    def _call(self, hand: Any, command: Command) -> bool:
        speed, force = self._config.speed, self._config.force
        if isinstance(command, Homing):
            return bool(hand.homing())
        if isinstance(command, Move):
            return bool(hand.move(command.width, speed))
        return bool(hand.grasp(0.0, speed, force, epsilon_inner=0.005, epsilon_outer=self._config.max_width))

    def _finish(self, execution: _Execution) -> str:
        """Takes note of how a command ended; returns the problem it leaves behind."""
        error = None if execution.error is None else explain(execution.error)
        if error is not None and error.lost:
            raise error
        if isinstance(execution.command, Homing):
            self._last = None
            if error is not None or execution.superseded or not execution.success:
                self._finish_homing(False, "cancelled" if execution.superseded else str(error or "homing failed"))
            else:
                self._finish_homing(True, f"opens to {self.state.max_width:.3f} m")
        if execution.superseded or error is None:
            return ""
        log.warning("gripper: %s", error)
        return str(error)

    def _finish_homing(self, success: bool, message: str) -> None:
        with self._lock:
            job, self._homing = self._homing, None
            self._wanted = None  # a command from before must not move the fingers now
        if job is not None:
            job.finish(success, message)

    def _publish(self, reading: Any, problem: str) -> None:
        width = float(reading.width)
        with self._lock:
            self._state = GripperState(
                stamp_ns=time.time_ns(),
                width=width,
                max_width=float(reading.max_width),
                commanded_width=width if self._wanted is None else self._wanted,
                is_grasped=bool(reading.is_grasped) and width > EMPTY,
                moving=self._execution is not None,
                connected=True,
                problem=problem,
            )
            state = self._state
        if self._on_state is not None:
            self._on_state(state)

    def _disconnected(self, problem: str) -> None:
        """Forgets what the lost hand was doing and says why it is gone, once."""
        with self._lock:
            if problem == self._state.problem and not self._state.connected:
                return
            self._state = GripperState(commanded_width=self._state.commanded_width, problem=problem)
        self._last, self._execution = None, None
        self._finish_homing(False, problem)
        log.warning("gripper: %s", problem)
