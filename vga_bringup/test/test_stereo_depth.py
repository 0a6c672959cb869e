"""The simulated D415 measures depth as a stereo camera does: noise by distance, holes where it cannot see."""

import numpy as np
import pytest
from vga_bringup.sim.rendering.stereo_depth import BASELINE, FIELD_OF_VIEW, SHIFTS, SUBPIXEL, StereoDepth

WIDTH = 640
FOCAL = WIDTH / 2 / np.tan(FIELD_OF_VIEW / 2)


def measured(exact):
    return StereoDepth(WIDTH, seed=0).measure(np.asarray(exact, np.uint16))


def wall(millimeters):
    return np.full((100, WIDTH), millimeters, np.uint16)


@pytest.mark.parametrize("distance", [500, 1000, 2000])
def test_noise_grows_with_the_square_of_the_distance(distance):
    known = measured(wall(distance))
    known = known[known > 0].astype(float)
    assert known.mean() == pytest.approx(distance, rel=0.003)
    expected = SUBPIXEL * (distance / 1000) ** 2 / (FOCAL * BASELINE) * 1000
    assert known.std() == pytest.approx(expected, rel=0.15)


def test_what_is_too_near_or_unknown_has_no_depth():
    nearest = FOCAL * BASELINE / SHIFTS * 1000
    assert not measured(wall(0.9 * nearest)).any()
    assert not measured(wall(0)).any()
    assert (measured(wall(1.1 * nearest)) > 0).any()


def test_beside_something_near_there_is_a_shadow_as_wide_as_the_shifts_differ():
    exact = wall(2000)
    exact[:, 400:500] = 600
    row = measured(exact)[50] > 0
    shadow = FOCAL * BASELINE * (1 / 0.6 - 1 / 2)
    hidden = 400 - np.flatnonzero(row[:400])[-1]
    assert hidden == pytest.approx(shadow, abs=2)
    assert row[410:490].all()
    assert row[505:].all()  # on its right the second camera sees the wall


def test_where_the_second_picture_ends_there_is_none():
    blind = np.flatnonzero(measured(wall(1000))[50])[0]
    assert blind == pytest.approx(FOCAL * BASELINE, abs=1)


def test_no_two_measurements_are_the_same():
    sensor = StereoDepth(WIDTH)
    assert (sensor.measure(wall(1000)) != sensor.measure(wall(1000))).any()
