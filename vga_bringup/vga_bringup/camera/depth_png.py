"""Depth as image_transport's compressedDepth has it: a header and a PNG of 16 bits."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

FORMAT = "16UC1; compressedDepth png"
_HEADER = struct.pack("<iff", 0, 0.0, 0.0)  # compressed_depth_image_transport's ConfigHeader, unused for 16UC1
_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def compressed(depth: NDArray[np.uint16]) -> bytes:
    """The data of a message of this depth [H, W], mm."""
    return _HEADER + cv2.imencode(".png", depth, _FAST)[1].tobytes()
