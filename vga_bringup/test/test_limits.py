"""From any state: what moves the arm keeps the limits of the arm itself, stopped at any time, for both models."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import CELLS
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.motion.following import Following
from vga_bringup.robot.motion.homing import WayHome
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Box, SelfCollision

PERIOD = 0.01  # s
seeds = st.integers(0, 2**32 - 1)


def cell_of(name, **limits):
    """A cell with room to reach the joints' ends, at full speed."""
    cell = load_cell(CELLS / f"{name}.yaml")
    arm = cell.arm.model_copy(
        update={
            "speed_scale": 1.0,
            "limits": cell.arm.limits.model_copy(update=limits),
            "self_collision": SelfCollision(clearance=0.0),
        }
    )
    room = Box(min=[-2.0] * 3, max=[2.0] * 3)
    return cell.model_copy(update={"arm": arm, "workspace": room, "keep_out": []})


FR3, PANDA = cell_of("lab"), cell_of("lab_panda")
cells = st.sampled_from([FR3, PANDA, cell_of("lab", acceleration=[3.0] * 7), cell_of("lab", share=0.5)])


def ratio(cell, q, dq):
    """Largest share of what the arm itself takes where it is."""
    low, high = cell.arm.own.velocity_limits(q)
    return (np.abs(dq) / np.maximum(np.where(dq < 0, -low, high), 1e-3)).max()


@settings(max_examples=60)
@given(cells, seeds, st.floats(0.05, 1.0), st.floats(0.0, 1.0))
def test_homing_and_its_brake(cell, seed, speed, braked):
    rng, limits = np.random.default_rng(seed), Limits(cell)
    own = cell.arm.own
    start = rng.uniform(own.lower, own.upper)  # a person may have guided it outside the cell's limits
    way = WayHome(limits, start, rng.uniform(limits.lower, limits.upper), speed, 0.0)
    end = way.ends
    way.brake(braked * end)
    t = np.arange(0.0, end + 1.0, 1e-3)
    q, dq = (np.array(values) for values in zip(*(way.reference(moment) for moment in t), strict=True))
    assert (np.abs(dq) <= speed * limits.velocity + 1e-9).all()
    assert ratio(cell, q, dq) <= speed * cell.arm.limits.share + 0.01
    assert (np.abs(np.diff(dq, axis=0)) / 1e-3 <= limits.tracker_acceleration).all()
    assert np.abs(dq[-1]).max() == 0.0


@settings(max_examples=25)
@given(cells, seeds)
def test_a_leader_that_jumps_from_any_posture_to_any_other(cell, seed):
    rng, limits, following = np.random.default_rng(seed), Limits(cell), Following(cell)
    q = rng.uniform(limits.lower, limits.upper)
    following.reset(0.0, q, 0.08)
    following.leader(0.0, q, 0.08)
    for number in range(1, 16):
        following.reference(number * PERIOD)  # it has reached the leader: from here on it follows
    target, found = q, []
    for number in range(16, 200):
        now = number * PERIOD
        if number % 40 == 16:
            target = rng.uniform(limits.lower - 0.3, limits.upper + 0.3)
        following.leader(now, target, 0.08)
        found += [following.reference(now + part * 1e-3) for part in range(10)]
    following.release()
    now = 200 * PERIOD
    found += [following.reference(now + part * 1e-3) for part in range(600)]
    q, dq = (np.array([getattr(reference, name) for reference in found]) for name in ("q", "dq"))
    assert ratio(cell, q, dq) <= cell.arm.limits.share + 0.01
    assert (q >= limits.lower - 1e-9).all()
    assert (q <= limits.upper + 1e-9).all()
    assert (np.abs(dq) <= limits.velocity + 1e-9).all()


@settings(max_examples=200)
@given(cells, seeds)
def test_at_its_limit_a_reference_can_still_brake_below_it(cell, seed):
    """From anywhere on the limit, braking as a stop does: never above it again."""
    rng, limits = np.random.default_rng(seed), Limits(cell)
    q = rng.uniform(limits.lower, limits.upper)
    low, high = limits.velocity_range(q)
    dq = np.where(rng.random(7) < 0.5, low, high)
    for _ in range(1000):
        step = np.minimum(np.abs(dq), limits.smooth * 1e-3) * np.sign(dq)
        q, dq = q + (dq - step / 2) * 1e-3, dq - step
        assert (limits.excess(q, dq) <= 2e-3).all()
    if (
        cell.arm.own.offset is not None
    ):  # a Panda's limit does not fall towards the ends: its range is checked by itself
        assert (q > cell.arm.own.lower).all()
        assert (q < cell.arm.own.upper).all()


@pytest.mark.parametrize("cell", [FR3, PANDA], ids=["fr3", "panda"])
def test_what_is_commanded_leaves_room_to_the_arms_own_limits(cell):
    limits, own = Limits(cell), cell.arm.own
    assert (limits.tracker_acceleration <= 0.95 * own.acceleration).all()
    assert (limits.tracker_jerk <= 0.9 * own.jerk).all()
    assert (limits.smooth <= 0.85 * limits.tracker_acceleration).all()
    rng = np.random.default_rng(0)
    for q in rng.uniform(own.lower, own.upper, (500, 7)):
        low, high = own.velocity_limits(q)
        command = limits.commanded(q, np.zeros(7), rng.uniform(-9, 9, 7))
        assert (command <= 0.94 * high + 1e-12).all()
        assert (command >= 0.94 * low - 1e-12).all()
