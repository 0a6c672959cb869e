"""Reference and tracker at 1 kHz, without a robot: the judge's own arithmetic, and what the driver keeps to."""

import numpy as np
import pytest
from support.cells import CELLS, PANDA_FILE
from vga_bringup.judge.motions import RandomChunks, TowardEnd, ends, judged_cell, sine
from vga_bringup.judge.offline import DT, PlannerLimits, tracked, worst
from vga_bringup.judge.streams import all_streams, chunks
from vga_bringup.robot.safety.safety_filter import SafetyFilter
from vga_policy.cell.arm_models import FR3, PANDA
from vga_policy.cell.loading import load_cell


def cell_at(speed):
    return judged_cell(load_cell(CELLS / "lab.yaml"), "127.0.0.1", "velocity", speed)


@pytest.fixture(scope="module", params=[0.5, 1.0], ids=["half speed", "full speed"])
def streams(request):
    cell = cell_at(request.param)
    return cell, list(all_streams(cell, np.random.default_rng(5), amount=0.1))


def test_worst_finds_value_joint_and_instant():
    dq = np.zeros((100, 7))
    dq[40:, 2] = 0.01  # a step: 10 rad/s^2, then 10 / DT
    q = np.tile((FR3.lower + FR3.upper) / 2, (100, 1))
    q[:, 1] = FR3.upper[1] - 0.02
    dq[70, 1] = 0.1
    found = worst(q, dq, FR3)
    assert found.acceleration.value[2] == pytest.approx(10.0)
    assert found.acceleration.at[2] == pytest.approx(0.040)
    assert found.jerk.value[2] == pytest.approx(10_000)
    limit = np.sqrt(2 * FR3.deceleration[1] * 0.02) - FR3.offset[1] - 1e-3
    assert found.ratio.value[1] == pytest.approx(0.1 / limit)
    assert (found.ratio.joint, found.ratio.at[1]) == (1, pytest.approx(0.070))


def test_tracking_follows_a_sine_closely():
    cell = cell_at(1.0)
    home = np.array(cell.arm.home)
    curve = sine(home, np.full(7, 0.3), 0.5)

    def reference(t):
        return curve(t), (curve(t + 1e-5) - curve(t - 1e-5)) / 2e-5

    q, dq = tracked(reference, 4.0, home, cell)
    wanted = np.array([curve(t) for t in DT * np.arange(1, len(q) + 1)])
    assert np.abs(q - wanted).max() < 0.01
    np.testing.assert_allclose(np.diff(q, axis=0), DT * dq[1:], atol=1e-12)


def test_streams_run_from_rest_to_rest_without_a_jump(streams):
    _, found = streams
    for stream in found:
        assert (np.abs(stream.dq[0]) < 0.05).all(), stream.name
        assert (np.abs(stream.dq[-1]) < 1e-3).all(), stream.name
        drift = np.diff(stream.q, axis=0) - DT * (stream.dq[1:] + stream.dq[:-1]) / 2
        assert np.abs(drift).max() < 1e-4, stream.name


def test_streams_bring_every_joint_near_both_its_ends(streams):
    cell, found = streams
    lower, upper = np.array(cell.arm.limits.lower), np.array(cell.arm.limits.upper)
    to_ends = np.concatenate([stream.q for stream in found if stream.name == "chunks to the ends"])
    assert (to_ends.max(axis=0) > upper - 0.1).all()
    assert (to_ends.min(axis=0) < lower + 0.1).all()


def test_one_seed_makes_one_motion():
    cell = cell_at(0.5)

    def motion(seed):
        rng = np.random.default_rng(seed)
        return chunks("", cell, np.array(cell.arm.home), RandomChunks(cell, rng), rng, accept=10)

    first, again, other = motion(1), motion(1), motion(2)
    assert first.accepted == 10
    np.testing.assert_array_equal(first.q, again.q)
    assert first.q.shape != other.q.shape or np.abs(first.q - other.q).max() > 0.01


def test_the_ways_to_the_ends_are_free():
    cell = cell_at(1.0)
    safety = SafetyFilter(cell)
    for end in ends(cell):
        for q in (end.start, end.posture):
            assert safety.pose_problem(q.tolist()) == "", end.name
        assert safety.way_problem(np.array(cell.arm.home), end.start) == "", end.name
        assert safety.way_problem(end.start, end.posture) == "", end.name


def test_chunks_to_an_end_come_to_an_end():
    cell = cell_at(1.0)
    end = ends(cell)[2]
    stream = chunks("", cell, end.start, TowardEnd(cell, end), np.random.default_rng(0))
    assert stream.seconds < 10.0
    assert abs(stream.q[-1, end.joint] - end.posture[end.joint]) < 0.05


def test_everything_that_moves_the_arm_keeps_its_limits(streams):
    """Chunks, their stops, homing and teleoperation, towards all ends: reference and command, every millisecond."""
    cell, found = streams
    for stream in found:
        assert worst(stream.q, stream.dq, FR3).ratio.largest < 0.91, stream.name
        q, dq = tracked(stream.at, stream.seconds, stream.q[0], cell)
        extremes = worst(q, dq, FR3)
        assert extremes.ratio.largest < 0.95, stream.name
        assert extremes.acceleration.largest < 9.6, stream.name
        assert extremes.jerk.largest < 4600, stream.name
        assert np.abs(q - stream.q).max() < 0.05, stream.name


def test_a_panda_keeps_its_own_limits():
    cell = judged_cell(load_cell(PANDA_FILE), "127.0.0.1", "velocity", 1.0)
    for stream in all_streams(cell, np.random.default_rng(6), amount=0.1):
        extremes = worst(*tracked(stream.at, stream.seconds, stream.q[0], cell), PANDA)
        assert extremes.ratio.largest < 0.95, stream.name
        assert (extremes.acceleration.value < PANDA.acceleration).all(), stream.name
        assert (extremes.jerk.value < PANDA.jerk).all(), stream.name


def test_with_the_limits_that_franky_comes_with_it_would_not(streams):
    """The control: else the tests above could not fail."""
    cell, found = streams
    plan = PlannerLimits(PANDA.acceleration, PANDA.jerk)
    driven = [tracked(stream.at, stream.seconds, stream.q[0], cell, plan) for stream in found[:8]]
    assert max(worst(q, dq, FR3).acceleration.largest for q, dq in driven) > 10.0
