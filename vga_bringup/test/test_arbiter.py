"""Whose motion the arm follows. Time is a number; nothing here waits."""

import numpy as np
import pytest
from simulated_arm import CELL
from vga_bringup.robot.arbiter import MAX_ERROR, SETTLE, Arbiter
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.motion.teleoperation import LeaderSample, Teleoperation
from vga_bringup.robot.safety.safety_filter import SafetyFilter
from vga_policy.cell.loading import load_cell
from vga_policy.message_constants import Mode

CELL = load_cell(CELL)
HOME = np.array(CELL.arm.home)
NAMES = [*CELL.arm.joint_names, CELL.gripper.joint_name]
HAND = 0.05  # m, last commanded
PERIOD = 1 / CELL.arm.tracking.rate_hz


class Rig:
    """An arbiter, and an arm that is always exactly where it is asked to be."""

    def __init__(self, q=HOME):
        self.teleop, self.now, self.q = Teleoperation(CELL), 0.0, np.array(q)
        self.arbiter = Arbiter(CELL, Executor(CELL), SafetyFilter(CELL), {Mode.TELEOP: self.teleop}, lambda: HAND)
        self.arbiter.measured(self.q)
        self.arbiter.rest_here(self.now)

    def lead(self, q, width=0.04):
        self.teleop.take(LeaderSample(self.now, NAMES, [*q, width / 2]), self.now)

    def tick(self, mode):
        """One control period later; the reference then."""
        self.now += PERIOD
        self.arbiter.step(mode, self.now)
        reference = self.arbiter.reference(self.now)
        if self.arbiter.following:
            self.q = reference.q
        self.arbiter.measured(self.q)
        return reference


@pytest.fixture
def rig():
    return Rig()


def test_an_arm_that_nobody_moves_is_followed_where_it_is(rig):
    rig.q = HOME + 0.1
    rig.arbiter.measured(rig.q)
    reference = rig.arbiter.reference(1.0)
    assert not rig.arbiter.following
    assert (reference.q == rig.q).all()
    assert (reference.gripper_width, reference.moving) == (HAND, False)


def test_the_motion_ends_once_the_arm_has_settled(rig):
    rig.tick(Mode.POLICY)
    assert rig.arbiter.following
    ticks = 0
    while rig.arbiter.following:
        rig.tick(Mode.HOLD)
        ticks += 1
    assert ticks * PERIOD == pytest.approx(SETTLE, abs=2 * PERIOD)


def test_the_arm_is_lent_and_taken_back_at_rest(rig):
    arbiter = rig.arbiter
    assert arbiter.lend(Mode.TELEOP, rig.now).startswith("the arm goes to the leader slowly")
    for _ in range(50):
        rig.lead(HOME + 0.3)
        moving = rig.tick(Mode.TELEOP)
    assert moving.moving
    assert not arbiter.drives_gripper(Mode.TELEOP, moving), "on the way to the leader"
    assert "still moving" in arbiter.obstacle(Mode.POLICY, rig.now)
    speeds = [np.abs(rig.tick(Mode.HOLD).dq).max() for _ in range(50)]
    assert speeds[-1] == 0.0
    assert (np.diff(speeds) <= 1e-12).all()
    assert arbiter.obstacle(Mode.POLICY, rig.now) == ""
    assert arbiter.at_rest(rig.now)


def test_the_hand_keeps_its_opening_on_the_way_home():
    rig = Rig(HOME + 0.2)
    job = rig.arbiter.home((), 0.5, rig.now)
    assert rig.arbiter.homing
    widths = set()
    while not job.done:
        reference = rig.tick(Mode.HOLD)
        widths.add(reference.gripper_width)
        assert not rig.arbiter.drives_gripper(Mode.HOLD, reference)
    assert job.success, job.message
    assert widths == {HAND}
    assert rig.q == pytest.approx(HOME, abs=1e-9)


def test_an_interrupt_takes_the_arm_from_whoever_has_it(rig):
    job = rig.arbiter.home((HOME + 0.2).tolist(), 0.5, rig.now)
    for _ in range(20):
        rig.tick(Mode.HOLD)
    rig.arbiter.interrupt(rig.now, "a fault")
    assert (job.success, job.message) == (False, "a fault")
    assert (rig.tick(Mode.HOLD).q == rig.q).all()
    assert rig.arbiter.at_rest(rig.now)


def test_the_last_line_of_defense(rig):
    rig.tick(Mode.POLICY)
    reference = rig.arbiter.reference(rig.now)
    assert rig.arbiter.problem(reference, reference) == ""
    away = HOME.copy()
    away[2] += MAX_ERROR + 0.01
    rig.arbiter.measured(away)
    assert "fr3_joint3 is 0.31 rad away from its reference" in rig.arbiter.problem(reference, reference)
    rig.arbiter.measured(HOME)
    beyond = HOME.copy()
    beyond[0] = 2.9
    outside = Rig(beyond)
    outside.tick(Mode.POLICY)
    target = outside.arbiter.reference(outside.now)
    assert outside.arbiter.problem(target, target) == "the reference left the cell's limits"
    assert outside.arbiter.obstacle(Mode.POLICY, 1.0).endswith("run the home action first")
