"""The control loop against an arm that fails: every fault means HOLD with its reason, recover and re-arm."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from support.cells import cell_at
from support.driving import Log, Policy, driving
from support.faulty_robot import FaultyHand, FaultyRobot, SlowToStop, ports
from support.owned import own_address
from support.waiting import eventually
from vga_bringup.nodes.driver_messages import diagnostics
from vga_bringup.robot.driver import FrankaDriver
from vga_bringup.robot.motion.teleoperation import LeaderSample
from vga_bringup.robot.safety.modes import ModeRefusedError
from vga_policy.cell.schema import Box
from vga_policy.message_constants import Mode

ADDRESS = own_address()


BOTH_TRACKINGS = pytest.mark.parametrize("cell", ["velocity", "impedance"], indirect=True)


@pytest.fixture
def cell(request):
    # Patient with the test's policy: on a loaded machine its heartbeat may come late.
    return cell_at(ADDRESS, getattr(request, "param", "velocity"), heartbeat_timeout=1.0)


@pytest.fixture
def rig(cell):
    """A driver in front of a stand-in arm: (driver, log, robot, robots). `robots` builds the next connection."""
    robots = [FaultyRobot(np.add(cell.arm.home, 0.01))]
    hand = FaultyHand()
    with (
        ports(ADDRESS),
        driving(cell, robot_factory=lambda _: robots[-1], hand_factory=lambda _: hand) as (driver, log),
    ):
        yield driver, log, robots


def move(driver, cell, robot):
    """Starts a goal and returns once the arm moves."""
    driver.set_mode(Mode.POLICY)
    policy = Policy(driver, cell)
    eventually(lambda: np.max(np.abs(robot.state.dq)) > 0.1, what="motion")
    return policy


def recover(driver):
    job = driver.recover()
    assert job.wait(5.0)
    return job.success, job.message


@BOTH_TRACKINGS
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FaultyRobot.reflex, "reflex (cartesian_reflex)"),
        (FaultyRobot.communication_error, "communication error, commands reached the arm too late"),
        (FaultyRobot.user_stop, "user stop pressed: release it"),
    ],
    ids=["reflex", "communication", "user stop"],
)
def test_a_fault_in_motion(rig, cell, fault, words):
    driver, _, (robot,) = rig
    policy = move(driver, cell, robot)
    fault(robot)
    eventually(lambda: words in driver.state.hold_reason, words, 0.5)
    state = driver.state
    assert (state.mode, state.needs_recovery, state.connected, state.goal) == (Mode.HOLD, True, True, None)
    with pytest.raises(ModeRefusedError):
        driver.set_mode(Mode.POLICY)

    fell = robot.q.copy()
    if fault is FaultyRobot.user_stop:
        assert recover(driver) == (False, "user stop pressed: release it, then recover again")
        robot.release_user_stop()
        eventually(lambda: driver.state.robot_mode == "idle")
    assert recover(driver)[0]
    assert robot.recoveries >= 1
    state = driver.state
    assert (state.mode, state.needs_recovery) == (Mode.HOLD, False)
    assert words.split(" (")[0] in state.hold_reason

    driver.set_mode(Mode.POLICY)  # the old goal is still announced by the policy's heartbeat
    time.sleep(0.3)
    assert policy.verdicts[-1].reason == "goal"
    assert robot.q == pytest.approx(fell, abs=1e-3)
    policy.kill()
    second = move(driver, cell, robot)
    second.end()


@BOTH_TRACKINGS
def test_a_lost_connection(rig, cell):
    driver, log, robots = rig
    policy = move(driver, cell, robots[0])
    robots[0].lose_connection()
    eventually(lambda: not driver.state.connected, seconds=1.0)
    policy.kill()
    eventually(lambda: any("connection lost: UDP receive: Timeout" in state.hold_reason for _, state in log.states))
    with pytest.raises(ModeRefusedError, match="not connected"):
        driver.set_mode(Mode.POLICY)

    robots.append(FaultyRobot(cell.arm.home))  # a new robot object, as franky needs it
    eventually(lambda: driver.state.connected, seconds=5.0)
    assert driver.state.needs_recovery
    with pytest.raises(ModeRefusedError, match="run the recover action first"):
        driver.set_mode(Mode.POLICY)
    assert recover(driver)[0]
    move(driver, cell, robots[1]).end()


def test_recover_waits_for_the_connection(rig, cell):
    driver, _, robots = rig
    robots[0].lose_connection()
    eventually(lambda: not driver.state.connected, seconds=1.0)
    job = driver.recover()
    assert job.phase == "reconnecting"
    robots.append(FaultyRobot(cell.arm.home))
    assert job.wait(5.0)
    assert job.success, job.message


def test_nothing_homes_during_a_recover(rig, cell):
    driver, _, (robot,) = rig
    clear, recover_now = robot.recover_from_errors, threading.Event()
    robot.recover_from_errors = lambda: recover_now.wait(5.0) and clear()
    job = driver.recover()
    for goal in ((), cell.arm.home):
        assert "a recover is running" in driver.home(1.0, goal).message
    recover_now.set()
    assert job.wait(5.0)
    assert job.success, job.message


def test_a_fault_at_rest(rig):
    driver, _, (robot,) = rig
    robot.user_stop()
    eventually(lambda: driver.state.needs_recovery, seconds=0.5)
    robot.release_user_stop()
    eventually(lambda: driver.state.robot_mode == "idle", seconds=0.5)
    assert driver.state.hold_reason.startswith("user stop pressed")
    assert recover(driver)[0]


@BOTH_TRACKINGS
def test_an_arm_that_does_not_follow_is_held_where_it_is(rig, cell, monkeypatch):
    monkeypatch.setattr("vga_bringup.robot.arbiter.MAX_ERROR", 0.1)
    driver, _, (robot,) = rig
    policy = move(driver, cell, robot)
    stuck = robot.q.copy()
    robot._advance = lambda: setattr(robot, "q", stuck)
    eventually(lambda: driver.state.mode is Mode.HOLD, seconds=3.0)
    assert "rad away from its reference" in driver.state.hold_reason
    assert not driver.state.needs_recovery
    policy.kill()


@BOTH_TRACKINGS
def test_a_frozen_state_means_hold(rig, cell):
    driver, log, (robot,) = rig
    policy = move(driver, cell, robot)
    robot.frozen = True
    ticks = len(log.ticks)
    eventually(lambda: driver.state.mode is Mode.HOLD, seconds=1.0)
    assert "no new robot state" in driver.state.hold_reason
    assert len(log.ticks) - ticks <= 2, "old states must not be published as new ones"
    policy.kill()


def test_settings_that_cannot_be_applied_mean_recovery(cell):
    robot = FaultyRobot(cell.arm.home)
    robot.refuse_settings = "libfranka: command not possible in the current mode (Reflex)"
    factories = {"robot_factory": lambda _: robot, "hand_factory": lambda _: FaultyHand()}
    with ports(ADDRESS), driving(cell, **factories) as (driver, _):
        eventually(lambda: driver.state.needs_recovery)
        assert "command refused by the robot" in driver.state.hold_reason
        assert not recover(driver)[0]
        robot.refuse_settings = ""
        assert recover(driver)[0]
        assert all(setting.ok for setting in driver.figures().settings)


def test_a_robot_that_is_taking_its_settings_is_waited_for(cell, monkeypatch):
    taking, go_on = threading.Event(), threading.Event()

    def slow(*_):
        taking.set()
        assert go_on.wait(5.0)

    robot = FaultyRobot(cell.arm.home)
    monkeypatch.setattr(robot, "set_load", slow)
    driver = FrankaDriver(cell, Log(), lambda _: robot, lambda _: FaultyHand())
    with ports(ADDRESS):
        driver.start()
        try:
            assert taking.wait(5.0)
            with pytest.raises(ModeRefusedError, match="the robot is taking the cell's settings: wait a moment"):
                driver.set_mode(Mode.POLICY)
            go_on.set()
            eventually(lambda: driver.state.connected)
            driver.set_mode(Mode.POLICY)
        finally:
            go_on.set()
            driver.close()


def test_an_unreachable_robot_is_waited_for(cell, caplog):
    log = Log()
    driver = FrankaDriver(cell, log, lambda _: FaultyRobot(cell.arm.home), lambda _: FaultyHand())
    driver.start()
    try:
        eventually(lambda: "port 1337" in driver.state.hold_reason)
        assert not driver.state.connected
        with pytest.raises(ModeRefusedError, match="not connected to the robot: nobody answers"):
            driver.set_mode(Mode.POLICY)
        assert "not connected" in driver.home().message
        assert "not connected" in driver.home(1.0, cell.arm.home).message
        time.sleep(1.5)  # at least one more attempt, which must not be one more line
        assert sum("port 1337" in record.message for record in caplog.records) == 1
        with ports(ADDRESS):
            eventually(lambda: driver.state.connected)
        assert not driver.state.needs_recovery
        driver.set_mode(Mode.POLICY)
    finally:
        driver.close()


def test_the_way_home_keeps_out_of_boxes_and_in_the_workspace(cell):
    home = np.array(cell.arm.home)
    beside, within = home.copy(), home.copy()
    beside[0], within[0] = 1.5, 0.75
    post = Box(name="post", min=[0.17, 0.16, 0.0], max=[0.27, 0.26, 1.0])  # between both
    robot = FaultyRobot(beside)
    factories = {"robot_factory": lambda _: robot, "hand_factory": lambda _: FaultyHand()}
    with ports(ADDRESS):
        with driving(cell.model_copy(update={"keep_out": [post]}), **factories) as (driver, log):
            for goal in ((), home.tolist()):
                job = driver.home(1.0, goal)
                assert job.done
                assert "enters the box 'post': guide the arm by hand" in job.message
            assert robot.q == pytest.approx(beside)
            robot.q = within  # guided there by hand
            eventually(lambda: log.ticks[-1][1].arm.q == pytest.approx(within))
            job = driver.home(1.0)
            assert job.wait(5.0)
            assert job.success, job.message
        elsewhere = cell.model_copy(update={"workspace": Box(min=[-1.0, -1.0, 0.0], max=[0.1, 1.0, 1.0])})
        with driving(elsewhere, **factories) as (driver, _):
            assert "at the cell's arm.home, outside" in driver.home().message


def test_going_home_keeps_the_grip_and_opening_is_asked_for(cell):
    hand = FaultyHand(width=0.03, object_width=0.03)
    hand.is_grasped = True
    robot = FaultyRobot(np.add(cell.arm.home, 0.01))
    with ports(ADDRESS), driving(cell, robot_factory=lambda _: robot, hand_factory=lambda _: hand) as (driver, _):
        eventually(lambda: driver.gripper_state.is_grasped, what="the hand")
        for goal in ((), np.add(cell.arm.home, 0.02).tolist()):
            job = driver.home(1.0, goal)
            assert job.wait(5.0)
            assert job.success, job.message
        assert (hand.calls, driver.gripper_state.is_grasped) == ([], True)
        assert driver.open_hand() == ""
        eventually(lambda: hand.width > 0.079)
        assert hand.calls == [("move", 0.08)]
        driver.set_mode(Mode.POLICY)
        assert driver.open_hand() == "the driver is in POLICY: set HOLD first"


class Gripping(Policy):
    """Commands the hand to `width` (m), too."""

    width = 0.08

    def chunk(self, sequence, goal=None):
        return replace(super().chunk(sequence, goal), gripper_width=[self.width] * 8)


@pytest.mark.parametrize("stopped", ["by the user stop", "by request"])
def test_once_it_is_stopped_the_hand_begins_nothing_more(cell, stopped):
    robot, hand = FaultyRobot(np.add(cell.arm.home, 0.01)), SlowToStop(width=0.01, speed=0.02)
    with ports(ADDRESS), driving(cell, robot_factory=lambda _: robot, hand_factory=lambda _: hand) as (driver, _):
        eventually(lambda: driver.gripper_state.connected, what="the hand")
        driver.set_mode(Mode.POLICY)
        policy = Gripping(driver, cell)
        eventually(lambda: hand.width > 0.015, what="the hand opens")
        policy.width = 0.0
        eventually(lambda: ("stop",) in hand.calls, what="the opening is overtaken")
        if stopped == "by request":
            driver.stop()
        else:
            robot.user_stop()
        eventually(lambda: driver.state.mode is Mode.HOLD)
        hand.answers.set()
        eventually(lambda: not driver.gripper_state.moving)
        policy.kill()
        assert hand.calls == [("move", 0.08), ("stop",)]
        assert driver.gripper_state.commanded_width == pytest.approx(hand.width, abs=1e-6)


def test_a_tick_under_way_does_not_undo_that_the_hand_opens(cell):
    robot = FaultyRobot(np.add(cell.arm.home, 0.01))
    hand = FaultyHand(width=0.08, object_width=0.03)
    inside, goes_on, move_arm = threading.Event(), threading.Event(), robot.move

    def move_arm_slowly(motion, asynchronous=False):
        move_arm(motion, asynchronous)
        if hand.is_grasped and not inside.is_set():
            inside.set()
            goes_on.wait(5.0)

    robot.move = move_arm_slowly
    with ports(ADDRESS), driving(cell, robot_factory=lambda _: robot, hand_factory=lambda _: hand) as (driver, _):
        eventually(lambda: driver.gripper_state.connected, what="the hand")
        driver.set_mode(Mode.POLICY)
        policy = Gripping(driver, cell)
        policy.width = 0.0
        assert inside.wait(10.0)
        driver.stop()
        assert driver.open_hand() == ""
        goes_on.set()
        policy.kill()
        eventually(lambda: hand.width > 0.079)
        assert driver.gripper_state.commanded_width == 0.08


def test_a_driver_that_closes_sets_nothing_in_motion_again(rig, cell):
    driver, log, (robot,) = rig
    policy = move(driver, cell, robot)
    closing = threading.Thread(target=driver.close)
    closing.start()
    why = "the driver is shutting down"
    eventually(lambda: driver.state.hold_reason == why)
    with pytest.raises(ModeRefusedError, match=why):
        driver.set_mode(Mode.POLICY)
    assert driver.home().message == f"not homing: {why}"
    assert driver.recover().message == driver.gripper_homing().message == driver.open_hand() == why
    closing.join()
    policy.kill()
    assert log.ticks[-1][1].mode is Mode.HOLD
    assert not np.any(robot.state.dq)


def judged(driver):
    """Level and message of the hand's diagnostics."""
    _, hand, _ = diagnostics(driver.figures(), "driver", 100.0, 0)
    return hand.level, hand.message


