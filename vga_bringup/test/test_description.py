"""The robot's URDF and its frames, against MuJoCo's bodies and the URDF that Franka's simulator comes with."""

from pathlib import Path

import franky_sim
import mujoco
import numpy as np
import pinocchio
import pytest
import yaml
from vga_bringup.description.frames import DescriptionError, RobotFrames
from vga_bringup.description.tree import LinkTree
from vga_bringup.description.urdf import robot_description, roll_pitch_yaw
from vga_bringup.robot.bounds.kinematics import rotation
from vga_bringup.sim.physics.simulator import compile_model
from vga_bringup.sim.scene import views
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell, load_cell, parse_cell

CELLS = Path(__file__).parents[1] / "config/cells"
POSITION, ANGLE = 1e-3, np.radians(0.1)  # m, rad: how far tf may be from MuJoCo's own bodies
BODIES = {f"fr3_link{i}": f"robot0_fr3_link{i}" for i in range(1, 8)} | {
    "fr3_hand": "robot0_hand",
    "fr3_leftfinger": "robot0_left_finger",
    "fr3_rightfinger": "robot0_right_finger",
}


@pytest.fixture(scope="module")
def cell():
    return load_cell(CELLS / "sim.yaml")


@pytest.fixture(scope="module")
def frames(cell):
    return RobotFrames(robot_description(cell))


@pytest.fixture(scope="module")
def postures(cell):
    """Of the arm and a finger, [50, 8]."""
    limits = cell.arm.limits
    return np.random.default_rng(0).uniform([*limits.lower, 0.0], [*limits.upper, 0.04], (50, 8))


def composed(frames, positions, root="fr3_link0"):
    """Every frame in the root by tf's rule, a frame after the other: rotation [3, 3] and position [3] by name."""
    placed = {root: (np.eye(3), np.zeros(3))}
    waiting = {pose.child: pose for pose in (*frames.fixed, *frames.moving(positions))}
    while waiting:
        for name in [name for name, pose in waiting.items() if pose.parent in placed]:
            pose = waiting.pop(name)
            turn, place = placed[pose.parent]
            own = pinocchio.Quaternion(np.asarray(pose.quaternion)).matrix()
            placed[name] = (turn @ own, place + turn @ pose.position)
    return placed


def angle_between(a, b):
    return np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))


def test_frames_are_where_mujoco_has_its_bodies_and_cameras(cell, frames, postures):
    model = compile_model([camera.name for camera in cell.cameras])
    data = mujoco.MjData(model)
    joints = [f"robot0_fr3_joint{i}" for i in range(1, 8)] + ["robot0_finger_joint1", "robot0_finger_joint2"]
    worst_place, worst_angle = 0.0, 0.0
    for posture in postures:
        for name, value in zip(joints, [*posture, posture[-1]], strict=True):
            data.joint(name).qpos[0] = value
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        placed = composed(frames, dict(zip(cell.joint_state_names, posture, strict=True)))
        base = data.body(views.BASE_BODY)
        turned = base.xmat.reshape(3, 3).T
        truth = {
            name: (turned @ data.body(body).xmat.reshape(3, 3), turned @ (data.body(body).xpos - base.xpos))
            for name, body in BODIES.items()
        }
        for camera in cell.cameras:
            pose = views.camera_pose(data, camera.name)
            truth[camera.optical_frame] = (pose[:3, :3], pose[:3, 3])
        for name, (turn, place) in truth.items():
            worst_place = max(worst_place, float(np.linalg.norm(placed[name][1] - place)))
            worst_angle = max(worst_angle, float(angle_between(placed[name][0], turn)))
    assert worst_place < POSITION
    assert worst_angle < ANGLE


def test_frames_are_those_of_franka_s_own_description(cell, frames, postures):
    """Their names, too: whatever a lab has built upon franka_description finds them."""
    model = pinocchio.buildModelFromUrdf(str(Path(franky_sim.__file__).parent / "assets/fr3.urdf"))
    data = model.createData()
    for posture in postures[:10]:
        pinocchio.framesForwardKinematics(model, data, np.append(posture, posture[-1]))
        placed = composed(frames, dict(zip(cell.joint_state_names, posture, strict=True)))
        links = [frame.name for frame in model.frames if frame.name in placed]
        assert len(links) == 13  # link0 to link8, hand, its tcp, two fingers
        for name in links:
            theirs = data.oMf[model.getFrameId(name)]
            np.testing.assert_allclose(placed[name][0], theirs.rotation, atol=1e-6)
            np.testing.assert_allclose(placed[name][1], theirs.translation, atol=1e-6)


