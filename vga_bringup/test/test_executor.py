"""Invariants of the executor, on a simulated clock, for every strategy and whatever arrives when.

- The reference is continuous in position and velocity, at every switch and in between.
- No step is executed after its time; from standstill none is skipped.
- Latency shifts nothing: chunks of one motion give that motion, however late they come.
- Whatever happens, the arm rests soon after the last step, and within |v| / a of a stop, on the path.
"""

import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import SIM as CELL
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.motion.trajectory import BRAKE_STEP
from vga_bringup.robot.types import ChunkRefusedError
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell, parse_cell
from vga_policy.cell.schema import Strategy
from vga_policy.observation.observation import ActionChunk

HOME = np.array(CELL.arm.home)
DT, HORIZON, STOP = CELL.dt, CELL.action.horizon, Limits(CELL).stopping.min()
ALL = list(Strategy)
MOVING = [Strategy.OPEN_LOOP, Strategy.RECEDING, Strategy.TEMPORAL_ENSEMBLE]
EXAMPLES = settings(max_examples=25)
seeds = st.integers(0, 2**32 - 1)


def executor(strategy, **execution):
    changed = CELL.execution.model_copy(update={"strategy": strategy, **execution})
    made = Executor(CELL.model_copy(update={"execution": changed}))
    made.reset(0.0, HOME, 0.08)
    return made


def chunk(joints, widths=None):
    return ActionChunk.of_joints(
        np.asarray(joints, float), np.full(HORIZON, 0.04) if widths is None else np.asarray(widths)
    )


def ramp(speed, begin=HOME):
    """A chunk at constant speed (rad/s) of all joints from `begin`."""
    return chunk(begin + speed * DT * np.arange(1, HORIZON + 1)[:, None])


@dataclass(frozen=True)
class Motion:
    """A smooth motion that begins at rest in HOME: sums of raised cosines below 0.5 Hz."""

    amplitude: np.ndarray
    frequency: np.ndarray

    @classmethod
    def random(cls, rng):
        return cls(rng.uniform(-0.1, 0.1, (3, 7)), rng.uniform(0.3, 3.0, (3, 7)))

    def __call__(self, t):
        phase = np.asarray(t, float)[..., None, None] * self.frequency
        return HOME + (self.amplitude * (1 - np.cos(phase))).sum(axis=-2)

    def chunk(self, t_obs):
        return chunk(self(t_obs + DT * np.arange(1, HORIZON + 1)))


def deliveries(rng, seconds, latency=0.4, lost=0.2):
    """(arrival, t_obs, sequence) of observations at a jittery 10 Hz; some lost, many out of order."""
    t_obs = np.cumsum(rng.uniform(0.05, 0.15, int(seconds / 0.1)))
    arrivals = t_obs + rng.uniform(0.0, latency, len(t_obs))
    kept = rng.random(len(t_obs)) >= lost
    return sorted((a, t, i + 1) for i, (a, t) in enumerate(zip(arrivals, t_obs, strict=True)) if kept[i])


def seams(path):
    """Largest difference in position and in velocity between the pieces of a curve where they meet."""
    left = path.coefficients[:-1]
    u = np.diff(path.starts)[:, None]
    q = left[:, 0] + u * (left[:, 1] + u * (left[:, 2] + u * left[:, 3]))
    dq = left[:, 1] + u * (2 * left[:, 2] + 3 * u * left[:, 3])
    return np.abs(q - path.coefficients[1:, 0]).max(initial=0), np.abs(dq - path.coefficients[1:, 1]).max(initial=0)


def test_the_shortest_chunk_that_a_cell_allows_is_executed():
    text = dump_cell(CELL)
    assert f"horizon: {HORIZON}" in text
    with pytest.raises(CellError, match=r"action\.horizon: .* 2 \(found 1\)"):
        parse_cell(text.replace(f"horizon: {HORIZON}", "horizon: 1"))
    robot = Executor(parse_cell(text.replace(f"horizon: {HORIZON}", "horizon: 2")))
    robot.reset(0.0, HOME, 0.08)
    robot.offer(1.0, ActionChunk.of_joints(HOME + np.array([[0.01], [0.02]]), np.full(2, 0.04)), 1.0, 1)
    np.testing.assert_allclose(robot.reference(1.0 + 2 * DT).q, HOME + 0.02, atol=1e-6)


