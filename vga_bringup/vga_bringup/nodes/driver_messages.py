"""Between the driver's plain data and ROS messages."""

from __future__ import annotations

import math
import time
from array import array

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from vga_policy.cell.finger import finger_joint
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Mode, Refusal
from vga_policy.ros.diagnostics import ERROR, OK, WARN, diagnostic, judged
from vga_policy.ros.messages import time_message, uuid_message
from vga_policy.units import SECOND, nanoseconds

from vga_bringup.robot.gripper import GripperState
from vga_bringup.robot.motion.teleoperation import LeaderSample, TeleopFigures
from vga_bringup.robot.reports import DriverState, Figures, Tick
from vga_bringup.robot.types import ChunkRequest, Verdict
from vga_msgs import msg

LIMITS = ("velocity", "acceleration", "position", "workspace", "keep_out", "self_collision")  # of robot.following
HARDWARE = "franka"  # in diagnostics
SLOW = 0.95  # share of the tracking rate below which the loop is reported as slow


class Clock:
    """One reading of both clocks: stamps are system time, the control loop lives on monotonic time."""

    def __init__(self) -> None:
        self._monotonic, self._system_ns = time.monotonic(), time.time_ns()

    def to_monotonic(self, stamp: Time) -> float:
        """Monotonic time (s) of a stamp, by its age now."""
        return self._monotonic - (self._system_ns - nanoseconds(stamp)) * 1e-9

    def to_stamp(self, monotonic: float | None = None) -> Time:
        """Stamp of a monotonic time (s), of now by default."""
        ahead = 0.0 if monotonic is None else monotonic - self._monotonic
        return time_message(self._system_ns + round(ahead * SECOND))


def chunk_request(chunk: msg.ActionChunk, clock: Clock) -> ChunkRequest:
    """A chunk as the safety filter reads it; nothing is checked here."""
    points = chunk.trajectory.points
    return ChunkRequest(
        t_obs=clock.to_monotonic(chunk.header.stamp),
        goal=bytes(chunk.goal_id.uuid),
        sequence=chunk.sequence,
        joint_names=chunk.trajectory.joint_names,
        positions=[point.positions for point in points],
        time_from_start=[point.time_from_start.sec + point.time_from_start.nanosec * 1e-9 for point in points],
        gripper_width=chunk.gripper_width,
    )


def chunk_verdict(chunk: msg.ActionChunk, verdict: Verdict, clock: Clock) -> msg.ChunkVerdict:
    """The decision on a chunk."""
    return msg.ChunkVerdict(
        header=Header(stamp=clock.to_stamp()),
        goal_id=chunk.goal_id,
        sequence=chunk.sequence,
        t_obs=chunk.header.stamp,
        accepted=verdict.accepted,
        reason=verdict.reason,
        message=verdict.message,
        anchor=clock.to_stamp(verdict.anchor) if verdict.accepted else Time(),
        steps_dropped=verdict.steps_dropped,
    )


def leader_sample(message: JointState, clock: Clock, here: bool) -> LeaderSample:
    """A message of the leader, which runs `here` or elsewhere, as teleoperation reads it; nothing is checked here."""
    return LeaderSample(clock.to_monotonic(message.header.stamp), message.name, message.position, here)


class TickMessages:
    """The messages of every control tick, reused from tick to tick."""

    def __init__(self, cell: Cell, frame_prefix: str = "") -> None:
        self._joints = cell.joint_state_names
        self._arm_joints = self._joints[:-1]
        header = Header(frame_id=frame_prefix + cell.arm.base_frame)
        self._joint_state = JointState(header=header)
        self._reference = msg.RobotReference(header=Header(frame_id=header.frame_id), joint_names=self._arm_joints)

    def joint_state(self, tick: Tick) -> JointState:
        """The measured joints; the finger joint is left out while the hand is not connected."""
        message, arm = self._joint_state, tick.arm
        position, velocity, effort = arm.q.tolist(), arm.dq.tolist(), arm.torque.tolist()
        names = self._arm_joints
        if tick.gripper.connected:
            names = self._joints
            position.append(finger_joint(tick.gripper.width))
            velocity.append(0.0)
            effort.append(0.0)
        message.header.stamp = time_message(tick.read_ns)
        message.name = names
        message.position, message.velocity, message.effort = (array("d", x) for x in (position, velocity, effort))
        return message

    def reference(self, tick: Tick) -> msg.RobotReference:
        """What the arm was asked to track in this tick."""
        message, reference = self._reference, tick.reference
        message.header.stamp = time_message(tick.reference_ns)
        message.position, message.velocity = reference.q, reference.dq
        message.gripper_width = reference.gripper_width
        message.mode = int(tick.mode)
        message.goal_id = uuid_message(tick.goal)
        message.chunk_sequence = reference.sequence or 0
        message.step = reference.step
        return message


