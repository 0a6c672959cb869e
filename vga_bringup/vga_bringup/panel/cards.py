"""The parts of the page that are only looked at, as HTML made of a snapshot. Whatever comes from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from vga_policy.topics import DRIVER
from vga_teleop.session.workflow import ALIGNED

from vga_bringup.doctor.finding import Health
from vga_bringup.panel.model import (
    Driver,
    Examination,
    LogLine,
    NodeHealth,
    RecorderStatus,
    Remedied,
    RobotStatus,
    Study,
    SuccessRate,
    Timing,
)

DISK_LOW = 20e9  # bytes; three cameras record about 16 GB an hour
FULL_SCALE = 1.0  # rad, the length of half a bar
NONE = "–"
RECORD = "<code>record:=true</code>, or <code>vga sim --record true</code>"


def mode(driver: Driver) -> str:
    """The driver's mode, and why it is in HOLD."""
    moving = "" if driver.at_rest or driver.mode == "SILENT" else "<span class=moving>moving</span>"
    why = driver.why
    if driver.needs_recovery:
        why = f"{why}; next: Recover" if why else "next: Recover"
    if driver.mode != "SILENT" and not driver.connected:
        why = f"no connection to the robot; {why}".rstrip("; ")
    name = escape(driver.mode)
    return f"<span class='mode {name.lower()}'>{name}</span>{moving}<span class=why>{escape(why)}</span>"


def connected(pages: int, panels: int) -> str:
    """How many look, on this panel and on others of the same robot."""
    others = f", {panels} other panel{'s' if panels > 1 else ''}" if panels else ""
    alone = pages + panels < 2
    return (
        f"<span class='pages{'' if alone else ' several'}'>{pages} page{'' if pages == 1 else 's'} open{others}</span>"
    )


def timing(timing: Timing) -> str:
    """The chunks of the newest task, and what became of them."""
    figures = (
        ("chunk rate", _figure(timing.rate_hz, ".1f", " Hz")),
        ("capture → command, p50", _figure(timing.p50_ms, ".0f", " ms")),
        ("p95", _figure(timing.p95_ms, ".0f", " ms")),
        ("accepted", f"{timing.accepted} of {timing.chunks}"),
        ("late", str(timing.late)),
        ("dropped", str(timing.dropped)),
        ("steps passed over", _figure(timing.steps_dropped, ".1f", " a chunk")),
        ("taken over", str(timing.unheeded)),
    )
    text = "<div class=figures>" + "".join(f"<div><b>{v}</b><i>{k}</i></div>" for k, v in figures) + "</div>"
    if not timing.refused:
        return text + f"<p class=muted>{'no chunk was refused' if timing.chunks else 'no chunk yet'}</p>"
    rows = "".join(f"<tr><td>{escape(reason)}</td><td>{count}</td></tr>" for reason, count in timing.refused.items())
    newest = f"<p class=warn>{escape(timing.refusal)}</p>" if timing.refusal else ""
    return f"{text}<table><tr><th>refused for</th><th>chunks</th></tr>{rows}</table>{newest}"


def leader(joints: Iterable[tuple[str, float]]) -> str:
    """How far the leader is from the arm, a bar a joint; empty without a leader."""
    rows = "".join(_bar(name, value) for name, value in joints)
    return rows and f"<div class=bars>{rows}</div><p class=muted>aligned: within {ALIGNED:g} rad in every joint</p>"


def recorder(recorder: RecorderStatus) -> str:
    """What the recorder does, and the disk it has."""
    if not recorder.there:
        return f"<p class=muted>no recorder: start the graph with {RECORD}</p>"
    if recorder.recording:
        what = f"{escape(recorder.episode)}, {recorder.seconds:.0f} s, {recorder.messages} messages"
    else:
        what = f"not recording{f'; last: {escape(recorder.episode)}' if recorder.episode else ''}"
    lost = f"<p class=warn>{recorder.lost} messages lost</p>" if recorder.lost else ""
    problem = f"<p class=bad>{escape(recorder.problem)}</p>" if recorder.problem else ""
    dot = f"<span class='dot{' recording' if recorder.recording else ''}'></span>"
    return f"<p>{dot}{what}</p>{lost}{problem}{_disk(recorder)}"


def parts(parts: Iterable[NodeHealth]) -> str:
    """What every node says of its health."""
    rows = "".join(
        f"<tr class={part.level}><td><span class='dot {part.level}'></span>{escape(part.name)}</td>"
        f"<td>{escape(part.message)}</td></tr>"
        for part in parts
    )
    return f"<table class=wide>{rows}</table>" if rows else "<p class=muted>no node is heard</p>"


