"""Where the cell's cameras look from, and their ground truth: intrinsics and extrinsics in OpenCV's convention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.errors import CellError
from vga_policy.cell.schema import Cell

from vga_bringup.robot.bounds.kinematics import rotation

# A D415's color sensor sees 69.4 degrees across in 16:9. Its 4:3 profiles crop the sides, so that what is the same in
# every profile is the vertical field of view.
FOVY = 2 * np.arctan(np.tan(np.radians(69.4) / 2) * 9 / 16)

BASE_BODY = "robot0_base"
HAND_BODY = "robot0_hand"
BEHIND_LENS = 0.0125  # m from the optical center to the middle of a camera's body


class View(NamedTuple):
    """A camera pose, in meters in the frame of `body` ('world' is the arm's base frame).

    position: optical center. target: a point on the optical axis. up: a direction that points up in the image.
    """

    body: str
    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float]


VIEWS: Mapping[str, View] = {
    "fixed_1": View("world", (1.12, -0.66, 0.66), (0.44, 0.00, 0.17), (0.0, 0.0, 1.0)),
    "fixed_2": View("world", (0.72, 0.86, 0.92), (0.44, -0.02, 0.15), (0.0, 0.0, 1.0)),
    "wrist": View(HAND_BODY, (0.090, 0.0, -0.050), (0.043, 0.0, 0.20), (1.0, 0.0, 0.0)),
}


def displaced(text: str) -> tuple[str, View]:
    """A camera that stands elsewhere, as text says: NAME X Y Z [ROLL PITCH YAW], moved by m and turned by degrees about
    the axes of its parent's frame. Raises CellError saying what is wrong with the text."""
    name, *numbers = text.split()
    try:
        by = [float(number) for number in numbers]
    except ValueError:
        by = []
    if len(by) not in (3, 6) or not np.isfinite(by).all():
        raise CellError(f"moved camera {text!r}: write NAME X Y Z or NAME X Y Z ROLL PITCH YAW, m and degrees")
    if name not in VIEWS:
        raise CellError(f"moved camera {text!r}: simulated are {', '.join(VIEWS)}")
    view, turn = VIEWS[name], rotation(*np.radians([*by, 0.0, 0.0, 0.0][3:6]))
    at = np.add(view.position, by[:3])
    ahead, up = at + turn @ np.subtract(view.target, view.position), turn @ view.up
    return name, View(view.body, *(tuple(vector.tolist()) for vector in (at, ahead, up)))


def require_simulated(cell: Cell) -> None:
    """Raises CellError where the cell has a camera that is not simulated."""
    for camera in cell.cameras:
        if camera.name not in VIEWS:
            raise CellError(f"camera '{camera.name}' is not simulated; simulated are {', '.join(VIEWS)}")


def mjcf(name: str, view: View) -> str:
    """The view as an MJCF camera with the body of a D415 behind its lens."""
    right, up, backward = _axes(view).T
    position = np.array(view.position)
    return f"""
      <camera name="{name}" pos="{_text(position)}" xyaxes="{_text(right)} {_text(up)}" fovy="{np.degrees(FOVY):.4f}"/>
      <geom name="{name}_body" type="box" size="0.0495 0.010 0.0115" pos="{_text(position + BEHIND_LENS * backward)}"
            xyaxes="{_text(right)} {_text(up)}" rgba="0.55 0.57 0.60 1" contype="0" conaffinity="0" mass="0"/>
    """


def move(model: mujoco.MjModel, name: str, view: View) -> None:
    """Moves a camera of a compiled model, with its body, to another view from the same parent."""
    axes, quaternion = _axes(view), np.empty(4)
    mujoco.mju_mat2Quat(quaternion, axes.ravel())
    camera, body = model.camera(name), model.geom(f"{name}_body")
    camera.pos[:], camera.quat[:] = view.position, quaternion
    body.pos[:], body.quat[:] = np.array(view.position) + BEHIND_LENS * axes[:, 2], quaternion


def intrinsics(width: int, height: int) -> NDArray[np.float64]:
    """Camera matrix K [3, 3] in pixels; the center of the upper left pixel is (0, 0)."""
    focal = height / 2 / np.tan(FOVY / 2)
    return np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]])


def camera_pose(data: mujoco.MjData, name: str) -> NDArray[np.float64]:
    """Pose [4, 4] of a camera's optical frame (x right, y down, z forward) in the arm's base frame.

    Its inverse is the extrinsic matrix. Valid after `mj_kinematics` and `mj_camlight`.
    """
    base, camera = data.body(BASE_BODY), data.camera(name)
    base_rotation = base.xmat.reshape(3, 3)
    pose = np.eye(4)
    pose[:3, :3] = base_rotation.T @ camera.xmat.reshape(3, 3) @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = base_rotation.T @ (camera.xpos - base.xpos)
    return pose


def _axes(view: View) -> NDArray[np.float64]:
    """Rotation [3, 3] whose columns are MuJoCo's camera axes: right, up, backward."""
    backward = np.subtract(view.position, view.target)
    backward /= np.linalg.norm(backward)
    right = np.cross(view.up, backward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward], axis=1)


def _text(vector: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.6g}" for value in vector)
