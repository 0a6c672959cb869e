"""Writes a LeRobot dataset, episode by episode."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from numpy.typing import NDArray

from vga_policy.lerobot import layout, statistics
from vga_policy.lerobot.frames import Frames
from vga_policy.lerobot.layout import V2, V3, FormatVersion
from vga_policy.lerobot.videos import VideoWriter, facts

SAMPLED = 50  # frames an episode and camera that the image statistics are made of
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # as Hugging Face's `datasets` stores an image


@dataclass(frozen=True)
class Format:
    """How a dataset is written. cameras: height and width of the images by name. video: MP4 instead of JPEG images."""

    fps: int
    joints: list[str]
    cameras: dict[str, tuple[int, int]]
    video: bool = False
    version: FormatVersion = V3


class DatasetWriter:
    """One dataset; `root` must not hold one yet. Complete once :meth:`close` has returned."""

    def __init__(self, root: Path, how: Format) -> None:
        self._root, self._format = root, how
        video = facts(how.fps) if how.video else None
        self._features = layout.features(how.joints, how.cameras, video)
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._levels: dict[str, NDArray[np.int64]] = {}
        self._frames = self._data_files = 0
        self._data: pq.ParquetWriter | None = None
        self._data_path = Path()
        keys = {camera: layout.image_key(camera) for camera in how.cameras}
        self._videos = {key: VideoWriter(root, key, how.fps, how.version) for key in keys.values()} if how.video else {}

    def add_episode(self, frames: Frames, jpegs: dict[str, list[bytes]], task: str) -> None:
        """Appends an episode. jpegs: the frames' images by camera, of the format's size. task: what to do, in words."""
        count, index = len(frames.stamps), len(self._episodes)
        numbers = np.arange(count, dtype=np.int64)
        columns: dict[str, NDArray[Any]] = {
            layout.STATE: frames.state,
            layout.ACTION: frames.action,
            layout.STAMP: frames.stamps,
            layout.CAPTURE_STAMPS: frames.capture_stamps,
            layout.INTERVENTION: frames.intervention,
            "timestamp": (numbers / self._format.fps).astype(np.float32),
            "frame_index": numbers,
            "episode_index": np.full(count, index, dtype=np.int64),
            "index": numbers + self._frames,
            "task_index": np.full(count, self._tasks.setdefault(task, len(self._tasks)), dtype=np.int64),
        }
        row: dict[str, Any] = {"episode_index": index, "tasks": [task], "length": count}
        row |= {f"data/{name}": value for name, value in self._write_data(columns, jpegs).items()}
        row |= {"dataset_from_index": self._frames, "dataset_to_index": self._frames + count}
        found = {key: statistics.of_numbers(values) for key, values in columns.items()}
        for camera, images in jpegs.items():
            key = layout.image_key(camera)
            if key in self._videos:
                row |= self._videos[key].add_episode(map(simplejpeg.decode_jpeg, images))
            sampled = [images[i] for i in np.linspace(0, count - 1, min(count, SAMPLED)).astype(int)]
            levels = statistics.histogram([simplejpeg.decode_jpeg(image) for image in sampled])
            found[key] = statistics.of_pictures(levels, len(sampled))
            self._levels[key] = self._levels.get(key, 0) + levels
        row |= {f"stats/{key}/{name}": value for key, each in found.items() for name, value in each.items()}
        self._episodes.append(row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        for key, values in columns.items():
            self._columns.setdefault(key, []).append(values)
        self._frames += count

    def close(self, ours: dict[str, Any]) -> None:
        """Writes what describes the dataset. ours: what only this project reads, see `layout.OURS`."""
        for video in self._videos.values():
            video.close()
        if self._data is not None:
            self._data.close()
        (self._root / layout.INFO).parent.mkdir(parents=True, exist_ok=True)
        if self._format.version is V3:
            path = self._root / layout.EPISODES_PATH.format(**layout.place(0))
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(self._episodes), path)
            pq.write_table(_task_table(list(self._tasks)), self._root / layout.TASKS)
        else:
            self._write_lines()
        found = {key: statistics.of_numbers(np.concatenate(parts)) for key, parts in self._columns.items()}
        counts = {key: sum(row[f"stats/{key}/count"][0] for row in self._episodes) for key in self._levels}
        found |= {key: statistics.of_pictures(levels, counts[key]) for key, levels in self._levels.items()}
        for name, content in ((layout.STATISTICS, found), (layout.OURS, ours), (layout.INFO, self._info())):
            (self._root / name).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")

    def _write_lines(self) -> None:
        """What v2.1 says of episodes, their statistics and tasks: a line of JSON each."""
        known = ("episode_index", "tasks", "length")
        listed = {
            layout.V2_EPISODES: [{key: row[key] for key in known} for row in self._episodes],
            layout.V2_STATISTICS: [
                {"episode_index": row["episode_index"], "stats": _statistics_of(row)} for row in self._episodes
            ],
            layout.V2_TASKS: [{"task_index": index, "task": task} for task, index in self._tasks.items()],
        }
        for name, lines in listed.items():
            text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
            (self._root / name).write_text(text, encoding="utf-8")
        modality = layout.modality(self._format.joints, list(self._format.cameras))
        (self._root / layout.MODALITY).write_text(json.dumps(modality, indent=2), encoding="utf-8")

    def _write_data(self, columns: dict[str, NDArray[Any]], jpegs: dict[str, list[bytes]]) -> dict[str, int]:
        """Appends the rows of an episode as one row group. Returns in which file."""
        arrays: dict[str, pa.Array] = {}
        if not self._videos:
            for camera, images in jpegs.items():
                cells = [{"bytes": image, "path": None} for image in images]
                arrays[layout.image_key(camera)] = pa.array(cells, type=IMAGE)
        for key, values in columns.items():
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            width = self._features[key]["shape"][0]
            arrays[key] = pa.FixedSizeListArray.from_arrays(flat, width) if width > 1 else flat
        table = pa.table(arrays)
        version = self._format.version
        if version is V2:
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": self._types()}})})
        if self._data is not None and self._data_path.stat().st_size >= version.data_bytes:
            self._data.close()
            self._data = None
        if self._data is None:
            self._data_path = self._root / layout.file_path(version.data_path, self._data_files)
            self._data_path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(self._data_path, table.schema)
            self._data_files += 1
        self._data.write_table(table)
        return layout.place(self._data_files - 1)

    def _types(self) -> dict[str, Any]:
        """The columns as Hugging Face's `datasets` calls them: v2.1's reader knows images by that alone."""
        types: dict[str, Any] = {}
        for key, feature in self._features.items():
            value = {"dtype": feature["dtype"], "_type": "Value"}
            if feature["dtype"] == "image":
                types[key] = {"_type": "Image"}
            elif feature["dtype"] != "video":
                width = feature["shape"][0]
                types[key] = {"feature": value, "length": width, "_type": "Sequence"} if width > 1 else value
        return types

    def _info(self) -> dict[str, Any]:
        version, count = self._format.version, len(self._episodes)
        v2 = {"total_chunks": -(-count // layout.FILES_PER_CHUNK), "total_videos": count * len(self._videos)}
        return {
            "codebase_version": version.name,
            **(v2 if version is V2 else {}),
            "robot_type": "fr3",
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": layout.DATA_BYTES // 1024**2,
            "video_files_size_in_mb": layout.VIDEO_BYTES // 1024**2,
            "fps": self._format.fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": version.data_path,
            "video_path": version.video_path if self._videos else None,
            "features": self._features,
        }


def _statistics_of(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """An episode's statistics, by feature and kind."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
        if name.startswith("stats/"):
            key, _, kind = name.removeprefix("stats/").rpartition("/")
            found.setdefault(key, {})[kind] = value
    return found


def _task_table(tasks: Sequence[str]) -> pa.Table:
    """The tasks as pandas writes a frame whose index they are: that is how LeRobot looks them up."""
    index = "__index_level_0__"
    columns: list[dict[str, str | None]] = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object"},
    ]
    described = {"index_columns": [index], "column_indexes": [], "columns": [{**c, "metadata": None} for c in columns]}
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps({**described, "pandas_version": "2.0.0"})})
