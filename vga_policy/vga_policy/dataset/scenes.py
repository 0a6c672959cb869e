"""Scenes on disk: views of one instant with depth and cameras, from which a backbone learns geometry.

A directory of shards, safetensors files that hold the views as JPEG (color) and PNG (depth, 16 bit, mm) in one row of
bytes each, and scenes.json, which says what was drawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from vga_policy.episodes.listing import DatasetError
from vga_policy.files import whole_file

ABOUT = "scenes.json"
SHARD = "shard_{:05d}.safetensors"
JPEG_QUALITY = 95
ROWS = ("jpeg", "png")


@dataclass(frozen=True)
class RenderedScene:
    """images uint8 [V, 3, S, S]; depth uint16 [V, S, S], mm, 0 where unknown; intrinsics float32 [V, 3, 3], in pixels
    of these images; extrinsics float32 [V, 4, 4], base frame to camera (OpenCV)."""

    images: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    intrinsics: NDArray[np.float32]
    extrinsics: NDArray[np.float32]


def write_shard(scenes: Sequence[RenderedScene], file: Path) -> None:
    """Writes scenes of equally many views; the file appears whole or not at all."""
    rows: dict[str, list[bytes]] = {name: [] for name in ROWS}
    for scene in scenes:
        for image, depth in zip(scene.images, scene.depth, strict=True):
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
            rows["jpeg"].append(simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, "RGB", "444"))
            rows["png"].append(cv2.imencode(".png", depth)[1].tobytes())
    tensors: dict[str, NDArray[Any]] = {
        "intrinsics": np.stack([scene.intrinsics for scene in scenes]),
        "extrinsics": np.stack([scene.extrinsics for scene in scenes]),
    }
    for name, blobs in rows.items():
        tensors[name] = np.frombuffer(b"".join(blobs), np.uint8)
        tensors[f"{name}_ends"] = np.cumsum([len(blob) for blob in blobs])
    with whole_file(file) as unfinished:
        save_file(tensors, unfinished)


class SceneDataset:
    """The scenes of a directory. A sample has all their views; it is a geometry-only sample of vga_policy.dataset."""

    def __init__(self, directory: Path) -> None:
        """Raises DatasetError when there is none, or it is damaged."""
        try:
            self.about: dict[str, Any] = json.loads((directory / ABOUT).read_text(encoding="utf-8"))
            files = sorted(directory.glob("shard_*.safetensors"))
            self._shards = [_Shard(file) for file in files]
        except Exception as error:  # whatever a damaged file makes its readers stumble over
            raise DatasetError(
                f"{directory}: no scenes that can be read: {_words(error)}; make some: `vga scenes`"
            ) from None
        if not self._shards:
            raise DatasetError(f"{directory}: holds no scenes; make some: `vga scenes --out {directory}`")
        self._ends = np.cumsum([len(shard) for shard in self._shards])
        self.fingerprint = hashlib.sha256(
            json.dumps([self.about, *((file.name, file.stat().st_size) for file in files)]).encode()
        ).hexdigest()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One scene. Raises DatasetError when it is damaged."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        try:
            return self._shards[shard].scene(index - int(self._ends[shard]) + len(self._shards[shard]))
        except Exception as error:  # of a decoder, or of numbers that lead nowhere
            raise DatasetError(f"{self._shards[shard].file}: scene {index} is damaged: {_words(error)}") from None


def _words(error: Exception) -> str:
    """What is wrong, on one short line."""
    return " ".join((str(error).splitlines() or ["unreadable"])[0].split())[:100]


def collate_scenes(scenes: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of scenes."""
    return {key: torch.stack([scene[key] for scene in scenes]) for key in scenes[0]}


class _Shard:
    """One file, mapped."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        self._intrinsics, self._extrinsics = tensors["intrinsics"], tensors["extrinsics"]
        self._bytes = {name: tensors[name].numpy() for name in ROWS}
        self._ends = {name: np.concatenate([[0], tensors[f"{name}_ends"].numpy()]) for name in ROWS}

    def __len__(self) -> int:
        return len(self._intrinsics)

    def scene(self, index: int) -> dict[str, Tensor]:
        views = range(index * self._intrinsics.shape[1], (index + 1) * self._intrinsics.shape[1])
        color = [simplejpeg.decode_jpeg(self._blob("jpeg", view)) for view in views]
        depth = [cv2.imdecode(self._blob("png", view), cv2.IMREAD_UNCHANGED) for view in views]
        meters = torch.from_numpy(np.array(depth, dtype=np.float32) / 1000)
        return {
            "images": torch.from_numpy(np.stack(color).transpose(0, 3, 1, 2)),
            "depth": meters,
            "depth_mask": meters > 0,
            "intrinsics": self._intrinsics[index],
            "extrinsics": self._extrinsics[index],
            "geometry_mask": torch.ones(len(views), dtype=torch.bool),
        }

    def _blob(self, name: str, view: int) -> NDArray[np.uint8]:
        ends = self._ends[name]
        return self._bytes[name][ends[view] : ends[view + 1]]