def figures(parts: Iterable[NodeHealth]) -> str:
    """All figures of the driver."""
    rows = "".join(
        f"<tr><th colspan=2>{escape(part.name)}</th></tr>"
        + "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in part.values)
        for part in parts
        if part.name.startswith(f"{DRIVER}:")
    )
    return f"<table>{rows}</table>" if rows else "<p class=muted>the driver is silent</p>"


def findings(findings: Examination) -> str:
    """What is not ready, and the remedy."""
    if findings.looking:
        return "<p class=muted>looking …</p>"
    if findings.problem:
        return f"<p class=bad>{escape(findings.problem)}</p>"
    if not findings.at:
        return "<p class=muted>not looked yet</p>"
    needed = "".join(_finding(row) for row in findings.others if row.state != Health.ABSENT)
    absent = [row for row in findings.others if row.state == Health.ABSENT]
    others = "".join(_finding(row) for row in absent)
    count = f"{findings.ready} ready, at {escape(findings.at)}"
    more = f"<details><summary>{len(absent)} absent, needed for some uses only</summary><ul>{others}</ul></details>"
    return f"<p class=muted>{count}</p><ul>{needed}</ul>{more if absent else ''}"


def study(study: Study) -> str:
    """n of N, and the interval of the success rate."""
    if study.problem:
        return f"<p class=muted>{escape(study.problem)}</p>"
    return "".join(_rate(rate) for rate in study.rates) + "<p class=muted>the shade is the 95 % interval (Wilson)</p>"


def events(events: Iterable[LogLine]) -> str:
    """What was asked, and what came of it; the newest first."""
    rows = "".join(
        f"<li class={'bad' if event.trouble else 'ok'}><time>{escape(event.at)}</time>{_lines(event.text)}</li>"
        for event in events
    )
    return f"<ul class=events>{rows}</ul>" if rows else "<p class=muted>nothing was asked yet</p>"


def task(snapshot: RobotStatus) -> str:
    """The task that runs, and what this machine's processors have to do with it."""
    busy = f"<p class=warn>{escape(snapshot.busy)}</p>" if snapshot.busy else ""
    doing = ", ".join(what for what in snapshot.doing if what != "run")
    asked = f"<p class=muted>being done: {escape(doing)}</p>" if doing else ""
    if not snapshot.task:
        return f"<p class=muted>no task runs</p>{asked}{busy}"
    return f"<p class=running>{escape(snapshot.task)}</p>{asked}{busy}"


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _figure(value: float | None, form: str, unit: str) -> str:
    return NONE if value is None else f"{value:{form}}{unit}"


def _finding(row: Remedied) -> str:
    remedy = f"<span>→ {escape(row.remedy)}</span>" if row.remedy else ""
    return (
        f"<li class={escape(row.state)}><b>{escape(row.subject)}</b> <em>{escape(row.state)}</em> "
        f"{escape(row.seen)}{remedy}</li>"
    )


def _bar(name: str, value: float) -> str:
    share = 50.0 * min(abs(value) / FULL_SCALE, 1.0)
    left = 50.0 if value >= 0.0 else 50.0 - share
    state = "aligned" if abs(value) <= ALIGNED else "apart"
    return (
        f"<div class={state}><span>{escape(name)}</span>"
        f"<span class=track><i style='left:{left:.1f}%;width:{share:.1f}%'></i></span>"
        f"<span>{value:+.2f} rad</span></div>"
    )


def _disk(recorder: RecorderStatus) -> str:
    where = f" in <code>{escape(recorder.directory)}</code>" if recorder.directory else ""
    if recorder.disk_free is None:
        return f"<p class=muted>disk{where}: on the recorder's machine</p>"
    state = "bad" if recorder.disk_free < DISK_LOW else "muted"
    return f"<p class={state}>{recorder.disk_free / 1e9:.0f} GB left{where}</p>"


def _rate(rate: SuccessRate) -> str:
    share = f"{100 * rate.successes / rate.done:.0f} %" if rate.done else NONE
    low, high = 100 * rate.low, 100 * rate.high
    place = 100 * rate.successes / rate.done if rate.done else 0.0
    mark = f"<b style='left:{place:.1f}%'></b>" if rate.done else ""
    return (
        f"<div class=rate><p><strong>{escape(rate.name)}</strong> {rate.done} of {rate.planned} trials, "
        f"{rate.successes} successes: {share} ({low:.0f} to {high:.0f} %)</p>"
        f"<div class=track><i style='left:{low:.1f}%;width:{high - low:.1f}%'></i>{mark}</div></div>"
    )
