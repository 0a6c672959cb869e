"""Cameras of the benchmark's scenes: pictures the right way up, depth in m, intrinsics and extrinsics.

Pixel centers are at whole numbers, as in vga_policy.dataset.geometry; the simulator's own matrices have them at halves.
"""

from __future__ import annotations

import atexit
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from vga_policy.libero.errors import LiberoError

CAMERAS = ("agentview", "robot0_eye_in_hand")  # in the order of the policy's slots
SIZE = 224
FAR = 60.0  # m; depth beyond is the sky's, and is given as 0: unknown
OPENCV = np.diag([1.0, -1.0, -1.0])  # MuJoCo's camera looks along -z, y up


@dataclass(frozen=True)
class Views:
    """What the cameras see. images: uint8 [V, S, S, 3], RGB; depth: float32 [V, S, S], m along the optical axis, 0
    where unknown; intrinsics: float32 [V, 3, 3]; extrinsics: float32 [V, 4, 4], world to camera (OpenCV)."""

    images: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float32]
    extrinsics: NDArray[np.float32]

    def mirrored(self) -> Views:
        """All views as in a mirror, left for right, with the cameras of that mirrored world.

        Published checkpoints were trained on pictures turned by 180° from the simulator's, which are upside down: they
        are mirrored. Reflected are the camera's axis x and the world's, so that each rotation stays one.
        """
        across = np.diag([-1.0, 1.0, 1.0, 1.0]).astype(np.float32)
        intrinsics = self.intrinsics.copy()
        intrinsics[:, 0, 2] = self.images.shape[2] - 1 - intrinsics[:, 0, 2]
        return Views(
            np.ascontiguousarray(self.images[:, :, ::-1]),
            np.ascontiguousarray(self.depth[:, :, ::-1]),
            intrinsics,
            (across @ self.extrinsics @ across).astype(np.float32),
        )


def intrinsics(fovy: float, size: int) -> NDArray[np.float32]:
    """K [3, 3] of a square picture of `size` pixels with this vertical field of view (degrees)."""
    focal, center = size / 2 / math.tan(math.radians(fovy) / 2), (size - 1) / 2
    return np.array([[focal, 0, center], [0, focal, center], [0, 0, 1]], dtype=np.float32)


def extrinsics(position: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float32]:
    """World to camera (OpenCV) [4, 4] of MuJoCo's camera at `position` with axes `rotation` [3, 3]."""
    transform = np.eye(4)
    transform[:3, :3] = (rotation @ OPENCV).T
    transform[:3, 3] = -transform[:3, :3] @ position
    return transform.astype(np.float32)


def require_graphics() -> None:
    """Raises LiberoError where the machine cannot render."""
    _context(1).free()


def _context(size: int) -> Any:
    """What pictures of this size are drawn in, made current."""
    try:
        from mujoco.egl import GLContext

        context = GLContext(size, size)
        context.make_current()
    except Exception as error:  # whatever EGL and its loaders raise
        reason = (str(error) or repr(error)).splitlines()[0]
        raise LiberoError(
            f"pictures cannot be rendered: no EGL ({reason}): "
            "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri; and MUJOCO_GL must be egl or unset"
        ) from None
    return context


class Renderer:
    """Draws one model in the graphics of the published results. Needs EGL, but no GPU."""

    def __init__(self, model: Any, size: int) -> None:
        """Raises LiberoError where the machine cannot render."""
        self.model, self.size = model, size
        model.vis.global_.offwidth = max(size, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(size, model.vis.global_.offheight)
        self._context = _context(size)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._drawing)
        self._options, self._perturbation = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._options.geomgroup[0] = 0  # shapes of collision
        atexit.register(self._end)  # before EGL's own end, which would complain

    def views(self, data: Any, cameras: tuple[str, ...] = CAMERAS) -> Views:
        """What these cameras see of a simulation, whose derived quantities are up to date."""
        images, depths, matrices, poses = [], [], [], []
        for name in cameras:
            image, depth = self._draw(data, self.model.camera(name).id)
            images.append(image)
            depths.append(depth)
            matrices.append(intrinsics(float(self.model.camera(name).fovy[0]), self.size))
            poses.append(extrinsics(data.camera(name).xpos, data.camera(name).xmat.reshape(3, 3)))
        return Views(np.stack(images), np.stack(depths), np.stack(matrices), np.stack(poses))

    def close(self) -> None:
        """Gives the graphics memory back."""
        atexit.unregister(self._end)
        self._context.make_current()  # what is freed belongs to whichever context is current
        self._drawing.free()
        self._context.free()

    def _end(self) -> None:
        with suppress(Exception):  # robosuite's renderer, if there was one, has ended EGL before
            self.close()

    def _draw(self, data: Any, camera: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        eye = mujoco.MjvCamera()
        eye.type, eye.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
        mujoco.mjv_updateScene(
            self.model, data, self._options, self._perturbation, eye, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        self._context.make_current()
        window = mujoco.MjrRect(0, 0, self.size, self.size)
        mujoco.mjr_render(window, self._scene, self._drawing)
        image = np.empty((self.size, self.size, 3), np.uint8)
        buffer = np.empty((self.size, self.size), np.float32)
        mujoco.mjr_readPixels(image, buffer, window, self._drawing)
        return image[::-1].copy(), self._meters(buffer)[::-1].copy()  # bottom row first

    def _meters(self, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
        extent = self.model.stat.extent
        near, far = self.model.vis.map.znear * extent, self.model.vis.map.zfar * extent
        depth = near / (1.0 - buffer.astype(np.float64) * (1.0 - near / far))
        return np.where(depth < min(FAR, 0.99 * far), depth, 0.0).astype(np.float32)
