"""What the panel shows, as plain data, and what is counted for it."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from vga_policy.files import write_atomically
from vga_policy.message_constants import Refusal

SHOWN = 300  # chunks whose timing is shown: half a minute
BEHIND = 1.5  # control steps between two chunks, from which on the later one is late
LOST_AT_MOST = 1000  # chunks between two numbers; more is a policy that has started over
KEPT = 20  # instructions


@dataclass(frozen=True)
class Driver:
    """The driver's state. mode: of MODE_NAMES, or SILENT. why: in HOLD, or silent. goal: whether a task is live."""

    mode: str
    why: str = ""
    at_rest: bool = True
    connected: bool = False
    needs_recovery: bool = False
    goal: bool = False


@dataclass(frozen=True)
class CameraView:
    """A camera that the policy looks through. rate_hz, age (s): of its images; no image: 0 and None."""

    camera: str
    rate_hz: float = 0.0
    age: float | None = None


@dataclass(frozen=True)
class Timing:
    """The chunks of one task. rate_hz, p50_ms, p95_ms (capture to the driver's decision): of the newest SHOWN, None
    without any. steps_dropped: of an accepted chunk, mean. late: longer after the one before than BEHIND steps.
    dropped: numbers that no decision was heard of. refused: by reason; refusal: the newest, in words."""

    chunks: int = 0
    accepted: int = 0
    rate_hz: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    steps_dropped: float | None = None
    late: int = 0
    dropped: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    refusal: str = ""
    unheeded: int = 0


@dataclass(frozen=True)
class NodeHealth:
    """A status of /diagnostics. level: ok, warn, error or stale. values: its figures, as texts."""

    name: str
    level: str
    message: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RecorderStatus:
    """The recorder; `there`: whether it is. disk_free: bytes, None where its disk is another PC's."""

    there: bool = False
    recording: bool = False
    episode: str = ""
    seconds: float = 0.0
    messages: int = 0
    lost: int = 0
    problem: str = ""
    directory: str = ""
    disk_free: int | None = None


@dataclass(frozen=True)
class Remedied:
    """A finding of `vga doctor` that is not ready. state: missing, absent or unknown."""

    subject: str
    state: str
    seen: str
    remedy: str


@dataclass(frozen=True)
class Examination:
    """What `vga doctor` found last. ready: how many were. problem: why there are none; looking: whether it runs."""

    ready: int = 0
    others: tuple[Remedied, ...] = ()
    at: str = ""
    looking: bool = False
    problem: str = ""


@dataclass(frozen=True)
class SuccessRate:
    """Trials of a task, or of all: `done` of `planned`. low, high: the 95 % interval of the success rate, 0 to 1."""

    name: str
    done: int
    planned: int
    successes: int
    low: float
    high: float


@dataclass(frozen=True)
class Study:
    """An evaluation as its files tell. problem: why they do not."""

    name: str
    rates: tuple[SuccessRate, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class LogLine:
    """What was asked of the robot, and what came of it. trouble: whether it was not done."""

    at: str
    text: str
    trouble: bool = False


@dataclass(frozen=True)
class RobotStatus:
    """All that a page shows. leader: by joint, leader less arm, rad; empty without a leader. doing: what is asked and
    not yet done. task: the running task in words. panels: other panels of this robot, by other processes."""

    driver: Driver
    views: tuple[CameraView, ...] = ()
    task: str = ""
    timing: Timing = field(default_factory=Timing)
    parts: tuple[NodeHealth, ...] = ()
    leader: tuple[tuple[str, float], ...] = ()
    recorder: RecorderStatus = field(default_factory=RecorderStatus)
    findings: Examination = field(default_factory=Examination)
    study: Study | None = None
    events: tuple[LogLine, ...] = ()
    doing: tuple[str, ...] = ()
    panels: int = 0
    busy: str = ""


@dataclass
class _Counts:
    """Of one task's chunks."""

    goal: bytes = b""
    sequence: int = 0
    chunks: int = 0
    accepted: int = 0
    late: int = 0
    dropped: int = 0
    unheeded: int = 0
    decided: deque[float] = field(default_factory=lambda: deque(maxlen=SHOWN))
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=SHOWN))
    steps_dropped: deque[int] = field(default_factory=lambda: deque(maxlen=SHOWN))
    refused: Counter[str] = field(default_factory=Counter)
    refusal: str = ""


