"""One connection to the arm: settings, state, faults in words, tracking. Against the stand-in for franky's robot."""

import math
import re
import socket
import threading
import time

import franky
import numpy as np
import pytest
from support.cells import SIM
from support.faulty_robot import COMMUNICATION, REFLEX, FaultyRobot, ports
from support.owned import own_address
from vga_bringup.robot.arm import FrankaArm
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.connection import Connector
from vga_bringup.robot.faults import ArmError, explain
from vga_bringup.robot.motion.homing import WayHome
from vga_policy.cell.schema import Cell

ADDRESS = own_address()


@pytest.fixture
def contract():
    """The simulated cell, with something in every setting of the arm."""
    cell = SIM.model_dump()
    cell["arm"].update(
        speed_scale=0.5,
        payload={
            "mass": 0.12,
            "center_of_mass": [0.05, 0.0, 0.03],
            "inertia": [2e-4, 1e-5, 0, 1e-5, 3e-4, 0, 0, 0, 1e-4],
        },
        end_effector_xyz=[0.0, 0.0, 0.1],
        end_effector_rpy=[0.0, 0.0, math.pi / 2],
    )
    return Cell.model_validate(cell)


@pytest.fixture
def config(contract):
    return contract.arm


@pytest.fixture
def robot(config):
    return FaultyRobot(config.home)


@pytest.fixture
def arm(robot, contract):
    arm = FrankaArm(robot, contract)
    arm.apply_settings()
    return arm


def test_settings_reach_the_robot_and_are_read_back(arm, robot, config):
    assert robot.collision == (config.collision.joint_torque, config.collision.cartesian_wrench)
    assert robot.load[0] == 0.12
    assert robot.frame[:3, 3] == pytest.approx([0, 0, 0.1])
    assert robot.frame[:3, 0] == pytest.approx([0, 1, 0])
    assert robot.relative_dynamics_factor.velocity == 0.5
    assert robot.relative_dynamics_factor.acceleration == 1.0
    most = np.minimum(1.05 * np.array(config.limits.velocity), robot.joint_velocity_limit.max)
    assert robot.joint_velocity_limit.get() == pytest.approx(most)
    assert {setting.name for setting in arm.settings} == {
        "realtime", "collision.joint_torque", "collision.cartesian_wrench", "franky.velocity", "franky.acceleration",
        "franky.jerk", "speed_scale",
        "payload.mass", "payload.center_of_mass", "payload.inertia", "end_effector",
    }  # fmt: skip
    assert all(setting.ok for setting in arm.settings)


def test_a_value_the_robot_does_not_take_is_reported(robot, contract):
    robot.joint_velocity_limit.max = np.full(7, 1.0)
    robot.set_load = lambda *_: None
    arm = FrankaArm(robot, contract)
    arm.apply_settings()
    wrong = {setting.name: (setting.wanted, setting.actual) for setting in arm.settings if not setting.ok}
    assert wrong["franky.velocity"] == ("2.175 2.175 2.175 2.175 2.61 2.61 2.61", "1 1 1 1 1 1 1")
    assert wrong["payload.mass"] == ("0.12", "0")


def test_a_refused_setting_is_a_fault(robot, contract):
    robot.refuse_settings = "libfranka: command not possible in the current mode"
    with pytest.raises(ArmError, match="command refused by the robot"):
        FrankaArm(robot, contract).apply_settings()


def test_success_rate_is_known_only_in_motion(arm, robot):
    robot.success_rate = 0.93
    assert math.isnan(arm.read().success_rate)
    arm.follow(robot.q, np.zeros(7), robot.q, np.zeros(7))
    assert arm.read().success_rate == 0.93
    assert arm.read().mode == "move"


@pytest.mark.parametrize(
    ("error", "words", "lost"),
    [
        (franky.ControlException(REFLEX), "reflex (Move command aborted", False),
        (franky.ControlException(COMMUNICATION), "communication error, commands reached the arm too late", False),
        (franky.ControlException("libfranka: User Stop pressed!"), "user stop pressed", False),
        (franky.NetworkException("libfranka: UDP receive: Timeout"), "UDP receive: Timeout", True),
        (RuntimeError("Net Exception"), "Net Exception", True),
        (franky.RealtimeException("no"), "set arm.realtime to ignore", True),
        (RuntimeError("Motion planner failed with error code -100"), "Motion planner failed", False),
    ],
)
def test_faults_in_one_line(error, words, lost):
    fault = explain(error)
    assert words in str(fault)
    assert "\n" not in str(fault)
    assert fault.lost is lost
    assert fault.needs_recovery