def test_diagnostics_name_what_is_wrong_with_the_hand(cell):
    hand, robot = FaultyHand(max_width=0.0), FaultyRobot(cell.arm.home)
    with ports(ADDRESS), driving(cell, robot_factory=lambda _: robot, hand_factory=lambda _: hand) as (driver, _):
        eventually(lambda: driver.gripper_state.connected, what="the hand")
        level, message = judged(driver)
        assert level == DiagnosticStatus.ERROR
        assert message.startswith("not homed since it was switched on: empty the hand and run the action")
        job = driver.gripper_homing()
        assert job.wait(3.0)
        eventually(lambda: judged(driver) == (DiagnosticStatus.OK, "ready"))
        hand.obstacles = (0.0, 0.05)
        hand.width = 0.02
        driver.open_hand()
        eventually(lambda: judged(driver)[0] == DiagnosticStatus.ERROR)
        assert "fingers stopped at 0.050 m instead of 0.080 m" in judged(driver)[1]


def test_diagnostics_tell_of_a_lost_grasp_and_nothing_stops_for_it(rig, cell):
    driver, _, _ = rig
    eventually(lambda: driver.gripper_state.connected, what="the hand")
    driver._gripper.command(0.0)
    eventually(lambda: judged(driver)[0] == DiagnosticStatus.WARN)
    assert judged(driver)[1].startswith("closed on nothing")
    driver.set_mode(Mode.POLICY)
    assert driver.state.mode is Mode.POLICY


def test_a_leader_with_a_fast_clock_is_told_from_none(rig, cell):
    driver, _, _ = rig
    names = cell.joint_state_names

    def answer():
        driver.leader(LeaderSample(time.monotonic() + 5.0, names, [*cell.arm.home, 0.04]))
        with pytest.raises(ModeRefusedError) as refusal:
            driver.set_mode(Mode.TELEOP)
        return str(refusal.value)

    eventually(lambda: "in the future: check the clocks" in answer(), what="the cause")


def test_the_gripper_follows_chunks_and_keeps_its_grip_in_hold(rig, cell):
    driver, _, (robot,) = rig
    policy = move(driver, cell, robot)
    eventually(lambda: driver.gripper_state.width > 0.075)
    policy.kill()
    eventually(lambda: driver.state.mode is Mode.HOLD)
    assert driver.gripper_state.commanded_width == 0.08
