"""summary.png: a recorded run at a glance."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import simplejpeg
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec, SubplotSpec
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.units import SECOND

from vga_bringup.demo.bag import Recording, read_images
from vga_bringup.demo.report import Report, Window, capture_to_command, motion_window, tracking_error

INK, PALE, GRID = "#1f2933", "#7b8794", "#e4e7eb"
MEASURED, BROAD, REFERENCE = "#2f6db5", "#93bfee", "#c4510a"
GOOD, BAD = "#2f855a", "#c53030"
COLUMNS = 5  # of panels; the last column is wider


def draw_summary(recording: Recording, report: Report, instruction: str, path: Path) -> None:
    """Draws camera views, figures, joints against their references, latency and tracking error of a run."""
    window = motion_window(recording)
    figure = Figure(figsize=(16, 10.5), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    rows = figure.add_gridspec(3, 1, hspace=0.28, left=0.04, right=0.98, top=0.87, bottom=0.05)
    _headline(figure, report, instruction)
    _views(figure, rows[0], recording, window)
    _figures(figure.add_subplot(_panels(rows[0])[3:]), report)
    if window is not None:
        panels = [_panels(row)[column] for row in (rows[1], rows[2]) for column in range(COLUMNS)]
        axes = [figure.add_subplot(panel) for panel in panels]
        _joints([*axes[:4], *axes[5:8]], recording, report, window)
        _gripper(axes[8], recording, window)
        _latency(axes[4], recording, report, window)
        _error(axes[9], recording, window)
    figure.savefig(path)


def _panels(row: SubplotSpec) -> GridSpecFromSubplotSpec:
    return row.subgridspec(1, COLUMNS, wspace=0.22, width_ratios=(1, 1, 1, 1, 1.25))


def _headline(figure: Figure, report: Report, instruction: str) -> None:
    about = f"cell {report['cell']}   ·   policy: {report['checkpoint']}   ·   {report['bag']}"
    figure.text(0.04, 0.957, f"“{instruction}”", fontsize=20, weight="bold", color=INK, va="center")
    figure.text(0.04, 0.922, about, fontsize=11, color=PALE, va="center")
    right = 0.975
    for word, good in _verdicts(report):
        badge = {"boxstyle": "round,pad=0.45", "facecolor": GOOD if good else BAD, "edgecolor": "none"}
        text = figure.text(
            right, 0.947, word, fontsize=16, weight="bold", color="white", ha="right", va="center", bbox=badge
        )
        right = figure.transFigure.inverted().transform(text.get_window_extent())[0, 0] - 0.025


def _verdicts(report: Report) -> list[tuple[str, bool]]:
    """Words and whether they are good news, from the right; the task's only where somebody judged it."""
    verdicts = [("healthy" if report["healthy"] else "not healthy", report["healthy"])]
    if "success" in report:
        verdicts.append(("succeeded" if report["success"] else "failed", report["success"]))
    return verdicts


def _views(figure: Figure, row: SubplotSpec, recording: Recording, window: Window | None) -> None:
    cameras = recording.cell.cameras
    grid = _panels(row)[:3].subgridspec(1, len(cameras), wspace=0.04)
    for column, camera in enumerate(cameras):
        axes = figure.add_subplot(grid[column])
        axes.set_axis_off()
        axes.set_anchor("N")
        axes.set_title(_camera_title(recording.cell, camera.name), fontsize=10.5, color=INK, loc="left")
        image = _image_amid(recording, camera.name, window)
        if image is not None:
            axes.imshow(image)


def _camera_title(cell: Cell, name: str) -> str:
    slots = {camera.name: f"{camera.name}, view {camera.slot}" for camera in cell.views}
    return slots.get(name, f"{name}, recorded only")


def _figures(axes: Axes, report: Report) -> None:
    axes.set_axis_off()
    for i, (label, value) in enumerate(_figure_rows(report)):
        y = 1.0 - i * 0.083
        axes.text(0.02, y, label, fontsize=11.5, color=PALE, va="center")
        axes.text(0.42, y, value, fontsize=11.5, color=INK, va="center", weight="bold")
    # Problems stand where the row below begins; there is room for the first few, in short.
    problems = [textwrap.shorten(problem, 62, placeholder=" …") for problem in report["problems"][:3]]
    axes.text(0.02, 0.11, "\n".join(problems), fontsize=9.5, color=BAD, va="top", weight="bold")


