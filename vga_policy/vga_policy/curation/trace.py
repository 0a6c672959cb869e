"""An episode as arrays: everything its quality is judged by, read once from the bag."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vga_policy.bags.reader import Bag
from vga_policy.cell.schema import Cell
from vga_policy.curation.pictures import Strip, read_strip
from vga_policy.dataset.actions import Track
from vga_policy.dataset.demonstration import COMPRESSED_IMAGE, Demonstration
from vga_policy.dataset.origins import Origin
from vga_policy.episodes.metadata import IMPORTED, Episode
from vga_policy.episodes.topics import (
    DIAGNOSTICS,
    DRIVER_STATE,
    FRAMES_AHEAD,
    JOINT_STATES,
    LEADER,
    REFERENCE,
    camera_of,
    image_topic,
)
from vga_policy.message_constants import Mode
from vga_policy.units import SECOND


@dataclass(frozen=True)
class Stream:
    """Arrival of one topic's messages. stamps: int64 [N], ns, ascending; rate_hz: expected, None where unknown.

    latency: median time from stamp to arrival at the recorder, s.
    """

    stamps: NDArray[np.int64]
    rate_hz: float | None
    latency: float


@dataclass(frozen=True)
class PassedOver:
    """What was left out of an episode's streams.

    hand, arm: for how long, s, joint states lacked the hand's joint, or were not believed; why: the first of these.
    stamps: of every topic with messages whose stamps cannot be their share, and how many and which, in words.
    """

    hand: float = 0.0
    arm: float = 0.0
    why: str = ""
    stamps: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Trace:
    """One episode.

    streams: by topic. reference, measured: what the arm was told and what it did. strips: of every camera, by name.
    faults: why the driver needed recovery, in its words; holds: why it held the arm before it moved on. passed_over:
    what was left out of the streams, and for how long. corrected_share: of the references, those of a person who had
    taken over from a policy.
    """

    path: Path
    episode: Episode
    cell: Cell
    streams: dict[str, Stream]
    reference: Track
    measured: Track
    strips: dict[str, Strip]
    faults: list[str]
    holds: list[str]
    passed_over: PassedOver
    corrected_share: float

    @property
    def start_ns(self) -> int:
        """First stamp of any stream."""
        return min(int(stream.stamps[0]) for stream in self.streams.values())

    @property
    def end_ns(self) -> int:
        """Last stamp of any stream."""
        return max(int(stream.stamps[-1]) for stream in self.streams.values())


def read_trace(path: Path) -> Trace:
    """Reads the episode in the bag directory `path`.

    Raises EpisodeError, CellError or BagError when it cannot be judged: damaged, foreign, without a topic that
    training needs, of a wrong type, or with stamps that run backwards.
    """
    demonstration = Demonstration(path)
    bag, cell = demonstration.bag, demonstration.cell
    images = {camera.name: image_topic(camera.name) for camera in cell.cameras}
    for topic in images.values():
        bag.require(topic, COMPRESSED_IMAGE, "header", "data")
    measured, reference = demonstration.measured, demonstration.reference
    slowest = cell.control_rate_hz if demonstration.episode.source == IMPORTED else float("inf")
    expected: dict[str, float | None] = {
        images[camera.name]: min(float(camera.color.fps), slowest) for camera in cell.cameras
    }
    expected |= {JOINT_STATES: cell.arm.tracking.rate_hz, REFERENCE: cell.arm.tracking.rate_hz}
    if bag.count(LEADER):
        expected[LEADER] = None
    streams = {topic: _stream(bag, topic, rate) for topic, rate in expected.items()}
    streams[JOINT_STATES] = replace(streams[JOINT_STATES], stamps=measured.stamps)  # what is not believed is a gap
    faults, holds = _driver_states(bag)
    trace = Trace(
        path=path,
        episode=demonstration.episode,
        cell=cell,
        streams=streams,
        reference=reference,
        measured=measured,
        strips={name: read_strip(bag, topic) for name, topic in images.items()},
        faults=faults,
        holds=holds,
        passed_over=PassedOver(*demonstration.passed_over(), _odd_stamps(bag)),
        corrected_share=float((demonstration.origins(reference.stamps) == Origin.INTERVENTION).mean()),
    )
    demonstration.close()
    return trace


def _stream(bag: Bag, topic: str, rate_hz: float | None) -> Stream:
    stamps = bag.ordered_stamps(topic)
    return Stream(stamps, rate_hz, float(np.median(bag.log_times(topic) - stamps)) / SECOND)


def _odd_stamps(bag: Bag) -> list[tuple[float, str]]:
    """What the reader passed over, and what the cameras' nodes had dropped before."""
    found = [
        (count / (count + bag.count(topic)), f"{camera_of(topic) or topic}: {count} passed over, the first: {words}")
        for topic, (count, words) in bag.passed_over.items()
    ]
    for camera, dropped in _dropped_frames(bag).items():
        words = f"{camera}: {dropped} frames dropped when they came, stamped ahead of their arrival"
        found.append((dropped / (dropped + bag.count(image_topic(camera))), words))
    return found


def _dropped_frames(bag: Bag) -> dict[str, int]:
    """By camera, how many frames its node dropped for their stamps while the diagnostics were recorded."""
    topic = bag.topics.get(DIAGNOSTICS)
    if topic is None or topic.unreadable or topic.type != "diagnostic_msgs/msg/DiagnosticArray":
        return {}
    counts: dict[str, list[int]] = {}
    for message in bag.messages(DIAGNOSTICS):
        for status in message.status:
            said = {value.key: value.value for value in status.values}
            if (camera := camera_of(status.name)) and said.get(FRAMES_AHEAD, "").isdecimal():
                counts.setdefault(camera, []).append(int(said[FRAMES_AHEAD]))
    return {camera: seen[-1] - seen[0] for camera, seen in counts.items() if seen[-1] > seen[0]}


def _driver_states(bag: Bag) -> tuple[list[str], list[str]]:
    """Faults of the driver, and the reasons of those holds after which it moved on; each named once."""
    if not bag.count(DRIVER_STATE):
        return [], []
    bag.require(DRIVER_STATE, "vga_msgs/msg/DriverState", "mode", "hold_reason", "needs_recovery", "connected")
    faults: dict[str, None] = {}
    holds: dict[str, None] = {}
    pending: dict[str, None] = {}
    moved = False
    for state in bag.messages(DRIVER_STATE):
        reason = state.hold_reason or "no reason given"
        if state.needs_recovery or not state.connected:
            faults[reason] = None
        elif state.mode != Mode.HOLD:
            moved = True
            holds |= pending
            pending = {}
        elif moved:
            pending[reason] = None
    return list(faults), list(holds)
