"""Camera images to the model's input, on the host with OpenCV; training uses the same function.

`vga_policy.inference.area` does the same on a GPU, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def resize_views(images: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """RGB images [H, W, 3] of any sizes, each squeezed whole to a square: [V, 3, size, size]."""
    return np.stack([square(image, size) for image in images]).transpose(0, 3, 1, 2)


def square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """An RGB image [H, W, 3] squeezed whole to [size, size, 3]."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
