"""Ranges of a dataset: what moves rarely keeps its reach, noise is no motion, ordinary values have percentiles."""

import logging

import numpy as np
import pytest
from support.cells import SIM
from support.episodes import CLOSED, OPEN
from vga_policy.dataset.index import SampleTable
from vga_policy.dataset.statistics import normalization
from vga_policy.train.input import norm_stats as units

STEPS = 10_000


def steps(joint, width):
    """Samples [N] whose first joint and hand are and go where these values say, the others at rest."""
    values = np.tile(np.append(SIM.arm.home, OPEN), (len(joint), 1))
    values[:, 0], values[:, 7] = joint, width
    values = values.astype(np.float32)
    count = len(values)
    return SampleTable(
        stamps=np.arange(count),
        images=np.zeros((count, 0, 2), np.int64),
        image_stamps=np.zeros((count, 0), np.int64),
        proprioception=values,
        actions=values[:, None].repeat(2, axis=1),
        action_mask=np.ones((count, 2), bool),
        keyframes=values[:, :7],
        origins=np.zeros(count, np.uint8),
    )


def rarely(usual, rare, share, count=STEPS):
    """`rare` in this share of the steps, `usual` in the others."""
    values = np.full(count, usual)
    values[: round(share * count)] = rare
    return values


@pytest.mark.parametrize("share", [0.0001, 0.005, 0.0075, 0.0099, 0.0101, 0.02])
@pytest.mark.parametrize(("usual", "rare"), [(OPEN, CLOSED), (CLOSED, OPEN), (0.08, 0.0), (0.04, 0.05)])
def test_a_hand_that_moves_rarely_can_move(share, usual, rare):
    samples = steps(np.zeros(STEPS), rarely(usual, rare, share))
    for relative in (False, True):
        ranges = normalization(samples, SIM.embodiment, relative=relative)
        for span in (ranges.action, ranges.proprioception):
            for width in (usual, rare):
                back = span.denormalize(span.normalize(np.append(SIM.arm.home, width)))
                assert np.atleast_2d(back)[:, 7] == pytest.approx(width, abs=1e-3)


@pytest.mark.parametrize("share", [0.0005, 0.005, 0.0099, 0.0101])
@pytest.mark.parametrize("noise", [0.0, 1e-5, 0.03])
def test_a_joint_that_moves_rarely_keeps_its_reach(share, noise):
    joint = rarely(0.2, 0.7, share) + np.random.default_rng(0).normal(0.0, noise, STEPS)
    ranges = normalization(steps(joint, np.full(STEPS, OPEN)), SIM.embodiment, relative=False)
    for value in (0.2, 0.7):
        back = ranges.action.denormalize(ranges.action.normalize(np.full(8, value)))
        assert back[0] == pytest.approx(value, abs=3 * noise + 1e-3)


def test_noise_is_not_full_scale_and_rest_is_none():
    noise = np.random.default_rng(0).normal(0.0, 1e-5, STEPS)
    ranges = normalization(steps(noise, OPEN + noise), SIM.embodiment, relative=False)
    for span in (ranges.action, ranges.proprioception):
        values = np.append(SIM.arm.home, OPEN)
        values[0] = 0.0
        beside = values + 1e-5
        change = np.abs(span.normalize(beside) - span.normalize(values))
        assert change.max() < 0.05
        assert (span.normalize(beside)[1:7] == 0.0).all()  # what never moves has no range at all


def test_ordinary_values_have_their_percentiles_and_no_glitch_of_rest_widens_them():
    rng = np.random.default_rng(0)
    joint = rng.normal(0.3, 0.2, STEPS)
    width = np.where(rng.random(STEPS) < 0.5, OPEN, CLOSED)
    samples = steps(joint, width)
    ranges = normalization(samples, SIM.embodiment, relative=False)
    assert (ranges.proprioception.q01[0], ranges.proprioception.q99[0]) == tuple(
        np.percentile(samples.proprioception[:, 0].astype(float), (1, 99))
    )
    assert (ranges.proprioception.q01[7], ranges.proprioception.q99[7]) == (np.float32(CLOSED), np.float32(OPEN))
    still = normalization(steps(rarely(0.2, 0.209, 0.005), width), SIM.embodiment, relative=False).action
    assert (still.q01[0], still.q99[0]) == (np.float32(0.2), np.float32(0.2))


def test_what_is_clipped_is_said_by_name(caplog):
    joint = np.random.default_rng(0).normal(0.3, 0.2, STEPS)
    with caplog.at_level(logging.INFO):
        units.norm_stats(None, steps(joint, np.full(STEPS, OPEN)), SIM, relative=False)
    name = SIM.arm.joint_names[0]
    assert f"clipped to the 1st to 99th percentile: 1.76% of {name}'s targets" in caplog.text
    caplog.clear()
    units.norm_stats(None, steps(np.zeros(STEPS), rarely(OPEN, CLOSED, 0.0075)), SIM, relative=False)
    assert caplog.messages == [
        "ranges widened to values far from the others: 0.75% of gripper's targets, 0.75% of gripper's positions; "
        "are they meant?"
    ]
    caplog.clear()
    units.norm_stats(None, steps(np.linspace(0, 1, STEPS), np.full(STEPS, OPEN)), SIM, relative=False)
    assert not caplog.messages


@pytest.mark.parametrize("share", [0.0075, 0.0101])
def test_a_hand_that_a_policys_units_hold_open_is_warned_of(share, caplog, monkeypatch):
    open_hand = normalization(
        steps(np.linspace(-0.1, 0.1, STEPS), np.full(STEPS, OPEN)), SIM.embodiment, relative=False
    )
    monkeypatch.setattr(units, "statistics_of", lambda *_: open_hand)
    closing = steps(np.linspace(-0.1, 0.1, STEPS), rarely(OPEN, CLOSED, share))
    assert units.norm_stats("policy", closing, SIM, relative=False) is open_hand
    assert f"clipped to it: {share:.2%} of gripper's targets" in caplog.text
