"""Table 6's image augmentation, batched: random crops and colors, each view of each sample on its own.

Geometry follows the crop: intrinsics and depth are the cropped image's. Extrinsics stay: a crop moves no camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vga_policy.model.geometry.scene import Scene
from vga_policy.train.config import AugmentationConfig

# Luma and chroma (NTSC): in this space a hue is an angle and saturation a length.
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@dataclass(frozen=True)
class Distortion:
    """One draw. All [B, V]: left, top and side of the square that is kept, of the image's side; and the colors'."""

    left: Tensor
    top: Tensor
    side: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor

    def __getitem__(self, samples: slice) -> Distortion:
        return Distortion(*(value[samples] for value in vars(self).values()))

    def to(self, device: torch.device | str) -> Distortion:
        """The same on a device."""
        return Distortion(*(value.to(device) for value in vars(self).values()))


def draw(config: AugmentationConfig, batch: int, views: int, rng: np.random.Generator) -> Distortion:
    """Random distortions of `batch` samples of `views` views."""

    def uniform(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, (batch, views))

    side = np.sqrt(uniform(*config.crop))
    values = (
        uniform(0, 1) * (1 - side),
        uniform(0, 1) * (1 - side),
        side,
        uniform(-config.brightness, config.brightness),
        uniform(*config.contrast),
        uniform(*config.saturation),
        uniform(-config.hue, config.hue),
    )
    return Distortion(*(torch.from_numpy(value).float() for value in values))


def distort_images(images: Tensor, distortion: Distortion) -> Tensor:
    """Images float [B, V, 3, S, S] in [0, 1], cropped, resized back to S and recolored, in [0, 1]."""
    cropped = _resample(images, distortion, "bilinear")
    return _recolor(cropped, distortion).clamp_(0.0, 1.0)


def distort_scene(scene: Scene, distortion: Distortion) -> Scene:
    """The labels of the views that `distort_images` makes of the scene's."""
    known = torch.where(scene.mask, scene.depth, 0.0)
    depth = _resample(known[:, :, None], distortion, "nearest")[:, :, 0]
    size = scene.depth.shape[-1]
    zoom, left, top = 1 / distortion.side, distortion.left * size, distortion.top * size
    intrinsics = scene.intrinsics.clone()
    intrinsics[..., 0, :] *= zoom[..., None]
    intrinsics[..., 1, :] *= zoom[..., None]
    # Pixel centers are whole numbers: edges, which a crop moves, lie half a pixel beside them.
    intrinsics[..., 0, 2] += (0.5 - left) * zoom - 0.5
    intrinsics[..., 1, 2] += (0.5 - top) * zoom - 0.5
    return replace(scene, intrinsics=intrinsics, depth=depth, mask=depth > 0)


def _resample(images: Tensor, distortion: Distortion, mode: str) -> Tensor:
    """Images [B, V, C, S, S] → the kept squares at the same size."""
    side = distortion.side.flatten()
    theta = side.new_zeros(len(side), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    # In grid_sample's coordinates the image's edges are at -1 and 1.
    theta[:, 0, 2] = 2 * distortion.left.flatten() + side - 1
    theta[:, 1, 2] = 2 * distortion.top.flatten() + side - 1
    flat = images.flatten(0, 1)
    grid = functional.affine_grid(theta, list(flat.shape), align_corners=False)
    resampled = functional.grid_sample(flat, grid, mode=mode, padding_mode="border", align_corners=False)
    return resampled.unflatten(0, images.shape[:2])


def _recolor(images: Tensor, distortion: Distortion) -> Tensor:
    """Brightness, contrast about each channel's mean, then saturation and hue: together one affine map of colors."""
    mean = images.mean(dim=(-2, -1))
    contrast = distortion.contrast[..., None]
    shift = (1 - contrast) * mean + distortion.brightness[..., None]
    chroma = _chroma_map(distortion.saturation, distortion.hue)
    recolored = (contrast[..., None] * chroma) @ images.flatten(-2) + chroma @ shift[..., None]
    return recolored.unflatten(-1, images.shape[-2:])


def _chroma_map(saturation: Tensor, hue: Tensor) -> Tensor:
    """Matrices [..., 3, 3] that turn hues by `hue` turns and stretch saturations, at the same luma."""
    to_yiq = torch.tensor(YIQ, dtype=hue.dtype, device=hue.device)
    cosine, sine = saturation * torch.cos(2 * math.pi * hue), saturation * torch.sin(2 * math.pi * hue)
    turn = hue.new_zeros(*hue.shape, 3, 3)
    turn[..., 0, 0] = 1
    turn[..., 1, 1] = turn[..., 2, 2] = cosine
    turn[..., 1, 2], turn[..., 2, 1] = -sine, sine
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq
