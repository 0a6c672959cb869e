"""Servo positions as joint angles, whatever turn the servos think they are on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cells import SIM
from vga_teleop.gello.joints import TICKS, TURN, Conversion

LEADER = SIM.leader
LOWER, UPPER = np.array(SIM.arm.limits.lower) + 0.01, np.array(SIM.arm.limits.upper) - 0.01
TICK = TURN / TICKS


def ticks(q, trigger=LEADER.gripper_open):
    angles = np.append(np.array(LEADER.signs) * q + LEADER.offsets, trigger)
    return np.round(angles / TICK).astype(np.int64)


turns = st.lists(st.integers(-3, 3), min_size=8, max_size=8).map(lambda n: TICKS * np.array(n))
postures = st.lists(st.floats(0, 1), min_size=7, max_size=7).map(lambda x: LOWER + np.array(x) * (UPPER - LOWER))


@given(postures, turns)
def test_any_posture_is_understood_on_any_turn(q, turned):
    pose = Conversion(SIM, LEADER)(ticks(q) + turned)
    np.testing.assert_allclose(pose.q, q, atol=TICK)
    assert pose.width == pytest.approx(SIM.gripper.max_width, abs=1e-3)


def test_a_joint_may_be_turned_far_beyond_its_limits_and_back():
    conversion = Conversion(SIM, LEADER)
    for excess in np.concatenate((np.arange(0, 6, 0.1), np.arange(6, 0, -0.1))):
        q = UPPER + excess
        np.testing.assert_allclose(conversion(ticks(q)).q, q, atol=TICK)


@given(turns)
def test_a_loss_of_power_in_mid_motion_changes_nothing(turned):
    conversion = Conversion(SIM, LEADER)
    q = UPPER + 0.5
    for excess in (0.0, 0.25, 0.5):
        conversion(ticks(UPPER + excess))
    np.testing.assert_allclose(conversion(ticks(q) + turned).q, q, atol=TICK)
    conversion.reset()
    assert (np.abs(conversion(ticks(UPPER - 0.1) + turned).q - UPPER) < 0.2).all()


def test_a_joint_first_seen_beyond_its_limits_is_known_once_within_them():
    conversion = Conversion(SIM, LEADER)
    for q in np.arange(np.pi + 0.1, 0.8, -0.05):  # joint 7 is first taken for one that far below its limits
        pose = conversion(ticks(np.append(np.array(SIM.arm.home)[:6], q)))
    assert pose.q[6] == pytest.approx(q, abs=TICK)


def test_what_no_hand_can_do_is_a_fresh_start():
    conversion = Conversion(SIM, LEADER)
    for q in (UPPER - 0.1, LOWER + 0.1, UPPER - 0.1):
        np.testing.assert_allclose(conversion(ticks(q)).q, q, atol=TICK)


@pytest.mark.parametrize(("share", "width"), [(-0.3, 0.0), (0.0, 0.0), (0.5, 0.04), (1.0, 0.08), (1.4, 0.08)])
def test_the_trigger_asks_for_an_opening(share, width):
    trigger = LEADER.gripper_closed + share * (LEADER.gripper_open - LEADER.gripper_closed)
    assert Conversion(SIM, LEADER)(ticks(np.array(SIM.arm.home), trigger)).width == pytest.approx(width, abs=2e-4)
