"""An episode as arrays: everything its quality is judged by, read once from the bag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vga_policy.bags.reader import SECOND, Bag, BagError
from vga_policy.contract.cell import Cell, parse_cell
from vga_policy.contract.episode import Episode, load_episode
from vga_policy.contract.resampler import proprioception
from vga_policy.curation.pictures import Strip, read_strip

JOINT_STATES, REFERENCE, LEADER = "/joint_states", "/franka_driver/reference", "/gello/joint_states"
DRIVER_STATE = "/franka_driver/state"
HOLD = 0  # vga_msgs/DriverState.HOLD


@dataclass(frozen=True)
class Motion:
    """Arm and gripper over time. stamps: int64 [N], ns, ascending. values: float64 [N, 8], joints (rad), width (m)."""

    stamps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Stream:
    """Arrival of one topic's messages. stamps: int64 [N], ns, ascending; rate_hz: expected, None where unknown.

    latency: median time from stamp to arrival at the recorder, s.
    """

    stamps: NDArray[np.int64]
    rate_hz: float | None
    latency: float


@dataclass(frozen=True)
class Trace:
    """One episode.

    streams: by topic. reference, measured: what the arm was told and what it did. strips: of every camera, by name.
    faults: why the driver needed recovery, in its words; holds: why it held the arm before it moved on.
    """

    path: Path
    episode: Episode
    cell: Cell
    streams: dict[str, Stream]
    reference: Motion
    measured: Motion
    strips: dict[str, Strip]
    faults: list[str]
    holds: list[str]

    @property
    def start_ns(self) -> int:
        """First stamp of any stream."""
        return min(int(stream.stamps[0]) for stream in self.streams.values())

    @property
    def end_ns(self) -> int:
        """Last stamp of any stream."""
        return max(int(stream.stamps[-1]) for stream in self.streams.values())


def image_topic(camera: str) -> str:
    """The topic a camera's JPEG images are recorded on."""
    return f"/cameras/{camera}/color/image_raw/compressed"


def read_trace(path: Path) -> Trace:
    """Reads the episode in the bag directory `path`.

    Raises EpisodeError, ContractError or BagError when it cannot be judged: damaged, foreign, without a topic that
    training needs, of a wrong type, or with stamps that run backwards.
    """
    episode = load_episode(path)
    cell = parse_cell(episode.cell, f"{path}: cell")
    with Bag(path) as bag:
        images = {camera.name: image_topic(camera.name) for camera in cell.cameras}
        for topic in images.values():
            bag.require(topic, "sensor_msgs/msg/CompressedImage")
        bag.require(JOINT_STATES, "sensor_msgs/msg/JointState")
        bag.require(REFERENCE, "vga_msgs/msg/RobotReference")
        rates = {images[camera.name]: float(camera.color.fps) for camera in cell.cameras}
        expected = {**rates, JOINT_STATES: cell.arm.tracking.rate_hz, REFERENCE: cell.arm.tracking.rate_hz}
        streams = {topic: _stream(bag, topic, rate) for topic, rate in expected.items()}
        if bag.count(LEADER):
            streams[LEADER] = _stream(bag, LEADER, None)
        faults, holds = _driver_states(bag)
        return Trace(
            path=path,
            episode=episode,
            cell=cell,
            streams=streams,
            reference=_reference(bag),
            measured=_measured(bag, cell),
            strips={name: read_strip(bag, topic) for name, topic in images.items()},
            faults=faults,
            holds=holds,
        )


def _stream(bag: Bag, topic: str, rate_hz: float | None) -> Stream:
    stamps = bag.ordered_stamps(topic)
    return Stream(stamps, rate_hz, float(np.median(bag.log_times(topic) - stamps)) / SECOND)


def _reference(bag: Bag) -> Motion:
    rows = [[*message.position, message.gripper_width] for message in bag.messages(REFERENCE)]
    return _motion(bag, REFERENCE, rows)


def _measured(bag: Bag, cell: Cell) -> Motion:
    try:
        rows = [proprioception(cell, message.name, message.position) for message in bag.messages(JOINT_STATES)]
    except ValueError as error:
        raise BagError(f"{bag.file}: {JOINT_STATES}: {error}") from None
    return _motion(bag, JOINT_STATES, rows)


def _motion(bag: Bag, topic: str, rows: list[Any]) -> Motion:
    values = np.array(rows, dtype=np.float64)
    if not np.isfinite(values).all():
        raise BagError(f"{bag.file}: {topic}: message {int(np.argwhere(~np.isfinite(values))[0, 0])} is not finite")
    return Motion(bag.ordered_stamps(topic), values)


def _driver_states(bag: Bag) -> tuple[list[str], list[str]]:
    """Faults of the driver, and the reasons of those holds after which it moved on; each named once."""
    if not bag.count(DRIVER_STATE):
        return [], []
    bag.require(DRIVER_STATE, "vga_msgs/msg/DriverState")
    faults: dict[str, None] = {}
    holds: dict[str, None] = {}
    pending: dict[str, None] = {}
    moved = False
    for state in bag.messages(DRIVER_STATE):
        reason = state.hold_reason or "no reason given"
        if state.needs_recovery or not state.connected:
            faults[reason] = None
        elif state.mode != HOLD:
            moved = True
            holds |= pending
            pending = {}
        elif moved:
            pending[reason] = None
    return list(faults), list(holds)
