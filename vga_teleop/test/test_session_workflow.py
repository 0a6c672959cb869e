"""The course of a recording session, on a cell and with an operator that tests control."""

import pytest
from support.sessions import FakeCell, Keys, session
from vga_policy.episodes import decisions
from vga_policy.episodes.metadata import Episode
from vga_teleop.session.buttons import Button
from vga_teleop.session.earlier import earlier
from vga_teleop.session.operators import EPILOGUE, PATIENCE, RETRIES, AutomaticOperator, Held, HumanOperator
from vga_teleop.session.workflow import (
    ALIGN_WITHIN,
    DiscardLast,
    Refused,
    SessionEnded,
    Trial,
    Verdict,
    Workflow,
)


def person(cell, *presses):
    return HumanOperator("pick it up", Keys(cell, *presses), lambda _: None, lambda _: None)


def requests(cell):
    return [entry[0] for entry in cell.log]


def test_one_episode_in_order():
    cell = FakeCell()
    workflow, _ = session(cell, person(cell, (1, Button.GO), (5, Button.SUCCESS)))
    assert cell.log == [
        ("hold",), ("open",), ("home",), ("arrange", 0), ("teleop",), ("start", "pick it up"), ("stop", "success", ""),
        ("hold",), ("leave", False),
    ]  # fmt: skip
    (taken,) = workflow.taken
    assert taken.verdict == Verdict("success")
    assert taken.seconds == pytest.approx(4.0, abs=0.2)


def test_a_cell_that_draws_scenes_is_followed_to_their_start_and_judges_itself():
    cell = FakeCell(draws=True)
    cell.faults = [(2, {"trial": Trial(True, False, "held")})]
    operator = AutomaticOperator(seed=7)
    workflow, _ = session(cell, operator)
    cell.faults = [(2, {"trial": Trial(False, True, "it fell")})]
    workflow.run(2)
    assert requests(cell)[:7] == ["hold", "open", "home", "arrange", "home", "teleop", "start"]
    assert [entry for entry in cell.log if entry[0] == "arrange"] == [("arrange", 7), ("arrange", 8)]
    assert ("home", 0.1, 0.2) in cell.log
    assert [taken.verdict for taken in workflow.taken] == [Verdict("success", "held"), Verdict("failure", "it fell")]
    assert workflow.taken[0].seconds == pytest.approx(2 + EPILOGUE, abs=0.2)


def test_the_start_may_be_drawn_around_home():
    cell = FakeCell()
    keys = Keys(cell, *[(k, button) for k, button in enumerate([Button.GO, Button.SUCCESS] * 20, 1)])
    session(cell, HumanOperator("pick", keys, lambda _: None, lambda _: None, spread=0.2), episodes=10)
    starts = [entry[1:] for entry in cell.log if entry[0] == "home" and len(entry) > 1]
    assert len(set(starts)) == 10
    assert all(abs(a) <= 0.2 and abs(b - 1.0) <= 0.2 for a, b in starts)


def holding_person(cell, lines, *presses, held=Held.ASK):
    cell.held_width = 0.04
    return HumanOperator("pick", Keys(cell, *presses), lines.append, lambda _: None, held=held)


def test_a_person_is_asked_before_what_is_held_falls():
    cell, lines, opened = FakeCell(), [], []
    granted = cell.open
    cell.open = lambda: (opened.append(cell.now), granted())
    presses = (0, Button.GO), (6, Button.GO), (8, Button.GO), (10, Button.SUCCESS)
    workflow, _ = session(cell, holding_person(cell, lines, *presses))
    assert lines[0].startswith("the hand holds something (0.040 m): open it and go home? space: open it")
    assert opened[0] >= 6  # what was pressed before the question is no answer
    assert requests(cell)[:4] == ["hold", "open", "home", "arrange"]
    assert len(workflow.taken) == 1


def test_a_person_may_keep_what_is_held():
    cell, lines = FakeCell(), []
    session(cell, holding_person(cell, lines, (3, Button.QUIT)))
    assert requests(cell) == ["hold", "leave"]
    assert cell.held_width == 0.04


def test_what_is_still_held_after_an_episode_is_asked_about_too():
    cell, lines = FakeCell(), []
    end = cell.stop
    cell.stop = lambda verdict: (setattr(cell, "held_width", 0.05), end(verdict))[1]
    keys = Keys(cell, (1, Button.GO), (4, Button.SUCCESS), (8, Button.QUIT))
    session(cell, HumanOperator("pick", keys, lines.append, lambda _: None), episodes=2)
    assert "the hand holds something (0.050 m)" in lines[-1]
    assert requests(cell).count("home") == 1


