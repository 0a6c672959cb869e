"""What the policy knows of depth, and what depth cameras measure, as colored points.

The 3D heads run in a process of their own, of the lowest priority, one look at a time: they get what nobody else wants
of the processors, and whoever draws waits for nothing.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future
from functools import cache, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from vga_policy.workers import worker_pool

Array = NDArray[np.float32]
APART = 500_000_000  # ns between two looks
POINTS = 80  # along a side of a picture, at most: more are not told apart


class GeometryError(ValueError):
    """A policy that knows no geometry. The message says why."""


class Look(NamedTuple):
    """What a policy looks at: the stamp of its chunk (ns), JPEG files by camera in its order, proprioception [P], and
    what it was told."""

    stamp: int
    images: dict[str, bytes]
    proprioception: NDArray[np.float64]
    instruction: str


class Cloud(NamedTuple):
    """Points [N, 3] (m) in a camera's optical frame, with their colors [N, 3] (RGB)."""

    points: Array
    colors: NDArray[np.uint8]


class SeenDepth(NamedTuple):
    """What was seen in a look, by camera; all in the optical frame of the first."""

    stamp: int
    clouds: dict[str, Cloud]


class Geometry:
    """The 3D heads of a checkpoint, asked in the background; close it.

    image_size: side (px) of the squares that the policy sees.
    """

    def __init__(self, checkpoint: str, *, patient: bool) -> None:
        """patient: every look that is due is waited for, as drawing an episode wants it.

        Raises GeometryError, and what loading a checkpoint raises.
        """
        self._pool = worker_pool(1, _step_back)
        self._checkpoint, self._patient = checkpoint, patient
        self._looking: Future[SeenDepth] | None = None
        self._last = -APART
        try:
            self.image_size = self._pool.submit(_image_size, checkpoint).result()
        except BaseException:
            self.close()
            raise

    def look(self, look: Look) -> None:
        """Looks, if it is time to and the last look is over."""
        if 0 <= look.stamp - self._last < APART or self._looking is not None:
            return
        self._last = look.stamp
        self._looking = self._pool.submit(_see, self._checkpoint, look)

    def seen(self) -> SeenDepth | None:
        """What was seen, once; None where nothing is new."""
        if self._looking is None or not (self._patient or self._looking.done()):
            return None
        looking, self._looking = self._looking, None
        return looking.result()

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown(cancel_futures=True)


def depth_cloud(depth: Array, image: NDArray[np.uint8], matrix: NDArray[Any]) -> Cloud:
    """Depth [H, W] (m, 0: none) with the RGB image [H, W, 3] and matrix [3, 3] (px) of the same camera."""
    step = -(-max(depth.shape) // POINTS)
    rows, columns = np.mgrid[: depth.shape[0] : step, : depth.shape[1] : step]
    z = depth[rows, columns]
    x, y = (columns - matrix[0, 2]) * z / matrix[0, 0], (rows - matrix[1, 2]) * z / matrix[1, 1]
    known = z > 0
    return Cloud(np.stack((x, y, z), axis=-1)[known].astype(np.float32), image[rows, columns][known])


def rgb(jpeg: bytes) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of a JPEG file. Raises ValueError when it is none."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("an image that cannot be decoded")
    return np.ascontiguousarray(image[..., ::-1])


# In the process of its own.


def _step_back() -> None:
    """Leaves the processors to everybody else, and Ctrl-C to who started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@cache
def _loaded(checkpoint: str) -> Any:
    import torch
    from vga_policy.checkpoints.checkpoint import load

    torch.set_num_threads(1)
    loaded = load(checkpoint)
    loaded.model.eval()
    return loaded


@lru_cache(maxsize=16)
def _embedding(checkpoint: str, instruction: str) -> Array:
    loaded = _loaded(checkpoint)
    known = loaded.embeddings.get(instruction)
    return np.array(loaded.encoder.encode(instruction) if known is None else known)


def _image_size(checkpoint: str) -> int:
    model = _loaded(checkpoint).model
    if getattr(model, "camera_head", None) is None or getattr(model, "depth_head", None) is None:
        raise GeometryError(f"{checkpoint}: built without camera and depth heads: it predicts actions only")
    return int(_loaded(checkpoint).config.image_size)


def _see(checkpoint: str, look: Look) -> SeenDepth:
    import torch
    from vga_policy.inference.preprocess import resize_views
    from vga_policy.model.geometry.pose import decode_cameras

    loaded = _loaded(checkpoint)
    size = loaded.config.image_size
    images = resize_views([rgb(jpeg) for jpeg in look.images.values()], size)
    felt = loaded.normalization.proprioception.normalize(look.proprioception[None])
    told = torch.from_numpy(_embedding(checkpoint, look.instruction))[None]
    with torch.inference_mode():
        found = loaded.model.predict(torch.from_numpy(images)[None] / 255.0, told, torch.from_numpy(felt).float())
        extrinsics, matrices = (value[0].numpy() for value in decode_cameras(found.cameras[-1].float(), (size, size)))
    clouds = {}
    for slot, name in enumerate(look.images):
        cloud = depth_cloud(found.depth[0, slot].numpy(), images[slot].transpose(1, 2, 0), matrices[slot])
        turn, shift = extrinsics[slot, :, :3], extrinsics[slot, :, 3]
        clouds[name] = Cloud(((cloud.points - shift) @ turn).astype(np.float32), cloud.colors)
    return SeenDepth(look.stamp, clouds)
