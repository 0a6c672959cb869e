"""The control loop: one thread that owns the arm, reads it, decides and streams the reference.

Everything that moves the arm passes here at the tracking rate; whose motion it is, the arbiter says. Requests come from
other threads and take effect at the next tick. The arm is always brought to rest along a decelerating reference; only
an arm that has already stopped by itself is let go.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import franky
import numpy as np
from vga_policy.cadence import Cadence
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Mode

from vga_bringup.robot.arbiter import Arbiter
from vga_bringup.robot.arm import ArmState, FrankaArm, RobotFactory, franky_robot
from vga_bringup.robot.connection import Connector
from vga_bringup.robot.faults import ArmError, explain
from vga_bringup.robot.gripper import Gripper, GripperState
from vga_bringup.robot.jobs import Job
from vga_bringup.robot.libfranka import ROBOT_PORT
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.motion.teleoperation import LeaderSample, Teleoperation
from vga_bringup.robot.recovery import Recovery
from vga_bringup.robot.reports import ChunkCounts, DriverState, Figures, Listener, Tick, TrackingError
from vga_bringup.robot.safety.modes import GoalId, Modes
from vga_bringup.robot.safety.safety_filter import Context, SafetyFilter
from vga_bringup.robot.submission import submit
from vga_bringup.robot.types import ChunkRequest, Reference, Verdict

log = logging.getLogger(__name__)

STALE = 0.3  # s without a new robot state after which the arm is held
CLOSE_TIMEOUT = 1.5  # s to come to rest when the driver ends
CLOSING = "the driver is shutting down"


class FrankaDriver:
    """Arm and hand of one cell. All public methods may be called from any thread and return at once.

    robot_factory, hand_factory: build the franky objects; tests give stand-ins.
    """

    def __init__(
        self,
        cell: Cell,
        listener: Listener,
        robot_factory: RobotFactory = franky_robot,
        hand_factory: Callable[[str], Any] = franky.Gripper,
        on_gripper: Callable[[GripperState], None] | None = None,
    ) -> None:
        self._cell = cell
        self._listener = listener
        self._connector = Connector(cell.arm.ip, ROBOT_PORT, lambda: robot_factory(cell.arm))
        self._gripper = Gripper(cell.arm.ip, cell.gripper, hand_factory, on_gripper)
        self._executor = Executor(cell)
        self._safety = SafetyFilter(cell)
        self._teleop = Teleoperation(cell)
        self._arbiter = Arbiter(
            cell,
            self._executor,
            self._safety,
            {Mode.TELEOP: self._teleop},
            hand_width=lambda: self._gripper.state.commanded_width,
        )
        self._cadence = Cadence(cell.arm.tracking.rate_hz)
        self._period = 1.0 / cell.arm.tracking.rate_hz

        self._lock = threading.Lock()  # guards all below
        self._modes = Modes(cell.execution.heartbeat_timeout)
        self._arm: FrankaArm | None = None
        self._measured: ArmState | None = None
        self._measured_at = 0.0
        self._goal_in_force: GoalId | None = None
        self._problem = ""  # why there is no connection
        self._counts = ChunkCounts()
        self._tracking_error = TrackingError()
        self._announced: DriverState | None = None

        self._closing = threading.Event()
        self._recovery = Recovery(self._resting_arm, self._recovered, lambda: self._problem, self._closing)
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Starts the loop; it connects as long as it takes."""
        self._gripper.start()
        self._thread.start()

    def close(self) -> None:
        """Brings the arm to rest, ends the motion and the loop. From the first on, nothing is set in motion again."""
        with self._lock:
            self._halt(CLOSING)
            self._closing.set()
        self._gripper.close()
        self._thread.join(timeout=CLOSE_TIMEOUT)

    @property
    def state(self) -> DriverState:
        """The driver's state now."""
        with self._lock:
            return self._state(time.monotonic())

    @property
    def gripper_state(self) -> GripperState:
        """The hand's newest reading."""
        return self._gripper.state

    def set_mode(self, mode: Mode, keep_goal: bool = False) -> str:
        """Sets the mode; returns what was done, in words. Raises ModeRefusedError saying why and what to do.

        keep_goal: the live goal outlives the change: TELEOP takes over from the policy, POLICY hands back.
        """
        now = time.monotonic()
        with self._lock:
            if mode is Mode.HOLD:
                self._halt("requested by the operator")
                return "HOLD"
            if mode is self._modes.mode:
                return f"{mode.name} already"
            self._arbiter.take_back(self._modes.mode, now)
            obstacle = self._obstacle() or self._arbiter.obstacle(mode, now, moving=keep_goal)
            if not self._arbiter.following:
                self._arbiter.rest_here(now)
            if keep_goal:
                self._modes.request(mode, now, obstacle, keep_goal=True)
                hands = self._arbiter
                beginning = hands.take_over(mode, now) if mode is Mode.TELEOP else hands.hand_back(now)
            else:
                self._modes.request(mode, now, obstacle, self._arbiter.misalignment(mode, now))
                beginning = self._arbiter.lend(mode, now)
            self._drop_dead_goal(now)
        return f"{mode.name}: {beginning}"

    def stop(self, reason: str = "stop requested") -> None:
        """Decelerates whatever moves the arm and enters HOLD."""
        with self._lock:
            self._halt(reason)

    def heartbeat(self, goal: GoalId | None, healthy: bool, reason: str) -> None:
        """One heartbeat of the policy; goal None when it serves none."""
        now = time.monotonic()
        with self._lock:
            self._modes.heartbeat(goal, healthy, reason, now)
            self._drop_dead_goal(now)

    def leader(self, sample: LeaderSample) -> None:
        """One message of the leader arm; what cannot be used is counted and changes nothing."""
        with self._lock:
            now = time.monotonic()
            self._modes.leader(now, self._teleop.take(sample, now))

    def submit(self, request: ChunkRequest) -> Verdict:
        """Decides on one chunk and executes it when nothing is wrong with it."""
        with self._lock:
            now = time.monotonic()
            context = Context(now, self._modes.mode, self._modes.commanding_goal(now), kept=self._modes.goal)
            verdict = submit(self._executor, self._safety, request, context)
            self._counts.add(verdict)
        return verdict

    def home(self, speed: float = 0.0, goal: Sequence[float] = ()) -> Job:
        """Moves to the cell's home, or to `goal` (rad, [7]). The hand keeps its grip: `open_hand` opens it.

        speed: share of the cell's speed, 0 for the cell's homing speed.
        """
        now = time.monotonic()
        with self._lock:
            obstacle = self._obstacle()
            if self._closing.is_set():
                pass  # nothing else matters any more
            elif self._modes.mode is not Mode.HOLD:
                obstacle = f"the driver is in {self._modes.mode.name}: set HOLD first"
            elif self._modes.needs_recovery:
                obstacle = f"{self._modes.hold_reason}: run the recover action first"
            elif not 0.0 <= speed <= 1.0:
                obstacle = f"speed_scale {speed:g} is not between 0 and 1"
            elif not self._arbiter.at_rest(now):
                obstacle = "the arm is still coming to rest"
            if obstacle:
                return Job.failed(f"not homing: {obstacle}")
            self._modes.hold(self._modes.hold_reason)  # no goal goes on from elsewhere
            return self._arbiter.home(goal, speed or self._cell.arm.homing_speed, now)

    def recover(self) -> Job:
        """Clears errors and rebuilds a lost connection; the driver stays in HOLD."""
        with self._lock:
            if self._closing.is_set():
                return Job.failed(CLOSING)
            if self._modes.mode is not Mode.HOLD:
                return Job.failed(f"nothing to recover from in {self._modes.mode.name}")
            return self._recovery.start()

    def open_hand(self) -> str:
        """Opens the hand all the way. Returns why not; empty when it has been told to."""
        with self._lock:
            return self._hand_obstacle() or self._gripper.open()

    def gripper_homing(self) -> Job:
        """Homes the hand."""
        with self._lock:
            obstacle = self._hand_obstacle()
            return Job.failed(obstacle) if obstacle else self._gripper.home()

    def figures(self) -> Figures:
        """Counters since the start, and cadence and tracking since the last call."""
        with self._lock:
            rms, worst = self._tracking_error.report()
            return Figures(
                state=self._state(time.monotonic()),
                accepted=self._counts.accepted,
                rejected=dict(self._counts.rejected),
                steps_dropped=self._counts.steps_dropped,
                tracking_rms=rms,
                tracking_worst=worst,
                cadence=self._cadence.report(),
                settings=self._arm.settings if self._arm is not None else (),
                gripper=self._gripper.state,
                teleop=self._teleop.report(),
            )

    # The control thread.

    def _run(self) -> None:
        close_by = math.inf
        while time.monotonic() < close_by:
            if self._closing.is_set():
                if self._arm is None or not (self._arbiter.following or self._arm.moving):
                    break
                close_by = min(close_by, time.monotonic() + CLOSE_TIMEOUT)
            self._cadence.wait()
            try:
                self._announce()
                if self._arm is None:
                    self._connect()
                else:
                    self._tick(self._arm)
            except Exception as error:
                if not isinstance(error, ArmError):  # a mistake of ours: the arm stops, and we say where it was
                    log.error("control loop: %s", traceback.format_exc())
                with self._lock:
                    self._interrupt(explain(error), time.monotonic())
        with self._lock:
            self._arbiter.abandon_homing(CLOSING)
            self._arm = None

    def _connect(self) -> None:
        robot = self._connector.take()
        if robot is None:
            with self._lock:
                problem = self._connector.problem
                if problem and problem != self._problem:
                    log.warning("%s; retrying", problem)
                self._problem = problem or self._problem
            return
        arm = FrankaArm(robot, self._cell)
        with self._lock:
            self._arm, self._problem, self._measured = arm, "", None
        log.info("connected to the robot at %s", self._cell.arm.ip)
        arm.apply_settings()
        for setting in arm.settings:
            if not setting.ok:
                log.warning("%s: the robot uses %s instead of %s", setting.name, setting.actual, setting.wanted)

    def _tick(self, arm: FrankaArm) -> None:
        measured = arm.read()
        read_ns = time.time_ns()
        with self._lock:
            now, now_ns = time.monotonic(), time.time_ns()
            before = self._measured
            if before is not None and measured.time_ms < before.time_ms:
                return  # read before a recover ended: its errors are history
            fresh = before is None or measured.time_ms > before.time_ms
            if fresh:
                self._measured_at = now
            self._measured = measured
            self._arbiter.measured(measured.q)
            if before is None:
                self._arbiter.rest_here(now)
            self._watch(measured, now)
            self._arbiter.step(self._modes.mode, now)
            reference, target = self._ahead(now)
            follow, mode, goal = self._arbiter.following, self._modes.mode, self._modes.goal
            if self._arbiter.drives_gripper(mode, reference):
                self._gripper.command(reference.gripper_width)
        if follow:
            arm.follow(target.q, target.dq, measured.q, measured.dq)
        else:
            arm.release()
        with self._lock:
            self._arbiter.commanded(mode, time.monotonic())
        if fresh:
            self._listener.on_tick(Tick(read_ns, now_ns, measured, self._gripper.state, reference, mode, goal))

    def _watch(self, measured: ArmState, now: float) -> None:
        """Everything that sends the driver to HOLD, once a tick."""
        fault = measured.fault
        if fault is not None and str(fault) != self._modes.hold_reason:
            self._interrupt(fault, now)
        if self._arbiter.following and now - self._measured_at > STALE:
            self._interrupt(ArmError(f"no new robot state for {STALE:g} s", needs_recovery=False), now)
        before = self._modes.mode
        self._modes.check(now)
        if before is not self._modes.mode:
            log.warning("HOLD: %s", self._modes.hold_reason)
            self._gripper.drop()
        self._drop_dead_goal(now)

    def _ahead(self, now: float) -> tuple[Reference, Reference]:
        """What the arm is asked to do now, and at the next tick: until then this tick's command is in force."""
        reference, target = self._references(now)
        if self._arbiter.following and self._measured is not None:
            self._tracking_error.add(np.abs(reference.q - self._measured.q))
        if problem := self._arbiter.problem(reference, target):
            self._interrupt(ArmError(problem, needs_recovery=False), now)
            reference, target = self._references(now)
        return reference, target

    def _references(self, now: float) -> tuple[Reference, Reference]:
        target = self._arbiter.reference(now + self._period)  # first: with it the leader's newest opening is in force
        return self._arbiter.reference(now), target

    def _interrupt(self, fault: ArmError, now: float) -> None:
        """The arm has stopped or must stop where it is: HOLD, with the reference at the measured position."""
        reason = f"connection lost: {fault}" if fault.lost else str(fault)
        if reason != self._modes.hold_reason:
            log.warning("HOLD: %s", reason)
        self._modes.hold(reason, fault.needs_recovery)
        self._goal_in_force = None
        self._gripper.drop()
        self._arbiter.interrupt(now, reason)
        if fault.needs_recovery:
            self._arbiter.let_go()
        if fault.lost:
            self._arm, self._measured = None, None
            self._problem = reason

    # The recovery's thread.

    def _resting_arm(self) -> FrankaArm | None:
        with self._lock:
            arm = self._arm
            if arm is None or self._measured is None or self._arbiter.following or arm.moving:
                return None
            return arm

    def _recovered(self, arm: FrankaArm, measured: ArmState) -> bool:
        with self._lock:
            if self._arm is not arm:
                return False
            self._measured = measured
            self._arbiter.measured(measured.q)
            self._modes.recovered()
            return True

    # Helpers; the caller holds the lock.

    def _halt(self, reason: str) -> None:
        """HOLD by request: what moves is decelerated, and the hand begins nothing more."""
        self._modes.hold(reason)
        self._gripper.drop()
        self._arbiter.cancel_homing()
        self._drop_dead_goal(time.monotonic())

    def _drop_dead_goal(self, now: float) -> None:
        """Decelerates when the goal whose chunks are in force is no longer live."""
        if self._goal_in_force is not None and self._modes.goal != self._goal_in_force:
            self._executor.stop(now)
        self._goal_in_force = self._modes.goal

    def _obstacle(self) -> str:
        """Why the arm cannot be given to anyone now; empty when it can."""
        if self._closing.is_set():
            return CLOSING
        if self._arm is None:
            return f"not connected to the robot: {self._problem or 'connecting'}"
        if self._measured is None:
            return "the robot is taking the cell's settings: wait a moment"
        if self._arbiter.homing:
            return "homing is running: wait for it or cancel it"
        if self._recovery.running:
            return "a recover is running: wait for it"
        if self._measured.fault is not None:
            return str(self._measured.fault)
        return self._arm.unfit

    def _hand_obstacle(self) -> str:
        """Why the hand is not to be told anything but by who moves the arm; empty when it may be."""
        if self._closing.is_set():
            return CLOSING
        return "" if self._modes.mode is Mode.HOLD else f"the driver is in {self._modes.mode.name}: set HOLD first"

    def _state(self, now: float) -> DriverState:
        measured = self._measured
        connected = self._arm is not None and measured is not None
        return DriverState(
            mode=self._modes.mode,
            hold_reason=self._modes.hold_reason if connected else self._problem or "connecting to the robot",
            needs_recovery=self._modes.needs_recovery,
            connected=connected,
            at_rest=not connected or self._arbiter.at_rest(now),
            goal=self._modes.goal,
            robot_mode=measured.mode if measured is not None else "",
            tracking=self._cell.arm.tracking.mode,
            success_rate=measured.success_rate if measured is not None else math.nan,
        )

    def _announce(self) -> None:
        with self._lock:
            state = self._state(time.monotonic())
        if state.differs(self._announced):
            self._announced = state
            self._listener.on_state(state)