def test_unattended_the_grip_is_kept_and_the_session_ends():
    cell, lines = FakeCell(), []
    _, said = session(cell, holding_person(cell, lines, held=Held.KEEP))
    assert requests(cell) == ["hold", "leave"]
    (line,) = lines
    assert line.startswith(
        "the hand holds something (0.040 m) and keeps it, so the arm does not go home: empty the hand"
    )
    assert "the session has been ended" in said


def test_unattended_the_hand_opens_where_that_was_said():
    cell, lines = FakeCell(), []
    session(cell, holding_person(cell, lines, (1, Button.GO), (4, Button.SUCCESS), held=Held.OPEN))
    assert lines[0] == "the hand holds something (0.040 m): opening it"
    assert requests(cell)[:3] == ["hold", "open", "home"]


def test_nobody_opens_a_simulated_hand_whatever_it_holds():
    cell = FakeCell(draws=True)
    cell.held_width = 0.04
    cell.faults = [(2, {"trial": Trial(True, False, "held")})]
    workflow, _ = session(cell, AutomaticOperator(seed=7))
    assert requests(cell)[:3] == ["hold", "open", "home"]
    assert len(workflow.taken) == 1


def test_a_success_that_does_not_last_is_none():
    cell = FakeCell(draws=True)
    cell.faults = [(1, {"trial": Trial(True, False, "")}), (1.1, {"trial": Trial(False, False, "slipped")})]
    workflow, _ = session(cell, AutomaticOperator(seed=0))
    assert workflow.taken[0].verdict == Verdict("failure", f"not done within {PATIENCE:g} s: slipped")


def test_nobody_gives_up_in_the_end():
    cell = FakeCell()
    with pytest.raises(Refused, match="nobody arranges"):
        session(cell, AutomaticOperator(seed=0))
    assert cell.now >= RETRIES
    assert cell.log[-1] == ("leave", False)


@pytest.mark.parametrize("label", [Button.SUCCESS, Button.FAILURE, Button.DISCARD])
def test_space_ends_the_episode_at_once_and_the_label_follows(label):
    cell = FakeCell()
    presses = [(1, Button.GO), (3, Button.GO), (9, Button.GO), (9, label)]
    if label is Button.DISCARD:
        presses += [(12, Button.GO), (14, Button.SUCCESS)]
    workflow, _ = session(cell, person(cell, *presses))
    outcome = {"discard": "discarded"}.get(label, str(label))
    at = cell.log.index(("stop", None, ""))
    assert cell.log[at : at + 3] == [("stop", None, ""), ("hold",), ("stop", outcome, "")]
    assert workflow.taken[0].seconds == pytest.approx(2.0, abs=0.2)
    assert len(workflow.kept) == 1  # a discarded one does not count


def test_the_last_episode_can_be_discarded_before_the_next():
    cell = FakeCell()
    go, good = Button.GO, Button.SUCCESS
    presses = [(1, Button.DISCARD), (2, go), (4, good), (6, Button.DISCARD), (8, go), (10, good), (12, go), (14, good)]
    workflow, said = session(cell, person(cell, *presses), episodes=2)
    assert [taken.verdict.outcome for taken in workflow.taken] == ["discarded", "success", "success"]
    assert requests(cell).count("discard") == 1
    assert "there is no episode to discard" in said


def test_an_arm_that_stopped_in_an_episode_moves_again_only_when_the_person_says_so():
    cell = FakeCell()
    cell.faults = [(2, {"teleop": False, "hold_reason": "reflex: joint 4", "needs_recovery": True})]
    lines, moments = [], {}
    for request in ("recover", "home"):
        granted = getattr(cell, request)
        setattr(
            cell,
            request,
            lambda *a, granted=granted, at=request: (moments.setdefault(at, []).append(cell.now), granted(*a)),
        )
    keys = Keys(cell, (1, Button.GO), (8, Button.GO), (9, Button.GO), (11, Button.SUCCESS))
    workflow, _ = session(cell, HumanOperator("pick", keys, lines.append, lambda _: None), episodes=2)
    first, second = workflow.taken
    assert first.verdict == Verdict("failure", "the driver went to HOLD: reflex: joint 4")
    assert second.verdict == Verdict("success")
    assert any(line.startswith("the driver went to HOLD: reflex: joint 4; the arm goes home next") for line in lines)
    (recovered,), (_, homed) = moments["recover"], moments["home"]
    assert min(recovered, homed) >= 8


