"""Recorded episodes as a torch dataset."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from vga_policy.cell.compatibility import differences
from vga_policy.cell.schema import Cell
from vga_policy.dataset.demonstration import ActionSource, Demonstration, read_span
from vga_policy.dataset.geometry import decode_depth, scale_intrinsics
from vga_policy.dataset.index import GeometryTable, SampleTable, geometry_of, index, samples_of
from vga_policy.episodes.decisions import decision
from vga_policy.episodes.listing import DatasetError, Skipped, find_episodes, left_out, why_none, why_unusable
from vga_policy.inference.preprocess import resize_views
from vga_policy.observation.resampler import JpegImage, Selection

LOG = logging.getLogger(__name__)


class IndexedEpisode(NamedTuple):
    """An episode in use. samples: how many it gives."""

    path: Path
    file: Path
    task: str
    instruction: str
    samples: int


class EpisodeDataset(Dataset[dict[str, Any]]):
    """Samples straight from the bags: what the live node would have seen, and what the arm was told to do then.

    A sample is a dict; torch's default collate function makes batches of them:
        images: uint8 [V, 3, S, S], by slot. proprioception: float32 [8], rad and m.
        actions: float32 [H, 8], rad and m, absolute. action_mask: bool [H], False for steps after the episode's end.
        keyframe: float32 [7], rad, the joints where the arm next takes hold of something or lets go.
        instruction: str. stamp_ns: int, t_obs. episode: int, position in `episodes`.
        With `geometry`, where any episode has ground truth of it (`has_geometry`), of every view, zeros where
        geometry_mask (bool [V]) is False: depth: float32 [V, S, S], m, 0 for none. depth_mask: bool [V, S, S].
        intrinsics: float32 [V, 3, 3], of the S x S image. extrinsics: float32 [V, 4, 4], base frame → camera optical
        frame.

    There is one sample for every tick of the control rate at which the live node would have had a new observation; it
    is made by the same Resampler. Opening a dataset reads the low-dimensional topics of every episode once and keeps a
    table (some 400 bytes a sample); images stay on disk. Nothing is open between samples, so that a dataset can be
    pickled, forked and shared between workers, and every index gives the same sample everywhere.

    cell: the contract the samples are for; by default that of the first episode. episodes: those in use, sorted by
    path. skipped: the others, with their reasons. samples: the table.
    """

    def __init__(
        self,
        directories: Sequence[str | Path],
        image_size: int,
        *,
        cell: Cell | None = None,
        views: Sequence[str] | None = None,
        source: ActionSource | None = None,
        rate_hz: float | None = None,
        geometry: bool = False,
        skip_idle: bool = True,
        usable_only: bool = True,
    ) -> None:
        """Indexes every episode below `directories`.

        views: cameras for slots 0, 1, …; no other camera's images are opened. source: what action labels are made of,
        by default what the contract says. rate_hz: ticks a second, by default the control rate. skip_idle: leaves out
        samples whose whole chunk stands still. usable_only: leaves out failures and what curation rejects.

        Raises DatasetError when nothing is usable, or when, without a `cell`, the episodes' cells differ in meaning.
        """
        self.image_size = image_size
        self.skipped: list[Skipped] = []
        self.episodes: list[IndexedEpisode] = []
        self._views, self._source, self._with_geometry = views, source, geometry
        self._rate_hz, self._skip_idle = rate_hz, skip_idle
        tables: list[tuple[SampleTable, GeometryTable | None]] = []
        first: Path | None = None
        for path in find_episodes(directories):
            try:
                if usable_only and (skipped := why_unusable(path)):
                    self._skip(skipped)
                    continue
                demonstration = Demonstration(path, views)
                if not (found := differences(cell, demonstration.cell) if cell else []):
                    self._add(demonstration, tables)
            except Exception as error:  # of any kind: one bad episode must not end the others
                self._skip(Skipped.because(path, error))
                continue
            if found:
                reason = f"recorded in another cell: {'; '.join(map(str, found))}"
                if first is not None:
                    raise DatasetError(f"{path}: {reason}; 'here' is {first}. Give directories of one cell")
                self._skip(Skipped(path, reason, "of another cell"))
            elif cell is None and tables:
                cell, first = demonstration.cell, path
        if not tables or cell is None:
            raise DatasetError(f"no usable episode in {', '.join(map(str, directories))}:{why_none(self.skipped)}")
        self.cell = cell
        self.samples = SampleTable.concatenated([samples for samples, _ in tables])
        truths = [truth for _, truth in tables if truth is not None]
        self._geometry = GeometryTable.concatenated(truths) if any(truth.present.any() for truth in truths) else None
        counts = [episode.samples for episode in self.episodes]
        self._episode_of = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample. Raises DatasetError when its bag has changed or an image in it is damaged."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self._sample(self.samples, self._geometry, index, int(self._episode_of[index]))

    def sample_at(self, episode: int, t_obs_ns: int) -> dict[str, Any]:
        """The sample of an episode at a t_obs at which the live node has seen it, on the grid of ticks or not.

        Raises DatasetError when no observation can be made there.
        """
        demonstration = Demonstration(self.episodes[episode].path, self._views)
        selected = demonstration.observation_at(t_obs_ns)
        if not isinstance(selected, Selection):
            problems = "; ".join(map(str, selected))
            raise DatasetError(f"{demonstration.path}: no observation at {t_obs_ns}: {problems}")
        samples = samples_of(demonstration, [selected], self._source)
        truth = geometry_of(demonstration, samples.image_stamps) if self.has_geometry else None
        return self._sample(samples, truth, 0, episode)

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

    def _skip(self, skipped: Skipped) -> None:
        self.skipped.append(skipped)
        LOG.debug("skipped %s", skipped)

    def _add(self, demonstration: Demonstration, tables: list[tuple[SampleTable, GeometryTable | None]]) -> None:
        path, episode, cell = demonstration.path, demonstration.episode, demonstration.cell
        holds = decision(path).holds
        samples = index(demonstration, self._rate_hz or cell.control_rate_hz, self._source, holds, self._skip_idle)
        if not len(samples):
            reason = "no sample: inputs missing or out of step, or the arm never moves"
            return self._skip(Skipped(path, reason, "without samples"))
        tables.append((samples, geometry_of(demonstration, samples.image_stamps) if self._with_geometry else None))
        file = demonstration.bag.file
        self.episodes.append(IndexedEpisode(path, file, episode.task, episode.instruction, len(samples)))
        demonstration.close()
        return None

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
