"""Demonstrations as a torch dataset: a table of what is small, and images that stay on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from vga_policy.cell.compatibility import Contract
from vga_policy.dataset.demonstration import read_span
from vga_policy.dataset.geometry import decode_depth, scale_intrinsics
from vga_policy.dataset.index import GeometryTable, SampleTable
from vga_policy.embodiment.embodiment import Embodiment
from vga_policy.episodes.listing import DatasetError, Skipped, left_out
from vga_policy.inference.preprocess import resize_views
from vga_policy.observation.resampler import JpegImage


class IndexedEpisode(NamedTuple):
    """An episode in use. file: what its images are in; about: what else tells of it. samples: how many it gives."""

    path: Path
    file: Path
    task: str
    instruction: str
    samples: int
    about: Path


class SampleDataset(Dataset[dict[str, Any]]):
    """Samples of episodes that were indexed once: a table of what is small, and where in which file the images lie.

    A sample is a dict; torch's default collate function makes batches of them. A, P: the sizes of the embodiment's
    actions and proprioception, H its horizon, in its units:
        images: uint8 [V, 3, S, S], by slot. proprioception: float32 [P].
        actions: float32 [H, A], as they are commanded. action_mask: bool [H], False for steps after the episode's end.
        keyframe: float32 [K], the arm's part of proprioception where the hand next opens or closes.
        instruction: str. stamp_ns: int, t_obs. episode: int, position in `episodes`.
        With geometry, where any episode has ground truth of it (`has_geometry`), of every view, zeros where
        geometry_mask (bool [V]) is False: depth: float32 [V, S, S], m, 0 for none. depth_mask: bool [V, S, S].
        intrinsics: float32 [V, 3, 3], of the S x S image. extrinsics: float32 [V, 4, 4], base frame → camera optical
        frame.

    Nothing is open between samples, so that a dataset can be pickled, forked and shared between workers, and every
    index gives the same sample everywhere.

    contract: what the samples are for. episodes: those in use, sorted by path. skipped: the others, with their reasons.
    samples: the table.
    """

    image_size: int
    contract: Contract
    episodes: list[IndexedEpisode]
    skipped: list[Skipped]
    samples: SampleTable
    _geometry: GeometryTable | None
    _episode_of: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample. Raises DatasetError when its file has changed or an image in it is damaged."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self._sample(self.samples, self._geometry, index, int(self._episode_of[index]))

    @property
    def embodiment(self) -> Embodiment:
        """What the samples were recorded with."""
        return self.contract.embodiment

    @property
    def has_geometry(self) -> bool:
        """Whether samples have geometry: it was asked for, and some episode has ground truth of depth and cameras."""
        return self._geometry is not None

    @property
    def instructions(self) -> list[str]:
        """Every different instruction, sorted."""
        return sorted({episode.instruction for episode in self.episodes})

    @property
    def left_out(self) -> str:
        """Of the episodes that are not used, in one line; empty where all are."""
        return left_out(self.skipped, len(self.episodes)) if self.skipped else ""

    def _take(self, contract: Contract, tables: list[tuple[SampleTable, GeometryTable | None]]) -> None:
        """The tables of all `episodes`, in their order, as the dataset's."""
        self.contract = contract
        self.samples = SampleTable.concatenated([samples for samples, _ in tables])
        truths = [truth for _, truth in tables if truth is not None]
        self._geometry = GeometryTable.concatenated(truths) if any(truth.present.any() for truth in truths) else None
        counts = [episode.samples for episode in self.episodes]
        self._episode_of = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def _sample(self, samples: SampleTable, truth: GeometryTable | None, row: int, episode: int) -> dict[str, Any]:
        file = self.episodes[episode].file
        pixels = [self._pixels(file, *span) for span in samples.images[row].tolist()]
        sample: dict[str, Any] = {
            "images": torch.from_numpy(resize_views(pixels, self.image_size)),
            "proprioception": torch.from_numpy(samples.proprioception[row].copy()),
            "actions": torch.from_numpy(samples.actions[row].copy()),
            "action_mask": torch.from_numpy(samples.action_mask[row].copy()),
            "keyframe": torch.from_numpy(samples.keyframes[row].copy()),
            "instruction": self.episodes[episode].instruction,
            "stamp_ns": int(samples.stamps[row]),
            "episode": episode,
        }
        if truth is not None:
            sample |= self._truth(truth, row, file)
        return sample

    def _pixels(self, file: Path, offset: int, length: int) -> np.ndarray:
        try:
            return JpegImage(read_span(file, offset, length)).decode()
        except ValueError as error:
            raise DatasetError(f"{file}: image at byte {offset} cannot be decoded: {error}") from None

    def _truth(self, truth: GeometryTable, row: int, file: Path) -> dict[str, torch.Tensor]:
        present, size = truth.present[row], self.image_size
        depth = np.zeros((len(present), size, size), np.float32)
        intrinsics = np.zeros((len(present), 3, 3), np.float32)
        for slot in np.flatnonzero(present):
            offset, length = truth.depth[row, slot].tolist()
            try:
                depth[slot] = decode_depth(read_span(file, offset, length), size)
            except ValueError as error:
                raise DatasetError(f"{file}: at byte {offset}: {error}") from None
            width, height = truth.sizes[row, slot].tolist()
            intrinsics[slot] = scale_intrinsics(truth.intrinsics[row, slot], width, height, size)
        return {
            "depth": torch.from_numpy(depth),
            "depth_mask": torch.from_numpy(depth > 0),
            "intrinsics": torch.from_numpy(intrinsics),
            "extrinsics": torch.from_numpy(truth.extrinsics[row].copy()),
            "geometry_mask": torch.from_numpy(present.copy()),
        }