@pytest.mark.parametrize(
    ("faults", "meanwhile"),
    [
        ([], {"teleop": False, "hold_reason": "stop requested"}),
        ([(2, {"recording": False, "teleop": False, "hold_reason": "stop requested"})], {}),
    ],
)
def test_a_stop_at_the_end_of_the_recording_keeps_the_arm_from_homing_too(faults, meanwhile):
    cell = FakeCell()
    cell.faults, cell.meanwhile = faults, meanwhile
    lines = []
    keys = Keys(cell, (1, Button.GO), (4, Button.SUCCESS), (9, Button.QUIT))
    workflow, _ = session(cell, HumanOperator("pick", keys, lines.append, lambda _: None), episodes=2)
    assert len(workflow.taken) == 1
    assert lines[-1].startswith("the driver went to HOLD: stop requested; the arm goes home next")
    assert requests(cell).count("home") == 1


def test_an_episode_that_was_labeled_counts_whatever_else_is_wrong_with_it():
    cell = FakeCell()
    cell.problem = "disk full"
    workflow, said = session(cell, person(cell, (1, Button.GO), (5, Button.SUCCESS)))
    assert workflow.taken[0].verdict == Verdict("success")
    assert "1: success, 4.0 s (disk full)" in said


def test_what_cannot_be_discarded_stays_as_it_was_and_the_session_goes_on():
    cell = FakeCell()
    cell.refusals = {"discard": ["it is not the recorder's last"]}
    go, good, discard = Button.GO, Button.SUCCESS, Button.DISCARD
    presses = [(1, go), (3, good), (5, discard), (7, discard), (9, go), (11, good), (13, go), (15, good)]
    workflow, said = session(cell, person(cell, *presses), episodes=2)
    assert [taken.verdict.outcome for taken in workflow.taken] == ["discarded", "success", "success"]
    assert [entry for entry in cell.log if entry[0] == "discard"] == [("discard", "1")] * 2
    assert "1 is not discarded: it is not the recorder's last" in said


def test_a_session_that_begins_with_a_stopped_arm_asks_before_it_moves():
    cell = FakeCell()
    cell.change(needs_recovery=True, hold_reason="user stop")
    lines = []
    keys = Keys(cell, (3, Button.QUIT))
    session(cell, HumanOperator("pick", keys, lines.append, lambda _: None))
    assert requests(cell) == ["leave"]
    assert lines[0].startswith("the driver is in HOLD: user stop")


def test_a_user_stop_pressed_while_the_scene_is_arranged_is_recovered_from_with_the_start():
    cell = FakeCell()
    asked = person(cell, (1, Button.GO), (5, Button.SUCCESS))
    arrange = asked.arrange

    def stop_meanwhile(*arguments):
        cell.change(needs_recovery=True)
        return arrange(*arguments)

    asked.arrange = stop_meanwhile
    workflow, _ = session(cell, asked)
    assert workflow.taken[0].verdict == Verdict("success")
    assert requests(cell)[4:6] == ["recover", "teleop"]


def test_a_recording_that_ends_by_itself_is_a_failure_with_its_reason():
    cell = FakeCell()
    cell.faults = [(2, {"recording": False, "problem": "disk full"})]
    workflow, _ = session(cell, person(cell, (1, Button.GO)))
    assert workflow.taken[0].verdict == Verdict("failure", "the recording ended early: disk full")


@pytest.mark.parametrize(
    ("request_name", "again"),
    [("open", "open"), ("home", "home"), ("teleop", "teleop"), ("start", "teleop"), ("stop", "start")],
)
def test_what_is_refused_is_said_and_asked_again(request_name, again):
    cell = FakeCell()
    cell.refusals = {request_name: ["because"]}
    lines = []
    go = [(k, Button.GO) for k in (1, 2, 3)]
    ends = [(5, Button.SUCCESS), (6, Button.GO), (7, Button.GO), (9, Button.SUCCESS)]
    operator = HumanOperator("pick", Keys(cell, *go, *ends), lines.append, lambda _: None)
    workflow, said = session(cell, operator)
    assert any("because" in line for line in [*lines, *said])
    assert len(workflow.taken) == 1
    assert requests(cell).count(again) == 2
    assert requests(cell)[-1] == "leave"


def test_a_leader_that_stays_away_is_refused_with_its_distance():
    cell = FakeCell()
    cell.change(misalignment=0.3)
    lines = []
    operator = HumanOperator("pick", Keys(cell, (1, Button.GO), (30, Button.QUIT)), lines.append, lambda _: None)
    session(cell, operator)
    assert any("the leader is 0.30 rad away" in line for line in lines)
    assert cell.now > ALIGN_WITHIN
    assert "start" not in requests(cell)