def test_a_tree_of_links_has_the_same_frames_for_all_postures_at_once(cell, frames, postures):
    tree = LinkTree(robot_description(cell))
    positions = dict(zip(cell.joint_state_names, postures.T, strict=True))
    assert tree.joints.keys() | {tree.root} == composed(frames, dict.fromkeys(cell.joint_state_names, 0.0)).keys()
    for name in tree.joints:
        poses = tree.pose(name, positions)
        for i, posture in enumerate(postures[:5]):
            placed = composed(frames, dict(zip(cell.joint_state_names, posture, strict=True)))
            turn, place = np.broadcast_to(poses.rotation, (len(postures), 3, 3))[i], poses.position
            np.testing.assert_allclose(turn, placed[name][0], atol=1e-9)
            np.testing.assert_allclose(np.broadcast_to(place, (len(postures), 3))[i], placed[name][1], atol=1e-9)


def test_a_hand_that_is_not_connected_leaves_its_fingers_out(cell, frames):
    moved = frames.moving(dict(zip(cell.arm.joint_names, cell.arm.home, strict=True)))
    assert [pose.child for pose in moved] == [f"fr3_link{i}" for i in range(1, 8)]
    fingers = frames.moving({cell.gripper.joint_name: 0.03, "somebody_else": 1.0})
    assert {pose.child: pose.position[1] for pose in fingers} == pytest.approx(
        {"fr3_leftfinger": 0.03, "fr3_rightfinger": -0.03}
    )


def test_a_prefix_is_of_every_frame_and_of_no_joint(cell, frames):
    left = RobotFrames(robot_description(cell, "left/"))
    home = dict(zip(cell.joint_state_names, [*cell.arm.home, 0.04], strict=True))
    assert left.joints == frames.joints
    poses = [*left.fixed, *left.moving(home)]
    assert all(pose.parent.startswith("left/") and pose.child.startswith("left/") for pose in poses)
    assert len(poses) == len([*frames.fixed, *frames.moving(home)])


def test_a_panda_is_called_as_a_panda():
    panda = load_cell(CELLS / "lab_panda.yaml")
    frames = RobotFrames(robot_description(panda))
    placed = composed(frames, dict(zip(panda.joint_state_names, [*panda.arm.home, 0.0], strict=True)), "panda_link0")
    assert set(placed) == {*panda.arm.frames, "panda_leftfinger", "panda_rightfinger"}  # no camera has a pose


@pytest.mark.parametrize("angles", [(0.3, -0.2, 2.0), (-3.0, 1.5, -1.0), (0.7, np.pi / 2, 0.0), (0.7, -np.pi / 2, 0.4)])
def test_angles_of_a_rotation(angles):
    turn = rotation(*angles)
    np.testing.assert_allclose(rotation(*roll_pitch_yaw(turn)), turn, atol=1e-9)


@pytest.mark.parametrize("text", ["", "<robot", "<robot name='a'/>", "not xml"])
def test_what_is_no_urdf_is_refused(text):
    for reader in (RobotFrames, LinkTree):
        with pytest.raises(DescriptionError, match="robot_description is no URDF"):
            reader(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"parent": "fr3_link9"},
            "wrist: pose.parent 'fr3_link9' is no frame of this arm; it has fr3_link0, fr3_link1",
        ),
        ({"quaternion": [0.0, 0.0, 0.0, 2.0]}, "quaternion must be of length 1, and is of 2"),
    ],
)
def test_a_camera_pose_that_is_none_is_refused(cell, change, message):
    data = cell.model_dump(mode="json")
    data["cameras"][1]["pose"] |= change
    with pytest.raises(CellError, match=message):
        parse_cell(yaml.safe_dump(data))


def test_a_cell_keeps_its_camera_poses(cell):
    assert parse_cell(dump_cell(cell)) == cell
