"""Camera images to the model's input; training uses the same function."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def resize_views(images: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """RGB images [H, W, 3] of any sizes, each squeezed whole to a square: [V, 3, size, size]."""
    squares = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(squares).transpose(0, 3, 1, 2)
