"""Recorded episodes as a torch dataset."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vga_policy.cell.compatibility import differences
from vga_policy.cell.schema import Cell
from vga_policy.dataset.demonstration import ActionSource, Demonstration
from vga_policy.dataset.index import GeometryTable, SampleTable, geometry_of, index, samples_of
from vga_policy.dataset.origins import BEFORE, IMITATED, Origin
from vga_policy.dataset.samples import IndexedEpisode, SampleDataset
from vga_policy.episodes.decisions import decision
from vga_policy.episodes.listing import DatasetError, Skipped, find_episodes, why_none, why_unusable
from vga_policy.episodes.metadata import FILE
from vga_policy.observation.resampler import Selection

LOG = logging.getLogger(__name__)


class EpisodeDataset(SampleDataset):
    """Samples straight from the bags: what the live node would have seen, and what the arm was told to do then.

    There is one sample for every tick of the control rate at which the live node would have had a new observation; it
    is made by the same Resampler. Opening a dataset reads the low-dimensional topics of every episode once and keeps a
    table (some 400 bytes a sample); images stay on disk.

    cell: the contract the samples are for; by default that of the first episode.
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
        origins: Collection[Origin] = IMITATED,
        before: float = BEFORE,
    ) -> None:
        """Indexes every episode below `directories`.

        views: cameras for slots 0, 1, …; no other camera's images are opened. source: what action labels are made of,
        by default what the contract says. rate_hz: ticks a second, by default the control rate. skip_idle: leaves out
        samples whose whole chunk stands still. usable_only: leaves out failures and what curation rejects. origins:
        whose samples; by default everybody's but the policy's of the `before` seconds until a person took over from it.
        {Origin.INTERVENTION}: corrections only.

        Raises DatasetError when nothing is usable, or when, without a `cell`, the episodes' cells differ in meaning.
        """
        self.image_size = image_size
        self.skipped: list[Skipped] = []
        self.episodes: list[IndexedEpisode] = []
        self._views, self._source, self._with_geometry = views, source, geometry
        self._rate_hz, self._skip_idle = rate_hz, skip_idle
        self._origins, self._before = frozenset(origins), before
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
        self._take(cell, tables)

    def sample_at(self, episode: int, t_obs_ns: int) -> dict[str, Any]:
        """The sample of an episode at a t_obs at which the live node has seen it, on the grid of ticks or not.

        Raises DatasetError when no observation can be made there.
        """
        demonstration = Demonstration(self.episodes[episode].path, self._views)
        selected = demonstration.observation_at(t_obs_ns)
        if not isinstance(selected, Selection):
            problems = "; ".join(map(str, selected))
            raise DatasetError(f"{demonstration.path}: no observation at {t_obs_ns}: {problems}")
        samples = samples_of(demonstration, [selected], self._source, self._before)
        truth = geometry_of(demonstration, samples.image_stamps) if self.has_geometry else None
        return self._sample(samples, truth, 0, episode)

    def _skip(self, skipped: Skipped) -> None:
        self.skipped.append(skipped)
        LOG.debug("skipped %s", skipped)

    def _add(self, demonstration: Demonstration, tables: list[tuple[SampleTable, GeometryTable | None]]) -> None:
        path, episode, cell = demonstration.path, demonstration.episode, demonstration.cell
        holds = decision(path).holds
        rate_hz = self._rate_hz or cell.control_rate_hz
        whose = self._origins, self._before
        samples = index(demonstration, rate_hz, self._source, holds, self._skip_idle, *whose)
        if not len(samples):
            reason = "no sample: inputs missing or out of step, or the arm never moves"
            return self._skip(Skipped(path, reason, "without samples"))
        tables.append((samples, geometry_of(demonstration, samples.image_stamps) if self._with_geometry else None))
        file = demonstration.bag.file
        self.episodes.append(IndexedEpisode(path, file, episode.task, episode.instruction, len(samples), path / FILE))
        demonstration.close()
        return None
