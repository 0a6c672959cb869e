"""The control loop: one thread that owns the arm, reads it, decides and streams the reference.

Everything that moves the arm passes here at the tracking rate: chunks through safety filter and executor, the leader's
motion, the way home, and every stop. Requests come from other threads and take effect at the next tick. The arm is
always brought to rest along a decelerating reference; only an arm that has already stopped by itself is let go.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import franky
import numpy as np
from vga_policy.cadence import Cadence
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Mode

from vga_bringup.robot.arm import ArmState, FrankaArm, RobotFactory, franky_robot
from vga_bringup.robot.connection import Connector
from vga_bringup.robot.faults import ArmError, explain
from vga_bringup.robot.gripper import Gripper, GripperState
from vga_bringup.robot.jobs import Job
from vga_bringup.robot.libfranka import ROBOT_PORT
from vga_bringup.robot.motion.executor import Executor, Reference
from vga_bringup.robot.motion.homing import Homing
from vga_bringup.robot.motion.teleoperation import LeaderSample, Teleoperation
from vga_bringup.robot.reports import DriverState, Figures, Listener, Tick, TrackingError
from vga_bringup.robot.safety.modes import GoalId, Modes
from vga_bringup.robot.safety.safety_filter import ChunkRequest, Context, SafetyFilter, Verdict

log = logging.getLogger(__name__)

SETTLE = 0.1  # s the reference rests before the motion is ended, so that the arm has arrived
STALE = 0.3  # s without a new robot state after which the arm is held
MAX_ERROR = 0.3  # rad between reference and arm beyond which the arm does not follow
CLOSE_TIMEOUT = 1.5  # s to come to rest when the driver ends
CONNECT_TIMEOUT = 10.0  # s a recover waits for the robot


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
        self._cadence = Cadence(cell.arm.tracking.rate_hz)
        self._period = 1.0 / cell.arm.tracking.rate_hz

        self._lock = threading.Lock()  # guards all below
        self._modes = Modes(cell.execution.heartbeat_timeout)
        self._arm: FrankaArm | None = None
        self._measured: ArmState | None = None
        self._measured_at = 0.0
        self._following = False  # a motion of ours holds or moves the arm
        self._rests_since = 0.0
        self._goal_in_force: GoalId | None = None
        self._problem = ""  # why there is no connection
        self._homing: Homing | None = None
        self._recovering: Job | None = None
        self._accepted = 0
        self._rejected: Counter[str] = Counter()
        self._steps_dropped = 0
        self._tracking_error = TrackingError()
        self._announced: DriverState | None = None

        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Starts the loop; it connects as long as it takes."""
        self._gripper.start()
        self._thread.start()

    def close(self) -> None:
        """Brings the arm to rest, ends the motion and the loop."""
        with self._lock:
            self._halt("the driver is shutting down")
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

    def set_mode(self, mode: Mode) -> str:
        """Sets the mode; returns what was done, in words. Raises ModeRefusedError saying why and what to do."""
        now = time.monotonic()
        with self._lock:
            if mode is Mode.HOLD:
                self._halt("requested by the operator")
                return "HOLD"
            if mode is self._modes.mode:
                return f"{mode.name} already"
            self._end_teleop(now)
            obstacle = self._obstacle() or self._still_moving(mode, now) or self._outside_limits()
            if not self._following and self._measured is not None:
                self._executor.reset(now, self._measured.q, self._gripper.state.commanded_width)
            start = self._executor.reference(now)
            self._modes.request(mode, now, obstacle, self._teleop.misalignment(start.q))
            if mode is Mode.TELEOP:
                self._teleop.engage(now, start.q, start.gripper_width)
            self._drop_dead_goal(now)
        if mode is Mode.TELEOP:
            return "TELEOP: the arm goes to the leader slowly, then follows it"
        return f"{mode.name}: the arm moves with the next goal"

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
            context = Context(now, self._modes.mode, self._modes.commanding_goal(now))
            verdict = self._safety.admit(self._executor, request, context)
            if verdict.accepted:
                self._accepted += 1
                self._steps_dropped += verdict.steps_dropped
            else:
                self._rejected[verdict.reason] += 1
        return verdict

    def home(self, speed: float = 0.0, goal: Sequence[float] = ()) -> Job:
        """Moves to the cell's home, or to `goal` (rad, [7]). The hand keeps its grip: `open_hand` opens it.

        speed: share of the cell's speed, 0 for the cell's homing speed.
        """
        now = time.monotonic()
        with self._lock:
            obstacle = self._obstacle()
            if self._modes.mode is not Mode.HOLD:
                obstacle = f"the driver is in {self._modes.mode.name}: set HOLD first"
            elif self._modes.needs_recovery:
                obstacle = f"{self._modes.hold_reason}: run the recover action first"
            elif not 0.0 <= speed <= 1.0:
                obstacle = f"speed_scale {speed:g} is not between 0 and 1"
            elif not self._at_rest(now):
                obstacle = "the arm is still coming to rest"
            elif not obstacle:
                where = "there" if goal else "at the cell's arm.home"
                obstacle = self._safety.pose_problem(goal or self._cell.arm.home, where)
            if obstacle or self._measured is None:
                return Job.failed(f"not homing: {obstacle}")
            start = self._desired(self._measured, now).q
            if problem := self._safety.way_problem(start, np.array(goal or self._cell.arm.home)):
                away = "guide the arm by hand or lead it away with the leader"
                return Job.failed(f"not homing: the straight way there {problem}: {away}")
            elsewhere = np.array(goal) if goal else None
            self._homing = Homing(self._cell, start, elsewhere, speed or self._cell.arm.homing_speed, now)
            return self._homing.job

    def recover(self) -> Job:
        """Clears errors and rebuilds a lost connection; the driver stays in HOLD."""
        with self._lock:
            if self._modes.mode is not Mode.HOLD:
                return Job.failed(f"nothing to recover from in {self._modes.mode.name}")
            if self._recovering is not None and not self._recovering.done:
                return Job.failed("recovering already")
            job = self._recovering = Job("reconnecting")
            threading.Thread(target=self._recover, args=(job,), name="recover", daemon=True).start()
            return job

    def open_hand(self) -> str:
        """Opens the hand all the way. Returns why not; empty when it has been told to."""
        with self._lock:
            if self._modes.mode is not Mode.HOLD:
                return f"the driver is in {self._modes.mode.name}: set HOLD first"
        return self._gripper.open()

    def gripper_homing(self) -> Job:
        """Homes the hand."""
        with self._lock:
            if self._modes.mode is not Mode.HOLD:
                return Job.failed(f"the driver is in {self._modes.mode.name}: set HOLD first")
        return self._gripper.home()

    def figures(self) -> Figures:
        """Counters since the start, and cadence and tracking since the last call."""
        with self._lock:
            rms, worst = self._tracking_error.report()
            return Figures(
                state=self._state(time.monotonic()),
                accepted=self._accepted,
                rejected=dict(self._rejected),
                steps_dropped=self._steps_dropped,
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
                if self._arm is None or not (self._following or self._arm.moving):
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
            self._abandon_homing("the driver is shutting down")
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
            if before is None:
                self._executor.reset(now, measured.q, self._gripper.state.commanded_width)
            elif measured.time_ms < before.time_ms:
                return  # read before a recover ended: its errors are history
            fresh = before is None or measured.time_ms > before.time_ms
            if fresh:
                self._measured_at = now
            self._measured = measured
            self._watch(measured, now)
            if self._homing is not None and self._homing.step(measured.q, now):
                self._executor.reset(now, self._homing.reference(now)[0], self._gripper.state.commanded_width)
                self._homing = None
            self._end_teleop(now)
            self._decide_following(now)
            if problem := self._problem_ahead(measured, now):
                self._interrupt(ArmError(problem, needs_recovery=False), now)
            reference = self._desired(measured, now)
            target = self._desired(measured, now + self._period)  # a command is in force until the next tick
            follow, mode, goal = self._following, self._modes.mode, self._modes.goal
            grip = reference.sequence is not None or (mode is Mode.TELEOP and self._teleop.drives_gripper)
        if follow:
            arm.follow(target.q, target.dq, measured.q, measured.dq)
        else:
            arm.release()
        if grip:
            self._gripper.command(reference.gripper_width)
        if mode is Mode.TELEOP:
            with self._lock:
                self._teleop.commanded(time.monotonic())
        if fresh:
            self._listener.on_tick(Tick(read_ns, now_ns, measured, self._gripper.state, reference, mode, goal))

    def _watch(self, measured: ArmState, now: float) -> None:
        """Everything that sends the driver to HOLD, once a tick."""
        fault = measured.fault
        if fault is not None and str(fault) != self._modes.hold_reason:
            self._interrupt(fault, now)
        if self._following and now - self._measured_at > STALE:
            self._interrupt(ArmError(f"no new robot state for {STALE:g} s", needs_recovery=False), now)
        before = self._modes.mode
        self._modes.check(now)
        if before is not self._modes.mode:
            log.warning("HOLD: %s", self._modes.hold_reason)
        self._drop_dead_goal(now)

    def _end_teleop(self, now: float) -> None:
        """Brakes once the leader no longer commands, and holds the arm where it is when that ends.

        There, not where the reference came to rest: the arm would take a while for the last centiradian.
        """
        if not self._teleop.engaged or self._modes.mode is Mode.TELEOP or self._measured is None:
            return
        self._teleop.release()
        reference = self._teleop.reference(now)
        if not reference.moving:
            self._teleop.disengage()
            self._executor.reset(now, self._measured.q, reference.gripper_width)

    def _decide_following(self, now: float) -> None:
        """A motion runs while somebody commands, while anything moves, and until the arm has settled after that."""
        if self._modes.mode is not Mode.HOLD or not self._at_rest(now):
            self._rests_since = now
            self._following = True
        elif now - self._rests_since > SETTLE:
            self._following = False

    def _desired(self, measured: ArmState, t: float) -> Reference:
        """What the arm is asked to do at `t`; where it is when no motion of ours runs."""
        if not self._following:
            return Reference(measured.q, np.zeros(7), self._gripper.state.commanded_width, None, -1, False)
        if self._teleop.engaged:
            return self._teleop.reference(t)
        reference = self._executor.reference(t)
        if self._homing is None:
            return reference
        q, dq = self._homing.reference(t)
        return Reference(q, dq, reference.gripper_width, None, -1, True)

    def _problem_ahead(self, measured: ArmState, now: float) -> str:
        """Why the arm must not go on, the last line of defence; empty when it may."""
        if not self._following:
            return ""
        error = np.abs(self._desired(measured, now).q - measured.q)
        self._tracking_error.add(error)
        joint = int(np.argmax(error))
        if error[joint] > MAX_ERROR:
            return f"{self._cell.arm.joint_names[joint]} is {error[joint]:.2f} rad away from its reference"
        target = self._desired(measured, now + self._period)
        # Homing may begin outside the limits: it is the way back.
        if self._homing is None and not self._safety.tick_ok(target.q, target.dq):
            return "the reference left the cell's limits"
        return ""

    def _interrupt(self, fault: ArmError, now: float) -> None:
        """The arm has stopped or must stop where it is: HOLD, with the reference at the measured position."""
        reason = f"connection lost: {fault}" if fault.lost else str(fault)
        if reason != self._modes.hold_reason:
            log.warning("HOLD: %s", reason)
        self._modes.hold(reason, fault.needs_recovery)
        self._goal_in_force = None
        self._teleop.disengage()
        if self._measured is not None:
            self._executor.reset(now, self._measured.q, self._gripper.state.commanded_width)
        self._abandon_homing(reason)
        if fault.needs_recovery:
            self._following = False
            self._rests_since = -math.inf
        if fault.lost:
            self._arm, self._measured = None, None
            self._problem = reason

    def _recover(self, job: Job) -> None:
        """The recover action; runs beside the control thread, which goes on reading the arm."""
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while (arm := self._resting_arm()) is None:
            if job.cancelled or time.monotonic() > deadline or self._closing.wait(0.02):
                job.finish(False, "cancelled" if job.cancelled else self._problem or "the arm does not come to rest")
                return
        try:
            if arm.read().mode == "user stopped":
                raise ArmError("user stop pressed: release it, then recover again")
            job.phase = "clearing errors"
            arm.clear_errors()
            job.phase = "reading back settings"
            arm.apply_settings()
            measured = arm.read()
            if measured.fault is not None:
                raise measured.fault
        except ArmError as fault:
            job.finish(False, str(fault))
            return
        with self._lock:
            if self._arm is not arm:
                job.finish(False, self._problem)
                return
            self._measured = measured
            self._modes.recovered()
        job.finish(True, "recovered; set a mode and send a new goal to move again")

    def _resting_arm(self) -> FrankaArm | None:
        """The arm, once it is connected and no motion runs on it."""
        with self._lock:
            arm = self._arm
            if arm is None or self._measured is None or self._following or arm.moving:
                return None
            return arm

    # Helpers; the caller holds the lock.

    def _halt(self, reason: str) -> None:
        """HOLD by request: what moves is decelerated."""
        self._modes.hold(reason)
        if self._homing is not None:
            self._homing.job.cancel()
        self._drop_dead_goal(time.monotonic())

    def _abandon_homing(self, reason: str) -> None:
        if self._homing is not None:
            self._homing.job.finish(False, reason)
            self._homing = None

    def _drop_dead_goal(self, now: float) -> None:
        """Decelerates when the goal whose chunks are in force is no longer live."""
        if self._goal_in_force is not None and self._modes.goal != self._goal_in_force:
            self._executor.stop(now)
        self._goal_in_force = self._modes.goal

    def _at_rest(self, now: float) -> bool:
        if self._teleop.engaged:
            return not self._teleop.reference(now).moving
        return self._homing is None and self._executor.at_rest(now)

    def _obstacle(self) -> str:
        """Why the arm cannot be given to anyone now; empty when it can."""
        if self._arm is None or self._measured is None:
            return f"not connected to the robot: {self._problem or 'connecting'}"
        if self._homing is not None:
            return "homing is running: wait for it or cancel it"
        if self._recovering is not None and not self._recovering.done:
            return "a recover is running: wait for it"
        if self._measured.fault is not None:
            return str(self._measured.fault)
        return self._arm.unfit

    def _still_moving(self, wanted: Mode, now: float) -> str:
        """Why the arm cannot be handed over in mid-motion; empty when it can."""
        if self._teleop.engaged or (wanted is Mode.TELEOP and not self._at_rest(now)):
            return "the arm is still moving: set HOLD and let it come to rest"
        return ""

    def _outside_limits(self) -> str:
        """Why the arm cannot start from where it is; empty when it can."""
        if self._measured is None or self._safety.tick_ok(self._measured.q, np.zeros(7)):
            return ""
        return "the arm is outside the cell's joint limits: run the home action first"

    def _state(self, now: float) -> DriverState:
        measured = self._measured
        connected = self._arm is not None and measured is not None
        return DriverState(
            mode=self._modes.mode,
            hold_reason=self._modes.hold_reason if connected else self._problem or "connecting to the robot",
            needs_recovery=self._modes.needs_recovery,
            connected=connected,
            at_rest=not connected or self._at_rest(now),
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
