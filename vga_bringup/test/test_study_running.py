"""A study's trials, one by one, on a rig that is played and on the simulated cell in this process."""

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from vga_bringup.study import design, report
from vga_bringup.study.ghost import References
from vga_bringup.study.ledger import lock, open_ledger
from vga_bringup.study.running import Disturbed, Voided, run_study, take_references
from vga_bringup.trials.in_process_environment import InProcessEnvironment
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.cli import main
from vga_policy.evaluate.results import load
from vga_policy.evaluate.rollout import SteppedRollout, run_trial
from vga_policy.evaluate.trials import Outcome, Trial
from vga_policy.inference.untrained import untrained_policy
from vga_policy.ros.errors import GraphError

CELL = load_cell(cell_path("sim"))
TRIALS = 2
PLAN = design.StudyPlan(
    policies={"good": "untrained", "bad": "untrained"},
    views=("id", "ood"),
    tasks=("pick_cube",),
    trials=TRIALS,
    seed=7,
    max_steps=300,
    cell="sim",
)


@pytest.fixture
def study(tmp_path):
    design.create(PLAN, tmp_path / "study")
    assert lock(tmp_path / "study") == 8
    return tmp_path / "study"


class PlayedRig:
    """The good policy succeeds. trouble: what happens in the n-th trial."""

    def __init__(self, **trouble):
        self.ran, self.labels, self.shown, self.loaded = [], [], [], None
        self._trouble = trouble

    def load(self, arm):
        self.loaded = arm

    def set_scene(self, start, reference, words):
        self.shown.append((start, reference, words))
        return start.instruction

    def pictures(self):
        seed = self.shown[-1][0].seed
        return {name: np.full((24, 32, 3), 40 * (seed % 5), np.uint8) for name in ("fixed_1", "wrist", "fixed_2")}

    def record(self, turn, instruction):
        return f"/episodes/{len(self.ran)}"

    def label(self, outcome, note):
        self.labels.append((outcome, note))

    def run(self, turn, instruction):
        assert turn.arm == self.loaded
        if (error := self._trouble.get(f"in_{len(self.ran)}")) is not None:
            self._trouble.pop(f"in_{len(self.ran)}")
            raise error
        self.ran.append(turn)
        success = turn.arm.policy == "good"
        return Trial(
            turn.task, turn.seed, instruction, Outcome.SUCCESS if success else Outcome.STEP_LIMIT,
            87 if success else 300, 8.7, "red cube held" if success else "not done", chunks=80, refused={"jump": 2},
            chunk_rate=9.9,
        )  # fmt: skip


def go(study, rig, **more):
    """Runs the study in a session of its own; what was said."""
    said = []
    with open_ledger(study) as ledger:
        said += ledger.begin_session("", "sim")
        try:
            run_study(ledger, rig, design.read_starts(study), said.append, more.get("stop", threading.Event()))
        finally:
            ledger.end_session()
    return said


def counts(study):
    """Completed trials by arm and start."""
    with open_ledger(study) as ledger:
        return Counter((record.arm, record.condition) for record in ledger.records())


def test_all_trials_run_once(study):
    rig = PlayedRig()
    said = go(study, rig)
    assert len(rig.ran) == len(said) == 8
    assert counts(study) == Counter((t.arm.id, f"task=pick_cube,start={t.seed}") for t in rig.ran)
    assert set(counts(study).values()) == {1}
    assert [outcome for outcome, _ in rig.labels] == [
        "success" if t.arm.policy == "good" else "failure" for t in rig.ran
    ]
    assert all(f"arm {turn.code}" in note for turn, (_, note) in zip(rig.ran, rig.labels, strict=True))
    assert all("good" not in line and "ood" not in line for line in said)


def test_a_starts_first_trial_takes_the_reference_and_the_others_see_it(study):
    rig = PlayedRig()
    go(study, rig)
    known = [bool(reference) for _, reference, _ in rig.shown]
    assert known == [False, True, True, True] * 2
    with open_ledger(study) as ledger:
        errors = [record.runner_metrics.get("reset_fixed_1") for record in ledger.records()]
    assert errors == [None, 0.0, 0.0, 0.0] * 2


def test_references_can_be_taken_beforehand(study):
    rig, said = PlayedRig(), []
    starts = design.read_starts(study)
    take_references(study, rig, starts, said.append, threading.Event())
    take_references(study, rig, starts, said.append, threading.Event())
    assert [line.partition(":")[0] for line in said] == ["reference 1 of 2", "reference 2 of 2"]
    assert sorted(References(study).of("pick_cube", 8)) == ["fixed_1", "fixed_2", "wrist"]
    go(study, rig)
    assert all(reference for _, reference, _ in rig.shown[2:])


@pytest.mark.parametrize("killed", [0, 3, 7])
def test_a_trial_that_was_killed_is_run_again_and_none_counts_twice(study, killed):
    class Killed(BaseException):
        pass

    rig = PlayedRig(**{f"in_{killed}": Killed()})

    # A killed process leaves the trial as it was begun: nothing voids it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vga_bringup.study.ledger.Ledger.void", lambda *_: None)
        patch.setattr("vga_bringup.study.ledger.Ledger.end_session", lambda *_: None)
        with pytest.raises(Killed):
            go(study, rig)
    assert sum(counts(study).values()) == killed
    said = go(study, rig)
    assert "task=pick_cube,start=" in said[0]  # what is run again
    assert set(counts(study).values()) == {1}
    assert len(counts(study)) == 8