def driver_state(state: DriverState) -> msg.DriverState:
    """The driver's state, stamped now."""
    return msg.DriverState(
        header=Header(stamp=Clock().to_stamp()),
        mode=int(state.mode),
        hold_reason=state.hold_reason,
        needs_recovery=state.needs_recovery,
        connected=state.connected,
        at_rest=state.at_rest,
        goal_id=uuid_message(state.goal),
        robot_mode=state.robot_mode,
        tracking=state.tracking,
        control_command_success_rate=state.success_rate,
    )


def gripper_state(state: GripperState) -> msg.GripperState:
    """A reading of the hand."""
    return msg.GripperState(
        header=Header(stamp=time_message(state.stamp_ns)),
        width=state.width,
        max_width=state.max_width,
        commanded_width=state.commanded_width,
        is_grasped=state.is_grasped,
        moving=state.moving,
    )


def diagnostics(figures: Figures, name: str, rate_hz: float, messages_lost: int) -> list[DiagnosticStatus]:
    """The health of control loop and hand; rate_hz is what the loop should achieve."""
    state, cadence = figures.state, figures.cadence
    level, message = OK, state.mode.name
    if state.hold_reason:
        message = f"HOLD: {state.hold_reason}"
    if not state.connected or state.needs_recovery:
        level = ERROR
    elif wrong := [setting.name for setting in figures.settings if not setting.ok]:
        level, message = WARN, f"{message}; the robot uses other values for {', '.join(wrong)}"
    elif cadence.rate_hz < SLOW * rate_hz:
        level, message = WARN, f"{message}; the loop runs at {cadence.rate_hz:.1f} of {rate_hz:g} Hz"
    control = {
        "mode": state.mode.name,
        "hold_reason": state.hold_reason,
        "needs_recovery": state.needs_recovery,
        "connected": state.connected,
        "robot_mode": state.robot_mode,
        "control_command_success_rate": _figure(state.success_rate),
        "chunks_accepted": figures.accepted,
        "chunks_rejected": sum(figures.rejected.values()),
        **{f"rejected_{reason}": figures.rejected.get(reason, 0) for reason in Refusal},
        "steps_dropped": figures.steps_dropped,
        "tracking": state.tracking,
        "tracking_rms_rad": _figure(figures.tracking_rms),
        "tracking_worst_rad": _figure(figures.tracking_worst),
        "loop_rate_hz": f"{cadence.rate_hz:.1f}",
        "loop_worst_tick_ms": f"{1e3 * cadence.worst:.1f}",
        "loop_overruns": cadence.overruns,
        "messages_lost": messages_lost,
        **{
            f"setting_{setting.name}": setting.wanted if setting.ok else f"{setting.actual} (cell: {setting.wanted})"
            for setting in figures.settings
        },
    }
    gripper = figures.gripper
    hand = {
        "connected": gripper.connected,
        "width": _figure(gripper.width),
        "max_width": _figure(gripper.max_width),
        "commanded_width": _figure(gripper.commanded_width),
        "is_grasped": gripper.is_grasped,
        "moving": gripper.moving,
    }
    hand_state = judged(gripper.problem, gripper.notice, "ready")
    return [
        diagnostic(f"{name}: control", HARDWARE, level, message, control),
        diagnostic(f"{name}: gripper", HARDWARE, *hand_state, hand),
        _teleoperation(figures.teleop, name, state.mode is Mode.TELEOP),
    ]


def _teleoperation(figures: TeleopFigures, name: str, active: bool) -> DiagnosticStatus:
    """How closely the arm follows the leader, and what keeps it from that."""
    level, message = OK, "no leader" if not figures.samples else "leader heard"
    if active:
        message = "approaching the leader" if figures.approaching else "following"
    if active and (offset := max(map(abs, figures.offset))):
        hand = "" if figures.gripping else "; the hand waits for the trigger to come to its opening"
        message = f"taken over from the policy, up to {offset:.2f} rad away from the leader{hand}"
    if active and figures.limited_since:
        level, message = WARN, f"{message}, limited by {', '.join(sorted(figures.limited_since))}"
    latencies = sorted(figures.latencies)
    limiting = figures.limiting
    values = {
        "leader_samples": figures.samples,
        **{f"leader_ignored_{reason}": count for reason, count in figures.ignored.items()},
        "approaching": figures.approaching,
        "offset_rad": " ".join(map(_figure, figures.offset)),
        "hand_follows_trigger": figures.gripping,
        "lag_rad": _figure(limiting.lag),
        "periods": limiting.periods,
        **{f"limited_{limit}": limiting.limited.get(limit, 0) for limit in LIMITS},
        "read_to_command_ms_median": _milliseconds(latencies, 0.5),
        "read_to_command_ms_p95": _milliseconds(latencies, 0.95),
        "read_to_command_ms_worst": _milliseconds(latencies, 1.0),
    }
    return diagnostic(f"{name}: teleoperation", HARDWARE, level, message, values)


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _milliseconds(ordered: list[float], share: float) -> str:
    """A quantile of ascending seconds; empty when there are none."""
    return f"{1e3 * ordered[round(share * (len(ordered) - 1))]:.1f}" if ordered else ""
