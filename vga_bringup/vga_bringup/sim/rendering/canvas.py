"""Off-screen drawing of a MuJoCo model: color and depth from one pass, which costs half of drawing them apart."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

COLLISION_GROUP = 3  # geometry that is felt but not seen
MAX_GEOMETRY = 1000


class Canvas:
    """A GL context with room for images of up to height x width. Belongs to the thread that made it; close it there."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._model = model
        self._gl = mujoco.GLContext(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR  # precise far away
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, MAX_GEOMETRY)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._options = mujoco.MjvOption()
        self._options.geomgroup[COLLISION_GROUP] = 0
        self._near = model.vis.map.znear * model.stat.extent
        self._far = model.vis.map.zfar * model.stat.extent

    def draw(
        self, data: mujoco.MjData, camera: str, color: NDArray[np.uint8], *, with_depth: bool
    ) -> NDArray[np.float32] | None:
        """Draws what a camera of the model sees into `color` [H, W, 3]; its depth [H, W], in meters, if wanted."""
        height, width = color.shape[:2]
        self._gl.make_current()
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        window = mujoco.MjrRect(0, 0, width, height)
        pixels = np.empty((height, width, 3), np.uint8)
        nearness = np.empty((height, width), np.float32) if with_depth else None
        mujoco.mjr_render(window, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, nearness, window, self._context)
        color[:] = pixels[::-1]  # OpenGL's images start at the bottom
        if nearness is None:
            return None
        share = self._near / self._far
        return (self._near / (share + nearness[::-1] * (1 - share))).astype(np.float32)

    def close(self) -> None:
        """Frees the GL context."""
        self._context.free()
        self._gl.free()