def test_a_driver_that_falls_to_hold_before_the_episode_starts_none():
    cell = FakeCell()
    lines = []
    granted = cell.teleoperate

    def teleoperate():
        granted()
        cell.change(teleop=False, hold_reason="the leader is silent")
        cell.teleoperate = granted

    cell.teleoperate = teleoperate
    keys = Keys(cell, (1, Button.GO), (3, Button.GO), (5, Button.SUCCESS))
    workflow, _ = session(cell, HumanOperator("pick", keys, lines.append, lambda _: None))
    assert any("the driver went to HOLD: the leader is silent" in line for line in lines)
    assert requests(cell).count("start") == len(workflow.taken) == 1


@pytest.mark.parametrize("at", [1, 5])
def test_quitting_leaves_the_arm_at_rest(at):
    cell = FakeCell()
    workflow, said = session(cell, person(cell, *[(1, Button.GO)] * (at == 5), (at, Button.QUIT)))
    assert workflow.taken == []
    assert cell.log[-1] == ("leave", at == 5)
    assert "the session has been ended" in said


def test_a_press_before_the_question_is_no_answer():
    cell = FakeCell()
    keys = Keys(cell, (0, Button.GO), (4, Button.GO), (6, Button.SUCCESS))
    workflow, _ = session(cell, HumanOperator("pick", keys, lambda _: None, lambda _: None))
    assert workflow.taken[0].seconds == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("bounce", [Button.GO, Button.SUCCESS, Button.DISCARD])
def test_a_press_while_the_arm_comes_to_the_leader_is_no_verdict(bounce):
    cell = FakeCell()
    cell.change(misalignment=0.3)
    granted = cell.teleoperate, cell.start

    def approach():
        granted[0]()
        cell.faults, cell.started = [(1, {"misalignment": 0.01})], cell.now

    def start(instruction):
        cell.now += 1
        return granted[1](instruction)

    cell.teleoperate, cell.start = approach, start
    keys = Keys(cell, (1, Button.GO), (1.5, bounce), (2.5, bounce), (8, Button.SUCCESS))
    workflow, _ = session(cell, HumanOperator("pick", keys, lambda _: None, lambda _: None))
    (taken,) = workflow.taken
    assert taken.verdict == Verdict("success")
    assert taken.seconds == pytest.approx(5.0, abs=0.2)


def test_quitting_while_the_arm_comes_to_the_leader_records_nothing():
    cell = FakeCell()
    cell.change(misalignment=0.3)
    session(cell, person(cell, (1, Button.GO), (2, Button.QUIT)))
    assert requests(cell)[-2:] == ["teleop", "leave"]
    assert cell.now < 3


def test_the_session_ends_at_any_request():
    for request in ("hold", "held", "open", "home", "arrange", "teleop", "start"):
        cell = FakeCell()

        def end(*_, request=request):
            raise SessionEnded

        setattr(cell, request if request != "teleop" else "teleoperate", end)
        session(cell, person(cell, (1, Button.GO)))
        assert cell.log[-1] == ("leave", False)


def test_discarding_nothing_is_said(monkeypatch):
    cell = FakeCell()
    operator = AutomaticOperator(0)
    answers = [DiscardLast, SessionEnded]
    monkeypatch.setattr(operator, "arrange", lambda *_: (_ for _ in ()).throw(answers.pop(0)))
    _, said = session(cell, operator)
    assert "there is no episode to discard" in said


def test_a_session_goes_on_from_earlier_ones(tmp_path):
    for number, (task, outcome) in enumerate(
        [("pick", "success"), ("pick", "failure"), ("pick", "discarded"), ("pick", None), ("push", "success")]
    ):
        path = tmp_path / str(number)
        path.mkdir()
        Episode(path.name, task, "pick it up", "Ada", 0, "", outcome=outcome).save(path)
    for name, operator in (("collected", "scripted operator"), ("rejected", "Ada")):
        (tmp_path / name).mkdir()
        Episode(name, "pick", "pick it up", operator, 0, "", outcome="success").save(tmp_path / name)
    decisions.decide(tmp_path / "rejected", decisions.Verdict.REJECT, "too slow")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "episode.yaml").write_text("outcome: [")
    before = earlier(tmp_path, "pick")
    assert before == (6, 2)
    assert earlier(tmp_path / "nowhere", "pick") == (0, 0)

    cell, said = FakeCell(draws=True), []
    operator = person(cell, (1, Button.GO), (5, Button.SUCCESS))
    workflow = Workflow(cell, operator, said.append, lambda: cell.now, before)
    workflow.run(3)
    assert ("arrange", 6) in cell.log  # no scene comes twice
    assert len(workflow.taken) == 1
    assert "3 of 3 kept" in said
    assert workflow.complete
    workflow.run(3)
    assert len(workflow.taken) == 1
