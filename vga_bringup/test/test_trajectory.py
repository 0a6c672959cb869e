"""Invariants of the curves motion is made of.

- A spline passes through its steps, is continuous in position and velocity, and reproduces a smooth motion.
- A fade begins with the offset it is given and ends in nothing, within its time and acceleration.
- A stop comes to rest within |v| / a, all joints together.
- Cutting, joining and adding curves changes no value.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from vga_bringup.robot.motion.trajectory import BRAKE_STEP, Curve, brake, fade, rest, spline, stop

DT = 0.1
GENTLE = np.full(3, 5.0)  # rad/s^2
positions = arrays(float, (9, 3), elements=st.floats(-1, 1))
vectors = arrays(float, 3, elements=st.floats(-2, 2))


def seams(curve):
    """Largest difference in position and in velocity between the pieces of a curve where they meet."""
    left = curve.coefficients[:-1]
    u = np.diff(curve.starts)[:, None]
    q = left[:, 0] + u * (left[:, 1] + u * (left[:, 2] + u * left[:, 3]))
    dq = left[:, 1] + u * (2 * left[:, 2] + 3 * u * left[:, 3])
    return np.abs(q - curve.coefficients[1:, 0]).max(), np.abs(dq - curve.coefficients[1:, 1]).max()


@given(positions, vectors)
def test_spline_passes_through_its_steps_smoothly(q, start_velocity):
    curve = spline(5.0, DT, q, start_velocity, GENTLE)
    np.testing.assert_allclose([curve.at(5.0 + k * DT)[0] for k in range(9)], q, atol=1e-9)
    jump, kink = seams(curve)
    assert jump < 1e-12
    assert kink < 1e-10
    np.testing.assert_allclose(curve.at(5.0 + 8 * DT)[1], (q[-1] - q[-2]) / DT, atol=1e-9)


@pytest.mark.parametrize("phase", np.linspace(0, 6, 5))
def test_spline_reproduces_a_smooth_motion(phase):
    def motion(t):
        return 0.3 * np.sin(2.0 * t[:, None] + phase + np.arange(3))

    knots = DT * np.arange(9)
    velocity = 0.6 * np.cos(phase + np.arange(3))
    curve = spline(0.0, DT, motion(knots), velocity, GENTLE)
    t = np.linspace(0.0, 0.8, 300)
    error = np.abs(curve.sample(t)[0] - motion(t)).max(axis=1)
    assert error[t < 0.7].max() < 1e-4
    assert error.max() < 1e-3  # the last piece ends with a one-sided velocity


def test_spline_starts_with_the_given_velocity_as_far_as_that_is_gentle():
    q = 0.05 * np.arange(9)[:, None] * np.ones(3)  # 0.5 rad/s
    gentle = spline(0.0, DT, q, np.full(3, 0.45), GENTLE)
    np.testing.assert_allclose(gentle.at(0.0)[1], 0.45)
    from_rest = spline(0.0, DT, q, np.zeros(3), GENTLE)
    np.testing.assert_allclose(from_rest.at(0.0)[1], 0.5 - 5.0 * DT / 4)
    assert np.abs(from_rest.sample(np.linspace(0, 0.1, 20))[2]).max() <= 5.0 + 1e-9


@given(vectors, vectors)
def test_fade_goes_from_the_offset_to_nothing(q, dq):
    curve = fade(2.0, q, dq, GENTLE, 0.2, 20.0)
    np.testing.assert_array_equal(curve.at(2.0), (q, dq))
    end = curve.starts[-1]
    assert end >= 2.2
    assert np.abs(curve.at(end)).max() == 0
    assert max(seams(curve)) < 1e-9
    assert (np.abs(curve.sample(np.linspace(2.0, end, 50))[2]) <= GENTLE + 1e-6).all()


def test_fade_takes_no_longer_than_it_may():
    assert fade(0.0, np.ones(3), np.ones(3), GENTLE, 0.2, 0.8).starts[-1] == 0.8
    assert fade(0.0, np.zeros(3), np.zeros(3), GENTLE, 0.2, 0.8).starts[-1] == 0.2


@given(vectors, vectors)
def test_stop_rests_in_time_and_on_the_line(q, dq):
    hardest = np.array([8.0, 6.0, 8.0])
    curve = stop(1.0, q, dq, hardest)
    duration = (np.abs(dq) / hardest).max()
    rests_at = curve.starts[-1]
    assert rests_at <= 1.0 + duration + 1e-12
    np.testing.assert_allclose(curve.at(1.0), (q, dq), atol=1e-12)
    np.testing.assert_allclose(curve.at(rests_at), (q + duration / 2 * dq, np.zeros(3)), atol=1e-12)
    # A speed so small that the way to rest takes no time is as good as none.
    assert max(seams(curve), default=0.0) < 1e-12 if len(curve.starts) > 1 else 1.0 + duration == 1.0
    assert (np.abs(curve.sample(np.linspace(1.0, 2.0, 100))[2]) <= hardest + 1e-9).all()


@given(positions, st.floats(0.0, 0.9))
def test_braking_follows_the_path_no_faster_and_as_hard_as_allowed(q, at):
    hardest = np.array([8.0, 6.0, 8.0])
    path = spline(0.0, DT, 0.03 * q, np.zeros(3), GENTLE)
    end = path.starts[-1] + DT
    path = path.then(end, stop(end, *path.at(end), hardest))
    curve = brake(path, at, hardest)
    rests_at = curve.starts[-1]
    assert rests_at <= max(path.starts[-1], at) + 2 * BRAKE_STEP
    assert np.abs(curve.at(rests_at)[1]).max() < 1e-5
    t = np.arange(at, rests_at, 1e-3)
    if not len(t):
        return
    assert max(seams(curve)) < 1e-9
    braked, speeds, bends = curve.sample(t)
    fine = np.linspace(at, path.starts[-1], 4000)
    way, pace, bend = path.sample(fine)
    assert np.abs(bends / hardest).max() <= max(1.0, np.abs(bend / hardest).max()) + 1e-3
    # On the path, but for what acceleration changes within a step, and nowhere faster than the path.
    nearest = np.abs(way[None] - braked[::5, None]).max(axis=2).min(axis=1)
    assert nearest.max() <= np.abs(bend).max() * BRAKE_STEP**2 + 2 * np.abs(np.diff(way, axis=0)).max() + 1e-6
    assert (np.abs(speeds) <= np.abs(pace).max(axis=0) + 1e-9).all()


@given(positions, st.floats(0.0, 0.8))
def test_cutting_joining_and_adding_change_no_value(q, at):
    a = spline(0.0, DT, q, np.zeros(3), GENTLE)
    b = spline(-0.05, DT, q[::-1], np.zeros(3), GENTLE)
    t = np.linspace(at, 0.8, 50)
    np.testing.assert_allclose(a.after(at).sample(t), a.sample(t), atol=1e-9, rtol=1e-9)
    np.testing.assert_allclose((a + b).sample(t), np.add(a.sample(t), b.sample(t)), atol=1e-9, rtol=1e-9)
    joined = a.then(at, b)
    np.testing.assert_allclose(joined.sample(t), b.sample(t), atol=1e-9, rtol=1e-9)
    before = np.linspace(0.0, at, 20)
    before = before[before < at]  # between numbers as small as 1e-322 there are not 20 others
    np.testing.assert_array_equal(joined.sample(before), a.sample(before))


def test_a_curve_stands_still_before_it_begins():
    curve = Curve(np.array([1.0]), np.ones((1, 4, 3)))
    q, dq = curve.at(0.5)
    assert (q == 1).all()
    assert (dq == 0).all()
    assert (rest(0.0, np.ones(3)).at(99.0)[0] == 1).all()
