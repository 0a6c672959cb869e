"""The report of a curated directory as one HTML file that needs nothing else, and as data."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from vga_policy.curation.curate import Assessment, Review
from vga_policy.curation.metrics import Metrics
from vga_policy.curation.plots import Point, course, distribution
from vga_policy.episodes.decisions import Verdict
from vga_policy.files import write_atomically

COMPARED: dict[str, tuple[str, Callable[[Metrics], float]]] = {
    "motion": ("s", lambda f: f.duration),
    "at rest": ("%", lambda f: 100 * f.idle_share),
    "peak jerk of the command": ("rad/s³", lambda f: f.reference_jerk),
    "peak jerk of the arm": ("rad/s³", lambda f: f.measured_jerk),
    "arm off its reference": ("mrad", lambda f: 1000 * f.following_error),
    "longest gap": ("s", lambda f: longest_gap(f)),
}


def longest_gap(metrics: Metrics) -> float:
    """Longest time without a message on any topic, s."""
    return max(arrival.longest_gap for arrival in metrics.arrivals.values())


def write_report(review: Review, path: Path) -> None:
    """Writes the report, whole or not at all."""
    environment = Environment(loader=PackageLoader("vga_policy.curation", "."), autoescape=True, trim_blocks=True)
    environment.filters["jpeg"] = _data_url
    environment.globals.update(longest_gap=longest_gap, course=lambda outline: Markup(course(outline)))
    html = environment.get_template("report.html.j2").render(
        review=review, verdicts=list(Verdict), tasks=_tasks(review), seconds=_seconds_by_verdict(review)
    )
    write_atomically(path, html)


def as_data(review: Review) -> dict[str, Any]:
    """The report for programs: JSON-compatible."""
    return {
        "directory": str(review.directory),
        "counts": {str(verdict): review.count(verdict) for verdict in Verdict},
        "episodes": [_episode(review, assessment) for assessment in review.assessments],
        "unusable": [{"path": str(problem.path), "reason": problem.reason} for problem in review.problems],
    }


def _episode(review: Review, assessment: Assessment) -> dict[str, Any]:
    measured, curation = assessment.measured, assessment.curation
    return {
        "id": review.name(measured.path),
        "path": str(measured.path),
        "task": measured.episode.task,
        "verdict": str(assessment.verdict),
        "proposed": str(curation.proposed),
        "decided": str(curation.decided) if curation.decided else None,
        "decision_reason": curation.decision_reason,
        "findings": [{**asdict(finding), "verdict": str(finding.verdict)} for finding in assessment.findings],
        "start_ns": curation.start_ns,
        "end_ns": curation.end_ns,
        "figures": asdict(measured.metrics),
    }


def _tasks(review: Review) -> dict[str, dict[str, Markup]]:
    """Plots of every compared metric, by task."""
    tasks: dict[str, list[Assessment]] = {}
    for assessment in review.assessments:
        tasks.setdefault(assessment.measured.episode.task, []).append(assessment)
    return {
        task: {
            name: Markup(distribution([_point(review, each, of) for each in members], unit))
            for name, (unit, of) in COMPARED.items()
        }
        for task, members in sorted(tasks.items())
    }


def _point(review: Review, assessment: Assessment, of: Callable[[Metrics], float]) -> Point:
    return Point(review.name(assessment.measured.path), of(assessment.measured.metrics), assessment.verdict)


def _seconds_by_verdict(review: Review) -> dict[Verdict, float]:
    return {
        verdict: sum(each.measured.metrics.seconds for each in review.assessments if each.verdict is verdict)
        for verdict in Verdict
    }


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
