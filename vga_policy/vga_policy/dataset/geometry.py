"""Ground truth of an image for VGGT's heads: depth, intrinsics of the resized image, camera pose."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

PNG_OFFSET = 12  # bytes of image_transport's compressed_depth header: quantization, which 16UC1 has none of


def decode_depth(data: bytes, size: int) -> NDArray[np.float32]:
    """A 16UC1 compressedDepth image as depth [size, size] in m, 0 where there is none; nearest pixels, none mixed.

    Raises ValueError when the data is no such image.
    """
    encoded = np.frombuffer(data, np.uint8, offset=min(PNG_OFFSET, len(data)))
    depth = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if len(encoded) else None
    if depth is None or depth.dtype != np.uint16 or depth.ndim != 2:
        raise ValueError("depth image: no 16-bit PNG after its header")
    return cv2.resize(depth, (size, size), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.float32) / 1000.0


def scale_intrinsics(k: ArrayLike, width: int, height: int, size: int) -> NDArray[np.float32]:
    """K [3, 3] of a width x height image, for that image squeezed to size x size.

    Pixel centers are at whole numbers, as OpenCV and ROS have it: (u + 1/2) scales, not u.
    """
    x, y = size / width, size / height
    squeeze = np.array([[x, 0.0, 0.5 * x - 0.5], [0.0, y, 0.5 * y - 0.5], [0.0, 0.0, 1.0]])
    return (squeeze @ np.asarray(k, dtype=np.float64).reshape(3, 3)).astype(np.float32)


def extrinsics(position: ArrayLike, quaternion: ArrayLike) -> NDArray[np.float32]:
    """The transform base frame → camera optical frame [4, 4] of a camera at this position (m) and orientation (xyzw).

    Raises ValueError when the quaternion is not of unit length.
    """
    x, y, z, w = unit = np.asarray(quaternion, dtype=np.float64)
    if not abs(np.linalg.norm(unit) - 1.0) < 1e-3:
        raise ValueError(f"camera pose: quaternion {unit.tolist()} is not of unit length")
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    transform = np.eye(4)
    transform[:3, :3] = rotation.T
    transform[:3, 3] = -rotation.T @ np.asarray(position, dtype=np.float64)
    return transform.astype(np.float32)
