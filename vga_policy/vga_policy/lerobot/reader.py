"""Reads a LeRobot v3.0 dataset, whoever wrote it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vga_policy.lerobot import description, layout
from vga_policy.lerobot.columns import matrix, vector
from vga_policy.lerobot.description import (
    MOST_FRAMES,
    EpisodeIndex,
    EpisodeLabel,
    EpisodeLength,
    FilePlace,
    FrameFeature,
    VideoSpan,
    checked,
)
from vga_policy.lerobot.errors import LeRobotError, quoted
from vga_policy.lerobot.footage import Claim, Footage

LARGEST_JSON = 64 * 1024**2  # bytes
FRAME, EPISODE_INDEX, TASK_INDEX = "frame_index", "episode_index", "task_index"


class EpisodeRow(NamedTuple):
    """A row of `meta/episodes`: the file it is in, and what it says, unchecked."""

    file: Path
    values: Mapping[str, Any]


class LeRobotReader:
    """A dataset on disk.

    info: its info.json. episodes: their indexes, ascending. problems: what is wrong with the list of episodes, as far
    as it cannot be told of which. What is wrong with one episode is raised when that is asked for.
    """

    def __init__(self, root: Path) -> None:
        """Raises LeRobotError when there is no v3.0 dataset in `root`."""
        self.root = root
        raw = self._json(layout.INFO)
        self.info = description.info(raw, root / layout.INFO)
        self._labels = self._labels_of(self._json(layout.OURS)) if (root / layout.OURS).exists() else []
        self._tasks = self._task_texts()
        self.problems: list[str] = []
        self._lost: list[tuple[float, EpisodeRow]] = []  # rows of no known episode, and where they are among the others
        self._rows = self._episode_rows()
        self._footage: dict[Path, Footage | str] = {}
        self._misplaced: dict[str, dict[int, str]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def episodes(self) -> list[int]:
        """The episodes' indexes, ascending."""
        return sorted(self._rows)

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.info.fps

    @property
    def features(self) -> dict[str, Any]:
        """What a frame holds, as info.json says it: unchecked."""
        return self.info.features

    def feature(self, key: str) -> FrameFeature:
        """One feature, checked."""
        return checked(FrameFeature, self.features.get(key), self.root / layout.INFO, f"features.{key}.")

    def label(self, episode: int) -> EpisodeLabel:
        """What `vga export` knew of an episode; empty for other people's datasets."""
        known = self._labels[episode] if episode < len(self._labels) else {}
        return checked(EpisodeLabel, known, self.root / layout.OURS, f"episodes.{episode}.")

    def numbers(self, episode: int) -> dict[str, NDArray[Any]]:
        """What is used of an episode's N frames besides images: state and action, float64 [N, D], and their times.

        Those are stamp_ns, int64 [N], and capture_stamps_ns, int64 [N, V], where the dataset has both; else timestamp,
        float64 [N], s.
        """
        columns = self._schema(self._data_file(episode))
        ours = [layout.STAMP, layout.CAPTURE_STAMPS]
        times = ours if set(ours) <= set(columns) else ["timestamp"]
        table = self._frames(episode, [layout.STATE, layout.ACTION, *times])
        found = {key: matrix(table, key, self._width(key)) for key in (layout.STATE, layout.ACTION)}
        if times != ours:
            return found | {"timestamp": vector(table, "timestamp")}
        captures = matrix(table, layout.CAPTURE_STAMPS, self._width(layout.CAPTURE_STAMPS), whole=True)
        return found | {layout.STAMP: vector(table, layout.STAMP, whole=True), layout.CAPTURE_STAMPS: captures}

    def task(self, episode: int) -> str:
        """What the episode was told to do. Raises LeRobotError when that is nothing, or changes on the way."""
        indices = vector(self._frames(episode, [TASK_INDEX]), TASK_INDEX, whole=True)
        if len(changes := np.flatnonzero(np.diff(indices))):
            at = int(changes[0])
            raise LeRobotError(
                f"{self._data_file(episode)}: {TASK_INDEX} changes from {indices[at]} to {indices[at + 1]} at frame "
                f"{at + 1}: an episode has one instruction: split it there"
            )
        where, index = self.root / layout.TASKS, int(indices[0])
        if index not in self._tasks:
            raise LeRobotError(f"{where}: no {TASK_INDEX} {index}, which the episode has: add it")
        try:
            return description.instruction(self._tasks[index])
        except ValueError as error:
            raise LeRobotError(f"{where}: {TASK_INDEX} {index}: {error}") from None

    def images(self, episode: int, key: str) -> Iterator[bytes | NDArray[np.uint8]]:
        """The images of a feature, frame by frame: a video's pixels [H, W, 3], or encoded images as they are stored."""
        if self.feature(key).dtype == "video":
            span = self._span(episode, key)
            if reason := self._misplacement(episode, key):
                raise LeRobotError(reason)
            footage = self._open(self._video_file(key, span))
            yield from footage.pictures(footage.frames_at(span.from_timestamp, self._length(episode), self.fps))
            return
        for frame, cell in enumerate(self._frames(episode, [key])[key].to_pylist()):
            if not isinstance(cell, dict) or not isinstance(cell.get("bytes"), bytes):
                raise LeRobotError(f"{self._data_file(episode)}: {key}: image {frame} is not in the Parquet file")
            yield cell["bytes"]

    # Where an episode's frames are.

    def _frames(self, episode: int, columns: list[str]) -> pa.Table:
        """These columns of an episode's frames, in order.

        Raises LeRobotError when one is missing, or when the frames are not numbered 0 … length - 1.
        """
        return self._frames_of(self._data_file(episode), episode, tuple(columns))

    def _width(self, key: str) -> int:
        """How many numbers a frame has of a feature."""
        return int(np.prod(self.feature(key).shape))

    def _length(self, episode: int) -> int:
        row = self._rows[episode]
        return checked(EpisodeLength, row.values, row.file).length

    def _data_file(self, episode: int) -> Path:
        row = self._rows[episode]
        place = checked(FilePlace, _below(row.values, "data"), row.file, "data/")
        return self._inside(self.info.data_path, **place.model_dump())

    @lru_cache(maxsize=2)  # noqa: B019  readers are short-lived, and an episode is read column by column
    def _frames_of(self, file: Path, episode: int, columns: tuple[str, ...]) -> pa.Table:
        if missing := [name for name in (*columns, FRAME, EPISODE_INDEX) if name not in self._schema(file)]:
            raise LeRobotError(f"{file}: no column {missing[0]}: add it, or write the dataset anew")
        wanted = list(dict.fromkeys((*columns, FRAME)))
        table = self._table(file, columns=wanted, filters=[(EPISODE_INDEX, "=", episode)])
        if len(table) != (length := self._length(episode)):
            raise LeRobotError(f"{file}: {len(table)} frames of the episode, but its length is {length}: correct one")
        numbers = vector(table, FRAME, whole=True)
        order = np.argsort(numbers, kind="stable")
        if len(wrong := np.flatnonzero(numbers[order] != np.arange(length))):
            raise LeRobotError(f"{file}: {FRAME} {int(wrong[0])} is missing or there twice: write the dataset anew")
        return table.take(order)

    def _span(self, episode: int, key: str) -> VideoSpan:
        row = self._rows[episode]
        return checked(VideoSpan, _below(row.values, f"videos/{key}"), row.file, f"videos/{key}/")

    def _video_file(self, key: str, span: VideoSpan) -> Path:
        if self.info.video_path is None:
            raise LeRobotError(f"{self.root / layout.INFO}: video_path: is missing, but {key} is a video: add it")
        place = {"chunk_index": span.chunk_index, "file_index": span.file_index}
        return self._inside(self.info.video_path, video_key=key, **place)

    def _open(self, path: Path) -> Footage:
        """A video file, looked at once."""
        if path not in self._footage:
            try:
                self._footage[path] = Footage(path)
            except LeRobotError as error:
                self._footage[path] = str(error)
        found = self._footage[path]
        if isinstance(found, str):
            raise LeRobotError(found)
        return found

    def _misplacement(self, episode: int, key: str) -> str:
        """Why an episode's pictures may not be where it says; empty when they are."""
        if key not in self._misplaced:
            self._misplaced[key] = self._misplaced_in(key)
        return self._misplaced[key].get(episode, "")

    def _misplaced_in(self, key: str) -> dict[int, str]:
        """Of a camera's episodes, those whose pictures may not be where they say, and why."""
        unknown = [(place, Claim(-1, None, None, 0, self._lengths(row, key))) for place, row in self._lost]
        files: dict[Path, list[tuple[float, Claim]]] = {}
        for episode, row in self._rows.items():
            lengths = self._lengths(row, key, self._counts[episode])
            try:
                span = self._span(episode, key)
                claim = Claim(episode, span.from_timestamp, span.to_timestamp, self._length(episode), lengths)
                files.setdefault(self._video_file(key, span), []).append((episode, claim))
            except LeRobotError:  # it is raised again when the episode itself is read
                unknown.append((episode, Claim(episode, None, None, 0, lengths)))
        found: dict[int, str] = {}
        for path, claims in files.items():
            try:
                footage = self._open(path)
            except LeRobotError as error:
                found |= {claim.episode: str(error) for _, claim in claims}
                continue
            in_order = [claim for _, claim in sorted([*claims, *unknown], key=lambda placed: placed[0])]
            found |= footage.misplaced(in_order, self.fps)
        return found

    def _lengths(self, row: EpisodeRow, key: str, count: int = 0) -> tuple[int, ...]:
        """How many frames an episode may have: as counted, by its length, by its times."""
        times = [row.values.get(f"videos/{key}/{name}") for name in ("to_timestamp", "from_timestamp")]
        said = (count, row.values.get("length"), _difference(*times) * self.fps)
        known = {round(number) for number in said if isinstance(number, int | float) and 0 < number <= MOST_FRAMES}
        return tuple(sorted(known - {0}))

    @cached_property
    def _counts(self) -> Counter[int]:
        """How many frames there are of each episode, in the data files that can be read."""
        counts: Counter[int] = Counter()
        files: set[Path] = set()
        for episode in self.episodes:
            try:
                files.add(self._data_file(episode))
            except LeRobotError:
                continue
        for file in sorted(files):
            try:
                counts.update(vector(self._table(file, columns=[EPISODE_INDEX]), EPISODE_INDEX, whole=True).tolist())
            except (LeRobotError, KeyError):
                continue
        return counts

    # Files.

    def _inside(self, template: str, **place: Any) -> Path:
        """A file of the dataset; its own description must not lead elsewhere. Links in it may."""
        relative = template.format(**place)
        if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
            raise LeRobotError(f"{self.root / layout.INFO}: {quoted(relative)[1:-1]} lies outside of the dataset")
        return self.root / relative

    @lru_cache(maxsize=16)  # noqa: B019
    def _schema(self, file: Path) -> list[str]:
        return [str(name) for name in self._read(pq.read_schema, file).names]

    def _table(self, file: Path, **options: Any) -> pa.Table:
        return self._read(pq.read_table, file, partitioning=None, **options)

    def _read(self, read: Any, file: Path, **options: Any) -> Any:
        try:
            if not file.is_file():
                raise LeRobotError(f"{file}: missing")
            return read(file, **options)
        except LeRobotError:
            raise
        except Exception as error:  # damaged bytes raise whatever they will
            raise LeRobotError(f"{file}: cannot be read: {quoted(str(error), 120)[1:-1]}") from None

    def _json(self, name: str) -> dict[str, Any]:
        path = self.root / name
        try:
            if not path.is_file():
                raise ValueError("missing")
            if (size := path.stat().st_size) > LARGEST_JSON:
                raise ValueError(f"{size} bytes, more than {LARGEST_JSON}")
            data = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            why = getattr(error, "strerror", None) or quoted(str(error), 100)[1:-1]
            raise LeRobotError(f"{path}: cannot be read, so this is no LeRobot v3.0 dataset: {why}") from None
        if not isinstance(data, dict):
            raise LeRobotError(f"{path}: expected a mapping, found {type(data).__name__}")
        return data

    def _labels_of(self, ours: dict[str, Any]) -> list[Any]:
        labels = ours.get("episodes", [])
        if not isinstance(labels, list):
            raise LeRobotError(f"{self.root / layout.OURS}: episodes: should be a list (found {quoted(labels)})")
        return labels

    def _task_texts(self) -> dict[int, Any]:
        """The tasks' texts, unchecked, by task_index; of an index that is there twice with two texts, none."""
        path = self.root / layout.TASKS
        table = self._table(path)
        text = description.task_column(table)
        if missing := [name for name in (TASK_INDEX, text or "task") if name not in table.column_names]:
            raise LeRobotError(f"{path}: no column {missing[0]}, has {quoted(table.column_names)}: add it")
        texts: dict[int, Any] = {}
        for index, said in zip(table[TASK_INDEX].to_pylist(), table[text].to_pylist(), strict=True):
            try:
                number = checked(description.TaskRow, {TASK_INDEX: index}, path).task_index
            except LeRobotError:
                continue  # nobody can mean it
            texts[number] = said if texts.get(number, said) == said else None
        return texts

    def _episode_rows(self) -> dict[int, EpisodeRow]:
        """What `meta/episodes` says, by episode. What cannot be told of which episode goes to `problems`."""
        folder = self.root / "meta/episodes"
        rows: list[tuple[int | None, EpisodeRow]] = []
        for file in sorted(folder.glob("*/*.parquet")):
            try:
                used = [name for name in self._schema(file) if not name.startswith("stats/")]
                values = self._read(_rows_in, file, columns=used)
            except LeRobotError as error:
                self.problems.append(str(error))
                continue
            rows += [
                (self._index(EpisodeRow(file, each), number), EpisodeRow(file, each))
                for number, each in enumerate(values)
            ]
        found: dict[int, EpisodeRow] = {}
        counts, last = Counter(index for index, _ in rows), -1
        for index, row in rows:
            if index is None or counts[index] > 1:
                self._lost.append((last + 0.5, row))
            else:
                found[index] = row
            last = last if index is None else index
        twice = [index for index, count in counts.items() if index is not None and count > 1]
        self.problems += [f"{rows[0][1].file}: {EPISODE_INDEX} {index} is there twice: correct it" for index in twice]
        expected = self.info.total_episodes or 0
        if expected > len(rows) and not self.problems:
            said = f"{len(rows)} episodes, but info.json says total_episodes {expected}"
            self.problems.append(f"{folder}: {said}: fetch the missing files")
        if not found:
            raise LeRobotError(self.problems[0] if self.problems else f"{folder}: no episode in it")
        return found

    def _index(self, row: EpisodeRow, number: int) -> int | None:
        """Which episode a row is of; None, and a problem, where it does not say."""
        try:
            return checked(EpisodeIndex, row.values, f"{row.file}: row {number}").episode_index
        except LeRobotError as error:
            self.problems.append(str(error))
            return None


def _rows_in(file: Path, columns: list[str]) -> list[dict[str, Any]]:
    return list(pq.read_table(file, partitioning=None, columns=columns).to_pylist())


def _below(values: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The values whose names begin with `folder`/, without that."""
    return {name.removeprefix(f"{folder}/"): value for name, value in values.items() if name.startswith(f"{folder}/")}


def _difference(a: Any, b: Any) -> float:
    return a - b if isinstance(a, int | float) and isinstance(b, int | float) else 0.0
