"""What the panel counts and keeps."""

from __future__ import annotations

import math
from importlib import resources
from types import SimpleNamespace

import pytest
from fieldtrial.services import open_study
from fieldtrial.services.session import start_session
from fieldtrial.services.study import lock_study
from fieldtrial.services.trial import complete_trial, next_slot, start_trial
from vga_bringup.panel.checks import read
from vga_bringup.panel.model import KEPT, Chunks, History, Parts, misalignment
from vga_bringup.panel.robot import disk_free
from vga_bringup.panel.study import Progress, rates
from vga_policy.evaluate.results import Conditions, Evaluation
from vga_policy.evaluate.trials import Outcome, Trial

TASK, NEXT = b"1" * 16, b"2" * 16
CONDITIONS = Conditions("nano", "id", ("fixed_1", "wrist"), "latest", 300, "ros", 0)


def chunk(chunks, sequence, decided, goal=TASK, latency=0.14, **told):
    chunks.note(goal, sequence, decided - latency, decided, **{"accepted": True, **told})


def test_before_any_chunk_there_are_no_figures():
    timing = Chunks().timing()
    assert (timing.chunks, timing.rate_hz, timing.p50_ms, timing.steps_dropped) == (0, None, None, None)


def test_chunks_on_time():
    chunks = Chunks()
    for k in range(11):
        chunk(chunks, k + 1, 100.0 + 0.1 * k, latency=0.14 if k else 0.2, steps_dropped=1)
    timing = chunks.timing()
    assert timing.rate_hz == pytest.approx(10.0)
    assert (round(timing.p50_ms), round(timing.p95_ms)) == (140, 200)
    assert (timing.chunks, timing.accepted, timing.late, timing.dropped, timing.steps_dropped) == (11, 11, 0, 0, 1.0)


def test_what_is_late_and_what_never_came():
    chunks = Chunks()
    for sequence, decided in ((1, 0.0), (2, 0.1), (3, 0.3), (6, 0.4)):
        chunk(chunks, sequence, decided)
    assert (chunks.timing().late, chunks.timing().dropped) == (1, 2)


def test_refusals_by_reason_and_a_take_over_is_none():
    chunks = Chunks()
    for sequence, reason in enumerate(("jump", "workspace", "jump", "taken_over")):
        chunk(chunks, sequence, 0.1 * sequence, accepted=False, reason=reason, message=f"{reason} {sequence}")
    timing = chunks.timing()
    assert (timing.refused, timing.refusal, timing.unheeded) == ({"jump": 2, "workspace": 1}, "jump 2", 1)


def test_a_new_task_counts_anew_and_a_policy_that_starts_over_drops_nothing():
    chunks = Chunks()
    chunk(chunks, 900, 0.0)
    chunk(chunks, 3, 9.0, goal=NEXT)
    chunk(chunks, 1, 9.1, goal=NEXT)
    assert (chunks.timing().chunks, chunks.timing().late, chunks.timing().dropped) == (2, 0, 0)


def test_parts_are_this_robots_and_go_stale():
    parts = Parts("/left/")
    parts.note("/left/policy: inputs", 1, "wrist is old", [("a", "1")], now=0.0)
    parts.note("/right/policy: inputs", 0, "fine", [], now=0.0)
    (part,) = parts.at(1.0)
    assert (part.name, part.level, part.values) == ("policy: inputs", "warn", (("a", "1"),))
    (part,) = parts.at(10.0)
    assert (part.level, part.message) == ("stale", "silent")


def test_the_history_is_kept_newest_first(tmp_path):
    history = History(tmp_path / "a" / "file.json")
    for text in ("pick", "press", "pick"):
        history.add(text)
    assert History(tmp_path / "a" / "file.json").instructions == ["pick", "press"]
    for k in range(2 * KEPT):
        history.add(str(k))
    assert len(History(tmp_path / "a" / "file.json").instructions) == KEPT


@pytest.mark.parametrize("text", ["{", "3", '["pick", 3]'])
def test_a_damaged_history_is_none(tmp_path, text):
    file = tmp_path / "file.json"
    file.write_text(text)
    assert set(History(file).instructions) <= {"pick"}


def test_a_history_that_cannot_be_written_lasts_until_the_end(tmp_path):
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "below.json")
    history.add("pick")
    assert history.instructions == ["pick"]


def test_the_leader_is_compared_joint_by_joint():
    assert misalignment({"b": 0.5, "a": 1.0, "finger": 3.0}, ["a", "b", "c"], [0.9, 1.0, 2.0]) == (
        ("a", pytest.approx(0.1)),
        ("b", pytest.approx(-0.5)),
    )


def test_the_findings_that_are_needed_come_first():
    rows = [
        {"subject": subject, "state": state, "seen": "s", "remedy": "r"}
        for subject, state in (("GPU", "absent"), ("disk", "ready"), ("robot", "missing"), ("clock", "unknown"))
    ]
    findings = read({"findings": rows}, "12:00")
    assert (findings.ready, [row.subject for row in findings.others]) == (1, ["robot", "clock", "GPU"])


def trials(outcomes, task="pick_cube"):
    return tuple(Trial(task, k, "pick", Outcome(outcome), 10, 1.0) for k, outcome in enumerate(outcomes))


def test_an_evaluation_as_far_as_it_is(tmp_path):
    progress = Progress(tmp_path)
    assert "no trial has ended yet" in progress.read().problem
    ended = trials(["success", "success", "failed"])
    Evaluation(CONDITIONS, ended, tuple(("pick_cube", seed) for seed in range(3, 20))).save(tmp_path)
    (rate,) = progress.read().rates
    assert (rate.name, rate.done, rate.planned, rate.successes) == ("pick_cube", 3, 20, 2)
    assert (rate.low, rate.high) == (pytest.approx(0.208, abs=1e-3), pytest.approx(0.939, abs=1e-3))
    (tmp_path / "results.json").write_text("{}")
    assert "results.json" in progress.read().problem


def test_an_evaluation_of_several_tasks():
    both = trials(["success"]) + trials(["failed"], "press_button")
    named = [(rate.name, rate.done, rate.successes) for rate in rates(Evaluation(CONDITIONS, both))]
    assert named == [("all tasks", 2, 1), ("pick_cube", 1, 1), ("press_button", 1, 0)]


def test_a_study_as_far_as_it_is_and_blind(tmp_path):
    text = resources.files("fieldtrial.templates").joinpath("basic.yaml").read_text().replace("__NAME__", "grasping")
    (tmp_path / "study.yaml").write_text(text)
    lock_study(tmp_path)
    progress = Progress(tmp_path)
    (rate,) = progress.read().rates
    assert (rate.done, rate.planned, rate.successes) == (0, 80, 0)
    with open_study(tmp_path) as context:
        session = start_session(context, operator="nobody", rig="sim")
        for stage, termination in ((3, "success"), (0, "timeout")):
            trial = start_trial(context, next_slot(context).slot_id, session)
            complete_trial(context, trial.trial_id, stage_index=stage, termination=termination, duration_s=5.0)
    study = progress.read()
    (rate,) = study.rates
    assert (study.name, rate.done, rate.planned, rate.successes) == ("grasping", 2, 80, 1)
    assert not {"baseline", "q50"} & set(rate.name.split())


def test_the_disk_of_another_machine_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=math.floor(5e9)))
    assert disk_free(tmp_path / "episodes") == 5e9
    assert disk_free(tmp_path / "of" / "another") is None
