"""LIBERO-Plus' camera variants, from their names."""

from collections import Counter

import numpy as np
import pytest
from libero_worlds import settled
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.plus import PIVOT, variant_of, variants
from vga_policy.libero.tasks import SUITES, tasks


def test_there_are_as_many_of_each_kind_as_published():
    names = {task.name for suite in SUITES for task in tasks(suite)}
    assert set(variants()) == names
    found = [variant for each in variants().values() for variant in each]
    assert len({variant.name for variant in found}) == 1599
    kinds = {"side": 443, "height and side": 549, "distance": 313, "orientation": 294}
    assert Counter(variant.kind for variant in found) == kinds
    assert Counter(variant.difficulty for variant in found) == {1: 199, 2: 360, 3: 325, 4: 228, 5: 487}


@pytest.mark.parametrize(
    ("pose", "position"),
    [
        ("90_0_100_0_0", [0.0, 0.6, 1.5]),
        ("0_0_150_0_0", [0.9, 0.0, 1.85]),
        ("0_90_100_0_0", [-0.7, 0.0, 1.4]),
        ("0_0_100_10_350", [0.6, 0.0, 1.5]),
    ],
)
def test_a_camera_goes_where_the_name_says(pose, position):
    task = tasks("libero_goal")[7]
    moved, turned = variant_of(task, pose).moved(np.array([0.6, 0.0, 1.5]), np.array([1.0, 0.0, 0.0, 0.0]))
    assert np.allclose(moved, position, atol=1e-4)
    assert np.linalg.norm(turned) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(moved - PIVOT) == pytest.approx(0.9220 * (1.5 if "150" in pose else 1), abs=1e-3)


def test_only_the_fixed_camera_moves_and_it_comes_back():
    world = settled("libero_spatial", 2)
    before = world.views()
    world.move_camera(variant_of(world.task, "30_15_100_0_0"))
    moved = world.views()
    world.move_camera(None)
    after = world.views()
    assert np.array_equal(moved.images[1], before.images[1])
    assert np.array_equal(moved.intrinsics, before.intrinsics)
    assert np.abs(moved.extrinsics[0] - before.extrinsics[0]).max() > 0.2
    assert np.array_equal(after.images, before.images)


def test_what_is_no_pose_is_refused():
    with pytest.raises(LiberoError, match="'30_15' is no pose of a camera: H_V_S_R_E"):
        variant_of(tasks("libero_goal")[7], "30_15")
