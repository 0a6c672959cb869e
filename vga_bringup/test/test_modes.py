"""Who may command the arm. Time is a number; nothing here waits."""

import math
import re

import pytest
from support.cells import SIM
from vga_bringup.robot.motion.teleoperation import LeaderSample, Teleoperation
from vga_bringup.robot.safety.modes import ModeRefusedError, Modes
from vga_policy.message_constants import Mode

A, B, C = (bytes([n]) * 16 for n in (1, 2, 3))


@pytest.fixture
def modes():
    return Modes(heartbeat_timeout=0.2)


@pytest.fixture
def policy(modes):
    """In POLICY at t = 0, with a policy that is well and idle."""
    modes.request(Mode.POLICY, 0.0)
    modes.heartbeat(None, True, "", 0.0)
    return modes


def test_starts_in_hold(modes):
    assert modes.mode is Mode.HOLD
    assert modes.hold_reason == "driver started"
    assert not modes.needs_recovery
    assert modes.goal is None


def test_a_goal_announced_in_policy_commands(policy):
    policy.heartbeat(A, True, "", 0.05)
    assert policy.goal == A
    assert policy.commanding_goal(0.1) == A


def test_a_goal_does_not_command_without_a_recent_healthy_heartbeat(policy):
    policy.heartbeat(A, False, "camera wrist is silent", 0.05)
    assert policy.goal == A
    assert policy.commanding_goal(0.21) is None
    policy.heartbeat(A, True, "", 0.22)
    assert policy.commanding_goal(0.3) == A
    assert policy.commanding_goal(0.43) is None


def test_a_goal_live_when_policy_is_armed_is_dead(modes):
    modes.heartbeat(A, True, "", 0.0)
    modes.request(Mode.POLICY, 0.1)
    modes.heartbeat(A, True, "", 0.15)
    assert modes.goal is None
    modes.heartbeat(B, True, "", 0.2)
    assert modes.goal == B


@pytest.mark.parametrize("then", [None, B], ids=["cleared", "superseded"])
def test_a_goal_is_dead_once_the_heartbeat_moves_on(policy, then):
    policy.heartbeat(A, True, "", 0.05)
    policy.heartbeat(then, True, "", 0.10)
    assert policy.goal == then
    policy.heartbeat(A, True, "", 0.15)
    assert policy.goal is None
    policy.heartbeat(C, True, "", 0.20)
    assert policy.goal == C


def test_hold_kills_the_goal_for_ever(policy):
    policy.heartbeat(A, True, "", 0.05)
    policy.hold("stop requested")
    assert policy.goal is None
    policy.request(Mode.POLICY, 0.1)
    policy.heartbeat(A, True, "", 0.15)
    assert policy.goal is None


def test_arming_again_while_in_policy_keeps_the_goal(policy):
    policy.heartbeat(A, True, "", 0.05)
    policy.request(Mode.POLICY, 0.1)
    assert policy.commanding_goal(0.1) == A


def test_a_silent_policy_means_hold(policy):
    policy.heartbeat(A, True, "", 1.0)
    policy.check(1.2)
    assert policy.mode is Mode.POLICY
    policy.check(1.201)
    assert policy.mode is Mode.HOLD
    assert policy.hold_reason == "no healthy policy heartbeat for 0.20 s: the policy is silent"
    assert not policy.needs_recovery
    assert policy.goal is None


def test_an_unhealthy_policy_means_hold_with_its_reason(policy):
    for k in range(1, 6):
        policy.heartbeat(A, False, "camera wrist is silent", 0.05 * k)
        policy.check(0.05 * k)
    assert policy.mode is Mode.HOLD
    assert "camera wrist is silent" in policy.hold_reason


def test_a_lost_policy_means_hold_even_without_a_goal(policy):
    policy.check(0.3)
    assert policy.mode is Mode.HOLD


def test_policy_may_be_armed_before_the_policy_runs(modes):
    modes.request(Mode.POLICY, 0.0)
    modes.check(60.0)
    assert modes.mode is Mode.POLICY
    modes.heartbeat(A, True, "", 60.0)
    assert modes.commanding_goal(60.0) == A


