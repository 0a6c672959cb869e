"""Demonstrations without bags: of a benchmark, or of whatever has no cell file.

A directory of demonstrations.json, which says what they were made with, and below it a safetensors file for each:
actions and proprioception of every step, the views as JPEG and depth as bags have it, in one row of bytes each, and
cameras.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from vga_policy.dataset.geometry import PNG_OFFSET
from vga_policy.dataset.index import GeometryTable, SampleTable
from vga_policy.dataset.origins import Origin
from vga_policy.dataset.samples import IndexedEpisode, SampleDataset
from vga_policy.embodiment.embodiment import Embodiment, EmbodimentError, differences
from vga_policy.episodes.listing import DatasetError, Skipped
from vga_policy.files import alone, whole_file, write_atomically
from vga_policy.observation.resampler import jpeg_size
from vga_policy.units import SECOND

LOG = logging.getLogger(__name__)

ABOUT, SUFFIX = "demonstrations.json", ".safetensors"
EVERY = "every"  # key of a file's metadata; one without it shows every step
ORIGIN = "origin"  # likewise; one without it is a demonstration
ORIGINS = {origin.name.lower(): origin for origin in (Origin.DEMONSTRATION, Origin.INTERVENTION)}
FORMAT = 1
JPEG_QUALITY = 95
ROTATION = 1e-3  # by which a camera's axes may miss being of length 1 and at right angles


@dataclass(frozen=True)
class RenderedDemonstration:
    """T steps of a demonstration: what was measured before each, and what was commanded then; what was seen before the
    first of every `every` steps: N of them, each a sample for training.

    images: uint8 [N, V, 3, S, S]. proprioception: float32 [T, P]. actions: float32 [T, A]. Where the cameras are known:
    depth: uint16 [N, V, D, D], mm, 0 where unknown. intrinsics: float32 [N, V, 3, 3], in pixels of the images, whose
    centers are at whole numbers. extrinsics: float32 [N, V, 4, 4], base frame → camera (OpenCV). origin: of all steps.
    about: what else is worth knowing of it, in words.
    """

    task: str
    instruction: str
    images: NDArray[np.uint8]
    proprioception: NDArray[np.float32]
    actions: NDArray[np.float32]
    depth: NDArray[np.uint16] | None = None
    intrinsics: NDArray[np.float32] | None = None
    extrinsics: NDArray[np.float32] | None = None
    every: int = 1
    origin: Origin = Origin.DEMONSTRATION
    about: Mapping[str, str] = field(default_factory=dict)


def begin_demonstrations(directory: Path, embodiment: Embodiment) -> None:
    """Makes a directory of demonstrations, if it is none yet. Raises DatasetError when it is one of another sort."""
    with alone(directory / ".lock"):
        if (directory / ABOUT).exists():
            if found := differences(embodiment, read_embodiment(directory)):
                raise DatasetError(f"{directory}: {'; '.join(map(str, found))}; write into another directory")
            return
        about = {"format": FORMAT, "embodiment": json.loads(embodiment.dumped())}
        write_atomically(directory / ABOUT, json.dumps(about, indent=2) + "\n")


def write_demonstration(demonstration: RenderedDemonstration, directory: Path, name: str) -> Path:
    """Writes a demonstration, whose name may be a path below `directory`; its file appears whole or not at all.

    Returns it.
    """
    tensors: dict[str, NDArray[Any]] = {
        "proprioception": demonstration.proprioception.astype(np.float32),
        "actions": demonstration.actions.astype(np.float32),
        **_row("jpeg", [_jpeg(image) for step in demonstration.images for image in step]),
    }
    if demonstration.depth is not None:
        assert demonstration.intrinsics is not None
        assert demonstration.extrinsics is not None
        tensors |= _row("depth", [_png(depth) for step in demonstration.depth for depth in step])
        tensors |= {"intrinsics": demonstration.intrinsics, "extrinsics": demonstration.extrinsics}
    words = {
        **demonstration.about,
        "task": demonstration.task,
        "instruction": demonstration.instruction,
        EVERY: str(demonstration.every),
        ORIGIN: demonstration.origin.name.lower(),
    }
    file = directory / f"{name}{SUFFIX}"
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as unfinished:
        unfinished.write_bytes(save(tensors, words))
    return file


def read_embodiment(directory: Path) -> Embodiment:
    """What a directory's demonstrations were made with. Raises DatasetError."""
    path = directory / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise DatasetError(f"{path}: no demonstrations of format {FORMAT}")
        return Embodiment.parsed(json.dumps(about.get("embodiment")))
    except EmbodimentError as error:
        raise DatasetError(f"{path}: embodiment: {error}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from None


class ShardDataset(SampleDataset):
    """Samples of such demonstrations, one for every step that was seen: the chunk that was commanded from there on."""

    def __init__(
        self,
        directories: Sequence[str | Path],
        image_size: int,
        *,
        views: Sequence[str] | None = None,
        geometry: bool = False,
    ) -> None:
        """Indexes every demonstration below `directories`. views: those of slots 0, 1, …

        Raises DatasetError when nothing is usable, or when the directories were made with different embodiments.
        """
        self.image_size, self.skipped, self.episodes = image_size, [], []
        whole, first = read_embodiment(Path(directories[0])), directories[0]
        for directory in directories[1:]:
            if found := differences(whole, read_embodiment(Path(directory))):
                raise DatasetError(
                    f"{directory}: {'; '.join(map(str, found))}; 'here' is {first}. Give directories of one embodiment"
                )
        try:
            embodiment = whole.with_views(list(views)) if views else whole
        except EmbodimentError as error:
            raise DatasetError(f"{first}: {error}") from None
        slots = [whole.views.index(view) for view in embodiment.views]
        tables = []
        files: dict[Path, tuple[Path, Path]] = {}  # several paths may lead to one file
        for directory in map(Path, directories):
            for file in directory.rglob(f"*{SUFFIX}"):
                files.setdefault(file.resolve(), (file, directory))
        for file, directory in sorted(files.values()):
            try:
                shard = _DemonstrationFile(file, whole)
                tables.append((shard.samples(slots), shard.geometry(slots) if geometry else None))
            except Exception as error:  # of any kind: one bad file must not end the others
                self.skipped.append(Skipped.because(file, error))
                LOG.info("skipped %s", self.skipped[-1])
                continue
            count, about = len(tables[-1][0]), directory / ABOUT
            self.episodes.append(IndexedEpisode(file, file, shard.task, shard.instruction, count, about))
        if not tables:
            reasons = "".join(f"\n  {skipped}" for skipped in self.skipped)
            raise DatasetError(f"no usable demonstration in {', '.join(map(str, directories))}:{reasons}")
        self._take(embodiment, tables)


class _Tensors(Protocol):
    """What is used of an opened safetensors file."""

    def keys(self) -> list[str]:
        """Names of the tensors."""

    def get_tensor(self, name: str) -> NDArray[Any]:
        """One tensor."""

    def metadata(self) -> dict[str, str] | None:
        """What was written beside them."""


class _DemonstrationFile:
    """One file, read but for its images. Raises DatasetError where it is none, or of another embodiment."""

    def __init__(self, file: Path, embodiment: Embodiment) -> None:
        self._file, self._embodiment = file, embodiment
        with safe_open(file, framework="numpy") as opened:
            self._read(opened)
        with file.open("rb") as raw:
            (length,) = struct.unpack("<Q", raw.read(8))
            header = json.loads(raw.read(length))
        self._begins = {
            name: 8 + length + header[name]["data_offsets"][0] for name in ("jpeg", "depth") if name in header
        }

    def _read(self, opened: _Tensors) -> None:
        body, words, names = self._embodiment, opened.metadata() or {}, set(opened.keys())
        if missing := {"proprioception", "actions", "jpeg", "jpeg_ends"} - names:
            raise DatasetError(f"{self._file}: no demonstration: lacks {', '.join(sorted(missing))}")
        self.task, self.instruction = words.get("task", ""), words.get("instruction", "")
        if not self.instruction:
            raise DatasetError(f"{self._file}: says no instruction")
        if (origin := words.get(ORIGIN, "demonstration")) not in ORIGINS:
            raise DatasetError(f"{self._file}: {ORIGIN}: expected {' or '.join(ORIGINS)}, found {origin!r}")
        self._origin = ORIGINS[origin]
        self._actions = opened.get_tensor("actions")
        self._proprioception = opened.get_tensor("proprioception")
        if not (every := words.get(EVERY, "1")).isdecimal() or not int(every):
            raise DatasetError(f"{self._file}: {EVERY}: expected a whole number of steps, found {every!r}")
        self._seen = range(0, len(self._actions), int(every))
        steps, seen, views = len(self._actions), len(self._seen), len(body.views)
        shapes = {
            "actions": (self._actions, (steps, len(body.actions))),
            "proprioception": (self._proprioception, (steps, len(body.proprioception))),
            "jpeg_ends": (jpeg_ends := opened.get_tensor("jpeg_ends"), (seen * views,)),
        }
        self._ends = {"jpeg": jpeg_ends}
        self.has_geometry = "depth" in names
        if self.has_geometry:
            self._ends["depth"] = opened.get_tensor("depth_ends")
            self._intrinsics, self._extrinsics = (opened.get_tensor(name) for name in ("intrinsics", "extrinsics"))
            shapes |= {
                "depth_ends": (self._ends["depth"], (seen * views,)),
                "intrinsics": (self._intrinsics, (seen, views, 3, 3)),
                "extrinsics": (self._extrinsics, (seen, views, 4, 4)),
            }
        for name, (values, shape) in shapes.items():
            if values.shape != shape or not steps or not np.isfinite(values).all():
                found = list(values.shape) if values.shape != shape or not steps else "some that are not finite"
                raise DatasetError(
                    f"{self._file}: {name}: expected finite numbers {list(shape)} for '{body.name}', found {found}"
                )
        if self.has_geometry:
            self._refuse_no_cameras()
        self._height, self._width = jpeg_size(opened.get_tensor("jpeg")[: jpeg_ends[0]])

    def _refuse_no_cameras(self) -> None:
        """Depth would be learned from rays that nothing can see along."""
        focal, turn = self._intrinsics[..., (0, 1), (0, 1)], self._extrinsics[..., :3, :3].astype(np.float64)
        if (focal <= 0).any():
            raise DatasetError(f"{self._file}: intrinsics: a focal length of {focal.min():g} pixels, must be positive")
        if (off := np.abs(turn @ turn.swapaxes(-1, -2) - np.eye(3)).max()) > ROTATION:
            raise DatasetError(f"{self._file}: extrinsics: {off:.2g} from a rotation, must be at most {ROTATION:g}")

    def samples(self, slots: Sequence[int]) -> SampleTable:
        """A sample for each step that was seen, of the views in these slots."""
        body, seen, steps = self._embodiment, np.array(self._seen), len(self._actions)
        stamps = np.round(seen * body.dt * SECOND).astype(np.int64)
        told = seen[:, None] + np.arange(body.horizon)
        return SampleTable(
            stamps=stamps,
            images=self._spans("jpeg", slots),
            image_stamps=np.repeat(stamps[:, None], len(slots), axis=1),
            proprioception=self._proprioception[seen].astype(np.float32),
            actions=self._actions[np.minimum(told, steps - 1)].astype(np.float32),
            action_mask=told < steps,
            keyframes=self._keyframes()[seen],
            origins=np.full(len(seen), self._origin, np.uint8),
        )

    def geometry(self, slots: Sequence[int]) -> GeometryTable:
        """Ground truth of the views in these slots, where there is any."""
        shape = len(self._seen), len(slots)
        table = GeometryTable(
            present=np.full(shape, self.has_geometry),
            depth=np.zeros((*shape, 2), np.int64),
            extrinsics=np.zeros((*shape, 4, 4), np.float32),
            intrinsics=np.zeros((*shape, 3, 3)),
            sizes=np.tile(np.array([self._width, self._height]), (*shape, 1)),
        )
        if self.has_geometry:
            table.depth[:] = self._spans("depth", slots)
            table.extrinsics[:] = self._extrinsics[:, slots]
            table.intrinsics[:] = self._intrinsics[:, slots]
        return table

    def _spans(self, name: str, slots: Sequence[int]) -> NDArray[np.int64]:
        """Offset and length in the file [N, V, 2] of the views' images."""
        ends = self._ends[name].astype(np.int64)
        starts = np.append(0, ends[:-1])
        spans = np.stack([self._begins[name] + starts, ends - starts], axis=-1)
        return spans.reshape(len(self._seen), -1, 2)[:, slots]

    def _keyframes(self) -> NDArray[np.float32]:
        """The arm's part of proprioception [T, K] where the hand next opens or closes; after the last time, the end."""
        closed = self._embodiment.actions.closed(self._actions)
        at = np.append(np.flatnonzero(closed[1:] != closed[:-1]) + 1, len(closed) - 1)
        following = np.minimum(np.searchsorted(at, np.arange(len(closed)), side="right"), len(at) - 1)
        return self._proprioception[at[following]][:, self._embodiment.proprioception.arm].astype(np.float32)


def _row(name: str, blobs: list[bytes]) -> dict[str, NDArray[Any]]:
    """Blobs as one row of bytes, and where each ends."""
    return {name: np.frombuffer(b"".join(blobs), np.uint8), f"{name}_ends": np.cumsum([len(blob) for blob in blobs])}


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image.transpose(1, 2, 0)), JPEG_QUALITY, "RGB", "444"))


def _png(depth: NDArray[np.uint16]) -> bytes:
    """Depth with a bag's header in front, which is empty."""
    return bytes(PNG_OFFSET) + cv2.imencode(".png", depth)[1].tobytes()
