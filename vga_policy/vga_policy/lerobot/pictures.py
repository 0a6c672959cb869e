"""Which pictures a camera's feature promises, and whether those that come are these, in color."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vga_policy.lerobot.description import WIDEST, FrameFeature
from vga_policy.lerobot.errors import LeRobotError, quoted

JPEG_START = b"\xff\xd8\xff"
COLOR_SPACES = ("YCbCr", "RGB")  # of a JPEG
AXES = {"height": "height", "h": "height", "width": "width", "w": "width",
        "channels": "channels", "channel": "channels", "c": "channels", "rgb": "channels"}  # fmt: skip
DEPTH_NAME = re.compile(r"(?<![a-z])depth(?![a-z])", re.IGNORECASE)
DEPTH_KEYS = ("is_depth_map", "video.is_depth_map")


class PictureSize(NamedTuple):
    """Of a picture, pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def promised_size(feature: FrameFeature, where: str) -> PictureSize:
    """How large a color camera's pictures are by the names of the shape's axes, else by where its 3 channels are.

    where: file and key, for messages.

    Raises LeRobotError when the feature is not of color pictures, or its shape is none of theirs.
    """
    described = f"{where}: shape {quoted(feature.shape)}, names {quoted(feature.names)}"
    if feature.dtype not in ("image", "video"):
        raise LeRobotError(f"{where}: dtype is {quoted(feature.dtype)}, expected image or video")
    if len(feature.shape) != 3:
        raise LeRobotError(f"{described}: expected height, width and 3 channels: correct it")
    sizes = _by_names(feature) or _by_channels(feature.shape)
    info = feature.info or {}
    flags = [info[name] for name in DEPTH_KEYS if name in info]
    if any(flags) or (DEPTH_NAME.search(where.rpartition(": ")[2]) and not flags):
        raise LeRobotError(f"{where}: is a depth map: depth is not taken for color: choose the color feature")
    if sizes["channels"] != 3:
        raise LeRobotError(f"{described}: {sizes['channels']} channels, a color camera has 3: correct it")
    if max(sizes["height"], sizes["width"]) > WIDEST:
        raise LeRobotError(f"{described}: larger than any camera's: correct it")
    return PictureSize(sizes["height"], sizes["width"])


def jpeg(image: bytes | NDArray[np.uint8], quality: int, size: PictureSize) -> bytes:
    """An image, encoded or as pixels [H, W, 3], as JPEG: as it is if it is one.

    Raises LeRobotError when it is damaged, not in color, or of another size than promised.
    """
    if isinstance(image, bytes):
        if image.startswith(JPEG_START):
            _check_jpeg(image, size)
            return image
        image = _decoded(image)
    _check_size(image.shape[:2], size)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420"))


def _by_names(feature: FrameFeature) -> dict[str, int] | None:
    names = [AXES.get(name.lower()) if isinstance(name, str) else None for name in feature.listed_names or []]
    if sorted(map(str, names)) != ["channels", "height", "width"]:
        return None
    return {str(name): number for name, number in zip(names, feature.shape, strict=True)}


def _by_channels(shape: list[int]) -> dict[str, int]:
    first = shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4)
    channels, height, width = shape if first else (shape[2], *shape[:2])
    return {"channels": channels, "height": height, "width": width}


def _check_jpeg(image: bytes, size: PictureSize) -> None:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(image)
        if space not in COLOR_SPACES:
            raise LeRobotError(f"is a JPEG in {space}, not in color")
        _check_size((height, width), size)
        simplejpeg.decode_jpeg(image)
    except LeRobotError:
        raise
    except ValueError as error:
        raise LeRobotError(f"cannot be decoded: {quoted(str(error))[1:-1]}") from None


def _decoded(image: bytes) -> NDArray[np.uint8]:
    """RGB pixels [H, W, 3] of any other encoding."""
    pixels: Any = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED) if image else None
    if pixels is None:
        raise LeRobotError("cannot be decoded")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        raise LeRobotError(
            f"has {channels} channels of {8 * pixels.dtype.itemsize} bit, not color: depth is not taken for it"
        )
    kind = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGB
    return np.asarray(cv2.cvtColor(pixels, kind), dtype=np.uint8)


def _check_size(found: tuple[int, ...], promised: PictureSize) -> None:
    if tuple(found) != promised:
        raise LeRobotError(f"is {PictureSize(*found)}, but info.json says {promised}: correct info.json")
