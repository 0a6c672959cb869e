"""Writes video files of many episodes, one after another, at a constant rate."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vga_policy.lerobot.layout import V3, FormatVersion, file_path, place

PIXELS = "yuv420p"
CODEC, ENCODER = "h264", "libx264"  # every reader decodes it
# Every second frame is a key frame, as in LeRobot's own files: a reader jumps to any frame.
OPTIONS = {"g": "2", "bf": "0", "crf": "20", "preset": "veryfast"}


def facts(fps: int) -> dict[str, Any]:
    """What info.json says of a video feature besides its size."""
    return {
        "video.codec": CODEC, "video.pix_fmt": PIXELS, "video.is_depth_map": False, "video.fps": fps,
        "video.channels": 3, "has_audio": False,
    }  # fmt: skip


class VideoWriter:
    """The video files of one camera."""

    def __init__(self, root: Path, key: str, fps: int, version: FormatVersion = V3) -> None:
        """root: of the dataset. version: says where its files lie, and when the next one is begun."""
        self._root, self._key, self._fps, self._version = root, key, fps, version
        self._files = 0
        self._frames = 0  # in the open file
        self._path = Path()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def add_episode(self, pictures: Iterable[NDArray[np.uint8]]) -> dict[str, Any]:
        """Appends an episode's frames [H, W, 3]. Returns where they lie, as `meta/episodes` says it."""
        if self._container is not None and self._path.stat().st_size >= self._version.video_bytes:
            self.close()
        first = self._frames
        for picture in pictures:
            container, stream = self._open(picture)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
            container.mux(stream.encode(frame))
            self._frames += 1
        found = {
            **place(self._files - 1),
            "from_timestamp": first / self._fps,
            "to_timestamp": self._frames / self._fps,
        }
        return {f"videos/{self._key}/{name}": value for name, value in found.items()}

    def close(self) -> None:
        """Finishes the open file."""
        if self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        self._container = None
        self._frames = 0

    def _open(self, picture: NDArray[np.uint8]) -> tuple[OutputContainer, VideoStream]:
        if self._container is None or self._stream is None:
            self._path = self._root / file_path(self._version.video_path, self._files, self._key)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._files += 1
            self._container = av.open(str(self._path), "w")
            stream = cast(VideoStream, self._container.add_stream(ENCODER, rate=self._fps, options=OPTIONS))
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = PIXELS
            self._stream = stream
        return self._container, self._stream
