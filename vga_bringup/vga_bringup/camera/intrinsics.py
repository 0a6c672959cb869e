"""A librealsense stream's intrinsics as the numbers of a sensor_msgs/CameraInfo."""

from __future__ import annotations

from dataclasses import dataclass

import pyrealsense2 as rs

# librealsense projects with the inverse model's coefficients exactly as with the modified model's, and both differ from
# ROS's plumb_bob only by products of radial and tangential terms: under 0.1 pixel for a D400.
_PLUMB_BOB = (
    rs.distortion.none,
    rs.distortion.brown_conrady,
    rs.distortion.modified_brown_conrady,
    rs.distortion.inverse_brown_conrady,
)


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera with distortion; pixels, the optical frame is z forward, x right, y down.

    distortion_model: `plumb_bob` (d: k1 k2 p1 p2 k3) or `equidistant` (d: k1 k2 k3 k4), as ROS names them.
    k: 3x3 camera matrix; r: 3x3 rectification, identity; p: 3x4 projection. All row-major.
    """

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]


def camera_model(intrinsics: rs.intrinsics) -> CameraModel:
    """The camera model of a stream. Raises ValueError for a distortion that ROS has no name for."""
    if intrinsics.model in _PLUMB_BOB:
        distortion_model, coefficients = "plumb_bob", 5
    elif intrinsics.model == rs.distortion.kannala_brandt4:
        distortion_model, coefficients = "equidistant", 4
    else:
        raise ValueError(f"distortion model {intrinsics.model.name} has no counterpart in CameraInfo")
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy
    return CameraModel(
        width=intrinsics.width,
        height=intrinsics.height,
        distortion_model=distortion_model,
        d=tuple(intrinsics.coeffs[:coefficients]),
        k=(fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0),
        r=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        p=(fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0),
    )
