"""Closed-loop trials in the simulated cell on simulated time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from vga_bringup.sim.expert.scripted_expert import ScriptedExpert
from vga_bringup.sim.expert.style import Style
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.tasks.builtin import VEGETABLES
from vga_bringup.trials import running
from vga_bringup.trials.conditions import EvalRequest, TrialsError, cell_for
from vga_bringup.trials.evaluation import named
from vga_bringup.trials.in_process_environment import InProcessEnvironment
from vga_bringup.trials.in_process_trials import InProcessTrials
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Strategy
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import BEST
from vga_policy.cli import main
from vga_policy.evaluate import results
from vga_policy.evaluate.rollout import SteppedRollout, run_trial
from vga_policy.evaluate.trials import Outcome, Trial
from vga_policy.message_constants import Mode
from vga_policy.observation.observation import ActionChunk

CELL = load_cell(cell_path("sim"))


@pytest.fixture(autouse=True)
def _drawing_in_one_thread(monkeypatch):
    monkeypatch.setenv("LP_NUM_THREADS", "0")


def names(cell):
    return [camera.name for camera in cell.views]


def test_the_unseen_view_puts_the_other_fixed_camera_into_the_slot():
    assert names(cell_for(CELL, "id")) == ["fixed_1", "wrist"]
    assert names(cell_for(CELL, "ood")) == ["fixed_2", "wrist"]


def test_the_seen_view_is_what_the_checkpoint_was_trained_on():
    assert names(cell_for(CELL, "id", trained_on=["fixed_2", "wrist"])) == ["fixed_2", "wrist"]
    assert names(cell_for(CELL, "ood", trained_on=["fixed_2", "wrist"])) == ["fixed_1", "wrist"]


def test_without_a_second_fixed_camera_there_is_no_unseen_view():
    cameras = [camera for camera in CELL.cameras if camera.name != "fixed_2"]
    with pytest.raises(CellError, match="needs a second fixed camera"):
        cell_for(CELL.model_copy(update={"cameras": cameras}), "ood")


def test_the_strategy_is_the_one_asked_for():
    assert cell_for(CELL, "id").execution.strategy == CELL.execution.strategy
    assert cell_for(CELL, "id", "open_loop_sync").execution.strategy is Strategy.OPEN_LOOP_SYNC


@pytest.mark.parametrize("view", ["id", "ood"])
def test_the_policy_sees_the_cameras_of_its_view(view):
    cell = cell_for(CELL, view)
    environment = InProcessEnvironment(cell)
    try:
        environment.reset("pick_cube", 5)
        observation = environment.observe()
        expected = [environment._world.picture(name).color for name in names(cell)]
    finally:
        environment.close()
    for image, wanted in zip(observation.images, expected, strict=True):
        # As JPEG, and with other noise: the same picture all the same.
        difference = cv2.blur(image, (5, 5)).astype(float) - cv2.blur(wanted, (5, 5))
        assert np.abs(difference).mean() < 2.0


def request(tmp_path, **options):
    defaults = {"checkpoint": "operator", "camera_set": "id", "tasks": ("pick_cube",), "trials": 1, "seed": 3}
    return EvalRequest(**{**defaults, "cell": cell_for(CELL, "id"), "directory": tmp_path, **options})


def test_the_operators_own_chunks_succeed_and_a_seed_repeats_its_trial(tmp_path):
    trials = InProcessTrials(request(tmp_path))
    try:
        first, other, again = (trials.run("press_button", seed) for seed in (3, 4, 3))
    finally:
        trials.close()
    assert first.outcome is other.outcome is Outcome.SUCCESS
    assert first.reason == "button pressed"
    assert first.refused == {}
    assert first == again != other


def test_an_untrained_policy_does_nothing_useful(tmp_path):
    trials = InProcessTrials(request(tmp_path, checkpoint="untrained", max_steps=30, videos=1))
    try:
        trial = trials.run("press_button", 3)
    finally:
        trials.close()
    assert (trial.outcome, trial.steps, trial.chunks) == (Outcome.STEP_LIMIT, 30, 30)
    assert (tmp_path / "videos" / "press_button_id_3.mp4").is_file()


def test_the_shipped_policy_picks_the_cube(tmp_path):
    trials = InProcessTrials(request(tmp_path, checkpoint="nano", max_steps=200))
    try:
        outcomes = [trials.run("pick_cube", seed).outcome for seed in (1_000_000, 1_000_001, 1_000_002)]
    finally:
        trials.close()
    # Rounding differs between processors, and with it a motion that hangs by a hair.
    assert outcomes.count(Outcome.SUCCESS) >= 2


def test_latency_delays_the_motion():
    def moved_after(latency: float) -> int:
        """Milliseconds from the first chunk, which asks for a motion at once, until the arm moves."""
        environment = InProcessEnvironment(CELL, latency)
        environment.reset("pick_cube", 3)
        cell = environment._world
        start = cell.proprioception[:7]
        steps = start + 0.02 * np.arange(1, 9)[:, None]
        environment._observed = cell.now
        environment.execute(_chunk(steps))
        for millisecond in range(500):
            cell.step(0.001)
            if np.abs(cell.proprioception[:7] - start).max() > 2e-3:
                return millisecond
        pytest.fail("the arm does not move")

    assert moved_after(0.25) - moved_after(0.05) == pytest.approx(200, abs=25)


def _chunk(joints):
    return ActionChunk.of_joints(joints=joints, gripper_width=np.full(len(joints), 0.08))


def test_a_driver_that_stops_the_arm_ends_the_trial():
    environment = InProcessEnvironment(CELL)

    class Stuck:
        def act(self, observation):
            environment._world.problem = "the arm does not follow"
            return _chunk(np.tile(observation.proprioception[:7], (8, 1)))

    trial = run_trial(SteppedRollout(environment, Stuck(), max_steps=10), "pick_cube", 3, dt=CELL.dt)
    environment.close()
    assert (trial.outcome, trial.reason) == (Outcome.FAULT, "the arm does not follow")


def test_a_wrong_vegetable_is_a_failure_and_counted_as_grasped():
    cell = InProcessCell(CELL)
    arrangement = cell.reset("grasp_vegetable", 3, Mode.TELEOP)
    wrong = next(name for name in VEGETABLES if name != arrangement.target)
    style = Style.draw(np.random.default_rng(0))
    expert = ScriptedExpert(CELL, replace(arrangement, target=wrong), style, cell.proprioception[:7])
    while not cell.task_state.failed and cell.now < 15:
        cell.lead(*expert.act(cell.now, cell.snapshot()))
        cell.step(0.01)
    found = cell.task_state
    assert (found.success, found.failed, found.grasped) == (False, True, wrong)


def evaluate(tmp_path, *arguments):
    return main(["eval", "sim", "--out", str(tmp_path / "out"), *arguments])


def test_the_command_runs_trials_in_processes_and_leaves_its_results(tmp_path, capsys):
    tasks = ("--task", "press_button", "--trials", "2", "--seed", "3", "--videos", "1")
    assert evaluate(tmp_path, "--checkpoint", "operator", "--in-process", "--jobs", "2", "--json", *tasks) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["success_rate"] == 1.0
    assert report["conditions"]["strategy"] == CELL.execution.strategy
    assert report["conditions"]["max_steps"] == 1200
    evaluation = results.load(tmp_path / "out")
    assert [trial.seed for trial in evaluation.trials] == [3, 4]
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert files == {
        "results.json", "trials.csv", "table.md", "table.csv", "table.png", "videos/press_button_id_3.mp4",
    }  # fmt: skip


def test_the_best_checkpoint_of_a_run_is_named_as_the_run(tmp_path, monkeypatch):
    run = tmp_path / "cubes"
    (run / "checkpoints" / "0005600").mkdir(parents=True)
    (run / BEST).symlink_to("checkpoints/0005600")
    monkeypatch.chdir(run)
    assert named(BEST) == named(f"../cubes/{BEST}") == named(str(run / BEST)) == "cubes"
    assert named("checkpoints/0005600") == "0005600"
    assert named("untrained") == "untrained"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--checkpoint", "nowhere", "--in-process"), "nowhere: no such directory"),
        (("--checkpoint", "untrained", "--control", "shuffled"), "add --in-process"),
        (("--checkpoint", "untrained", "--in-process", "--cell", "nocell"), "nocell"),
        (("--checkpoint", "untrained", "--in-process", "--out", "/dev/null/out"), "/dev/null/out: cannot be written"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(tmp_path, capsys, arguments, says):
    assert evaluate(tmp_path, *arguments) == 1
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_results_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("precious")
    assert evaluate(tmp_path, "--checkpoint", "untrained", "--in-process") == 1
    assert "choose another --out" in capsys.readouterr().err
    assert (tmp_path / "out" / "results.json").read_text() == "precious"


SHORT = ("--checkpoint", "untrained", "--in-process", "--jobs", "1", "--task", "press_button", "--max-steps", "3")


@pytest.mark.long
def test_trials_that_ran_are_kept_when_a_later_one_cannot_run_and_the_same_command_goes_on(tmp_path, capsys):
    command = (*SHORT, "--trials", "3", "--seed", "3", "--videos", "2")
    blocked = tmp_path / "out" / "videos" / ".press_button_id_4.mp4"  # where the second one's video goes
    blocked.mkdir(parents=True)
    assert evaluate(tmp_path, *command) == 1
    told = capsys.readouterr()
    assert [trial.seed for trial in results.load(tmp_path / "out").trials] == [3]
    assert "press_button: success_rate 0 %" in told.out
    assert "  press_button 5: not reached" in told.out
    assert "stopped after 1 of 3 trials" in told.err
    assert ".press_button_id_4.mp4" in told.err

    assert evaluate(tmp_path, *command, "--max-steps", "4") == 1
    assert "out: holds other trials; give another --out (max_steps 3, not 4)" in capsys.readouterr().err
    assert evaluate(tmp_path, *command, "--trials", "4") == 1
    assert "out: holds other trials; give another --out (other tasks or seeds)" in capsys.readouterr().err

    blocked.rmdir()
    assert evaluate(tmp_path, *command) == 0
    told = capsys.readouterr().err
    assert "1 of 3 trials are there: going on" in told
    assert "press_button 3" not in told
    at_once = tmp_path / "at once"
    assert main(["eval", "sim", "--out", str(at_once), *command]) == 0
    for file in ("results.json", "trials.csv", "table.md"):
        assert (tmp_path / "out" / file).read_text() == (at_once / file).read_text()


def trial(task, seed, outcome=Outcome.SUCCESS):
    return Trial(task, seed, "do it", outcome, 50, 5.0, "why")


def test_every_trial_is_told_and_on_the_disk_as_it_ends(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        yield trial("press_button", 4, Outcome.STEP_LIMIT)
        kept = results.load(tmp_path / "out")
        assert kept.trials == (trial("press_button", 4, Outcome.STEP_LIMIT),)
        assert kept.missing == (("pick_cube", 3), ("pick_cube", 4), ("press_button", 3))
        yield trial("press_button", 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_trials", interrupted)
    tasks = ("--task", "pick_cube", "press_button", "--trials", "2", "--seed", "3")
    assert evaluate(tmp_path, "--checkpoint", "untrained", "--in-process", *tasks) == 130
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if "press_button" in line]
    assert lines == [
        "1/4 press_button 4: step limit after 50 steps (why)",
        "2/4 press_button 3: success after 50 steps (why)",
    ]
    assert "stopped after 2 of 4 trials; the same command goes on from there" in told.err
    assert "pick_cube: not reached" in told.out
    kept = results.load(tmp_path / "out")
    assert [one.seed for one in kept.trials] == [3, 4], "in the order asked for"
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert report["missing"] == [["pick_cube", 3], ["pick_cube", 4]]
    assert report["tasks"]["pick_cube"]["success_rate"] is None
    assert (tmp_path / "out" / "trials.csv").read_text().splitlines()[3:] == [f"pick_cube,{n}{9 * ','}" for n in (3, 4)]
    assert "pick cube" in (tmp_path / "out" / "table.md").read_text()


def test_the_former_name_of_in_process_is_understood(tmp_path, capsys):
    assert evaluate(tmp_path, "--checkpoint", "operator", "--fast", "--cell", "nocell") == 1
    note, refusal = capsys.readouterr().err.splitlines()
    assert note == "--fast is now --in-process"
    assert "nocell" in refusal


def test_results_that_cannot_be_written_are_told_all_the_same(tmp_path, capsys):
    (tmp_path / "out" / ".results.json.tmp").mkdir(parents=True)
    assert evaluate(tmp_path, *SHORT, "--trials", "1", "--seed", "3", "--videos", "0", "--json") == 1
    told = capsys.readouterr()
    assert [trial["seed"] for trial in json.loads(told.out)["trials"]] == [3]
    assert f"{tmp_path / 'out'}: the results cannot be written" in told.err


@pytest.mark.long
def test_by_default_results_of_another_view_go_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["eval", "sim", *SHORT, "--method", "w/o PVM", "--trials", "1", "--videos", "0"]
    assert main([*command, "--view", "id"]) == main([*command, "--view", "ood"]) == 0
    assert sorted(map(str, Path().glob("out/eval/*"))) == ["out/eval/w_o PVM-id", "out/eval/w_o PVM-ood"]
    results_file = Path("out/eval/w_o PVM-id/results.json")
    before = results_file.stat().st_mtime_ns
    assert main(command) == 0
    told = capsys.readouterr()
    assert "all of its trials are there; --overwrite runs them anew" in told.err
    assert "results: out/eval/w_o PVM-id" in told.out
    assert results_file.stat().st_mtime_ns == before
    assert main([*command, "--overwrite"]) == 0
    assert results_file.stat().st_mtime_ns > before


def test_a_checkpoint_that_cannot_be_used_is_told_by_the_process_that_loads_it(tmp_path):
    with pytest.raises(TrialsError, match="no such directory"):
        InProcessTrials(request(tmp_path, checkpoint=str(tmp_path / "gone")))
