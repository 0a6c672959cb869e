"""LeRobot's datasets on disk: which files there are and what a frame holds (huggingface/lerobot, CODEBASE_VERSION).

In v3.0 many episodes share a Parquet file, and an MP4 file a camera; `meta/episodes` says where each one lies. In v2.1
each has files of its own, and what is said of episodes and tasks stands in lines of JSON. `timestamp` must
be frame_index / fps, or its reader refuses: the true times are in columns of our own, which others ignore. Their names
do not begin with "observation", or LeRobot's policies would take them for part of the robot's state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

FILES_PER_CHUNK = 1000
DATA_BYTES = 100 * 1024**2  # of a Parquet file, after which the next one is begun
VIDEO_BYTES = 200 * 1024**2

V2_EPISODES, V2_STATISTICS, V2_TASKS = "meta/episodes.jsonl", "meta/episodes_stats.jsonl", "meta/tasks.jsonl"
MODALITY = "meta/modality.json"  # asked for by GR00T besides v2.1
INFO, STATISTICS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
OURS = "meta/vga.json"  # cell contract and labels; other readers ignore it
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
V2_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"

STATE, ACTION = "observation.state", "action"
STAMP = "stamp_ns"  # t_obs: when the oldest image of the frame was taken, and the state measured
CAPTURE_STAMPS = "capture_stamps_ns"  # when each camera's image was taken
INTERVENTION = "intervention"  # whether a person had taken over from the policy: LeRobot's own name for it
GRIPPER = "gripper_width"  # name of the eighth number of state and action: total opening, m


class FormatVersion(NamedTuple):
    """A version of the format. data_bytes, video_bytes: of a file, after which the next episode begins a new one."""

    name: str
    data_path: str = DATA_PATH
    video_path: str = VIDEO_PATH
    data_bytes: int = DATA_BYTES
    video_bytes: int = VIDEO_BYTES


V3 = FormatVersion("v3.0")
V2 = FormatVersion("v2.1", V2_DATA_PATH, V2_VIDEO_PATH, data_bytes=0, video_bytes=0)  # a file an episode
VERSIONS = {version.name.removeprefix("v"): version for version in (V3, V2)}


def file_path(template: str, number: int, key: str = "") -> str:
    """Path of the n-th file of a kind; key: of a video's feature."""
    one_each = {"episode_chunk": number // FILES_PER_CHUNK, "episode_index": number}
    return template.format(video_key=key, **place(number), **one_each)


def image_key(camera: str) -> str:
    """The feature that holds a camera's images."""
    return f"observation.images.{camera}"


def features(
    joints: list[str], cameras: dict[str, tuple[int, int]], video: dict[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """What a frame holds. cameras: height and width by name. video: facts of the encoding, None for images."""
    names = [*joints, GRIPPER]
    frame: dict[str, dict[str, Any]] = {}
    for camera, (height, width) in cameras.items():
        feature: dict[str, Any] = {
            "dtype": "image",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
        }
        if video is not None:
            size = {"video.height": height, "video.width": width}
            feature |= {"dtype": "video", "info": {**size, **video}}
        frame[image_key(camera)] = feature
    for key in (STATE, ACTION):
        frame[key] = {"dtype": "float32", "shape": [len(names)], "names": names}
    frame[STAMP] = _numbers("int64")
    frame[CAPTURE_STAMPS] = _numbers("int64", list(cameras))
    frame[INTERVENTION] = _numbers("bool")
    frame["timestamp"] = _numbers("float32")
    frame |= {key: _numbers("int64") for key in ("frame_index", "episode_index", "index", "task_index")}
    return frame


def modality(joints: list[str], cameras: list[str]) -> dict[str, Any]:
    """What GR00T wants to know of a v2.1 dataset: which numbers are the arm and the gripper, and what else is what."""
    groups = {"arm": {"start": 0, "end": len(joints)}, "gripper": {"start": len(joints), "end": len(joints) + 1}}
    return {
        "state": groups,
        "action": groups,
        "video": {camera: {"original_key": image_key(camera)} for camera in cameras},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def place(number: int) -> dict[str, int]:
    """Chunk and file of the n-th file of a kind."""
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def _numbers(dtype: str, names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": names}
