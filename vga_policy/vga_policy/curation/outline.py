"""What the report shows of an episode: few enough numbers to keep for every episode of a large set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vga_policy.curation.metrics import Metrics, find_gaps
from vga_policy.curation.motion import find_rest
from vga_policy.curation.trace import Trace
from vga_policy.units import SECOND

SAMPLES = 240  # of each curve

Span = tuple[float, float]


@dataclass(frozen=True)
class Outline:
    """An episode in outline. Times in s after `start_ns`.

    times: float64 [N]; reference, measured: float64 [N, 8], 7 joints (rad) and width (m). rests: when nothing moved.
    gaps: by topic. frozen: by camera, while the arm moved. kept: the part proposed to train on. thumbnails: JPEGs of
    each camera's first, middle and last frame.
    """

    start_ns: int
    end_ns: int
    times: NDArray[np.float64]
    reference: NDArray[np.float64]
    measured: NDArray[np.float64]
    rests: list[Span]
    gaps: dict[str, list[Span]]
    frozen: dict[str, Span]
    kept: Span
    thumbnails: dict[str, list[bytes]]


def outline_of(trace: Trace, metrics: Metrics) -> Outline:
    """The outline of an episode."""
    start = trace.start_ns
    stamps = start + np.linspace(0, trace.end_ns - start, SAMPLES).astype(np.int64)

    def seconds(stamp: int) -> float:
        return (stamp - start) / SECOND

    return Outline(
        start_ns=start,
        end_ns=trace.end_ns,
        times=(stamps - start) / SECOND,
        reference=trace.reference.interpolated(stamps),
        measured=trace.measured.interpolated(stamps),
        rests=[(seconds(a), seconds(b)) for a, b in find_rest(trace.reference, trace.measured).spans()],
        gaps={
            topic: [(seconds(a), seconds(b)) for a, b in find_gaps(trace, stream)]
            for topic, stream in trace.streams.items()
        },
        frozen={name: (f.at, f.at + f.seconds) for name, f in metrics.frozen.items() if f.seconds},
        kept=(seconds(metrics.start_ns), seconds(metrics.end_ns)),
        thumbnails={name: strip.thumbnails for name, strip in trace.strips.items()},
    )
