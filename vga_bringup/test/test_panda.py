"""A Panda's cell: driver, filter and homing on its own limits, and the simulated cell within them."""

import numpy as np
import pytest
from support.cells import CELLS
from support.driving import Policy, driving
from support.faulty_robot import FaultyHand, FaultyRobot, Limit, ports
from support.owned import own_address
from support.waiting import eventually
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.motion.homing import WayHome
from vga_bringup.robot.safety.safety_filter import Context, SafetyFilter
from vga_bringup.robot.submission import submit
from vga_bringup.robot.types import ChunkRequest
from vga_bringup.sim.demonstration import demonstrate
from vga_bringup.sim.in_process import InProcessCell
from vga_policy.cell.arm_models import FR3, PANDA
from vga_policy.cell.compatibility import differences
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Box, SelfCollision
from vga_policy.message_constants import Mode
from vga_policy.observation.observation import ActionChunk

CELL, LAB = load_cell(CELLS / "lab_panda.yaml"), load_cell(CELLS / "lab.yaml")
LIMITS = CELL.arm.limits
VELOCITY = np.array(LIMITS.velocity) * CELL.arm.speed_scale
HOME = np.array(CELL.arm.home)
TOLERANCE = 1e-9
GOAL = bytes(16)


def test_its_cell_is_the_labs_with_its_own_names_and_limits():
    assert {item.key for item in differences(CELL, LAB)} == {"arm.model", "arm.joint_names"}
    assert CELL.arm.own is PANDA
    assert CELL.arm.base_frame.startswith(PANDA.prefix)
    assert CELL.gripper.joint_name.startswith(PANDA.prefix)
    for margin in (LIMITS.lower - PANDA.lower, PANDA.upper - LIMITS.upper):
        assert ((margin >= 0.05) & (margin < 0.065)).all()
    assert (LIMITS.velocity <= LIMITS.share * PANDA.velocity).all()
    assert (LIMITS.acceleration <= PANDA.acceleration).all()


def verdict(cell, positions):
    """What the filter of a cell says of a chunk, for an arm that rests where the chunk begins."""
    executor = Executor(cell)
    executor.reset(0.0, np.array(positions[0]), 0.08)
    return submit(executor, SafetyFilter(cell), request(cell, positions), Context(1.0, Mode.POLICY, GOAL))


def request(cell, positions, t_obs=1.0, sequence=1):
    """A chunk of joint angles [8, 7] (rad) as it comes off the wire."""
    return ChunkRequest(
        t_obs=t_obs,
        goal=GOAL,
        sequence=sequence,
        joint_names=cell.arm.joint_names,
        positions=np.array(positions).tolist(),
        time_from_start=[(k + 1) * cell.dt for k in range(cell.action.horizon)],
        gripper_width=[0.04] * cell.action.horizon,
    )


@pytest.mark.parametrize("cell", [CELL, LAB], ids=["panda", "fr3"])
def test_the_filter_goes_by_the_range_of_its_arm(cell):
    roomy = cell.model_copy(update={"workspace": Box(min=[-1.0] * 3, max=[1.0, 1.0, 1.5]), "keep_out": []})
    joint_6 = HOME.copy()
    joint_6[5] = 0.3  # between the Panda's lower end and the FR3's
    assert FR3.lower[5] > joint_6[5] > PANDA.lower[5]
    found = verdict(roomy, np.tile(joint_6, (8, 1)))
    assert found.accepted is (cell is CELL), found.message
    joint_6[5] = 3.9  # between the Panda's upper end and the FR3's
    found = verdict(roomy, np.tile(joint_6, (8, 1)))
    assert found.accepted is (cell is LAB), found.message


def test_the_filter_goes_by_the_speed_of_its_arm():
    share = np.arange(8)[:, None] / 7
    distance = 0.47 * np.eye(7)[0]  # at most 1.0 rad/s: above the Panda's and below the FR3's
    way = HOME + distance * share**2 * (3 - 2 * share)
    assert verdict(LAB, way).accepted
    found = verdict(CELL, way)
    assert found.reason == "velocity_limit"
    assert "panda_joint1" in found.message


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("joint", range(7))
def test_what_the_filter_takes_the_arm_takes(joint, side):
    """Towards an end of each joint at 0.95 of the cell's speed: every millisecond of it by the arm's own limits."""
    arm = CELL.arm.model_copy(update={"speed_scale": 1.0, "self_collision": SelfCollision(clearance=0.0)})
    roomy = Box(min=[-1.5] * 3, max=[1.5] * 3)
    cell = CELL.model_copy(update={"arm": arm, "workspace": roomy, "keep_out": []})
    end = (LIMITS.lower, LIMITS.upper)[side > 0][joint] - side * 0.01
    distance, ease, speed, start = 2.0, 0.5, 0.95 * LIMITS.velocity[joint], HOME.copy()
    if joint != 3:
        start[3] = -1.0  # stretched out, or the hand comes to the base
    start[joint] = end - side * distance

    def way(t):
        gone, left = max(t, 0.0), max(t - distance / speed, 0.0)
        eased = [min(u, ease) ** 2 / 2 / ease + max(u - ease, 0.0) for u in (gone, left)]
        return start + side * speed * (eased[0] - eased[1]) * np.eye(7)[joint]

    executor, safety = Executor(cell), SafetyFilter(cell)
    executor.reset(0.0, start, 0.08)
    executed = []
    for step in range(30):
        now = 0.1 * step
        chunk = request(cell, [way(now + 0.1 * (k + 1)) for k in range(8)], t_obs=now, sequence=step + 1)
        assert submit(executor, safety, chunk, Context(now, Mode.POLICY, GOAL)).message == ""
        executed += [executor.reference(now + 1e-3 * k) for k in range(100)]
    positions, speeds = (np.array([getattr(reference, name) for reference in executed]) for name in ("q", "dq"))
    lowest, highest = PANDA.velocity_limits(positions)
    assert ((speeds > lowest) & (speeds < highest)).all()
    assert ((positions > PANDA.lower) & (positions < PANDA.upper)).all()
    assert np.abs(speeds).max() == pytest.approx(speed, rel=0.02)
    assert positions[-1, joint] == pytest.approx(end, abs=1e-3)


