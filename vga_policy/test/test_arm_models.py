"""The arm's own limits: libfranka's numbers."""

import numpy as np
import pytest
from vga_policy.cell.arm_models import FR3, PANDA


def test_the_fr3_takes_less_speed_towards_the_end_of_a_joint():
    home = np.array([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854])
    low, high = FR3.velocity_limits(home)
    # J4 at home is 0.69 rad above its lower end: sqrt(2 4 0.69) - 0.3.
    np.testing.assert_allclose(high, FR3.velocity - 1e-3)
    assert low[3] == pytest.approx(-(np.sqrt(8 * (3.0481 - 2.3562)) - 0.3) + 1e-3)
    posture = home.copy()
    posture[1] = 1.659
    assert FR3.velocity_limits(posture)[1][1] == pytest.approx(0.63, abs=0.005)


@pytest.mark.parametrize("model", [FR3, PANDA], ids=lambda model: model.name)
def test_at_and_beyond_an_end_nothing_leads_further_out_on_an_fr3(model):
    beyond = np.vstack((model.upper, model.upper + 0.1))
    low, high = model.velocity_limits(beyond)
    assert low.shape == high.shape == (2, 7)
    assert (low < 0).all()
    assert (high == (0.0 if model is FR3 else model.velocity)).all()