class Chunks:
    """Counts the driver's decisions on the chunks of the newest task."""

    def __init__(self, dt: float = 0.1) -> None:
        """dt: s between two chunks that are on time."""
        self._dt = dt
        self._counts = _Counts()

    def note(
        self,
        goal: bytes,
        sequence: int,
        captured: float,
        decided: float,
        *,
        accepted: bool,
        reason: str = "",
        message: str = "",
        steps_dropped: int = 0,
    ) -> None:
        """One decision. captured, decided: s of one clock. reason: a Refusal's key."""
        if goal != self._counts.goal:
            self._counts = _Counts(goal)
        counts = self._counts
        if counts.chunks:
            counts.late += decided - counts.decided[-1] > BEHIND * self._dt
            missing = sequence - counts.sequence - 1
            counts.dropped += missing if 0 < missing < LOST_AT_MOST else 0
        counts.sequence = sequence
        counts.chunks += 1
        counts.decided.append(decided)
        counts.latencies.append(decided - captured)
        if accepted:
            counts.accepted += 1
            counts.steps_dropped.append(steps_dropped)
        elif reason == Refusal.TAKEN_OVER:
            counts.unheeded += 1
        else:
            counts.refused[reason] += 1
            counts.refusal = message

    def timing(self) -> Timing:
        """The newest task's, so far."""
        counts = self._counts
        times, latencies, dropped = list(counts.decided), sorted(counts.latencies), list(counts.steps_dropped)
        span = times[-1] - times[0] if times else 0.0
        return Timing(
            chunks=counts.chunks,
            accepted=counts.accepted,
            rate_hz=(len(times) - 1) / span if span > 0.0 else None,
            p50_ms=1e3 * median(latencies) if latencies else None,
            p95_ms=1e3 * quantile(latencies, 0.95) if latencies else None,
            steps_dropped=sum(dropped) / len(dropped) if dropped else None,
            late=counts.late,
            dropped=counts.dropped,
            refused=dict(counts.refused.most_common()),
            refusal=counts.refusal,
            unheeded=counts.unheeded,
        )


class Parts:
    """The newest status of every part of the robot's nodes, by name."""

    LEVELS = ("ok", "warn", "error", "stale")

    def __init__(self, prefix: str, silent_after: float = 5.0) -> None:
        """prefix: of the names of this robot's nodes. silent_after: s from which on a part counts as stale."""
        self._prefix, self._silent_after = prefix, silent_after
        self._parts: dict[str, tuple[float, NodeHealth]] = {}

    def note(self, name: str, level: int, message: str, values: Iterable[tuple[str, str]], now: float) -> None:
        """One status, at `now` (s)."""
        if name.startswith(self._prefix):
            short = name.removeprefix(self._prefix)
            self._parts[short] = now, NodeHealth(short, self.LEVELS[min(level, 3)], message, tuple(values))

    def at(self, now: float) -> tuple[NodeHealth, ...]:
        """All, in order of their names."""
        return tuple(
            part if now - heard < self._silent_after else NodeHealth(part.name, "stale", "silent")
            for _, (heard, part) in sorted(self._parts.items())
        )


class History:
    """The instructions of late, newest first, kept in a file; where that cannot be written, until the end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            self.instructions = [text for text in told if isinstance(text, str)][:KEPT]
        except (OSError, ValueError, TypeError):
            self.instructions = []

    def add(self, instruction: str) -> None:
        """Puts one first."""
        others = [text for text in self.instructions if text != instruction]
        self.instructions = [instruction, *others][:KEPT]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(self.instructions, ensure_ascii=False))
        except OSError:
            pass


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of ascending values, of which there is one at least."""
    return ordered[round(share * (len(ordered) - 1))]


def misalignment(
    leader: Mapping[str, float], names: Sequence[str], positions: Sequence[float]
) -> tuple[tuple[str, float], ...]:
    """By joint of the arm, how far the leader is from it, rad; joints that the leader does not have are left out."""
    pairs = zip(names, positions, strict=True)
    return tuple((name, leader[name] - position) for name, position in pairs if name in leader)