def test_what_ends_a_motion_is_raised(arm, robot, config):
    arm.follow(robot.q, np.zeros(7), robot.q, np.zeros(7))
    robot.reflex()
    with pytest.raises(ArmError, match="reflex"):
        arm.follow(robot.q, np.zeros(7), robot.q, np.zeros(7))
    state = arm.read()
    assert (state.mode, state.errors) == ("reflex", "cartesian_reflex")
    assert "reflex" in str(state.fault)
    arm.clear_errors()
    assert arm.read().fault is None


def test_clearing_errors_forgets_what_ended_the_last_motion(arm, robot):
    arm.follow(robot.q, np.zeros(7), robot.q, np.zeros(7))
    robot.reflex()
    arm.clear_errors()
    arm.follow(robot.q, np.zeros(7), robot.q, np.zeros(7))


def test_an_arm_that_cannot_clear_its_errors_says_so(arm, robot):
    robot.recovers = False
    with pytest.raises(ArmError, match="could not clear its errors"):
        arm.clear_errors()


def tracked(contract, mode):
    """The same cell with its arm tracked in another way."""
    tracking = contract.arm.tracking.model_copy(update={"mode": mode})
    return contract.model_copy(update={"arm": contract.arm.model_copy(update={"tracking": tracking})})


@pytest.mark.parametrize("mode", ["velocity", "impedance"])
def test_tracking_and_release(robot, contract, config, mode):
    arm = FrankaArm(robot, tracked(contract, mode))
    q = np.array(config.home)
    for _ in range(20):
        q = q + 0.001
        arm.follow(q, np.full(7, 0.1), robot.state.q, robot.state.dq)
        time.sleep(0.01)
    assert arm.moving
    assert robot.q == pytest.approx(q, abs=0.01)
    arm.release()
    assert not arm.moving
    arm.release()


def test_commanded_velocity_is_clipped(arm, robot, config):
    arm.follow(robot.q + 1.0, np.zeros(7), robot.q, np.zeros(7))
    # A little more than a reference may have, so that a lag can be made up for.
    assert robot.state.dq == pytest.approx(1.05 * 0.5 * np.array(config.limits.velocity))


def test_near_an_end_the_command_stays_below_what_the_arm_takes_there(robot, contract, config):
    q = np.array(config.home)
    q[1] = 1.72  # of 1.7918 rad: the FR3 takes 0.41 rad/s there
    robot.q = q
    arm = FrankaArm(robot, contract)
    arm.apply_settings()
    arm.follow(q + 0.2, np.full(7, 0.3), q, np.zeros(7))
    assert robot.state.dq[1] == pytest.approx(0.94 * config.own.velocity_limits(q)[1][1], abs=1e-6)
    assert robot.state.dq[1] < 0.4


def test_a_command_is_held_only_as_long_as_the_arm_takes_it_on_the_way_to_an_end(contract, config):
    limits = Limits(contract)
    q, velocity = np.array(config.home), np.zeros(7)
    velocity[1] = 0.5
    assert limits.holdable(q, velocity) == 0.3
    q[1] = 1.6  # the FR3 takes 0.80 rad/s there, and 0.5 rad/s up to 1.697 rad, which is 0.19 s away
    assert limits.holdable(q, velocity) == 0.15
    assert limits.holdable(q, -velocity) == 0.3
    q[1] = 1.75  # too far out already: the shortest
    assert limits.holdable(q, velocity) == 0.05


def test_franky_plans_within_the_arms_own_limits(arm, robot, config):
    own = config.own
    assert (robot.joint_acceleration_limit.get() < own.acceleration).all()
    assert (robot.joint_jerk_limit.get() < own.jerk).all()
    assert arm.unfit == ""


