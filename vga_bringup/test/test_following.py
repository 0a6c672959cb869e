"""Whatever the leader does, the reference stays continuous and in bounds; and it goes where the leader rests."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.cells import SIM as CELL
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.robot.bounds.space import RESERVE, Space
from vga_bringup.robot.motion.following import (
    APPROACH_SPEED,
    FADE_SPEED,
    MAX_MISALIGNMENT,
    SILENT,
    STANDSTILL,
    STOP_WITHIN,
    Following,
)
from vga_policy.cell.schema import Box

POST = Box(name="post", min=[0.55, 0.15, 0.0], max=[0.75, 0.35, 0.9])
TIGHT = CELL.model_copy(
    update={
        "workspace": Box(min=[0.25, -0.4, 0.1], max=[0.75, 0.4, 0.75]),
        "keep_out": [POST],
        "arm": CELL.arm.model_copy(update={"speed_scale": 0.8}),
    }
)
HOME = np.array(CELL.arm.home)
LOWER, UPPER = np.array(CELL.arm.limits.lower), np.array(CELL.arm.limits.upper)
ACCELERATION = np.array(CELL.arm.limits.acceleration)
TICK = 0.004  # s, finer than the control period

# A hand: where it goes (rad from home, any joint, far beyond the limits too), how fast, and whether it is heard.
moves = st.lists(
    st.tuples(
        st.lists(st.floats(-3.5, 3.5), min_size=7, max_size=7),
        st.floats(0.05, 0.8),
        st.sampled_from(["heard", "heard", "lost"]),
    ),
    min_size=1,
    max_size=5,
)


class Hand:
    """Feeds a Following, in simulated time, and keeps the references: t [N], q [N, 7], dq [N, 7], width [N]."""

    def __init__(self, cell, seed=0):
        self.following = Following(cell)
        self.q = HOME.copy()
        self.t = 10.0
        self.following.reset(self.t, HOME, 0.08)
        self._rng = np.random.default_rng(seed)
        self._next_sample = self.t
        self._trace = []

    def move(self, goal, seconds, heard=True, width=0.08):
        """The leader goes to `goal` on a straight line; sampled at 100 Hz with jitter, as on a serial bus."""
        start, begin = self.q.copy(), self.t
        while self.t < begin + seconds:
            self.q = start + (goal - start) * min(1.0, (self.t - begin) / seconds)
            if self.t >= self._next_sample:
                self._next_sample = self.t + 0.01 * self._rng.uniform(0.7, 1.4)
                if heard:
                    self.following.leader(self.t, self.q, width)
            reference = self.following.reference(self.t)
            self.following.reference(self.t + 0.01)  # the driver looks one period ahead
            self._trace.append((self.t, reference.q, reference.dq, reference.gripper_width))
            self.t += TICK
        self.q = goal

    def take_over(self, q, dq):
        """From an arm at `q` that moves at `dq`, wherever the hand is."""
        self.following.leader(self.t - TICK, self.q, 0.08)
        self.following.join(self.t, q, dq, 0.08)

    def rest(self, seconds, **how):
        self.move(self.q, seconds, **how)

    @property
    def trace(self):
        return tuple(np.array(column) for column in zip(*self._trace, strict=True))


@settings(max_examples=20)
@given(moves, st.integers(0, 99))
def test_the_reference_is_continuous_and_in_bounds(hand_moves, seed):
    hand = Hand(TIGHT, seed)
    for offset, seconds, heard in hand_moves:
        hand.move(HOME + np.array(offset), seconds, heard=heard == "heard")
    _, q, dq, _ = hand.trace
    velocity = np.array(TIGHT.arm.limits.velocity) * TIGHT.arm.speed_scale
    assert (np.abs(dq) <= velocity + 1e-9).all()
    assert (np.abs(np.diff(dq, axis=0)) <= ACCELERATION * TICK + 1e-9).all()
    # Position is the integral of velocity.
    steps = np.diff(q, axis=0)
    np.testing.assert_allclose(steps, (dq[1:] + dq[:-1]) / 2 * TICK, atol=ACCELERATION.max() * TICK**2)
    assert (q >= LOWER - 1e-9).all()
    assert (q <= UPPER + 1e-9).all()
    position = Kinematics(TIGHT.arm).tcp(q).position
    assert (position >= TIGHT.workspace.min).all()
    assert (position <= TIGHT.workspace.max).all()
    place = Space(TIGHT).look(q)
    assert not place.touching.any()
    assert not Space(TIGHT).parts.too_near(place.distances).any()


@settings(max_examples=10)
@given(st.lists(st.floats(-0.7, 0.7), min_size=7, max_size=7), st.floats(0.1, 1.0))
def test_it_arrives_where_the_leader_rests(offset, seconds):
    hand = Hand(CELL)
    goal = np.clip(HOME + np.array(offset), LOWER, UPPER)
    space = Space(CELL, RESERVE)
    goal = space.nearest(goal)
    assume(not space.parts.too_near(space.look(np.linspace(HOME, goal, 20)).distances).any())
    hand.move(goal, seconds)
    hand.rest(4.0)
    _, q, dq, _ = hand.trace
    np.testing.assert_allclose(q[-1], goal, atol=2e-4)
    np.testing.assert_allclose(dq[-1], 0.0, atol=1e-3)


@settings(max_examples=10)
@given(moves, st.floats(0.1, 1.5))
def test_it_comes_to_rest_when_the_leader_goes_silent(hand_moves, moving_for):
    hand = Hand(CELL)
    hand.rest(0.1)
    for offset, _, _ in hand_moves:
        hand.move(HOME + np.array(offset), moving_for / len(hand_moves))
    silent_since = hand.following.heard
    hand.rest(0.5, heard=False)
    t, q, dq, _ = hand.trace
    resting = t > silent_since + SILENT + STOP_WITHIN + 0.02
    np.testing.assert_allclose(dq[resting], 0.0, atol=STANDSTILL)
    np.testing.assert_allclose(q[resting], q[-1:].repeat(resting.sum(), axis=0), atol=1e-6)
    assert SILENT + STOP_WITHIN + 0.02 < 0.3


def test_a_hand_at_working_speed_is_followed_closely():
    hand = Hand(CELL)
    hand.rest(0.2)
    hand.move(HOME + 0.5, 1.0)
    _, q, dq, _ = hand.trace
    assert np.abs(q[-1] - hand.q).max() < 0.03  # at 0.5 rad/s
    np.testing.assert_allclose(dq[-1], 0.5, atol=0.05)
    assert not hand.following.limiting.limited.get("velocity")


def test_after_a_reset_the_leader_is_approached_slowly_and_only_then_drives_the_gripper():
    hand = Hand(CELL)
    hand.q = HOME + 0.75
    hand.rest(1.0, width=0.01)
    assert hand.following.approaching
    _, _, dq, width = hand.trace
    assert 0.9 * APPROACH_SPEED < dq.max() <= APPROACH_SPEED + 1e-9
    assert (width == 0.08).all()
    hand.rest(2.5, width=0.01)
    assert not hand.following.approaching
    assert hand.trace[3][-1] == 0.01
    hand.following.reset(hand.t, hand.q - 0.5, 0.01)
    assert hand.following.approaching


def test_released_it_brakes_and_stays_at_rest_until_reset():
    hand = Hand(CELL)
    hand.rest(0.1)
    hand.move(HOME + 0.5, 0.5)
    hand.following.release()
    released_at = hand.t
    hand.move(HOME - 0.5, 0.5)
    t, q, dq, _ = hand.trace
    resting = t > released_at + STOP_WITHIN + 0.02
    assert not hand.following.reference(hand.t).moving
    np.testing.assert_allclose(dq[resting], 0.0, atol=STANDSTILL)
    hand.following.reset(hand.t, q[-1], 0.08)
    hand.rest(0.2)
    assert hand.following.reference(hand.t).moving


def test_short_silence_is_bridged_without_a_jump_and_without_a_new_approach():
    hand = Hand(CELL)
    hand.rest(0.1)
    hand.move(HOME + 0.3, 0.5)
    hand.move(HOME + 0.5, 0.15, heard=False)
    hand.move(HOME + 0.7, 0.5)
    hand.rest(1.0)
    assert not hand.following.approaching
    np.testing.assert_allclose(hand.trace[1][-1], HOME + 0.7, atol=1e-3)


@pytest.mark.parametrize(
    ("cell", "offset", "limit"),
    [
        (CELL, [0, 0, 0, 0, 0, 3.5, 0], "position"),
        (CELL, [2.5, 0, 0, 0, 0, 0, 0], "velocity"),
        (TIGHT, [0, 1.5, 0, 0, 0, 0, 0], "workspace"),
        (TIGHT, [0.5, 1.0, 0, 0.6, 0, 0.4, 0], "keep_out"),
    ],
)
def test_what_limits_the_motion_is_counted(cell, offset, limit):
    hand = Hand(cell)
    hand.rest(0.2)
    before = hand.following.limiting
    assert not before.limited.get(limit)
    hand.move(HOME + np.array(offset), 0.5)
    hand.rest(0.5)
    after = hand.following.limiting
    assert 0 < after.limited[limit] <= after.periods
    assert after.lag > before.lag


def test_along_a_wall_the_arm_slides():
    hand = Hand(TIGHT)
    hand.rest(0.2)
    hand.move(HOME + np.array([0.0, 0.5, 0, 0, 0, 0, 0]), 1.0)  # far below the lowest the tool may go
    hand.rest(1.0)
    hand.move(hand.q + np.array([-0.5, 0, 0, 0, 0, 0, 0]), 1.0)
    hand.rest(1.0)
    _, q, _, _ = hand.trace
    assert abs(q[-1, 0] - hand.q[0]) < 0.1


FADING = TIGHT.model_copy(update={"leader": TIGHT.leader.model_copy(update={"offset_fade": 0.5})})


@settings(max_examples=15)
@given(st.lists(st.floats(-0.6, 0.6), min_size=7, max_size=7), moves, st.integers(0, 99))
def test_an_offset_fades_slowly_only_while_the_leader_moves_and_the_reference_stays_smooth(away, hand_moves, seed):
    hand = Hand(FADING, seed)
    hand.q = HOME + np.array(away)
    hand.take_over(HOME, np.full(7, 0.05))
    offsets = [hand.following.offset]
    hand.rest(0.3)
    assert (hand.following.offset == offsets[0]).all(), "a leader that rests keeps it"
    period = 1 / FADING.arm.tracking.rate_hz
    for step, seconds, heard in hand_moves:
        start = hand.q.copy()
        for share in np.linspace(0.1, 1.0, 10):
            hand.move(start + share * (HOME + np.array(step) - start), seconds / 10, heard=heard == "heard")
            offsets.append(hand.following.offset)
    t, q, dq, _ = hand.trace
    assert (np.abs(np.diff(dq, axis=0)) <= ACCELERATION * TICK + 1e-9).all()
    np.testing.assert_allclose(np.diff(q, axis=0), (dq[1:] + dq[:-1]) / 2 * TICK, atol=ACCELERATION.max() * TICK**2)
    assert (np.abs(dq) <= np.array(FADING.arm.limits.velocity) * FADING.arm.speed_scale + 1e-9).all()
    assert ((q >= LOWER - 1e-9) & (q <= UPPER + 1e-9)).all()
    sizes = np.abs(offsets)
    assert (np.diff(sizes, axis=0) <= 0).all(), "it only becomes less"
    assert (np.array(offsets) * offsets[0] >= 0).all(), "and never changes sides"
    assert ((sizes[0] - sizes[-1]) <= FADE_SPEED * (t[-1] - t[0] + period)).all()


def test_in_the_end_the_arm_stands_as_the_leader_does():
    hand = Hand(FADING)
    hand.q = HOME + 0.2
    hand.take_over(HOME, np.zeros(7))
    for _ in range(10):
        hand.move(HOME + np.array([0.1, 0, 0, 0, 0, 0, 0.1]), 0.4)
        hand.move(HOME, 0.4)
    hand.rest(0.5)
    np.testing.assert_allclose(hand.trace[1][-1], HOME, atol=3e-3)


def test_without_being_asked_for_the_offset_stays():
    hand = Hand(CELL)
    hand.q = HOME + 0.3
    hand.take_over(HOME, np.zeros(7))
    hand.move(HOME + 0.5, 1.0)
    np.testing.assert_allclose(hand.following.offset, -0.3, atol=1e-9)


def test_samples_that_are_old_or_no_numbers_change_nothing():
    following = Following(CELL)
    following.reset(0.0, HOME, 0.05)
    following.leader(1.0, HOME, 0.05)
    following.leader(0.5, HOME + 1, 0.05)
    following.leader(2.0, np.full(7, np.nan), 0.05)
    following.leader(2.0, HOME, float("inf"))
    assert following.heard == 1.0
    assert following.limiting.lag == 0.0


def test_misalignment_names_the_joints():
    following = Following(CELL)
    assert "fr3_joint1" in following.misalignment(HOME)  # nothing heard yet
    following.leader(1.0, HOME + np.array([0, 0, 0, MAX_MISALIGNMENT + 0.1, 0, 0.7, 0]), 0.05)
    assert following.misalignment(HOME) == "fr3_joint4 by 0.90 rad (leader -1.46, arm -2.36)"
