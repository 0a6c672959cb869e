"""The hand: what to command, and that commands never block, are superseded cleanly and the latest wins."""

import contextlib
import time

import franky
import pytest
from support.faulty_robot import FaultyHand, SlowToStop, ports
from support.owned import own_address
from support.waiting import eventually
from vga_bringup.robot.gripper import Grasp, Gripper, Move, decide
from vga_policy.cell.schema import Gripper as Config

ADDRESS, NOBODY = own_address(), own_address()
CONFIG = Config(grasp_below=0.03, release_above=0.045, min_change=0.005)


def commands(widths):
    """The commands a sequence of wanted widths leads to."""
    sent = []
    for width in widths:
        command = decide(width, sent[-1] if sent else None, CONFIG)
        if command is not None:
            sent.append(command)
    return sent


@pytest.fixture
def hand():
    return FaultyHand()


@contextlib.contextmanager
def serving(hand):
    """A gripper with this hand, connected."""
    with ports(ADDRESS):
        gripper = Gripper(ADDRESS, CONFIG, lambda _: hand)
        gripper.start()
        eventually(lambda: gripper.state.connected)
        yield gripper
        gripper.close()


@pytest.fixture
def gripper(hand):
    with serving(hand) as gripper:
        yield gripper


def test_small_changes_are_not_commanded():
    assert commands([0.06, 0.062, 0.058, 0.0649]) == [Move(0.06)]
    assert commands([0.06, 0.066]) == [Move(0.06), Move(0.066)]


def test_closing_grasps_and_only_a_clear_opening_releases():
    assert commands([0.06, 0.03, 0.0, 0.035, 0.044, 0.02, 0.045]) == [Move(0.06), Grasp(), Move(0.045)]


def test_openings_beyond_the_hand_are_clamped():
    assert commands([0.2]) == [Move(0.08)]


def test_a_command_returns_at_once_and_is_carried_out(gripper, hand):
    started = time.monotonic()
    gripper.command(0.07)
    assert time.monotonic() - started < 0.05
    eventually(lambda: gripper.state.moving)
    eventually(lambda: not gripper.state.moving)
    assert gripper.state.width == pytest.approx(0.07, abs=1e-3)
    assert gripper.state.commanded_width == 0.07
    assert hand.calls == [("move", 0.07)]


def test_the_latest_command_wins_and_stops_the_running_one(gripper, hand):
    hand.speed = 0.02
    gripper.command(0.08)
    eventually(lambda: gripper.state.moving)
    gripper.command(0.06)  # overtaken before it is sent
    gripper.command(0.0)
    hand.speed = 0.2
    eventually(lambda: hand.calls[-1] == ("grasp", CONFIG.force) and not gripper.state.moving)
    assert hand.calls == [("move", 0.08), ("stop",), ("grasp", CONFIG.force)]


def test_a_command_taken_back_is_still_carried_out(gripper, hand):
    hand.speed = 0.02
    gripper.command(0.07)
    eventually(lambda: ("move", 0.07) in hand.calls)
    gripper.command(0.0)
    eventually(lambda: ("stop",) in hand.calls)
    gripper.command(0.07)
    hand.speed = 0.5
    eventually(lambda: abs(hand.width - 0.07) < 1e-3)


def test_an_object_is_held_with_force_and_air_is_not(gripper, hand):
    hand.object_width = 0.02
    gripper.command(0.0)
    eventually(lambda: gripper.state.is_grasped)
    gripper.command(0.08)
    eventually(lambda: gripper.state.width > 0.075)
    assert not gripper.state.is_grasped
    hand.object_width = 0.0
    gripper.command(0.0)
    eventually(lambda: gripper.state.width < 0.001 and not gripper.state.moving)
    assert not gripper.state.is_grasped


def test_what_the_hand_has_not_begun_is_dropped():
    hand = SlowToStop(width=0.0, speed=0.02)
    with serving(hand) as gripper:
        gripper.command(0.08)
        eventually(lambda: gripper.state.moving)
        gripper.command(0.0)
        eventually(lambda: ("stop",) in hand.calls)
        gripper.drop()
        hand.answers.set()
        eventually(lambda: not gripper.state.moving)
        stamp = gripper.state.stamp_ns
        eventually(lambda: gripper.state.stamp_ns > stamp + 100_000_000)
        assert hand.calls == [("move", 0.08), ("stop",)]
        assert gripper.state.commanded_width == gripper.state.width