@pytest.mark.parametrize("strategy", ALL)
@EXAMPLES
@given(seed=seeds, roughness=st.sampled_from([0.0, 0.01, 0.1]))
def test_reference_is_continuous_whatever_arrives_when(strategy, seed, roughness):
    rng = np.random.default_rng(seed)
    motion, robot, now = Motion.random(rng), executor(strategy), 0.0
    sharpest = 0.0
    ticks = []
    for arrival, t_obs, sequence in deliveries(rng, 3.0):
        ticks += [(t, robot.reference(t)) for t in np.arange(now, arrival, 0.002)]
        now = arrival
        rough = chunk(motion.chunk(t_obs).joints + rng.normal(0.0, 1.0, (HORIZON, 7)) * roughness)
        before = robot.reference(now)
        try:
            proposal = robot.propose(now, rough, t_obs, sequence)
        except ChunkRefusedError:
            continue
        robot.accept(proposal)
        after = robot.reference(now)
        np.testing.assert_allclose(after.q, before.q, atol=1e-9)
        np.testing.assert_allclose(after.dq, before.dq, atol=1e-7)
        path = proposal.after.path
        jump, kink = seams(path)
        assert jump < 1e-9
        assert kink < 1e-7
        edges = np.concatenate((path.starts, path.starts[1:] - 1e-9))  # acceleration is linear in between
        sharpest = max(sharpest, np.abs(path.sample(edges)[2]).max())
    for (t, a), (u, b) in pairwise(ticks):
        fastest = np.abs((a.dq, b.dq)).max() + sharpest * (u - t)
        assert np.abs(b.q - a.q).max() <= fastest * (u - t) + 1e-9
        assert np.abs(b.dq - a.dq).max() <= sharpest * (u - t) + 1e-7


@pytest.mark.parametrize("strategy", MOVING)
@EXAMPLES
@given(seed=seeds, latency=st.floats(0.0, 0.4))
def test_latency_shifts_nothing(strategy, seed, latency):
    """Chunks of one motion, observed by its progress, give that motion from its first instant on."""
    rng = np.random.default_rng(seed)
    motion, robot, begun, now = Motion.random(rng), executor(strategy), None, 0.0
    worst = 0.0
    # Chunks are lost and overtake each other too, but never so many that the motion starves.
    for arrival, t_obs, sequence in deliveries(rng, 4.0, latency, lost=0.1):
        if begun is not None:
            for t in np.arange(now, arrival, 0.005):
                worst = max(worst, np.abs(robot.reference(t).q - motion(t - begun)).max())
        now = arrival
        progress = 0.0 if begun is None else max(t_obs - begun, 0.0)
        try:
            admission = robot.offer(now, motion.chunk(progress), t_obs, sequence)
        except ChunkRefusedError:
            continue
        if begun is None:
            begun = admission.anchor
            assert begun == now
    assert begun is not None
    # What is left is interpolation, mostly on the last 0.1 s of a chunk (its end velocity is one-sided), rad.
    assert worst < (5e-4 if strategy is Strategy.RECEDING else 3e-3)


@EXAMPLES
@given(seed=seeds, latency=st.floats(0.0, 0.4))
def test_latency_shifts_nothing_when_each_chunk_runs_from_rest(seed, latency):
    motion = Motion.random(np.random.default_rng(seed))
    robot = executor(Strategy.OPEN_LOOP_SYNC)
    prompt = executor(Strategy.OPEN_LOOP_SYNC)
    t = np.arange(0.0, 1.5, 0.01)
    admission = robot.offer(3.0 + latency, motion.chunk(0.0), 3.0, 1)
    prompt.offer(3.0, motion.chunk(0.0), 3.0, 1)
    assert (admission.anchor, admission.steps_dropped) == (3.0 + latency, 0)
    late = [robot.reference(3.0 + latency + u).q for u in t]
    np.testing.assert_allclose(late, [prompt.reference(3.0 + u).q for u in t], atol=1e-9)