def test_homing_keeps_its_limits():
    start = HOME + np.array([1.0, -0.5, 0.8, 0.9, -1.5, 1.8, 1.5])
    way = WayHome(Limits(CELL), start, HOME, 1.0, 0.0)
    times = np.arange(0.0, way.ends, 1e-3)
    speeds = np.array([way.reference(t)[1] for t in times])
    assert (np.abs(speeds) <= VELOCITY + TOLERANCE).all()
    assert np.abs(speeds / VELOCITY).max() == pytest.approx(1.0, abs=0.01)
    assert (np.abs(np.diff(speeds, axis=0)) / 1e-3 <= PANDA.acceleration).all()


def test_the_driver_homes_it_and_follows_a_policy():
    address = own_address()
    arm = CELL.arm.model_copy(update={"ip": address, "realtime": "ignore"})
    execution = CELL.execution.model_copy(update={"heartbeat_timeout": 1.0})
    cell = CELL.model_copy(update={"arm": arm, "execution": execution})
    robot = FaultyRobot(HOME + 0.1)
    # What franky's builds for a Panda have.
    robot.joint_velocity_limit = Limit([2.62] * 4 + [5.26, 4.18, 5.26])
    robot.joint_acceleration_limit, robot.joint_jerk_limit = Limit([10.0] * 7), Limit([5000.0] * 7)
    with (
        ports(address),
        driving(cell, robot_factory=lambda _: robot, hand_factory=lambda _: FaultyHand()) as (driver, log),
    ):
        assert robot.joint_velocity_limit.get() == pytest.approx(1.05 * np.array(LIMITS.velocity))
        job = driver.home()
        assert job.wait(10.0)
        assert job.success, job.message
        driver.set_mode(Mode.POLICY)
        policy = Policy(driver, cell)
        eventually(lambda: len(policy.verdicts) >= 10, what="ten chunks")
        policy.end()
        assert [found.message for found in policy.verdicts if not found.accepted] == []
        ticks = [tick for _, tick in list(log.ticks)]
    speeds = np.array([tick.reference.dq for tick in ticks])
    assert (np.abs(speeds) <= VELOCITY + TOLERANCE).all()
    assert np.abs(speeds).max() > 0.2


def test_the_simulated_cell_does_a_task_within_its_limits():
    """Led by the scripted operator, then the same way in chunks, as from a policy."""
    cell = InProcessCell(CELL)
    times, ticks = [], []

    def record(tick):
        times.append(cell.now)
        ticks.append(tick)

    try:
        cell.on_tick = record
        assert demonstrate(cell, "pick_cube", 1).success
        led = len(ticks)
        recorded = np.array([[*tick.reference.q, tick.reference.gripper_width] for tick in ticks])
        taken, end = np.array(times), times[-1] + 1.0
        cell.reset("pick_cube", 1)
        while cell.now < end and not cell.task_state.success:
            due = cell.now + CELL.dt * np.arange(1, 9)
            joints = np.stack([np.interp(due, taken, recorded[:, joint]) for joint in range(7)], axis=1)
            widths = recorded[np.searchsorted(taken, due).clip(max=led - 1), 7]
            cell.offer(ActionChunk.of_joints(joints, widths), cell.now, 0.1)
            cell.step(CELL.dt)
        assert cell.task_state.success
        assert not cell.rejected
        assert not cell.problem
    finally:
        cell.close()
    q, dq = (np.array([getattr(tick.reference, name) for tick in ticks]) for name in ("q", "dq"))
    assert ((q >= LIMITS.lower) & (q <= LIMITS.upper)).all()
    assert (np.abs(dq) <= VELOCITY + TOLERANCE).all()
    assert len(ticks) - led > 100
