"""The quality of one episode in metrics; `rules` judges them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vga_policy.curation.motion import find_rest, following_error, jerk
from vga_policy.curation.trace import Stream, Trace
from vga_policy.episodes.topics import JOINT_STATES, REFERENCE, image_topic
from vga_policy.units import SECOND

GAP_PERIODS = 3.0  # a gap is this many periods without a message, or GAP_SECONDS where that is longer
GAP_SECONDS = 0.1
FROZEN_MOTION = 0.1  # rad a joint must move for a camera to be expected to see it
REST_KEPT = 0.5  # s of rest that the part to train on keeps before the first and after the last motion
SHORTEST_CUT = 0.5  # s; less is not worth cutting


@dataclass(frozen=True)
class Arrival:
    """How one topic's messages arrived.

    rate_hz: outside of its gaps; expected_hz: by the cell, None where unknown. longest_gap: s, 0 when there is none;
    gap_at: s after the start. latency: s from stamp to recorder, median.
    """

    rate_hz: float
    expected_hz: float | None
    longest_gap: float
    gap_at: float
    latency: float


@dataclass(frozen=True)
class Frozen:
    """Longest time a camera showed the same while the arm moved, s; `at`, s after the start; how far it moved, rad."""

    seconds: float = 0.0
    at: float = 0.0
    moved: float = 0.0


@dataclass(frozen=True)
class Metrics:
    """Quality of one episode. Times in s, angles in rad, jerk in rad/s^3.

    seconds: of the whole recording; duration: time in motion. arrivals: by topic. frozen: by camera. skew: between the
    newest images of the policy's views, exceeded in 5 % of the instants. idle_leading, idle_trailing: before the first
    and after the last motion; idle_share: of the whole; idle_inner_share: between first and last motion. *_jerk: peak
    over the episode. following_error: exceeded in 5 % of the time. lost_share: of all messages. start_ns, end_ns: the
    part worth training on. corrected_share: of the references, those of a person who had taken over from a policy.
    """

    seconds: float
    duration: float
    arrivals: dict[str, Arrival]
    frozen: dict[str, Frozen]
    skew: float
    idle_leading: float
    idle_trailing: float
    idle_share: float
    idle_inner_share: float
    reference_jerk: float
    measured_jerk: float
    following_error: float
    lost_share: float
    start_ns: int
    end_ns: int
    corrected_share: float


def measure(trace: Trace) -> Metrics:
    """All metrics of one episode."""
    rest = find_rest(trace.reference, trace.measured)
    gaps = {topic: find_gaps(trace, stream) for topic, stream in trace.streams.items()}
    unknown = np.concatenate([gaps[JOINT_STATES], gaps[REFERENCE]])
    error = following_error(trace.reference, trace.measured, unknown)
    lost = trace.episode.messages_lost
    start, end = rest.first_ns - round(REST_KEPT * SECOND), rest.last_ns + round(REST_KEPT * SECOND)
    return Metrics(
        seconds=_seconds(trace.start_ns, trace.end_ns),
        duration=_seconds(rest.first_ns, rest.last_ns) * (1.0 - rest.inner_share),
        arrivals={topic: _arrival(trace, stream, gaps[topic]) for topic, stream in trace.streams.items()},
        frozen={camera: _frozen(trace, camera) for camera in trace.strips},
        skew=_skew(trace, gaps),
        idle_leading=_seconds(trace.start_ns, rest.first_ns),
        idle_trailing=_seconds(rest.last_ns, trace.end_ns),
        idle_share=rest.share,
        idle_inner_share=rest.inner_share,
        reference_jerk=float(jerk(trace.reference, unknown).max(initial=0.0)),
        measured_jerk=float(jerk(trace.measured, unknown).max(initial=0.0)),
        following_error=float(np.quantile(error, 0.95)) if len(error) else 0.0,
        lost_share=lost / max(1, lost + sum(trace.episode.messages.values())),
        start_ns=start if _seconds(trace.start_ns, start) > SHORTEST_CUT else trace.start_ns,
        end_ns=end if _seconds(end, trace.end_ns) > SHORTEST_CUT else trace.end_ns,
        corrected_share=trace.corrected_share,
    )


def find_gaps(trace: Trace, stream: Stream) -> NDArray[np.int64]:
    """Start and end of every time without a message, int64 [G, 2], ns; also at the ends of the episode."""
    stamps = np.concatenate([[trace.start_ns], stream.stamps, [trace.end_ns]])
    found = np.flatnonzero(np.diff(stamps) > _longest_interval(stream))
    return np.stack([stamps[found], stamps[found + 1]], axis=1)


def _arrival(trace: Trace, stream: Stream, gaps: NDArray[np.int64]) -> Arrival:
    lengths = gaps[:, 1] - gaps[:, 0]
    longest = int(lengths.argmax()) if len(gaps) else None
    intervals = np.diff(stream.stamps)
    regular = intervals[intervals <= _longest_interval(stream)]
    counted = regular if len(regular) else intervals
    return Arrival(
        rate_hz=len(counted) / (float(counted.sum()) / SECOND) if counted.any() else 0.0,
        expected_hz=stream.rate_hz,
        longest_gap=0.0 if longest is None else float(lengths[longest]) / SECOND,
        gap_at=0.0 if longest is None else _seconds(trace.start_ns, int(gaps[longest, 0])),
        latency=stream.latency,
    )


def _longest_interval(stream: Stream) -> float:
    """What may lie between two messages, ns, without being a gap."""
    return max(GAP_SECONDS, GAP_PERIODS / stream.rate_hz if stream.rate_hz else 0.0) * SECOND


def _frozen(trace: Trace, camera: str) -> Frozen:
    worst = Frozen()
    for run in trace.strips[camera].runs:
        seconds = _seconds(run.start_ns, run.end_ns)
        within = (trace.measured.stamps >= run.start_ns) & (trace.measured.stamps <= run.end_ns)
        moved = float(np.ptp(trace.measured.values[within, :7], axis=0).max()) if within.any() else 0.0
        if moved >= FROZEN_MOTION and seconds > worst.seconds:
            worst = Frozen(seconds, _seconds(trace.start_ns, run.start_ns), moved)
    return worst


def _skew(trace: Trace, gaps: dict[str, NDArray[np.int64]]) -> float:
    """Skew while every view delivers; a gap is judged as such."""
    topics = [image_topic(camera.name) for camera in trace.cell.views]
    stamps = [trace.streams[topic].stamps for topic in topics]
    instants = np.sort(np.concatenate(stamps))
    instants = instants[instants >= max(each[0] for each in stamps)]
    for start, end in np.concatenate([gaps[topic] for topic in topics]):
        instants = instants[(instants <= start) | (instants > end)]
    if not len(instants):
        return 0.0
    newest = np.stack([each[np.searchsorted(each, instants, side="right") - 1] for each in stamps])
    return float(np.quantile(np.ptp(newest, axis=0), 0.95)) / SECOND


def _seconds(start_ns: int, end_ns: int) -> float:
    return max(0, end_ns - start_ns) / SECOND