@pytest.mark.parametrize("strategy", ALL)
@EXAMPLES
@given(seed=seeds)
def test_no_step_is_executed_after_its_time(strategy, seed):
    rng = np.random.default_rng(seed)
    motion, robot, admitted, now = Motion.random(rng), executor(strategy), {}, 0.0
    for arrival, t_obs, sequence in deliveries(rng, 3.0):
        for t in np.arange(now, arrival, 0.01):
            reference = robot.reference(t)
            if reference.sequence is None:
                assert reference.step == -1
                continue
            admission = admitted[reference.sequence]
            due = admission.anchor + (np.arange(HORIZON) + 1) * DT
            assert admission.start <= t <= due[reference.step] + 1e-9
            assert reference.step >= admission.steps_dropped
            assert reference.step == 0 or due[reference.step - 1] < t + 1e-9  # it is the first one still due
        now = arrival
        try:
            admitted[sequence] = robot.offer(now, motion.chunk(t_obs), t_obs, sequence)
        except ChunkRefusedError:
            continue
    assert admitted


@pytest.mark.parametrize("strategy", ALL)
def test_each_step_is_reached_when_due(strategy):
    motion = Motion.random(np.random.default_rng(1))
    robot = executor(strategy)
    robot.offer(1.0, motion.chunk(0.0), 0.9, 1)
    for k, q in enumerate(motion.chunk(0.0).joints):
        np.testing.assert_allclose(robot.reference(1.0 + (k + 1) * DT).q, q, atol=1e-9)


@pytest.mark.parametrize("strategy", MOVING)
def test_steps_long_past_have_no_influence(strategy):
    motion = Motion.random(np.random.default_rng(2))
    robots = executor(strategy), executor(strategy)
    for robot in robots:
        robot.offer(1.0, motion.chunk(0.0), 0.9, 1)
    altered = motion.chunk(0.33)
    altered.joints[:2] += 0.3
    admissions = [robot.offer(1.75, c, 1.33, 2) for robot, c in zip(robots, (motion.chunk(0.33), altered), strict=True)]
    assert [admission.steps_dropped for admission in admissions] == [4, 4]
    for t in np.arange(1.75, 3.0, 0.01):
        np.testing.assert_array_equal(robots[0].reference(t).q, robots[1].reference(t).q)


@pytest.mark.parametrize("strategy", MOVING)
def test_no_step_is_skipped_from_standstill(strategy):
    motion = Motion.random(np.random.default_rng(3))
    robot = executor(strategy)
    first = robot.offer(1.3, motion.chunk(0.0), 1.0, 1)
    assert (first.anchor, first.start, first.steps_dropped) == (1.3, 1.3, 0)
    # A chunk observed before the motion began, but received after: it begins with the motion as well.
    if strategy is Strategy.OPEN_LOOP:
        with pytest.raises(ChunkRefusedError, match="past its last step"):
            robot.offer(1.4, motion.chunk(0.0), 1.1, 2)
    else:
        second = robot.offer(1.4, motion.chunk(0.0), 1.1, 2)
        assert (second.anchor, second.steps_dropped) == (1.3, 0)
    # One observed in motion keeps its time.
    third = robot.offer(1.75, motion.chunk(0.1), 1.4, 3)
    assert third.anchor == 1.4
    for t in np.arange(1.3, 2.1, 0.01):
        np.testing.assert_allclose(robot.reference(t).q, motion(t - 1.3), atol=1e-3)


@pytest.mark.parametrize("strategy", ALL)
def test_a_chunk_in_full_motion_starts_an_arm_at_rest_gently(strategy):
    robot = executor(strategy)
    robot.offer(1.0, ramp(0.6), 1.0, 1)
    t = np.arange(1.0, 2.5, 0.001)
    dq = np.array([robot.reference(u).dq for u in t])
    assert (np.abs(np.diff(dq, axis=0)) / 0.001 <= np.maximum(CELL.arm.limits.acceleration, STOP) + 1e-6).all()
    np.testing.assert_allclose(robot.reference(1.8).q, HOME + 0.48, atol=1e-9)