def test_what_the_hand_does_and_holds_is_not_dropped(gripper, hand):
    hand.object_width = 0.03
    gripper.command(0.07)
    eventually(lambda: gripper.state.moving)
    gripper.drop()
    eventually(lambda: not gripper.state.moving)
    assert gripper.state.width == pytest.approx(0.07, abs=1e-3)
    gripper.command(0.0)
    eventually(lambda: gripper.state.is_grasped)
    gripper.drop()
    assert gripper.state.commanded_width == 0.0
    gripper.command(0.0)
    stamp = gripper.state.stamp_ns
    eventually(lambda: gripper.state.stamp_ns > stamp + 100_000_000)
    assert hand.calls == [("move", 0.07), ("grasp", CONFIG.force)]


def test_homing_ends_earlier_commands_and_reports(gripper, hand):
    gripper.command(0.0)
    eventually(lambda: hand.calls)
    job = gripper.home()
    assert job.wait(3.0)
    assert job.success, job.message
    assert hand.calls == [("grasp", CONFIG.force), ("stop",), ("homing",)]
    eventually(lambda: not gripper.state.moving)
    assert gripper.state.width == pytest.approx(0.08, abs=1e-3)


def test_homing_can_be_canceled(gripper, hand):
    hand.speed = 0.001
    job = gripper.home()
    eventually(lambda: ("homing",) in hand.calls)
    assert not gripper.home().success
    job.cancel()
    assert job.wait(3.0)
    assert (job.success, job.message) == (False, "canceled")


@pytest.mark.parametrize(
    ("max_width", "words"),
    [
        (0.0, "not homed since it was switched on: empty the hand and run the action /franka_driver/gripper_homing"),
        (0.05, "opens to 0.050 m, the cell's gripper.max_width is 0.080 m: empty the hand and run the action"),
    ],
)
def test_a_hand_that_is_not_homed_says_so_and_obeys_once_it_is(max_width, words):
    with serving(FaultyHand(max_width=max_width)) as gripper:
        assert gripper.state.problem.startswith(words)
        gripper.command(0.07)  # a command that works does not home it
        eventually(lambda: gripper.state.width > 0.069 and not gripper.state.moving)
        assert gripper.state.problem.startswith(words)
        job = gripper.home()
        assert job.wait(3.0)
        assert (job.success, job.message) == (True, "opens to 0.080 m")
        eventually(lambda: gripper.state.problem == "")


def test_a_hand_that_nearly_opens_as_far_as_the_cell_says_is_homed():
    with serving(FaultyHand(max_width=0.0785)) as gripper:
        assert gripper.state.problem == ""


def test_fingers_that_something_stops_are_a_problem_until_a_command_works(gripper, hand):
    hand.obstacles = (0.0, 0.05)
    gripper.command(0.07)
    eventually(lambda: gripper.state.problem)
    assert gripper.state.problem.startswith(
        "fingers stopped at 0.050 m instead of 0.070 m: something is in the way, or"
    )
    assert "gripper_homing" in gripper.state.problem
    gripper.command(0.04)
    eventually(lambda: gripper.state.problem == "")
    assert gripper.state.width == pytest.approx(0.04, abs=1e-3)


def test_a_refused_command_is_a_problem_until_one_works(gripper, hand, monkeypatch):
    def refuse(*_):
        raise franky.CommandException("libfranka gripper: Command failed!")

    monkeypatch.setattr(hand, "move", refuse)
    gripper.command(0.07)
    eventually(lambda: gripper.state.problem == "command refused by the robot (libfranka gripper: Command failed!)")
    gripper.command(0.0)
    eventually(lambda: gripper.state.problem == "")


def test_a_command_that_is_overtaken_is_no_fault_and_mends_none(gripper, hand):
    hand.obstacles = (0.0, 0.05)
    gripper.command(0.07)
    eventually(lambda: gripper.state.problem)
    hand.speed = 0.02
    gripper.command(0.0)
    eventually(lambda: ("grasp", CONFIG.force) in hand.calls)
    hand.deaf = True
    gripper.command(0.049)
    eventually(lambda: hand.calls[-1] == ("move", 0.049))
    assert "fingers stopped at 0.050 m" in gripper.state.problem
    hand.deaf = False
    eventually(lambda: gripper.state.problem == "")


def test_an_overtaken_command_leaves_no_problem(gripper, hand):
    problems = []
    gripper._on_state = lambda state: problems.append(state.problem)
    hand.speed = 0.02
    gripper.command(0.08)
    eventually(lambda: ("move", 0.08) in hand.calls)
    gripper.command(0.0)
    hand.speed = 0.2
    eventually(lambda: hand.calls[-1] == ("grasp", CONFIG.force) and not gripper.state.moving)
    assert set(problems) == {""}