def test_an_obstacle_refuses_everything_but_hold(modes):
    for mode in (Mode.TELEOP, Mode.POLICY):
        with pytest.raises(ModeRefusedError, match=f"{mode.name} refused: not connected"):
            modes.request(mode, 0.0, "not connected")
    modes.request(Mode.HOLD, 0.0, "not connected")


def test_a_fault_needs_recovery_before_arming(policy):
    policy.hold("reflex (joint_reflex)", needs_recovery=True)
    with pytest.raises(ModeRefusedError, match=r"reflex \(joint_reflex\); run the recover action first"):
        policy.request(Mode.POLICY, 0.1)
    policy.recovered()
    assert policy.mode is Mode.HOLD
    policy.request(Mode.POLICY, 0.2)
    assert policy.mode is Mode.POLICY
    assert policy.hold_reason == ""


def test_a_fault_is_not_hidden_by_a_later_hold(modes):
    modes.hold("user stop pressed", needs_recovery=True)
    modes.request(Mode.HOLD, 0.0)
    modes.hold("no healthy policy heartbeat")
    assert modes.hold_reason == "user stop pressed"
    modes.hold("connection lost", needs_recovery=True)
    assert modes.hold_reason == "connection lost"


def test_teleop_needs_a_leader(modes):
    with pytest.raises(ModeRefusedError, match="no leader publishes"):
        modes.request(Mode.TELEOP, 0.0)
    modes.leader(0.0)
    modes.request(Mode.TELEOP, 0.1)
    assert modes.mode is Mode.TELEOP
    modes.check(0.2)
    assert modes.mode is Mode.TELEOP
    modes.check(0.21)
    assert modes.mode is Mode.HOLD
    assert "leader" in modes.hold_reason


@pytest.mark.parametrize(
    ("age", "change", "words"),
    [
        (-0.015, {}, r"stamped 15 ms in the future: check the clocks \(chrony\)"),
        (0.12, {}, "stamped 120 ms in the past: check the clocks"),
        (0.12, {"here": True}, "stamped 120 ms in the past: this computer has too much to do"),
        (0.0, {"names": ["panda_joint1"]}, r"joints must be \['fr3_joint1'.*found \['panda_joint1'\]"),
        (0.0, {"positions": [math.nan] * 8}, "not all of their numbers are finite"),
        (0.05, {}, "stamped no later than one before"),
    ],
)
def test_a_leader_whose_samples_are_refused_is_not_called_absent(modes, age, change, words):
    cell = SIM
    names = cell.joint_state_names
    teleop = Teleoperation(cell)

    def hear(now, age=0.0, **change):
        sample = {"names": names, "positions": [0.0] * 8, **change}
        modes.leader(now, teleop.take(LeaderSample(now - age, **sample), now))

    hear(1.0)
    modes.request(Mode.TELEOP, 1.0)
    hear(1.04, age, **change)
    modes.check(1.2)
    assert modes.mode is Mode.TELEOP
    modes.check(1.21)
    assert modes.mode is Mode.HOLD
    refusal = f"the leader's samples are refused: .*{words}"
    assert re.search(refusal, modes.hold_reason)
    with pytest.raises(ModeRefusedError, match=refusal):
        modes.request(Mode.TELEOP, 1.22)
    with pytest.raises(ModeRefusedError, match="no leader publishes"):  # it has ended since
        modes.request(Mode.TELEOP, 1.25)
    hear(1.3)
    modes.request(Mode.TELEOP, 1.3)


def test_one_commander_at_a_time(policy):
    policy.heartbeat(A, True, "", 0.05)
    policy.leader(0.05)
    policy.request(Mode.TELEOP, 0.1)
    assert policy.goal is None
    policy.heartbeat(A, True, "", 0.15)
    policy.heartbeat(B, True, "", 0.20)
    assert policy.goal is None
    assert policy.commanding_goal(0.2) is None
