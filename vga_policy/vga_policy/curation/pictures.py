"""What the cameras saw: frames that stand still, and small pictures for the contact sheet."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vga_policy.bags.reader import Bag, BagError
from vga_policy.observation.resampler import jpeg_size

STILL_LEVELS = 1  # gray levels (of 255) a picture of 1/8 size may differ by and still count as the same
COARSE = 8  # a JPEG decodes to 1/8 of its size from the mean of each 8 x 8 block alone: fast, and deaf to noise
THUMBNAIL_WIDTH = 200  # pixels


@dataclass(frozen=True)
class StillSpan:
    """Consecutive frames, two or more, that show the same. Stamps of the first and the last, ns."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Strip:
    """The frames of one camera. runs: where it stood still. thumbnails: first, middle and last frame, small JPEGs."""

    runs: list[StillSpan]
    thumbnails: list[bytes]


def read_strip(bag: Bag, topic: str) -> Strip:
    """Looks at every frame of a camera. Raises BagError at one that is no intact JPEG.

    A frame is compared with the first of its run, not with the one before it, so that slow motion adds up.
    """
    stamps = bag.ordered_stamps(topic)
    begins = [0]
    first = _coarse(bag, topic, 0)
    for index in range(1, len(stamps)):
        picture = _coarse(bag, topic, index)
        if picture.shape != first.shape or np.abs(picture - first).max() > STILL_LEVELS:
            begins.append(index)
            first = picture
    ends = [begin - 1 for begin in begins[1:]] + [len(stamps) - 1]
    runs = [StillSpan(int(stamps[i]), int(stamps[j])) for i, j in zip(begins, ends, strict=True) if j > i]
    return Strip(runs, [_thumbnail(bag, topic, index) for index in (0, len(stamps) // 2, len(stamps) - 1)])


def _coarse(bag: Bag, topic: str, index: int) -> NDArray[np.int16]:
    """Gray picture of 1/8 size."""
    data = bag.message(topic, index).data
    try:
        height, width = jpeg_size(data)
        size = {"min_height": -(-height // COARSE), "min_width": -(-width // COARSE)}
        return simplejpeg.decode_jpeg(data, "GRAY", min_factor=COARSE, **size)[..., 0].astype(np.int16)
    except ValueError as error:
        raise BagError(f"{bag.file}: {topic}: image {index}: {error}") from None


def _thumbnail(bag: Bag, topic: str, index: int) -> bytes:
    """JPEG of a frame, THUMBNAIL_WIDTH wide; `_coarse` has found it intact."""
    data = bag.message(topic, index).data
    pixels = simplejpeg.decode_jpeg(data, min_width=THUMBNAIL_WIDTH, min_factor=1)
    height = round(pixels.shape[0] * THUMBNAIL_WIDTH / pixels.shape[1])
    small = cv2.resize(pixels, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(small), 75, "RGB", "420"))
