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
from vga_policy.cell.schema import Gripper as GripperConfig
from vga_policy.topics import DRIVER_GRIPPER_HOMING, absolute

from vga_bringup.robot.connection import Connector
from vga_bringup.robot.faults import explain
from vga_bringup.robot.jobs import Job
from vga_bringup.robot.libfranka import HAND_PORT

log = logging.getLogger(__name__)

PERIOD = 0.02  # s between two readings; the real hand answers more slowly
STALLED = 10.0  # s after which a command without an answer is reported
EMPTY = 0.0025  # m: fingers closed to this hold nothing, whatever libfranka calls it
HOMED = 0.9  # of the cell's opening: a hand that says it opens less far has not been homed
HOME_IT = f"empty the hand and run the action {absolute(DRIVER_GRIPPER_HOMING)}"


@dataclass(frozen=True)
class Move:
    """Fingers to a total opening, m."""

    width: float


@dataclass(frozen=True)
class Grasp:
    """Close with force on whatever is there."""


@dataclass(frozen=True)
class HandHoming:
    """Find the maximum opening."""


Command = Move | Grasp | HandHoming


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


def homing_needed(max_width: float, config: GripperConfig) -> str:
    """Why a hand that says it opens to `max_width` (m) has to be homed, and how; empty when it is homed."""
    if max_width <= EMPTY:
        return f"not homed since it was switched on: {HOME_IT}"
    if max_width < HOMED * config.max_width:
        seen = f"opens to {max_width:.3f} m, the cell's gripper.max_width is {config.max_width:.3f} m"
        return f"{seen}: {HOME_IT}; where it is homed, correct the cell file"
    return ""


def shortfall(command: Command, width: float) -> str:
    """What it means that a command was answered with false, the fingers at `width` (m); empty: nothing is wrong."""
    if isinstance(command, HandHoming):
        return f"homing failed: {HOME_IT} again"
    if isinstance(command, Move):
        remedy = f"something is in the way, or the hand needs homing (action {absolute(DRIVER_GRIPPER_HOMING)})"
        return f"fingers stopped at {width:.3f} m instead of {command.width:.3f} m: {remedy}"
    if width <= EMPTY:
        return ""  # closed on nothing, which is no fault
    return f"the grasp failed at {width:.3f} m, what is there is not held with force: open the hand and close it again"


