"""From a batch of samples, in physical units, to the model's inputs and what it should predict.

A sample is what SampleDataset and SceneDataset of vga_policy.dataset return; a batch of them the same keys with a first
axis more, and lists of what is no tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.embodiment.embodiment import Embodiment
from vga_policy.model.geometry.pose import encode_cameras
from vga_policy.model.geometry.scene import Scene, normalize
from vga_policy.objective.losses import TrainingLabels
from vga_policy.text.encoder import TextEncoder
from vga_policy.train.input.augmentation import Distortion, distort_images, distort_scene

RawBatch = Mapping[str, Any]
"""Samples collated, still in physical units."""


@dataclass(frozen=True)
class Batch:
    """images [B, V, 3, S, S] in [0, 1]; language [B, E]; proprioception [B, P], normalized; labels, normalized.

    keyframe [B, K]: the arm's part of a proprioception, normalized as that is. Without statistics (scenes alone) it,
    language, proprioception and the actions' labels are empty.
    """

    images: Tensor
    language: Tensor
    proprioception: Tensor
    labels: TrainingLabels
    keyframe: Tensor


def parts(batch: Batch, count: int) -> Iterator[Batch]:
    """The batch in `count` parts of equally many samples, in order."""
    size = len(batch.images) // count
    for start in range(0, count * size, size):
        share = slice(start, start + size)
        labels = TrainingLabels(**{name: value[share] for name, value in vars(batch.labels).items()})
        own = {name: value[share] for name, value in vars(batch).items() if name != "labels"}
        yield Batch(**own, labels=labels)


class BatchPreprocessor:
    """Turns samples into batches on a device."""

    def __init__(
        self,
        device: torch.device | str,
        *,
        embodiment: Embodiment | None = None,
        normalization: Normalization | None = None,
        encoder: TextEncoder | None = None,
        metric: bool = True,
    ) -> None:
        """metric: lengths stay meters (vga_policy.model.geometry.scene)."""
        self._device = torch.device(device)
        self._embodiment = embodiment
        self._normalization = normalization
        self._encoder = encoder
        self._metric = metric
        self._embeddings: dict[str, Tensor] = {}

    def __call__(self, samples: RawBatch, distortion: Distortion | None = None) -> Batch:
        """Distorts the views, if asked to, and normalizes."""
        images = samples["images"].to(self._device, non_blocking=True).float() / 255
        cameras, depth, mask = self._geometry(samples, images.shape[-1], distortion)
        if distortion is not None:
            images = distort_images(images, distortion.to(self._device))
        language, proprioception, actions, action_mask, keyframe = self._control(samples, len(images))
        known = mask.flatten(2).any(dim=2) if "geometry_mask" not in samples else samples["geometry_mask"]
        labels = TrainingLabels(
            actions=actions,
            action_mask=action_mask,
            cameras=cameras,
            # Cameras are told from the first view's: without that one's pose none is known.
            camera_mask=(known & known[:, :1]).to(self._device),
            depth=depth,
            depth_mask=mask,
        )
        return Batch(images, language, proprioception, labels, keyframe)

    def _geometry(self, samples: RawBatch, size: int, distortion: Distortion | None) -> tuple[Tensor, Tensor, Tensor]:
        """Camera encodings, depth and where it is known; nothing is, where the samples carry no ground truth."""
        if "depth" not in samples:
            batch, views = samples["images"].shape[:2]
            nothing = torch.zeros(batch, views, size, size, device=self._device)
            return torch.zeros(batch, views, 9, device=self._device), nothing, nothing.bool()
        given = {
            key: samples[key].to(self._device, non_blocking=True)
            for key in ("extrinsics", "intrinsics", "depth", "depth_mask")
        }
        scene = Scene(given["extrinsics"][..., :3, :], given["intrinsics"], given["depth"], given["depth_mask"])
        if distortion is not None:
            scene = distort_scene(scene, distortion.to(self._device))
        scene, _ = normalize(scene, metric=self._metric)
        cameras = encode_cameras(scene.extrinsics, scene.intrinsics, (size, size))
        return cameras, scene.depth, scene.mask

    def _control(self, samples: RawBatch, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Language, proprioception, actions and where those are known, keyframe; empty without statistics."""
        if self._embodiment is None or self._normalization is None or self._encoder is None:
            empty = torch.zeros(count, 0, device=self._device)
            return empty, empty, empty[..., None], empty.bool(), empty
        proprioception = samples["proprioception"].to(self._device)
        observed = self._normalization.proprioception
        arm = observed.at(self._embodiment.proprioception.arm)
        actions = samples["actions"].to(self._device)
        actions = normalized_actions(actions, proprioception, self._normalization, self._embodiment)
        language = torch.stack([self.embed(instruction) for instruction in samples["instruction"]])
        return (
            language,
            _normalized(proprioception, observed),
            actions,
            samples["action_mask"].to(self._device),
            _normalized(samples["keyframe"].to(self._device), arm),
        )

    def embed(self, instruction: str) -> Tensor:
        """The instruction's embedding; computed once each. Raises EncoderError."""
        if instruction not in self._embeddings:
            assert self._encoder is not None
            self._embeddings[instruction] = torch.tensor(self._encoder.encode(instruction), device=self._device)
        return self._embeddings[instruction]


def normalized_actions(
    actions: Tensor, proprioception: Tensor, normalization: Normalization, embodiment: Embodiment
) -> Tensor:
    """Chunks [B, H, A] in physical units, observed at proprioception [B, P], as the model's targets in [-1, 1].

    The inverse of `Normalization.chunk`, but for the clipping.
    """
    if normalization.relative:
        origins = torch.as_tensor(embodiment.origins, device=actions.device)
        actions = actions - torch.where(origins >= 0, proprioception[:, origins], 0.0)[:, None]
    return _normalized(actions, normalization.action)


def _normalized(values: Tensor, span: Range) -> Tensor:
    """`Range.normalize` for tensors."""
    low, high = (torch.as_tensor(bound, dtype=values.dtype, device=values.device) for bound in (span.q01, span.q99))
    half = (high - low) / 2
    return ((values - (high + low) / 2) / torch.where(half > 0, half, torch.inf)).clamp(-1, 1)
