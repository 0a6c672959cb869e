"""What is wrong with an episode, in words: one small function a rule, all thresholds in one place.

The paper's filter (appendix F.1) keeps successes, removes jerky movements and abnormal durations; the other rules find
what a recording can suffer. Rules that compare an episode with others take the medians of the same task's successes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vga_policy.cell.schema import Section
from vga_policy.curation.metrics import Metrics
from vga_policy.curation.trace import PassedOver
from vga_policy.episodes.decisions import Verdict
from vga_policy.episodes.listing import NO_INSTRUCTION
from vga_policy.episodes.metadata import Episode
from vga_policy.episodes.topics import camera_of
from vga_policy.message_constants import SUCCESS


class Thresholds(Section):
    """Limits as (review, reject); None: no value rejects. Times in s, angles in rad, jerk in rad/s^3.

    odd_stamps: share of a topic's messages that are passed over because of their stamps; fewer are only told.
    rate: share of the expected rate, below. outlier: how many robust standard deviations from the task's median
    (median absolute deviation of the logarithm, at least `spread`) an episode must lie before the factors `duration`
    and `jerk` (times the median) count; peers: fewer other successes of the task than this are not compared with.
    jerk_floor: no peak below it is jerky, whatever the others are. jerk_peak: for tasks without enough peers.
    """

    rate: tuple[float, float] = (0.9, 0.6)
    camera_gap: tuple[float, float] = (0.25, 0.5)
    joint_gap: tuple[float, float] = (0.15, 0.5)
    latency: tuple[float, float | None] = (0.3, None)
    skew: tuple[float, float | None] = (0.15, None)
    frozen: tuple[float, float] = (0.5, 1.0)
    idle: tuple[float, float | None] = (0.4, None)
    idle_inner: tuple[float, float] = (0.3, 0.5)
    following_error: tuple[float, float] = (0.1, 0.3)
    lost: tuple[float, float] = (0.001, 0.02)
    odd_stamps: tuple[float, float | None] = (0.02, None)
    outlier: float = 3.5
    spread: float = 0.1
    peers: int = 4
    duration: tuple[float, float] = (1.5, 3.0)
    jerk: tuple[float, float] = (3.0, 8.0)
    jerk_floor: float = 60.0
    jerk_peak: tuple[float, float | None] = (1000.0, None)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. rule: the function that found it; reason: in words, with the figure."""

    rule: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Case:
    """An episode to judge. faults, holds, passed_over: as in `trace.Trace`. peers: of the task's other successes."""

    episode: Episode
    metrics: Metrics
    faults: Sequence[str] = ()
    holds: Sequence[str] = ()
    passed_over: PassedOver = field(default_factory=PassedOver)
    peers: Sequence[Metrics] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)


Rule = Callable[[Case], tuple[Verdict, str] | None]


def outcome(case: Case) -> tuple[Verdict, str] | None:
    """Only what somebody called a success is trained on."""
    label = case.episode.outcome
    if label is None:
        return Verdict.REVIEW, "nobody labeled it"
    if label != SUCCESS:
        note = f": {case.episode.note}" if case.episode.note else ""
        return Verdict.REJECT, f"labeled {label}{note}"
    return None


def instruction(case: Case) -> tuple[Verdict, str] | None:
    """Nothing can be learned from an episode that does not say what is done: training leaves it out."""
    return None if case.episode.says_what_to_do else (Verdict.REVIEW, NO_INSTRUCTION)


def ended_early(case: Case) -> tuple[Verdict, str] | None:
    """The recording did not end by its operator's hand."""
    if case.episode.repaired:
        return Verdict.REVIEW, "its recorder was killed; the bag was repaired, its last moments may be missing"
    return (Verdict.REVIEW, f"the recording ended by itself: {case.episode.problem}") if case.episode.problem else None


def robot_fault(case: Case) -> tuple[Verdict, str] | None:
    """A reflex or a lost connection: a collision, most often."""
    return (Verdict.REJECT, f"the robot stopped: {'; '.join(case.faults)}") if case.faults else None


def interruption(case: Case) -> tuple[Verdict, str] | None:
    """The driver held the arm in the middle of the demonstration."""
    return (Verdict.REVIEW, f"the arm was held: {'; '.join(case.holds)}") if case.holds else None


