"""report.json of the judge: counts of what broke the robot's limits, and whether the driver passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vga_bringup.judge.evaluation import ARTEFACTS, EVENTS, KNOWN, Findings, Worst
from vga_bringup.judge.session import Outcome

MAX_LOST = 0.03  # of a scenario's cycles
MAX_RATIO = 0.95  # of the limit on velocity that may be commanded
MIN_COMMANDS = 500  # of a scenario that took place
ENOUGH = 300_000  # clean commands of a full run
CHUNKS = 1000  # random ones that a full run accepts
CONTROL_FINDS = 100  # errors at least, with franky's own limits
DIGITS = 4


def report(
    outcomes: Sequence[Outcome], joints: Sequence[str], about: dict[str, Any], *, full: bool, control: bool
) -> dict[str, Any]:
    """The report of a run.

    outcomes: every attempt at every scenario; the one with the fewest lost cycles counts. joints: their names.
    about: what it was done with. full: whether a full run's numbers are asked of it. control: whether errors are.
    """
    best = kept(outcomes)
    counted = [outcome for outcome in best if not outcome.session.enforce]
    enforced = [outcome for outcome in best if outcome.session.enforce]
    total, stopped = _sum(counted), _sum(enforced)
    accepted = sum(outcome.notes.verdicts[""] for outcome in best if outcome.scenario == "random")
    problems = []
    if control:
        found = total.errors_clean["acceleration"] + total.errors_clean["jerk"]
        if found <= CONTROL_FINDS:
            problems.append(f"the control found {found} errors of acceleration and jerk, not over {CONTROL_FINDS}")
    else:
        problems = _losses(best) + _idle(best) + _errors(total, stopped)
    if full and not control:
        if total.clean < ENOUGH:
            problems.append(f"{total.clean} clean commands, wanted are {ENOUGH}")
        if accepted < CHUNKS:
            problems.append(f"{accepted} random chunks accepted, wanted are {CHUNKS}")
    return {
        **about,
        "passed": not problems,
        "problems": problems,
        "commands": total.commands,
        "clean_commands": total.clean,
        "lost_cycles": total.lost,
        "lost_share": round(total.lost_share, DIGITS),
        "errors_clean": _complete(total.errors_clean),
        "errors_lossy": _complete(total.errors_lossy),
        "artefacts": {
            name: {"count": total.artefacts[name] + stopped.artefacts[name], "reason": reason}
            for name, reason in ARTEFACTS.items()
        },
        "beyond_limit_clean": dict(total.beyond),
        "worst_ratio": {
            limit: {name: round(worst.ratio, DIGITS) for name, worst in zip(joints, found, strict=True)}
            for limit, found in total.worst.items()
        },
        "worst_at": {
            limit: {name: _place(worst) for name, worst in zip(joints, found, strict=True)}
            for limit, found in total.worst.items()
        },
        "enforced": {
            "commands": stopped.commands,
            "stops": stopped.stops,
            "errors_clean": dict(stopped.errors_clean),
            "errors_lossy": dict(stopped.errors_lossy),
            "faults": [hold for outcome in enforced for hold in outcome.notes.faults],
        },
        "random_chunks_accepted": accepted,
        "scenarios": [_scenario(outcome, any(outcome is one for one in best)) for outcome in outcomes],
        "lossy_events": (total.events + stopped.events)[:EVENTS],
        "lossy_events_left_out": max(0, len(total.events) + len(stopped.events) - EVENTS),
    }


def kept(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Of each scenario of each session the attempt with the smallest share of lost cycles."""
    best: dict[tuple[str, str], Outcome] = {}
    for outcome in outcomes:
        key = outcome.session.name, outcome.scenario
        if key not in best or outcome.judgement.lost_share < best[key].judgement.lost_share:
            best[key] = outcome
    return list(best.values())


def _sum(outcomes: Sequence[Outcome]) -> Findings:
    total = Findings()
    for outcome in outcomes:
        total.add(outcome.judgement)
    return total


def _losses(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.session.name} {outcome.scenario}: {outcome.judgement.lost_share:.1%} of the cycles lost, "
        f"over {MAX_LOST:.0%}: run it on a quieter machine"
        for outcome in outcomes
        if outcome.judgement.lost_share > MAX_LOST
    ]


def _idle(outcomes: Sequence[Outcome]) -> list[str]:
    """Scenarios that say nothing, because next to nothing moved."""
    return [
        f"{outcome.session.name} {outcome.scenario}: {outcome.judgement.commands} commands, "
        f"verdicts {dict(outcome.notes.verdicts)}: it did not take place"
        for outcome in outcomes
        if outcome.judgement.commands < MIN_COMMANDS or (outcome.notes.verdicts and not outcome.notes.verdicts[""])
    ]


def _errors(total: Findings, stopped: Findings) -> list[str]:
    problems = [f"{count} clean commands: {kind}" for kind, count in total.errors_clean.items()]
    if not sum(total.errors_clean.values()):  # else they say the same
        problems += [f"{n} clean commands beyond the limit of {limit}" for limit, n in total.beyond.items() if n]
    for worst in total.worst.get("velocity_commanded", ()):
        if worst.ratio > MAX_RATIO:
            problems.append(
                f"{worst.where}: {worst.value:.3f} rad/s at {worst.q:.3f} rad, {worst.ratio:.2f} of the limit"
            )
    problems += [f"enforced: {count} clean commands: {kind}" for kind, count in stopped.errors_clean.items()]
    return problems


def _complete(errors: Counter[str]) -> dict[str, int]:
    """Every known type, and others that occurred."""
    return {kind: errors[kind] for kind in dict.fromkeys((*KNOWN, *errors))}


def _place(worst: Worst) -> dict[str, Any]:
    return {
        "ratio": round(worst.ratio, DIGITS),
        "value": round(worst.value, DIGITS),
        "q": round(worst.q, DIGITS),
        "where": worst.where,
    }


def _scenario(outcome: Outcome, counts: bool) -> dict[str, Any]:
    judgement, notes = outcome.judgement, outcome.notes
    return {
        "session": outcome.session.name,
        "scenario": outcome.scenario,
        "attempt": outcome.attempt,
        "counts": counts,
        "seconds": round(outcome.seconds, 1),
        "commands": judgement.commands,
        "clean_commands": judgement.clean,
        "lost_cycles": judgement.lost,
        "lost_share": round(judgement.lost_share, DIGITS),
        "errors_clean": dict(judgement.errors_clean),
        "errors_lossy": dict(judgement.errors_lossy),
        "artefacts": dict(judgement.artefacts),
        "stops": judgement.stops,
        "verdicts": {reason or "accepted": count for reason, count in notes.verdicts.items()},
        "faults": notes.faults,
        "remarks": notes.remarks,
    }