def test_no_motion_may_start_before_franky_plans_within_the_limits(robot, contract):
    arm = FrankaArm(robot, contract)
    assert "has not taken the cell's settings" in arm.unfit
    robot.joint_jerk_limit.set = lambda values: None  # what is set does not come back
    arm.apply_settings()
    assert re.search(r"franky.jerk 7500 3750 5000 .* instead of 4500 3375 4500", arm.unfit)


def test_impedance_pulls_no_harder_than_the_motors_can(robot, contract, config):
    contract = tracked(contract, "impedance")
    tracking, own = contract.arm.tracking, config.own
    home = np.array(config.home)
    rng = np.random.default_rng(0)
    arm = FrankaArm(robot, contract)
    for _ in range(50):
        dq = rng.uniform(-1, 1, 7)
        robot.q = home.copy()
        arm.follow(home + rng.uniform(-1, 1, 7), rng.uniform(-2, 2, 7), home, dq)
        target, speed = robot.state.q, robot.state.dq
        torque = np.array(tracking.stiffness) * (target - home) + np.array(tracking.damping) * (speed - dq)
        assert (np.abs(torque) <= 0.8 * own.torque + 1e-9).all()


def test_impedance_brakes_an_arm_that_is_faster_than_it_may_be(robot, contract, config):
    contract = tracked(contract, "impedance")
    tracking, home = contract.arm.tracking, np.array(config.home)
    arm = FrankaArm(robot, contract)
    dq = 3.0 * np.eye(7)[3]  # whipped back towards a reference that is far ahead
    arm.follow(home + 0.3 * np.eye(7)[3], np.zeros(7), home, dq)
    target, speed = robot.state.q, robot.state.dq
    torque = np.array(tracking.stiffness) * (target - home) + np.array(tracking.damping) * (speed - dq)
    assert torque[3] == pytest.approx(-0.8 * config.own.torque[3])


def test_the_way_home_is_smooth_slow_and_can_be_braked(contract, config):
    q = np.add(config.home, [0.8, -0.3, 0.1, 0.5, -0.9, 0.4, 1.0])
    way = WayHome(Limits(contract), q, np.array(config.home), speed=0.15, now=10.0)
    times = np.arange(10.0, 60.0, 0.01)
    times = times[: np.argmax([way.finished(t) for t in times]) + 2]
    positions, velocities = (np.array(x) for x in zip(*(way.reference(t) for t in times), strict=True))
    assert positions[0] == pytest.approx(q)
    assert positions[-1] == pytest.approx(config.home)
    assert np.max(np.abs(velocities) / config.limits.velocity) <= 0.15 * config.speed_scale + 1e-9
    assert np.gradient(positions, times, axis=0)[1:-1] == pytest.approx(velocities[1:-1], abs=2e-3)
    assert np.max(np.abs(np.diff(velocities, axis=0))) / 0.01 < 2.0

    middle = times[len(times) // 2]
    way.brake(middle)
    rest = next(t for t in times if way.finished(t))
    assert middle < rest < middle + 0.3
    before, after = (np.array(way.reference(middle + offset)[1]) for offset in (-1e-6, 1e-6))
    assert before == pytest.approx(after, abs=1e-4)
    assert way.reference(rest + 1.0)[1] == pytest.approx(np.zeros(7))


def attempts(connector, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (built := connector.take()) is not None:
            return built
        time.sleep(0.01)
    return None


def test_connecting_names_what_is_wrong_and_goes_on():
    connector = Connector(ADDRESS, 1337, lambda: "robot", retry=0.1)
    assert attempts(connector, 0.3) is None
    assert connector.problem == f"nobody answers at {ADDRESS} port 1337 (Connection refused)"
    with socket.create_server((ADDRESS, 1337)):
        assert attempts(connector, 2.0) == "robot"
    assert connector.problem == ""


def test_a_robot_that_never_answers_blocks_nobody(monkeypatch):
    monkeypatch.setattr("vga_bringup.robot.connection.ANSWER_TIMEOUT", 0.1)
    answer = threading.Event()
    connector = Connector(ADDRESS, 1337, lambda: answer.wait() and "robot")
    with ports(ADDRESS):
        assert attempts(connector, 0.4) is None
        assert "another program controlling it" in connector.problem
        answer.set()  # the other program has ended
        assert attempts(connector, 2.0) == "robot"
