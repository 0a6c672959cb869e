"""What is to be read on the page, and that what comes from outside is text there and no markup."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from vga_bringup.panel import cards
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

EVIL = "<img src=x onerror=alert(1)>'\"&"
DRIVER = Driver("HOLD", "stopped by the user", connected=True)


def test_hold_says_why_and_what_is_next():
    text = cards.mode(replace(DRIVER, needs_recovery=True))
    assert "HOLD" in text
    assert "stopped by the user; next: Recover" in text
    assert "no connection to the robot" in cards.mode(replace(DRIVER, connected=False))
    assert "moving" in cards.mode(Driver("POLICY", at_rest=False, connected=True))


@pytest.mark.parametrize(
    ("pages", "panels", "text"),
    [(1, 0, "1 page open"), (2, 0, "2 pages open"), (1, 2, "1 page open, 2 other panels")],
)
def test_how_many_look(pages, panels, text):
    told = cards.connected(pages, panels)
    assert text in told
    assert ("several" in told) is (pages + panels > 1)


def test_figures_of_chunks():
    text = cards.timing(Timing(75, 70, 10.04, 140.0, 157.4, 1.2, 3, 2, {"jump": 5}, "joint 2 jumps"))
    for part in ("10.0 Hz", "140 ms", "157 ms", "70 of 75", "<td>jump</td><td>5</td>", "joint 2 jumps"):
        assert part in text
    assert "no chunk yet" in cards.timing(Timing())


def test_a_joint_is_aligned_or_apart():
    text = cards.leader([("fr3_joint1", 0.02), ("fr3_joint2", -2.0)])
    assert text.count("class=aligned") == 1
    assert "left:0.0%;width:50.0%" in text
    assert cards.leader([]) == ""


def test_the_disk_is_told_or_said_to_be_elsewhere():
    there = RecorderStatus(there=True, directory="/data", disk_free=5 * 10**9)
    assert "class=bad>5 GB left" in cards.recorder(there)
    assert "on the recorder's machine" in cards.recorder(replace(there, disk_free=None))
    assert "--record true" in cards.recorder(RecorderStatus())


def test_findings_have_their_remedy():
    rows = tuple(Remedied("robot", state, "does not answer", "switch it on") for state in ("missing", "absent"))
    text = cards.findings(Examination(3, rows, "12:00"))
    assert text.count("→ switch it on") == 2
    assert "1 absent, needed for some uses only" in text


def test_n_of_n_and_the_interval():
    text = cards.study(Study("out", (SuccessRate("pick_cube", 5, 20, 4, 0.376, 0.964),)))
    assert "5 of 20 trials, 4 successes: 80 % (38 to 96 %)" in text
    assert "0 of 20 trials, 0 successes: –" in cards.study(
        Study("out", (SuccessRate("pick_cube", 0, 20, 0, 0.0, 1.0),))
    )


@pytest.mark.parametrize(
    "html",
    [
        cards.mode(Driver(EVIL, EVIL)),
        cards.timing(Timing(1, refused={EVIL: 1}, refusal=EVIL)),
        cards.leader([(EVIL, 0.1)]),
        cards.recorder(RecorderStatus(True, True, EVIL, problem=EVIL, directory=EVIL)),
        cards.recorder(RecorderStatus(True, False, EVIL)),
        cards.parts([NodeHealth(EVIL, "ok", EVIL)]),
        cards.figures([NodeHealth(f"franka_driver: {EVIL}", "ok", EVIL, ((EVIL, EVIL),))]),
        cards.findings(Examination(0, (Remedied(EVIL, EVIL, EVIL, EVIL),), EVIL)),
        cards.findings(Examination(problem=EVIL)),
        cards.study(Study(EVIL, (SuccessRate(EVIL, 1, 2, 1, 0.0, 1.0),))),
        cards.study(Study(EVIL, problem=EVIL)),
        cards.events([LogLine(EVIL, EVIL)]),
        cards.task(RobotStatus(DRIVER, task=EVIL, doing=(EVIL,), busy=EVIL)),
    ],
)
def test_nothing_from_outside_is_markup(html):
    assert "<img" not in html
    assert "&lt;img" in html


def test_every_field_of_a_snapshot_has_its_default_but_the_driver():
    assert RobotStatus(DRIVER).driver is DRIVER
    assert len(fields(RobotStatus)) > 10