def test_what_keeps_it_from_going_on_loses_nothing(study):
    rig = PlayedRig(in_2=GraphError("silent: camera wrist"))
    with pytest.raises(GraphError, match="camera wrist"):
        go(study, rig)
    assert sum(counts(study).values()) == 2
    go(study, rig)
    assert set(counts(study).values()) == {1}
    assert len(counts(study)) == 8


def test_the_operator_can_void_a_trial(study):
    rig = PlayedRig(in_1=Voided("by the operator"))
    said = go(study, rig)
    assert "void, it will be run again: by the operator" in said[1]
    assert ("discarded" in [outcome for outcome, _ in rig.labels], len(counts(study))) == (True, 8)


def test_a_machine_that_disturbs_every_trial_ends_the_study(study, monkeypatch):
    rig = PlayedRig()
    monkeypatch.setattr(rig, "run", lambda *_: (_ for _ in ()).throw(Disturbed("images come late")))
    with pytest.raises(GraphError, match="5 trials in a row were disturbed, the last: images come late"):
        go(study, rig)
    assert not counts(study)


def test_ctrl_c_ends_it_between_trials(study):
    rig, stop = PlayedRig(), threading.Event()
    stop.set()
    go(study, rig, stop=stop)
    assert not rig.ran


def test_the_report_is_written_from_the_same_database(study, capsys):
    assert main(["eval", "robot", str(study), "--report"]) == 1
    assert "no trial is done yet" in capsys.readouterr().err
    with pytest.raises(GraphError):
        go(study, PlayedRig(in_4=GraphError("the wire is cut")))
    assert main(["eval", "robot", str(study), "--report"]) == 1
    told = capsys.readouterr().err
    assert "4 of 8 trials are done, and a report says which arm is which: finish them, or add --unblind" in told
    go(study, PlayedRig())
    assert main(["eval", "robot", str(study)]) == 0  # nothing left to run: reports
    said = capsys.readouterr().out
    assert (
        "| Method | Seen view: pick cube | Seen view: average | Unseen view: pick cube | Unseen view: average |" in said
    )
    assert "| good | 100 [34.2, 100] 2/2 | 100 [34.2, 100] 2/2 | 100 [34.2, 100] 2/2 |" in said
    assert "| bad | 0 [0, 65.8] 0/2 |" in said
    theirs = (study / "reports/report.md").read_text()
    assert "2/2" in theirs or "100" in theirs
    assert (study / "reports/report.html").stat().st_size > 10_000
    evaluation = load(study / "reports/good-ood")
    assert evaluation.conditions.cameras == ("fixed_2", "wrist")
    (trial, _) = evaluation.trials
    assert (trial.seed, trial.steps, trial.chunks, trial.chunk_rate) == (7, 87, 80, 9.9)
    assert trial.refused == {"jump": 2}
    assert trial.reason == "red cube held"


def test_trials_that_are_missing_are_told(study):
    with pytest.raises(GraphError):
        go(study, PlayedRig(in_5=GraphError("the wire is cut")))
    with open_ledger(study) as ledger:
        ledger.unblind()
        report.write(ledger, CELL, design.read_starts(study))
        found = report.evaluations(ledger, CELL, design.read_starts(study))
    assert sum(len(one.missing) for one in found.values()) == 3
    assert sum(len(one.trials) for one in found.values()) == 5
    assert "Trials not reached: pick cube 3." in (study / "reports/table.md").read_text()


class InProcessRig(PlayedRig):
    """The simulated cell in this process, for a few steps a trial."""

    def __init__(self):
        super().__init__()
        self._environment = InProcessEnvironment(CELL)
        self._rollout = SteppedRollout(self._environment, untrained_policy(CELL), 2)

    def close(self):
        self._environment.close()

    def set_scene(self, start, reference, words):
        super().set_scene(start, reference, words)
        return self._environment.reset(start.task, start.seed)

    def pictures(self):
        return {camera.name: self._environment._world.picture(camera.name).color for camera in CELL.cameras}

    def run(self, turn, instruction):
        self.ran.append(turn)
        return run_trial(self._rollout, turn.task, turn.seed, dt=CELL.dt)


def test_it_runs_on_the_simulated_cell_in_process(study, monkeypatch):
    monkeypatch.setenv("LP_NUM_THREADS", "0")
    rig = InProcessRig()
    try:
        go(study, rig)
    finally:
        rig.close()
    assert len(counts(study)) == 8
    with open_ledger(study) as ledger:
        records = ledger.records()
    assert {record.termination for record in records} == {"timeout"}
    assert all(record.runner_metrics["steps"] == 2 for record in records)
    errors = [record.runner_metrics["reset_fixed_1"] for record in records if "reset_fixed_1" in record.runner_metrics]
    assert len(errors) == 6
    assert max(errors) < 1e-3


def test_a_label_changed_by_hand_is_the_one_that_counts(study):
    go(study, PlayedRig())
    with open_ledger(study) as ledger:
        record = replace(ledger.records()[0], success=False, termination="success")
    assert report.outcome(record) is Outcome.FAILED
