"""The links of a URDF as Rerun draws them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vga_bringup.description.tree import numbers

DEFAULT = "0.8 0.8 0.8 1"


def link_shapes(rerun: Any, urdf: str) -> Iterator[tuple[str, Any]]:
    """Each link's boxes, cylinders and balls, by its name; meshes are left out."""
    for link in ET.fromstring(urdf).iter("link"):
        for visual in link.iter("visual"):
            if (shape := _shape(rerun, visual)) is not None:
                yield link.get("name", ""), shape


def _shape(rerun: Any, visual: ET.Element) -> Any:
    rgba = numbers(visual, "material/color", "rgba", DEFAULT)
    common = {
        "centers": [numbers(visual, "origin", "xyz")],
        "quaternions": [rerun.Quaternion(xyzw=_quaternion(*numbers(visual, "origin", "rpy")))],
        "colors": [[round(255 * value) for value in rgba]],
        "fill_mode": rerun.components.FillMode.Solid,
    }
    if visual.find("geometry/box") is not None:
        return rerun.Boxes3D(half_sizes=[numbers(visual, "geometry/box", "size") / 2], **common)
    if visual.find("geometry/sphere") is not None:
        radius = numbers(visual, "geometry/sphere", "radius")
        return rerun.Ellipsoids3D(half_sizes=[np.repeat(radius, 3)], **common)
    if visual.find("geometry/cylinder") is not None:
        length, radius = (numbers(visual, "geometry/cylinder", key) for key in ("length", "radius"))
        return rerun.Cylinders3D(lengths=length, radii=radius, **common)
    return None


def _quaternion(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """Unit quaternion [4] (x, y, z, w) of a rotation about x, then y, then z, the axes fixed (rad)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll / 2, pitch / 2, yaw / 2]), np.sin([roll / 2, pitch / 2, yaw / 2])
    return np.array(
        (
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        )
    )