def _figure_rows(report: Report) -> list[tuple[str, str]]:
    if "duration_s" not in report:
        return []
    latency, factor, published = (
        report[key] for key in ("capture_to_command_ms", "sim_real_time_factor", "chunks_published")
    )
    return [
        ("motion", f"{report['duration_s']:.1f} s"),
        ("simulated at", f"{_number(factor, '.3f')} of real time"),
        ("policy", f"{_number(report['policy_rate_hz'], '.2f')} Hz"),
        ("chunks accepted", f"{round(published * report['chunks_accepted_share'])} of {published}"),
        ("late steps executed", f"{report['late_steps_executed']}"),
        ("time without a step", f"{_number(report['hold_share'], '.1%')}"),
        ("capture to command", f"{_number(latency['p50'], '.0f')} ms, p95 {_number(latency['p95'], '.0f')} ms"),
        ("tracking error", f"{_number(report['tracking_rms_rad'], '.4f')} rad rms"),
        ("limit violations", f"{report['limit_violations']}"),
        ("frames a second", ", ".join(f"{camera['rate_hz']:.1f}" for camera in report["cameras"].values())),
        ("frames lost", ", ".join(f"{camera['frames_lost']}" for camera in report["cameras"].values())),
    ]


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _joints(panels: list[Axes], recording: Recording, report: Report, window: Window) -> None:
    measured, reference = recording.measured, recording.reference
    for joint, (axes, name) in enumerate(zip(panels, recording.cell.arm.joint_names, strict=True)):
        axes.plot(*_within(window, measured.stamps, measured.position[:, joint]), color=BROAD, lw=3.6)
        axes.plot(*_within(window, reference.stamps, reference.position[:, joint]), color=REFERENCE, lw=1.1)
        _style(axes, f"{name}, rad: spans {report['joint_span_rad'][name]:.2f}")
    lines = panels[0].get_lines()
    panels[0].figure.legend(
        lines, ("measured", "reference"), loc=(0.033, 0.612), fontsize=10.5, frameon=False, ncols=2, labelcolor=INK
    )


def _gripper(axes: Axes, recording: Recording, window: Window) -> None:
    width = recording.width
    axes.plot(*_within(window, width.stamps, 1e3 * width.measured), color=BROAD, lw=3.6)
    axes.plot(*_within(window, width.stamps, 1e3 * width.commanded), color=REFERENCE, lw=1.1)
    _style(axes, "gripper opening, mm")


def _latency(axes: Axes, recording: Recording, report: Report, window: Window) -> None:
    axes.hist(capture_to_command(recording, window), bins=30, color=MEASURED)
    known = {name: value for name, value in report["capture_to_command_ms"].items() if value is not None}
    for value in known.values():
        axes.axvline(value, color=REFERENCE, lw=1.3)
    lines = ", ".join(f"{name} {value:.0f}" for name, value in known.items())
    _style(axes, f"capture to command, ms: {lines}", time=False)
    axes.margins(x=0.15)


def _error(axes: Axes, recording: Recording, window: Window) -> None:
    worst = 1e3 * np.abs(tracking_error(recording)).max(axis=1)
    axes.plot(*_within(window, recording.measured.stamps, worst), color=MEASURED, lw=0.9)
    axes.set_ylim(bottom=0)
    _style(axes, "tracking error of the worst joint, mrad")


def _within(
    window: Window, stamps: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds since the window's start, and the values, of what lies in it."""
    inside = window.of(stamps)
    return (stamps[inside] - window.start) / SECOND, values[inside]


def _style(axes: Axes, title: str, time: bool = True) -> None:
    axes.set_title(title, fontsize=10.5, color=INK, loc="left")
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=PALE, length=0)
    if time:
        axes.xaxis.set_major_formatter("{x:g} s")
        axes.margins(x=0.01)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _image_amid(recording: Recording, camera: str, window: Window | None) -> NDArray[np.uint8] | None:
    """The camera's image nearest to the middle of the motion."""
    images = list(read_images(recording.path, camera))
    if not images:
        return None
    middle = (window.start + window.end) // 2 if window else images[-1][0]
    _, jpeg = min(images, key=lambda image: abs(image[0] - middle))
    return simplejpeg.decode_jpeg(jpeg)