def messages_lost(case: Case) -> tuple[Verdict, str] | None:
    """Messages that never reached the bag."""
    share = case.metrics.lost_share
    verdict = _above(share, case.thresholds.lost)
    return (verdict, f"{case.episode.messages_lost} messages lost ({share:.2%})") if verdict else None


def hand_away(case: Case) -> tuple[Verdict, str] | None:
    """Joint states without the hand, or not to be believed; they are passed over, as the live policy does."""
    found = case.passed_over
    words = [f"hand away {_short(found.hand)} s"] if found.hand else []
    words += [f"joint states not believed for {_short(found.arm)} s, the first: {found.why}"] if found.arm else []
    return (Verdict.REVIEW, "; ".join(words)) if words else None


def odd_stamps(case: Case) -> tuple[Verdict, str] | None:
    """Messages that are left out because their stamps cannot be."""
    if not (found := case.passed_over.stamps):
        return None
    verdicts = [_above(share, case.thresholds.odd_stamps) for share, _ in found]
    return _worst(verdicts), f"stamps that cannot be: {'; '.join(words for _, words in found)}"


def rate(case: Case) -> tuple[Verdict, str] | None:
    """Topics slower than the cell says."""
    slow = {
        topic: (arrival.rate_hz, arrival.expected_hz)
        for topic, arrival in case.metrics.arrivals.items()
        if arrival.expected_hz is not None and arrival.rate_hz < case.thresholds.rate[0] * arrival.expected_hz
    }
    if not slow:
        return None
    worst = min(measured / expected for measured, expected in slow.values())
    words = (f"{short(topic)} at {measured:.1f} of {expected:g} Hz" for topic, (measured, expected) in slow.items())
    return Verdict.REJECT if worst < case.thresholds.rate[1] else Verdict.REVIEW, "; ".join(words)


def gaps(case: Case) -> tuple[Verdict, str] | None:
    """Times without any message on a topic."""
    verdicts = []
    words = []
    for topic, arrival in case.metrics.arrivals.items():
        limits = case.thresholds.camera_gap if camera_of(topic) else case.thresholds.joint_gap
        if verdict := _above(arrival.longest_gap, limits):
            verdicts.append(verdict)
            words.append(f"{short(topic)} for {arrival.longest_gap:.2f} s at {arrival.gap_at:.1f} s")
    return (_worst(verdicts), f"no message on {'; '.join(words)}") if words else None


def clocks(case: Case) -> tuple[Verdict, str] | None:
    """Stamps that do not fit their arrival: a slow path, or clocks that differ."""
    odd = {
        topic: arrival.latency
        for topic, arrival in case.metrics.arrivals.items()
        if _above(abs(arrival.latency), case.thresholds.latency)
    }
    words = (f"{short(topic)} {latency:+.2f} s" for topic, latency in odd.items())
    return (Verdict.REVIEW, f"arrived long after (+) or before (-) its stamps: {'; '.join(words)}") if odd else None


def camera_skew(case: Case) -> tuple[Verdict, str] | None:
    """Views that do not show the same moment."""
    verdict = _above(case.metrics.skew, case.thresholds.skew)
    return (verdict, f"views {case.metrics.skew:.2f} s apart") if verdict else None


def frozen_camera(case: Case) -> tuple[Verdict, str] | None:
    """A camera that repeats its picture while the arm moves."""
    limits = case.thresholds.frozen
    frozen = {camera: f for camera, f in case.metrics.frozen.items() if f.seconds >= limits[0]}
    if not frozen:
        return None
    words = (
        f"{camera} shows one picture for {f.seconds:.1f} s from {f.at:.1f} s while the arm moves {f.moved:.2f} rad"
        for camera, f in frozen.items()
    )
    return _worst([_above(f.seconds, limits) for f in frozen.values()]), "; ".join(words)


def idle(case: Case) -> tuple[Verdict, str] | None:
    """Time in which nothing moves. At the ends it is cut by the view; in the middle it would be learned."""
    f, limits = case.metrics, case.thresholds
    if verdict := _above(f.idle_inner_share, limits.idle_inner):
        return verdict, f"idle for {f.idle_inner_share:.0%} of the time between first and last motion"
    verdict = _above(f.idle_share, limits.idle)
    ends = f"{f.idle_leading:.1f} s before the first and {f.idle_trailing:.1f} s after the last motion"
    return (verdict, f"idle for {f.idle_share:.0%} of the time: {ends}") if verdict else None