@pytest.mark.parametrize("strategy", ALL)
def test_gripper_width_steps_without_interpolation(strategy):
    robot = executor(strategy)
    assert robot.reference(0.5).gripper_width == 0.08
    widths = [0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01]
    robot.offer(1.0, chunk(np.tile(HOME, (HORIZON, 1)), widths), 1.0, 1)
    for k, width in enumerate(widths):
        due = 1.0 + (k + 1) * DT
        assert robot.reference(due - DT + 1e-6).gripper_width == width
        assert robot.reference(due - 1e-6).gripper_width == width
    assert robot.reference(5.0).gripper_width == 0.01
    robot.stop(5.0)
    assert robot.reference(6.0).gripper_width == 0.01


@pytest.mark.parametrize("strategy", ALL)
def test_without_a_successor_the_arm_comes_to_rest(strategy):
    robot = executor(strategy)
    robot.offer(1.0, ramp(0.5), 1.0, 1)
    end = 1.0 + HORIZON * DT
    assert robot.reference(end - 1e-6).sequence == 1
    stopping = robot.reference(end + 0.01)
    assert (stopping.sequence, stopping.step, stopping.moving) == (None, -1, True)
    rests = end + 0.5 / STOP + 1e-6
    assert robot.at_rest(rests)
    assert not robot.reference(rests).moving
    assert not robot.reference(rests).dq.any()
    np.testing.assert_array_equal(robot.reference(rests).q, robot.reference(99.0).q)


@pytest.mark.parametrize("strategy", ALL)
@EXAMPLES
@given(seed=seeds, at=st.floats(1.0, 4.0))
def test_stop_rests_in_time_and_forgets_everything(strategy, seed, at):
    rng = np.random.default_rng(seed)
    motion, robot = Motion.random(rng), executor(strategy)
    for arrival, t_obs, sequence in deliveries(rng, 4.0):
        if arrival < at:
            try:
                robot.offer(arrival, motion.chunk(t_obs), t_obs, sequence)
            except ChunkRefusedError:
                continue
    before = robot.reference(at)
    robot.stop(at)
    after = robot.reference(at)
    np.testing.assert_allclose((after.q, after.dq), (before.q, before.dq), atol=1e-9)
    assert after.gripper_width == before.gripper_width
    assert (after.sequence, after.step) == (None, -1)
    rests = at + np.abs(before.dq).max() / STOP + 2 * BRAKE_STEP
    assert robot.at_rest(rests)
    times = np.linspace(at, rests, 20)
    speeds = np.array([np.abs(robot.reference(t).dq).max() for t in times])
    assert (np.diff(speeds) <= 1e-9).all()
    robot.stop(rests)
    assert robot.at_rest(rests)
    np.testing.assert_array_equal(robot.reference(rests + 1.0).q, robot.reference(rests).q)
    # A new goal's policy counts from 1 again, and its plan begins at its first step.
    assert robot.offer(rests + 1.0, ramp(0.1), rests + 0.9, 1).steps_dropped == 0


@pytest.mark.parametrize("strategy", MOVING)
def test_chunks_out_of_order_or_past_are_refused(strategy):
    robot = executor(strategy)
    robot.offer(1.0, ramp(0.1), 1.0, 5)
    for t_obs, sequence, reason in ((1.1, 5, "sequence"), (1.1, 4, "sequence"), (0.9, 6, "sequence")):
        with pytest.raises(ChunkRefusedError) as refused:
            robot.offer(1.2, ramp(0.1), t_obs, sequence)
        assert refused.value.reason == reason
    with pytest.raises(ChunkRefusedError, match="past its last step"):
        robot.offer(1.81, ramp(0.1), 1.0, 6)
    with pytest.raises(ChunkRefusedError, match="7 steps instead of 8"):
        robot.offer(1.2, ActionChunk.of_joints(np.tile(HOME, (7, 1)), np.zeros(7)), 1.1, 6)
    # One that begins with the same observation is in order, but open_loop has no use for it.
    if strategy is not Strategy.OPEN_LOOP:
        robot.offer(1.3, ramp(0.1), 1.0, 6)


