"""The arm's kinematics against pinocchio and the FR3 description that comes with the simulator."""

from pathlib import Path

import franky_sim
import numpy as np
import pinocchio
import pytest
from vga_bringup.robot.bounds.kinematics import LINKS, Kinematics, rotation
from vga_policy.cell.loading import load_cell

ARM = load_cell(Path(__file__).parents[1] / "config/cells/sim.yaml").arm
MICROMETER = 1e-6


@pytest.fixture(scope="module")
def described():
    """Where a named frame of the robot description is, for 7 joint angles and each finger open by `finger` (m)."""
    model = pinocchio.buildModelFromUrdf(str(Path(franky_sim.__file__).parent / "assets/fr3.urdf"))
    data = model.createData()

    def pose(q, frame, finger=0.04):
        pinocchio.framesForwardKinematics(model, data, np.concatenate((q, (finger, finger))))
        return data.oMf[model.getFrameId(f"fr3_{frame}")]

    return pose


@pytest.fixture(scope="module")
def postures():
    return np.random.default_rng(0).uniform(ARM.limits.lower, ARM.limits.upper, (200, 7))


def test_tcp_is_where_the_description_says(described, postures):
    poses = Kinematics(ARM).tcp(postures)
    for q, turn, position in zip(postures, poses.rotation, poses.position, strict=True):
        expected = described(q, "hand_tcp")
        np.testing.assert_allclose(position, expected.translation, atol=MICROMETER)
        np.testing.assert_allclose(turn, expected.rotation, atol=MICROMETER)


def test_links_are_where_the_description_says(described, postures):
    links = Kinematics(ARM).links(postures.reshape(20, 10, 7))
    assert links.rotation.shape == (20, 10, len(LINKS), 3, 3)
    positions, rotations = links.position.reshape(200, -1, 3), links.rotation.reshape(200, -1, 3, 3)
    for q, position, turn in zip(postures, positions, rotations, strict=True):
        for i, frame in enumerate(LINKS):
            expected = described(q, frame)
            np.testing.assert_allclose(position[i], expected.translation, atol=MICROMETER)
            np.testing.assert_allclose(turn[i], expected.rotation, atol=MICROMETER)


def test_end_effector_of_the_cell_moves_the_tcp(postures):
    longer = ARM.model_copy(update={"end_effector_xyz": [0.01, 0.0, 0.05], "end_effector_rpy": [0.1, 0.2, 0.3]})
    plain, moved = Kinematics(ARM).tcp(postures), Kinematics(longer).tcp(postures)
    np.testing.assert_allclose(moved.position, plain.position + plain.rotation @ (0.01, 0.0, 0.05), atol=MICROMETER)
    np.testing.assert_allclose(moved.rotation, plain.rotation @ rotation(0.1, 0.2, 0.3), atol=MICROMETER)