def follower(case: Case) -> tuple[Verdict, str] | None:
    """The arm is not where it was told to be: blocked, pushed, or too slow."""
    error = case.metrics.following_error
    verdict = _above(error, case.thresholds.following_error)
    return (verdict, f"the arm is more than {error:.2f} rad off its reference in 5 % of the time") if verdict else None


def duration(case: Case) -> tuple[Verdict, str] | None:
    """Unusually long or short for its task (the paper's abnormal durations)."""
    seconds, limits = case.metrics.duration, case.thresholds
    typical, deviations = _compared(seconds, [peer.duration for peer in case.peers], limits)
    if deviations is None or deviations < limits.outlier or not seconds:
        return None
    verdict = _above(max(seconds / typical, typical / seconds), limits.duration)
    words = "longer" if seconds > typical else "shorter"
    return (
        (verdict, f"{words} than the task's others: {seconds:.1f} s of motion, median {typical:.1f} s")
        if verdict
        else None
    )


def jerk(case: Case) -> tuple[Verdict, str] | None:
    """A jolt, or unsteady motion (the paper's jerky movements), of what was commanded or of what the arm did."""
    words = []
    verdicts = []
    for what, name in (("the command", "reference_jerk"), ("the arm", "measured_jerk")):
        peak = getattr(case.metrics, name)
        if peak < case.thresholds.jerk_floor:
            continue
        typical, deviations = _compared(peak, [getattr(peer, name) for peer in case.peers], case.thresholds)
        if deviations is None:
            verdict, beside = _above(peak, case.thresholds.jerk_peak), ""
        elif deviations < case.thresholds.outlier:
            continue
        else:
            verdict, beside = _above(peak / typical, case.thresholds.jerk), f", median of the task {typical:.0f}"
        if verdict:
            verdicts.append(verdict)
            words.append(f"{what} jerks: {peak:.0f} rad/s³{beside}")
    return (_worst(verdicts), "; ".join(words)) if words else None


RULES: tuple[Rule, ...] = (
    outcome, instruction, robot_fault, ended_early, interruption, messages_lost, hand_away, odd_stamps, rate, gaps,
    clocks, camera_skew, frozen_camera, idle, follower, duration, jerk,
)  # fmt: skip


def judge(case: Case) -> list[Finding]:
    """Everything that is wrong with an episode, the worst first; empty for a good one."""
    found = [(rule.__name__, *result) for rule in RULES if (result := rule(case)) is not None]
    findings = [Finding(*each) for each in found]
    return sorted(findings, key=lambda finding: finding.verdict is not Verdict.REJECT)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """The verdict that findings add up to."""
    return _worst([finding.verdict for finding in findings])


def short(topic: str) -> str:
    """A camera's name for its images, else the topic."""
    return camera_of(topic) or topic


def _short(seconds: float) -> str:
    return f"{max(seconds, 0.01):.2f}".rstrip("0").rstrip(".")


def _worst(verdicts: Sequence[Verdict | None]) -> Verdict:
    order = (Verdict.REJECT, Verdict.REVIEW)
    return next((verdict for verdict in order if verdict in verdicts), Verdict.ACCEPT)


def _above(value: float, limits: tuple[float, float | None]) -> Verdict | None:
    review, reject = limits
    if reject is not None and value >= reject:
        return Verdict.REJECT
    return Verdict.REVIEW if value >= review else None


def _compared(value: float, others: Sequence[float], limits: Thresholds) -> tuple[float, float | None]:
    """Median of the others, and how many robust standard deviations the value lies off it (None: too few others)."""
    positive = np.array([other for other in others if other > 0])
    if len(positive) < limits.peers or value <= 0:
        return 0.0, None
    logs = np.log(positive)
    median = float(np.median(logs))
    deviation = max(limits.spread, 1.4826 * float(np.median(np.abs(logs - median))))
    return float(np.exp(median)), abs(float(np.log(value)) - median) / deviation