@dataclass(frozen=True)
class GripperState:
    """Cached state of the hand; widths are total openings in m.

    stamp_ns: system clock of the reading. commanded_width: newest command, the measured width before the first.
    problem: why the hand does not obey, empty when it does. notice: that a grasp holds nothing, which is no fault.
    """

    stamp_ns: int = 0
    width: float = 0.0
    max_width: float = 0.0
    commanded_width: float = 0.0
    is_grasped: bool = False
    moving: bool = False
    connected: bool = False
    problem: str = "not connected yet"
    notice: str = ""


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
    """The hand of one robot. `command`, `open` and `home` return at once; `state` is never older than a reading.

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
        self._held = False  # the last grasp has held something
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

    def drop(self) -> None:
        """Forgets an opening that was asked for and that the hand has not begun; what it does or holds goes on."""
        with self._lock:
            if self._wanted is not None and decide(self._wanted, self._last, self._config) is not None:
                self._wanted = None

    def open(self) -> str:
        """Asks for the widest opening, once more where that has failed. Why it cannot be; empty when it can."""
        with self._lock:
            if not self._state.connected:
                return f"gripper: {self._state.problem}"
            if self._homing is not None:
                return "gripper: homing, wait for it"
            self._wanted, self._last = self._config.max_width, None
            return ""

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
        failure = ""  # of the last command that was carried out
        while not self._closing.is_set():
            started = time.monotonic()
            running, stalled = self._execution, ""
            ended = running is not None and running.done
            reading = hand.state  # after that: of fingers that have come to rest
            if running is not None and ended:
                failure = self._finish(running, reading, failure)
                self._execution = None
            elif running is not None and started - running.started > STALLED:
                stalled = f"no answer to {running.command} for {started - running.started:.0f} s"
            self._publish(reading, stalled or failure)
            self._advance(hand)
            self._closing.wait(max(0.0, PERIOD - (time.monotonic() - started)))

    def _advance(self, hand: Any) -> None:
        """Starts the next command, stopping the running one when it is overtaken."""
        with self._lock:  # from looking at what is wanted to beginning it: in between nothing is dropped
            running, homing = self._execution, self._homing
            if running is not None and isinstance(running.command, HandHoming):
                overtaken = homing is not None and homing.canceled
            else:
                command = self._next(self._wanted, homing)
                if running is None and command is not None:
                    self._last = command
                    self._execution = _Execution(command, lambda: self._call(hand, command))
                overtaken = running is not None and command is not None
            stop = running is not None and overtaken and not running.superseded
            if running is not None and stop:
                running.superseded = True
                self._last = None
        if stop:
            hand.stop()

    def _next(self, wanted: float | None, homing: Job | None) -> Command | None:
        if homing is not None:
            return HandHoming()
        return None if wanted is None else decide(wanted, self._last, self._config)

    def _call(self, hand: Any, command: Command) -> bool:
        speed, force = self._config.speed, self._config.force
        if isinstance(command, HandHoming):
            return bool(hand.homing())
        if isinstance(command, Move):
            return bool(hand.move(command.width, speed))
        return bool(hand.grasp(0.0, speed, force, epsilon_inner=0.005, epsilon_outer=self._config.max_width))

    def _finish(self, execution: _Execution, reading: Any, before: str) -> str:
        """Takes note of how a command ended; its failure, or that from `before` when it was superseded."""
        error = None if execution.error is None else explain(execution.error)
        if error is not None and error.lost:
            raise error
        command, failure = execution.command, ""
        if error is not None:
            failure = str(error)
        elif not execution.success:
            failure = shortfall(command, float(reading.width))
        if isinstance(command, HandHoming):
            self._last = None
            if execution.superseded or failure:
                self._finish_homing(False, "canceled" if execution.superseded else failure)
            else:
                self._finish_homing(True, f"opens to {float(reading.max_width):.3f} m")
        return before if execution.superseded else failure

    def _finish_homing(self, success: bool, message: str) -> None:
        with self._lock:
            job, self._homing = self._homing, None
            self._wanted = None  # a command from before must not move the fingers now
        if job is not None:
            job.finish(success, message)

    def _publish(self, reading: Any, problem: str) -> None:
        width, max_width = float(reading.width), float(reading.max_width)
        is_grasped = bool(reading.is_grasped) and width > EMPTY
        with self._lock:
            before = self._state
            state = self._state = GripperState(
                stamp_ns=time.time_ns(),
                width=width,
                max_width=max_width,
                commanded_width=width if self._wanted is None else self._wanted,
                is_grasped=is_grasped,
                moving=self._execution is not None,
                connected=True,
                problem="; ".join(filter(None, (homing_needed(max_width, self._config), problem))),
                notice=self._grip(width, is_grasped),
            )
        if state.problem and state.problem != before.problem:
            log.warning("gripper: %s", state.problem)
        if state.notice and not before.notice:
            log.info("gripper: %s", state.notice)
        if self._on_state is not None:
            self._on_state(state)

    def _grip(self, width: float, holds: bool) -> str:
        """That the last grasp holds nothing, in words; empty while it does, and where the hand is not to be closed."""
        closed = isinstance(self._last, Grasp) and self._execution is None
        self._held = closed and (self._held or holds)
        if not closed or width > EMPTY:
            return ""
        what = "grasp lost" if self._held else "closed on nothing"
        return f"{what}: the fingers are {width:.3f} m apart"

    def _disconnected(self, problem: str) -> None:
        """Forgets what the lost hand was doing and says why it is gone, once."""
        with self._lock:
            if problem == self._state.problem and not self._state.connected:
                return
            self._state = GripperState(commanded_width=self._state.commanded_width, problem=problem)
        self._last, self._execution = None, None
        self._finish_homing(False, problem)
        log.warning("gripper: %s", problem)