def test_open_loop_runs_each_chunk_to_its_end_then_takes_the_newest():
    robot = executor(Strategy.OPEN_LOOP)
    robot.offer(1.0, ramp(0.1), 1.0, 1)
    assert robot.offer(1.2, ramp(0.1, HOME + 0.01), 1.1, 2).start == pytest.approx(1.8)
    assert robot.offer(1.5, ramp(0.1, HOME + 0.04), 1.4, 3).start == pytest.approx(1.8)
    assert robot.reference(1.79).sequence == 1
    assert robot.reference(1.81).sequence == 3
    np.testing.assert_allclose(robot.reference(2.1).q, HOME + 0.11, atol=1e-9)


def test_open_loop_sync_takes_only_what_was_observed_at_rest():
    robot = executor(Strategy.OPEN_LOOP_SYNC)
    robot.offer(1.0, ramp(0.1), 0.8, 1)
    rests = 1.8 + 0.1 / STOP
    for now, t_obs in ((1.4, 1.2), (1.9, 1.7)):
        with pytest.raises(ChunkRefusedError, match="came to rest"):
            robot.offer(now, ramp(0.1), t_obs, 2)
    assert robot.offer(2.1, ramp(0.1), rests + 0.01, 2).anchor == 2.1


def test_receding_follows_the_newest_chunk_at_once():
    robot = executor(Strategy.RECEDING)
    robot.offer(1.0, ramp(0.1), 1.0, 1)
    robot.offer(1.3, ramp(0.1, HOME + 0.03), 1.2, 2)  # 0.01 rad further than the first
    assert robot.reference(1.3).sequence == 2
    np.testing.assert_allclose(robot.reference(1.3 + CELL.execution.blend_time).q, HOME + 0.06, atol=1e-9)


def test_temporal_ensemble_weighs_the_oldest_most():
    robot = executor(Strategy.TEMPORAL_ENSEMBLE, ensemble_decay=0.5)
    robot.offer(1.0, ramp(0.0), 1.0, 1)
    robot.offer(1.2, ramp(0.0, HOME + 0.02), 1.1, 2)
    oldest = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(robot.reference(1.7).q, HOME + 0.02 * (1 - oldest), atol=1e-9)
    robot.offer(1.75, ramp(0.0, HOME + 0.02), 1.7, 3)  # by 2.2, it is alone
    np.testing.assert_allclose(robot.reference(2.2).q, HOME + 0.02, atol=1e-9)


def test_an_outdated_proposal_is_not_accepted():
    robot = executor(Strategy.RECEDING)
    proposal = robot.propose(1.0, ramp(0.1), 1.0, 1)
    robot.stop(1.0)
    robot.reset(1.0, HOME, 0.08)
    with pytest.raises(RuntimeError, match="one at a time"):
        robot.accept(proposal)


def test_reset_rests_at_the_given_posture():
    robot = executor(Strategy.RECEDING)
    robot.offer(1.0, ramp(0.5), 1.0, 9)
    robot.reset(1.2, HOME + 0.3, 0.05)
    reference = robot.reference(1.2)
    np.testing.assert_array_equal(reference.q, HOME + 0.3)
    assert (reference.gripper_width, reference.sequence, reference.moving) == (0.05, None, False)
    robot.offer(1.3, ramp(0.1, HOME + 0.3), 1.25, 1)


@pytest.mark.parametrize("strategy", ALL)
def test_a_reference_costs_well_under_100_microseconds(strategy):
    robot = executor(strategy)
    for i in range(1, 21):
        try:
            robot.offer(i * 0.1, ramp(0.1, HOME + i * 0.01), i * 0.1, i)
        except ChunkRefusedError:
            continue
    took = []
    for t in np.linspace(2.0, 3.0, 1000):
        began = time.thread_time()
        robot.reference(t)
        took.append(time.thread_time() - began)
    assert np.median(took) < 100e-6
