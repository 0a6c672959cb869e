"""What a VGGT sees in some images, as one picture: each image above its depth, with its camera in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vga_policy.model.backbone.patches import PATCH
from vga_policy.model.geometry.pose import decode_cameras
from vga_policy.model.vggt import VGGT, InputError

CAPTION = 44  # pixels of height


def read_images(paths: Sequence[str | Path], width: int) -> Tensor:
    """Images [1, S, 3, H, W] in [0, 1] at `width`, the first one's aspect, both rounded to whole patches."""
    images = []
    for path in paths:
        found = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if found is None:
            raise InputError(f"{path}: cannot be read as an image")
        images.append(cv2.cvtColor(found, cv2.COLOR_BGR2RGB))
    height = width * images[0].shape[0] / images[0].shape[1]
    size = tuple(max(1, round(side / PATCH)) * PATCH for side in (width, height))
    resized = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)[None].float() / 255


def draw_geometry(model: VGGT, images: Tensor) -> NDArray[np.uint8]:
    """The picture [·, ·, 3], BGR. Depth and positions are in the model's unit; near is bright."""
    geometry = model.geometry(images)
    size = (images.shape[-2], images.shape[-1])
    extrinsics, intrinsics = decode_cameras(geometry["pose_enc"][0], size)
    centers = -torch.einsum("sji,sj->si", extrinsics[..., :3], extrinsics[..., 3])
    depth = geometry["depth"][0, ..., 0]
    low, high = (float(torch.quantile(depth.flatten()[::7], q)) for q in (0.02, 0.98))
    columns = []
    for view in range(images.shape[1]):
        color = (images[0, view].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        near = 1 - (depth[view].numpy() - low) / max(high - low, 1e-6)
        shade = cv2.applyColorMap((near.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        x, y, z = centers[view].tolist()
        lines = (f"at {x:.2f} {y:.2f} {z:.2f}", f"f {intrinsics[view, 0, 0]:.0f} {intrinsics[view, 1, 1]:.0f} px")
        columns.append(np.vstack([cv2.cvtColor(color, cv2.COLOR_RGB2BGR), shade, _caption(lines, size[1])]))
    return np.hstack(columns)


def _caption(lines: Sequence[str], width: int) -> NDArray[np.uint8]:
    bar = np.zeros((CAPTION, width, 3), np.uint8)
    for index, line in enumerate(lines):
        cv2.putText(bar, line, (4, 17 + 19 * index), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return bar
