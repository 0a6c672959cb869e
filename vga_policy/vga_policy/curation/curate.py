"""Measures and judges every episode of a directory. Reads only; what is decided is written by `save`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vga_policy.bags.reader import Bag
from vga_policy.cell.compatibility import differences, meaning
from vga_policy.cell.schema import Cell
from vga_policy.curation.metrics import Metrics, measure
from vga_policy.curation.outline import Outline, outline_of
from vga_policy.curation.rules import Case, Finding, Thresholds, judge, verdict_of
from vga_policy.curation.trace import PassedOver, read_trace
from vga_policy.episodes.decisions import Curation, Verdict, decision
from vga_policy.episodes.listing import Skipped, find_episodes
from vga_policy.episodes.metadata import FILE, Episode
from vga_policy.message_constants import SUCCESS
from vga_policy.workers import worker_pool


@dataclass(frozen=True)
class Measured:
    """One episode, measured but not judged yet. faults, holds, passed_over: as in `trace.Trace`. stored: its file."""

    path: Path
    episode: Episode
    cell: Cell
    metrics: Metrics
    faults: list[str]
    holds: list[str]
    passed_over: PassedOver
    outline: Outline
    stored: Curation


@dataclass(frozen=True)
class Assessment:
    """One episode, judged. curation: the proposal, with the person's decision that was stored before, if any."""

    measured: Measured
    findings: list[Finding]
    curation: Curation

    @property
    def verdict(self) -> Verdict:
        """What holds: the person's decision, else the proposal."""
        return self.curation.verdict or verdict_of(self.findings)

    def save(self) -> None:
        """Writes curation.yaml beside the bag, unless it says so already. What a person decided meanwhile stays."""
        now = decision(self.measured.path)
        new = replace(self.curation, decided=now.decided, decision_reason=now.decision_reason)
        if new != now:
            new.save(self.measured.path)


@dataclass(frozen=True)
class Review:
    """What became of a directory: every episode judged, in the order of their paths, and what could not be used."""

    directory: Path
    assessments: list[Assessment]
    problems: list[Skipped]

    def name(self, path: Path) -> str:
        """What an episode is called in the report and on the command line."""
        return episode_name(self.directory, path)

    def count(self, verdict: Verdict) -> int:
        """Episodes of this verdict."""
        return sum(assessment.verdict is verdict for assessment in self.assessments)


def episode_name(directory: Path, path: Path) -> str:
    """Path of an episode from the curated directory."""
    return path.relative_to(directory).as_posix() if path != directory else path.name


def review(
    directory: Path,
    cell: Cell | None = None,
    thresholds: Thresholds | None = None,
    trim: bool = True,
    workers: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> Review:
    """Measures and judges the episodes in `directory`.

    cell: the only one whose episodes may be used (default: the one that most episodes were recorded in).
    trim: whether to propose leaving out the rest before the first and after the last motion. workers: processes.
    progress: told how many of how many episodes are measured.

    Raises DatasetError when there is no episode at all.
    """
    paths = find_episodes([directory])
    measured, problems = _split(_reporting(_measure_all(paths, workers), len(paths), progress))
    measured, others = _of_one_cell(measured, cell)
    assessments = [_assess(one, measured, thresholds or Thresholds(), trim) for one in measured]
    return Review(directory, assessments, sorted([*problems, *others], key=lambda problem: problem.path))


def measure_episode(path: Path) -> Measured | Skipped:
    """Measures one episode, or says why it cannot be."""
    try:
        if not (path / FILE).exists():
            with Bag(path) as bag:
                return Skipped(path, f"{bag.file}: no {FILE} beside it: not a recorded episode")
        return _measured(path)
    except Exception as error:  # of any kind: one bad episode must not end the others
        return Skipped.because(path, error)


def _measured(path: Path) -> Measured:
    trace, stored = read_trace(path), decision(path)
    metrics = measure(trace)
    return Measured(
        path=path,
        episode=trace.episode,
        cell=trace.cell,
        metrics=metrics,
        faults=trace.faults,
        holds=trace.holds,
        passed_over=trace.passed_over,
        outline=outline_of(trace, metrics),
        stored=stored,
    )


def _measure_all(paths: list[Path], workers: int) -> Iterator[Measured | Skipped]:
    if workers <= 1 or len(paths) <= 1:
        yield from map(measure_episode, paths)
        return
    with worker_pool(min(workers, len(paths))) as pool:
        yield from pool.map(measure_episode, paths)


def _reporting(
    results: Iterable[Measured | Skipped], count: int, progress: Callable[[int, int], object] | None
) -> Iterator[Measured | Skipped]:
    for done, result in enumerate(results, 1):
        yield result
        if progress is not None:
            progress(done, count)


def _split(results: Iterable[Measured | Skipped]) -> tuple[list[Measured], list[Skipped]]:
    measured, problems = [], []
    for result in results:
        if isinstance(result, Skipped):
            problems.append(result)
        else:
            measured.append(result)
    return measured, problems


def _of_one_cell(measured: list[Measured], cell: Cell | None) -> tuple[list[Measured], list[Skipped]]:
    """The episodes of one cell, and those of others."""
    if not measured:
        return [], []
    if cell is None:
        common, _ = Counter(repr(meaning(one.cell)) for one in measured).most_common(1)[0]
        cell = next(one.cell for one in measured if repr(meaning(one.cell)) == common)
    mine, others = [], []
    for one in measured:
        if different := differences(cell, one.cell):
            words = "; ".join(f"{d.key}: {d.other}, expected {d.mine}" for d in different)
            others.append(Skipped(one.path, f"{one.path / FILE}: recorded in another cell ({one.cell.name}): {words}"))
        else:
            mine.append(one)
    return mine, others


def _assess(one: Measured, everyone: list[Measured], thresholds: Thresholds, trim: bool) -> Assessment:
    peers = [
        other.metrics
        for other in everyone
        if other is not one and other.episode.task == one.episode.task and other.episode.outcome == SUCCESS
    ]
    findings = judge(Case(one.episode, one.metrics, one.faults, one.holds, one.passed_over, peers, thresholds))
    metrics, outline = one.metrics, one.outline
    curation = replace(
        one.stored,
        proposed=verdict_of(findings),
        reasons=[finding.reason for finding in findings],
        start_ns=metrics.start_ns if trim and metrics.start_ns > outline.start_ns else None,
        end_ns=metrics.end_ns if trim and metrics.end_ns < outline.end_ns else None,
    )
    return Assessment(one, findings, curation)