def test_a_homing_that_fails_says_what_to_do(gripper, hand):
    hand.obstacles = (0.0, 0.05)
    job = gripper.home()
    assert job.wait(3.0)
    assert (job.success, job.message.split(":")[0]) == (False, "homing failed")
    eventually(lambda: gripper.state.problem == job.message)


def test_a_grasp_that_fails_on_something_is_a_problem_and_on_nothing_it_is_none(gripper, hand):
    hand.fails, hand.object_width = True, 0.02
    gripper.command(0.0)
    eventually(lambda: gripper.state.problem)
    assert gripper.state.problem.startswith("the grasp failed at 0.020 m")
    gripper.command(0.07)
    eventually(lambda: gripper.state.problem == "")
    hand.object_width = 0.0
    gripper.command(0.0)
    eventually(lambda: gripper.state.notice)
    assert gripper.state.problem == ""


def test_closing_on_nothing_is_told_whatever_the_hand_calls_it(gripper, hand):
    gripper.command(0.0)
    eventually(lambda: gripper.state.notice)
    assert hand.is_grasped
    assert gripper.state.notice == "closed on nothing: the fingers are 0.000 m apart"
    assert (gripper.state.problem, gripper.state.is_grasped) == ("", False)
    gripper.command(0.07)
    eventually(lambda: gripper.state.notice == "")


def test_a_lost_object_is_told_until_the_hand_opens(gripper, hand):
    hand.object_width = 0.03
    gripper.command(0.0)
    eventually(lambda: gripper.state.is_grasped and not gripper.state.moving)
    assert gripper.state.notice == ""
    hand.lose_object()
    eventually(lambda: gripper.state.notice)
    assert gripper.state.notice == "grasp lost: the fingers are 0.000 m apart"
    assert hand.calls == [("grasp", CONFIG.force)]  # nothing moves for that
    gripper.command(0.07)
    eventually(lambda: gripper.state.notice == "")


def test_opening_is_tried_again_where_it_has_failed(gripper, hand):
    hand.obstacles = (0.0, 0.05)
    assert gripper.open() == ""
    eventually(lambda: gripper.state.problem)
    hand.obstacles = (0.0, 0.08)
    assert gripper.open() == ""
    eventually(lambda: gripper.state.width > 0.079 and not gripper.state.moving)
    assert hand.calls == [("move", 0.08)] * 2
    assert gripper.state.problem == ""


def test_a_hand_that_homes_or_is_away_is_not_opened(gripper, hand):
    hand.speed = 0.02
    job = gripper.home()
    assert "homing" in gripper.open()
    hand.lost = True
    assert job.wait(3.0)
    eventually(lambda: not gripper.state.connected)
    assert "connection lost" in gripper.open()


def test_a_hand_that_does_not_answer_blocks_nobody(gripper, hand):
    hand.deaf = True
    gripper.command(0.08)
    eventually(lambda: gripper.state.moving)
    first = gripper.state.stamp_ns
    gripper.command(0.01)
    eventually(lambda: gripper.state.stamp_ns > first)


def test_a_lost_hand_is_reported_and_connected_again(gripper, hand):
    hand.lost = True
    eventually(lambda: not gripper.state.connected)
    assert "connection lost" in gripper.state.problem
    job = gripper.home()
    assert job.done
    assert not job.success
    hand.lost = False
    eventually(lambda: gripper.state.connected)
    assert gripper.state.problem == ""


def test_no_hand_means_a_clear_problem():
    gripper = Gripper(NOBODY, CONFIG, lambda _: FaultyHand())
    gripper.start()
    eventually(lambda: "port 1338" in gripper.state.problem)
    assert gripper.state.problem == f"nobody answers at {NOBODY} port 1338 (Connection refused)"
    assert not gripper.state.connected
    gripper.close()


def test_a_command_given_while_the_hand_is_away_does_not_move_it_when_it_comes(hand):
    gripper = Gripper(NOBODY, CONFIG, lambda _: hand)
    gripper.start()
    eventually(lambda: "port 1338" in gripper.state.problem)
    gripper.command(0.0)
    with ports(NOBODY):
        eventually(lambda: gripper.state.connected)
        assert gripper.state.commanded_width == hand.width
        gripper.command(0.07)
        eventually(lambda: hand.width > 0.069)
        gripper.close()
    assert hand.calls == [("move", 0.07)]
