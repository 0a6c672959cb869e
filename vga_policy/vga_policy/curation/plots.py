"""The report's plots, as SVG: an episode's course, and how a task's episodes compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from vga_policy.curation.outline import Outline, Span
from vga_policy.curation.rules import short
from vga_policy.episodes.decisions import Verdict
from vga_policy.episodes.topics import JOINT_STATES, LEADER, REFERENCE, camera_of

COLORS = {Verdict.ACCEPT: "#2f855a", Verdict.REVIEW: "#b7791f", Verdict.REJECT: "#c53030"}
JOINTS = ("#2f6db5", "#c4510a", "#2f855a", "#8e44ad", "#7b5b3a", "#c2578f", "#4a5568")
LEFT, RIGHT, WIDTH = 76, 12, 860  # of the course; its labels stand left of LEFT
CURVES, WIDTH_BAND, LANE = 110, 26, 13  # heights, pixels

LANES = {JOINT_STATES: "arm", REFERENCE: "command", LEADER: "leader"}

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Point:
    """One episode in a distribution. identifier: of its card in the report."""

    identifier: str
    value: float
    verdict: Verdict


def course(outline: Outline) -> str:
    """Joints against time, gripper, and when each topic's messages arrived; rest is gray, what is cut off hatched."""
    lanes = list(outline.gaps)
    bottom = CURVES + WIDTH_BAND + 12 + LANE * len(lanes)
    seconds = max(float(outline.times[-1]), 1e-9)

    def x(time: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * time / seconds

    parts = [f'<svg viewBox="0 0 {WIDTH} {bottom + 20}" role="img" aria-label="course of the episode">']
    parts += [_box(x, span, 0, bottom, "rest", "at rest") for span in outline.rests]
    parts += _curves(x, outline)
    parts += _width(x, outline)
    for row, topic in enumerate(lanes):
        parts += _lane(x, outline, topic, CURVES + WIDTH_BAND + 12 + LANE * row)
    for cut in ((0.0, outline.kept[0]), (outline.kept[1], seconds)):
        if cut[1] > cut[0]:
            parts.append(_box(x, cut, 0, bottom, "cut", "not trained on"))
    parts += _time_axis(x, seconds, bottom)
    return "".join([*parts, "</svg>"])


def distribution(points: Sequence[Point], unit: str) -> str:
    """One dot an episode on a line, those of similar value above each other, and a mark at the median."""
    width, height, margin, radius = 300, 76, 14, 4
    values = np.array([point.value for point in points])
    low, high = float(values.min()), float(values.max())
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)

    def x(value: float) -> float:
        return margin + (width - 2 * margin) * (value - low) / (high - low)

    floor = height - 22
    parts = [f'<svg viewBox="0 0 {width} {height}" class="distribution" role="img">']
    parts.append(f'<line x1="{margin}" x2="{width - margin}" y1="{floor}" y2="{floor}" class="axis"/>')
    median = float(np.median(values))
    parts.append(f'<line x1="{x(median):.1f}" x2="{x(median):.1f}" y1="4" y2="{floor}" class="median"/>')
    stacked: dict[int, int] = {}
    for point in sorted(points, key=lambda point: list(COLORS).index(point.verdict)):
        place = round(x(point.value) / (2 * radius))
        level = stacked[place] = stacked.get(place, -1) + 1
        y = floor - radius - min(level * 2 * radius, floor - 2 * radius)
        title = f"{point.identifier}: {_number(point.value)} {unit}, {point.verdict}"
        parts.append(
            f'<a href="#{escape(point.identifier)}"><circle cx="{x(point.value):.1f}" cy="{y:.1f}" r="{radius}" '
            f'fill="{COLORS[point.verdict]}"><title>{escape(title)}</title></circle></a>'
        )
    parts.append(_text(margin, height - 6, _number(low), "start"))
    parts.append(_text(width - margin, height - 6, f"{_number(high)} {unit}", "end"))
    if 0.3 < (median - low) / (high - low) < 0.7:
        parts.append(_text(x(median), height - 6, f"median {_number(median)}", "middle"))
    return "".join([*parts, "</svg>"])


def _curves(x: Scale, outline: Outline) -> list[str]:
    """The joints' way from where they began: what was commanded, and paler what the arm did."""
    way = outline.reference[:, :7] - outline.reference[0, :7]
    did = outline.measured[:, :7] - outline.reference[0, :7]
    low, high = float(min(way.min(), did.min())), float(max(way.max(), did.max()))
    span = max(high - low, 0.02)

    def y(angle: float) -> float:
        return 6 + (CURVES - 12) * (1 - (angle - low) / span)

    lines = [
        _line(x, y, outline.times, values[:, joint], f'class="joint {name}" stroke="{color}"')
        for values, name in ((did, "measured"), (way, "commanded"))
        for joint, color in enumerate(JOINTS)
    ]
    labels = [_text(LEFT - 8, 14, "joints", "end"), _text(LEFT - 8, 28, f"±{max(-low, high):.2f} rad", "end")]
    return [*lines, *labels]


def _width(x: Scale, outline: Outline) -> list[str]:
    """The gripper's opening: commanded as a line, measured as an area."""
    top, widest = CURVES + 4, max(float(outline.reference[:, 7].max()), float(outline.measured[:, 7].max()), 1e-3)

    def y(width: float) -> float:
        return top + (WIDTH_BAND - 4) * (1 - width / widest)

    area = _points(x, y, outline.times, outline.measured[:, 7])
    base = f"{x(float(outline.times[-1])):.1f},{y(0):.1f} {x(0):.1f},{y(0):.1f}"
    return [
        f'<polygon points="{area} {base}" class="opening"/>',
        _line(x, y, outline.times, outline.reference[:, 7], 'class="joint commanded" stroke="#4a5568"'),
        _text(LEFT - 8, top + WIDTH_BAND / 2 + 3, "gripper", "end"),
    ]


def _lane(x: Scale, outline: Outline, topic: str, top: float) -> list[str]:
    """When a topic's messages arrived, where there were none, and where a camera stood still."""
    seconds = float(outline.times[-1])
    label = LANES.get(topic, short(topic))
    parts = [_text(LEFT - 8, top + 8, label, "end"), _box(x, (0.0, seconds), top + 2, LANE - 5, "present", label)]
    parts += [_box(x, gap, top + 2, LANE - 5, "gap", f"{label}: no message") for gap in outline.gaps[topic]]
    if camera_of(topic) and (span := outline.frozen.get(short(topic))):
        parts.append(_box(x, span, top + 2, LANE - 5, "frozen", f"{label}: one picture while the arm moves"))
    return parts


def _time_axis(x: Scale, seconds: float, top: float) -> list[str]:
    step = next((step for step in (0.5, 1, 2, 5, 10, 20, 60) if seconds / step <= 12), 120)
    return [_text(x(time), top + 14, f"{time:g} s", "middle") for time in np.arange(0.0, seconds, step)]


def _line(x: Scale, y: Scale, times: NDArray[np.float64], values: NDArray[np.float64], attributes: str) -> str:
    return f'<polyline points="{_points(x, y, times, values)}" fill="none" {attributes}/>'


def _points(x: Scale, y: Scale, times: NDArray[np.float64], values: NDArray[np.float64]) -> str:
    return " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in zip(times, values, strict=True))


def _box(x: Scale, span: Span, top: float, height: float, name: str, title: str) -> str:
    left, right = x(span[0]), x(span[1])
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 1.0):.1f}" height="{height:.1f}" '
        f'class="{name}"><title>{escape(title)}</title></rect>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:.3g}"
