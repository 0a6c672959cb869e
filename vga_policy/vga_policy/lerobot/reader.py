"""Reads a LeRobot v3.0 dataset, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vga_policy.lerobot import layout
from vga_policy.lerobot.videos import read_frames


class LeRobotError(ValueError):
    """A dataset that cannot be read. The message names the file and what is wrong."""


class LeRobotReader:
    """A dataset on disk. info: its info.json. ours: what `vga export` added, empty for other people's datasets."""

    def __init__(self, root: Path) -> None:
        """Raises LeRobotError when there is no v3.0 dataset in `root`."""
        self.root = root
        self.info = self._json(layout.INFO)
        version = str(self.info.get("codebase_version"))
        if not version.startswith("v3."):
            raise LeRobotError(
                f"{root / layout.INFO}: version {version}, expected v3: convert it with LeRobot's scripts"
            )
        self.ours = self._json(layout.OURS) if (root / layout.OURS).exists() else {}
        tasks = self._table(root / layout.TASKS)
        (text,) = [name for name in tasks.column_names if name != "task_index"] or [""]
        self._tasks = dict(zip(tasks["task_index"].to_pylist(), tasks[text].to_pylist(), strict=True))
        files = sorted(root.glob("meta/episodes/*/*.parquet"))
        columns = [self._table(file) for file in files]
        rows = [row for table in columns for row in _without_statistics(table).to_pylist()]
        self._rows = sorted(rows, key=lambda row: row["episode_index"])

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(self.info["fps"])

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """What a frame holds."""
        return dict(self.info["features"])

    def numbers(self, episode: int) -> dict[str, NDArray[Any]]:
        """Every feature that is no image, of an episode's N frames: [N] or [N, D]."""
        table = self._data(episode)
        return {name: np.array(table[name].to_pylist()) for name in table.column_names if not self._is_image(name)}

    def task(self, episode: int) -> str:
        """What the episode's first frame was told to do."""
        return str(self._tasks[self._data(episode)["task_index"][0].as_py()])

    def images(self, episode: int, key: str) -> Iterator[bytes | NDArray[np.uint8]]:
        """The images of a feature, frame by frame: a video's pixels [H, W, 3], or encoded images as they are stored."""
        row = self._rows[episode]
        if self.features[key]["dtype"] == "video":
            place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
            file = self._inside(str(self.info["video_path"]).format(video_key=key, **place))
            if not file.is_file():
                raise LeRobotError(f"{file}: missing")
            yield from read_frames(file, row[f"videos/{key}/from_timestamp"], row["length"], self.fps)
            return
        for frame, cell in enumerate(self._data(episode)[key].to_pylist()):
            if not cell or not cell.get("bytes"):
                raise LeRobotError(f"{self.root}: episode {episode}: {key}: image {frame} is not in the Parquet file")
            yield cell["bytes"]

    def _data(self, episode: int) -> pa.Table:
        row = self._rows[episode]
        place = {name: row[f"data/{name}"] for name in ("chunk_index", "file_index")}
        file = self._inside(str(self.info["data_path"]).format(**place))
        return self._rows_of(file, row["episode_index"])

    @lru_cache(maxsize=1)  # noqa: B019  one episode is read column by column; readers are short-lived
    def _rows_of(self, file: Path, episode: int) -> pa.Table:
        table = self._table(file, filters=[("episode_index", "=", episode)])
        if not len(table):
            raise LeRobotError(f"{file}: no frame of episode {episode}")
        return table.sort_by("frame_index")

    def _inside(self, relative: str) -> Path:
        """A file of the dataset; its own description must not lead elsewhere."""
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise LeRobotError(f"{self.root / layout.INFO}: {relative} lies outside of the dataset")
        return path

    def _is_image(self, name: str) -> bool:
        return self.features.get(name, {}).get("dtype") in ("image", "video")

    def _table(self, file: Path, **options: Any) -> pa.Table:
        try:
            return pq.read_table(file, **options)
        except (OSError, pa.ArrowException) as error:
            raise LeRobotError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None

    def _json(self, name: str) -> dict[str, Any]:
        path = self.root / name
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LeRobotError(f"{path}: cannot be read, so this is no LeRobot v3.0 dataset: {error}") from None
        if not isinstance(data, dict):
            raise LeRobotError(f"{path}: expected a mapping, found {type(data).__name__}")
        return data


def _without_statistics(table: pa.Table) -> pa.Table:
    return table.select([name for name in table.column_names if not name.startswith("stats/")])
