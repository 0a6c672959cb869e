"""Episodes → one LeRobot dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg

from vga_policy.bags.reader import BagError
from vga_policy.cell.compatibility import differences
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import Cell
from vga_policy.dataset.demonstration import Demonstration, StoredImage, read_span
from vga_policy.episodes.decisions import CurationError, decision
from vga_policy.episodes.listing import NO_INSTRUCTION, Skipped, find_episodes, why_none, why_unusable
from vga_policy.episodes.metadata import Episode, EpisodeError
from vga_policy.files import whole_directory
from vga_policy.lerobot.errors import in_one_line
from vga_policy.lerobot.frames import Frames, FramesError, frames_of
from vga_policy.lerobot.layout import V3, FormatVersion
from vga_policy.lerobot.writer import DatasetWriter, Format
from vga_policy.units import SECOND

FAULTS = (BagError, CellError, CurationError, EpisodeError, FramesError)
RESIZED_QUALITY = 95  # of JPEGs whose size was asked for; others are the bag's own bytes


class ExportError(ValueError):
    """An export that cannot be made. The message says why and what to do."""


@dataclass
class Exported:
    """What was exported. repeated: frames at which there was nothing new. unsteady: largest difference, s, between
    `timestamp` and the true time since the episode's first frame. skipped: episodes left out, and why.
    damaged: how many of those because something is wrong with them, not because nobody wants them.
    """

    episodes: int = 0
    frames: int = 0
    repeated: int = 0
    unsteady: float = 0.0
    skipped: list[Skipped] = field(default_factory=list)
    damaged: int = 0


def export(
    directories: Sequence[Path],
    out: Path,
    *,
    video: bool = False,
    fps: int | None = None,
    size: tuple[int, int] | None = None,
    cameras: Sequence[str] | None = None,
    usable_only: bool = True,
    version: FormatVersion = V3,
) -> Exported:
    """Writes the episodes below `directories` as a dataset into `out`, which must not exist.

    video: H.264 in MP4 instead of the bag's own JPEG images. fps: frames a second, by default the
    control rate; actions are then due one frame later. size: width and height of the images, by default as recorded.
    cameras: by default those the policy sees. usable_only: leaves out failures and what curation rejects.
    version: of the format.

    Raises ExportError or DatasetError when nothing can be exported; then there is no `out`.
    """
    if out.exists():
        raise ExportError(f"{out}: exists already: give another directory or remove it")
    with whole_directory(out) as unfinished:
        run = _Export(unfinished, video, fps, size, list(cameras) if cameras else None, version)
        for path in find_episodes(directories):
            run.add(path, usable_only)
        run.finish()
    return run.exported


class _Ready(NamedTuple):
    """An episode that has been read, and fits."""

    episode: Episode
    cell: Cell
    frames: Frames
    jpegs: dict[str, list[bytes]]
    format: Format


class _Export:
    """An export under way. The first episode decides cell, rate and sizes."""

    def __init__(
        self,
        root: Path,
        video: bool,
        fps: int | None,
        size: tuple[int, int] | None,
        cameras: list[str] | None,
        version: FormatVersion,
    ) -> None:
        self.exported = Exported()
        self._version = version
        self._root, self._video, self._fps, self._size, self._cameras = root, video, fps, size, cameras
        self._cell: Cell | None = None
        self._format: Format | None = None
        self._writer: DatasetWriter | None = None
        self._labels: list[dict[str, Any]] = []

    def add(self, path: Path, usable_only: bool) -> None:
        """Appends one episode, or says why not."""
        try:
            if usable_only and (skipped := why_unusable(path)):
                self.exported.skipped.append(skipped)
                return
            demonstration = Demonstration(path, self._cameras)
            try:
                ready = self._prepared(demonstration)
            finally:
                demonstration.close()
        except Exception as error:  # of any kind: the other episodes do not suffer
            self.exported.skipped.append(Skipped(path, in_one_line(error, FAULTS)))
            self.exported.damaged += 1
            return
        self._append(ready)  # what goes wrong here is the output's

    def _prepared(self, demonstration: Demonstration) -> _Ready:
        """All that is written of an episode. Raises FramesError when it does not fit, and whatever else is wrong."""
        cell = demonstration.cell
        if not demonstration.episode.says_what_to_do:
            raise FramesError(NO_INSTRUCTION)
        if self._cell and (found := differences(self._cell, cell)):
            raise FramesError(f"recorded in another cell: {'; '.join(map(str, found))}")
        fps = self._fps or _whole(cell.control_rate_hz)
        # A frame a control step, so an action is due one frame after its observation.
        demonstration.cell = cell.model_copy(update={"control_rate_hz": float(fps)})
        frames = frames_of(demonstration, fps, decision(demonstration.path).holds)
        jpegs = self._jpegs(demonstration, frames)
        return _Ready(demonstration.episode, cell, frames, jpegs, self._fitting(demonstration, fps, jpegs))

    def _append(self, ready: _Ready) -> None:
        if self._format is None or self._writer is None:
            self._format, self._writer, self._cell = ready.format, DatasetWriter(self._root, ready.format), ready.cell
        self._writer.add_episode(ready.frames, ready.jpegs, ready.episode.instruction)
        kept = ("id", "task", "instruction", "operator", "outcome", "note", "seed", "started_ns")
        self._labels.append({name: getattr(ready.episode, name) for name in kept})
        self._count(ready.frames, self._format.fps)

    def finish(self) -> None:
        """Completes the dataset. Raises ExportError when there is no episode in it."""
        if self._writer is None or self._cell is None:
            raise ExportError(f"no episode can be exported:{why_none(self.exported.skipped)}")
        self._writer.close({"cell": dump_cell(self._cell), "episodes": self._labels})

    def _fitting(self, demonstration: Demonstration, fps: int, jpegs: dict[str, list[bytes]]) -> Format:
        """How the episode is written. Raises FramesError when the others are not written so."""
        sizes = {camera: simplejpeg.decode_jpeg_header(images[0])[:2] for camera, images in jpegs.items()}
        if self._video and (odd := [camera for camera, (h, w) in sizes.items() if h % 2 or w % 2]):
            raise FramesError(f"{', '.join(odd)}: videos need an even width and height: give --size or --images")
        how = Format(fps, list(demonstration.cell.arm.joint_names), sizes, self._video, self._version)
        if self._format is not None and how != self._format:
            raise FramesError(f"its images are {sizes}, the others' {self._format.cameras}: give --size")
        return how

    def _jpegs(self, demonstration: Demonstration, frames: Frames) -> dict[str, list[bytes]]:
        cameras = [camera.name for camera in demonstration.cell.views]
        return {camera: [self._jpeg(images[view]) for images in frames.images] for view, camera in enumerate(cameras)}

    def _jpeg(self, image: Any) -> bytes:
        stored: StoredImage = image
        try:
            pixels = stored.decode()
        except ValueError as error:
            raise FramesError(f"{stored.file}: image at byte {stored.offset} is damaged: {error}") from None
        if self._size is None:
            return read_span(stored.file, stored.offset, stored.length)
        pixels = cv2.resize(pixels, self._size, interpolation=cv2.INTER_AREA)
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), RESIZED_QUALITY, "RGB", "444"))

    def _count(self, frames: Frames, fps: int) -> None:
        true = (frames.stamps - frames.stamps[0]) / SECOND
        off = np.abs(true - np.arange(len(true)) / fps)
        self.exported.episodes += 1
        self.exported.frames += len(true)
        self.exported.repeated += int((np.diff(frames.stamps) == 0).sum())
        self.exported.unsteady = max(self.exported.unsteady, float(off.max()))


def _whole(rate_hz: float) -> int:
    if rate_hz != round(rate_hz):
        raise FramesError(f"control rate {rate_hz:g} Hz: LeRobot wants a whole number: give --fps")
    return round(rate_hz)
