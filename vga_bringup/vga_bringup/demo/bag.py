"""A recorded run as arrays: what the report is computed and drawn from. Needs no ROS, only the bag."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from vga_policy.cell.loading import parse_cell
from vga_policy.cell.schema import Cell
from vga_policy.episodes import topics
from vga_policy.episodes.metadata import FILE, Episode, load_episode
from vga_policy.units import nanoseconds

STATE_TOPICS = (
    topics.JOINT_STATES,
    topics.REFERENCE,
    topics.CHUNK_VERDICT,
    topics.GRIPPER_STATE,
    topics.ACTION_CHUNK,
    topics.DIAGNOSTICS,
)


@dataclass(frozen=True)
class ArmMotion:
    """The arm over time. stamps: int64 [N], ns. position, velocity: float64 [N, 7], rad and rad/s."""

    stamps: NDArray[np.int64]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Where each reference came from, [N]: driver mode, goal (16 bytes), chunk sequence, step (-1: none)."""

    mode: NDArray[np.int64]
    goal: list[bytes]
    sequence: NDArray[np.int64]
    step: NDArray[np.int64]


@dataclass(frozen=True)
class Chunk:
    """A published chunk. Times in ns."""

    goal: bytes
    sequence: int
    t_obs: int
    received: int


@dataclass(frozen=True)
class RecordedVerdict:
    """The driver's decision on a chunk. Times in ns."""

    goal: bytes
    sequence: int
    t_obs: int
    decided: int
    accepted: bool
    reason: str
    anchor: int
    steps_dropped: int


@dataclass(frozen=True)
class Frames:
    """Images of one camera in order of arrival: capture times (int64 [N], ns) and checksums of their content."""

    stamps: NDArray[np.int64]
    checksums: NDArray[np.int64]


@dataclass(frozen=True)
class Width:
    """Opening of the gripper over time. stamps: int64 [N], ns. measured, commanded: float64 [N], m."""

    stamps: NDArray[np.int64]
    measured: NDArray[np.float64]
    commanded: NDArray[np.float64]


@dataclass(frozen=True)
class SimClock:
    """Readings of the simulated cell's clocks. received: int64 [N], ns. sim, wall: float64 [N], s."""

    received: NDArray[np.int64]
    sim: NDArray[np.float64]
    wall: NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """Everything the report needs from one bag."""

    path: Path
    cell: Cell
    measured: ArmMotion
    reference: ArmMotion
    source: Source
    width: Width
    chunks: list[Chunk]
    verdicts: list[RecordedVerdict]
    frames: dict[str, Frames]
    sim_clock: SimClock
    checkpoint: str
    episode: Episode | None = None


def read_recording(path: Path) -> Recording:
    """Reads the bag directory `path`."""
    cell = _read_cell(path)
    messages: dict[str, list[tuple[int, Any]]] = {name: [] for name in STATE_TOPICS}
    images: dict[str, list[tuple[int, int]]] = {camera.name: [] for camera in cell.cameras}
    for received, topic, message in _messages(path, [*STATE_TOPICS, *map(topics.image_topic, images)]):
        if topic in messages:
            messages[topic].append((received, message))
        else:
            data = message.data
            images[topics.camera_of(topic)].append((nanoseconds(message.header.stamp), zlib.crc32(data)))
    references = [message for _, message in messages[topics.REFERENCE]]
    widths = [message for _, message in messages[topics.GRIPPER_STATE]]
    statuses = [(received, status) for received, message in messages[topics.DIAGNOSTICS] for status in message.status]
    return Recording(
        path=path,
        cell=cell,
        measured=_measured(cell, [message for _, message in messages[topics.JOINT_STATES]]),
        reference=ArmMotion(
            _stamps(references),
            _matrix([m.position for m in references]),
            _matrix([m.velocity for m in references]),
        ),
        source=Source(
            np.array([m.mode for m in references], dtype=np.int64),
            [_goal(m) for m in references],
            np.array([m.chunk_sequence for m in references], dtype=np.int64),
            np.array([m.step for m in references], dtype=np.int64),
        ),
        width=Width(
            _stamps(widths), np.array([m.width for m in widths]), np.array([m.commanded_width for m in widths])
        ),
        chunks=[
            Chunk(_goal(message), message.sequence, nanoseconds(message.header.stamp), received)
            for received, message in messages[topics.ACTION_CHUNK]
        ],
        verdicts=[_verdict(message) for _, message in messages[topics.CHUNK_VERDICT]],
        frames={name: Frames(*np.array(rows, dtype=np.int64).reshape(-1, 2).T) for name, rows in images.items()},
        sim_clock=_sim_clock(statuses),
        checkpoint=next((v for _, status in statuses if (v := _values(status).get("checkpoint"))), "unknown"),
        episode=load_episode(path) if (path / FILE).is_file() else None,
    )


def read_images(path: Path, camera: str) -> Iterator[tuple[int, bytes]]:
    """Capture time (ns) and JPEG of each image of a camera, in order of arrival."""
    for _, _, message in _messages(path, [topics.image_topic(camera)]):
        yield nanoseconds(message.header.stamp), message.data.tobytes()


def _messages(path: Path, wanted: list[str]) -> Iterator[tuple[int, str, Any]]:
    with AnyReader([path]) as reader:
        connections = [connection for connection in reader.connections if connection.topic in wanted]
        if not connections:
            return
        for connection, received, raw in reader.messages(connections=connections):
            yield received, connection.topic, reader.deserialize(raw, connection.msgtype)


def _read_cell(path: Path) -> Cell:
    (file,) = path.glob("*.mcap")
    with file.open("rb") as stream:
        (record,) = (record for record in make_reader(stream).iter_metadata() if record.name == "vga")
    return parse_cell(record.metadata["cell"], f"cell of {path}")


def _measured(cell: Cell, messages: list[Any]) -> ArmMotion:
    """Joint states in the cell's joint order, whatever their own."""
    columns = [[list(m.name).index(name) for name in cell.arm.joint_names] for m in messages]
    return ArmMotion(
        _stamps(messages),
        _matrix([m.position[column] for m, column in zip(messages, columns, strict=True)]),
        _matrix([m.velocity[column] for m, column in zip(messages, columns, strict=True)]),
    )


def _verdict(m: Any) -> RecordedVerdict:
    return RecordedVerdict(
        _goal(m),
        m.sequence,
        nanoseconds(m.t_obs),
        nanoseconds(m.header.stamp),
        m.accepted,
        m.reason,
        nanoseconds(m.anchor),
        m.steps_dropped,
    )


def _sim_clock(statuses: list[tuple[int, Any]]) -> SimClock:
    rows = [
        (received, float(values["sim_time"]), float(values["wall_time"]))
        for received, status in statuses
        if status.name.startswith("sim_cell") and "sim_time" in (values := _values(status))
    ]
    received, sim, wall = zip(*rows, strict=True) if rows else ((), (), ())
    return SimClock(np.array(received, dtype=np.int64), np.array(sim), np.array(wall))


def _values(status: Any) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def _goal(message: Any) -> bytes:
    return bytes(message.goal_id.uuid)


def _stamps(messages: list[Any]) -> NDArray[np.int64]:
    return np.array([nanoseconds(message.header.stamp) for message in messages], dtype=np.int64)


def _matrix(rows: list[Any]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, 7)
