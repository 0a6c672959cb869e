"""Trials by the published protocol: the expert succeeds, doing nothing does not, and a run is taken up again."""

import json
import os
import re
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from libero_worlds import world_of
from vga_policy.libero import errors, evaluation
from vga_policy.libero.actors import actors, shuffled
from vga_policy.libero.embodiment import LIBERO, MIRRORED
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.evaluation import (
    Job,
    LiberoConditions,
    evaluate,
    plus_matched,
    prepare,
    published,
    read_trials,
    run_job,
    summary,
)
from vga_policy.libero.policies import Trained
from vga_policy.libero.tasks import tasks
from vga_policy.libero.trials import STILL, Scripted, TrialCase, WorldObservation, run_trial
from vga_policy.plugins import LIBERO_POLICIES

from vga_policy import cli

PAGE = Path(__file__).parents[2] / "docs/how-to/libero.md"

OBJECT = ("libero_object", 1)


class Counting:
    """Moves by given actions, and counts how often it is asked."""

    def __init__(self, chunk):
        self.chunk, self.asked, self.told = chunk, 0, set()

    def act(self, observation, instruction):
        self.asked += 1
        self.told.add(instruction)
        return self.chunk


@pytest.fixture
def begun():
    """A world just reset, and the first initial state."""
    world = world_of(*OBJECT)
    world.seed(0)
    world.reset()
    return world, world.task.initial_states()[0]


def test_the_expert_does_a_task_within_its_steps(begun):
    world, state = begun
    success, steps, still = run_trial(world, actors(LiberoConditions("oracle")), state)
    assert success
    assert 60 < steps < 280
    assert still < 40
    assert world.done()


def test_a_chunk_is_executed_open_loop_until_the_step_limit(begun):
    world, state = begun
    actor = Counting(np.tile(STILL, (12, 1)))
    assert run_trial(world, lambda _: actor, state, execute=8) == (False, 280, 280)
    assert actor.asked == 280 / 8
    assert actor.told == {world.task.instruction}


def test_how_long_the_hand_stood_still_at_the_end_is_counted(begun):
    world, state = begun
    forth = np.array([0.3, 0, 0, 0, 0, 0, -1])
    chunk = [*[forth] * 40, *[STILL] * 60, *[-forth] * 40, *[STILL] * 140]
    success, steps, still = run_trial(world, lambda _: Counting(np.array(chunk)), state, execute=280)
    assert (success, steps) == (False, 280)
    assert 130 <= still <= 145  # it comes to rest, and stood still before, too


def test_shuffled_pictures_are_another_trials(begun):
    world, state = begun
    shown = []

    class Looking(Counting):
        def act(self, observation, instruction):
            shown.append((observation.views.images, observation.proprioception))
            return super().act(observation, instruction)

    world.start(state)
    world.settle()
    settled = world.state()
    actor = shuffled(lambda _: Looking(np.tile(STILL, (140, 1))), execute=140)(world)
    [first, second] = shown  # of the other trial
    real = WorldObservation(world)
    assert np.array_equal(world.state(), settled)
    assert not np.array_equal(first[0], real.views.images)
    for expected in (first, second, first):
        actor.act(WorldObservation(world), "")
        images, proprioception = shown.pop()
        assert np.array_equal(images, expected[0])
        assert np.array_equal(proprioception, real.proprioception)


@pytest.mark.parametrize("embodiment", [LIBERO, MIRRORED])
def test_a_policy_is_shown_pictures_as_it_was_trained_on(begun, embodiment):
    world, _ = begun
    shown = []

    class Policy:
        def __init__(self):
            self.embodiment = embodiment

        def act(self, observation):
            shown.append(observation.images)
            return SimpleNamespace(values=STILL[None])

    seen = WorldObservation(world)
    Trained(Policy()).act(seen, "do it")
    expected = seen.views.images[..., ::-1, :] if embodiment.mirrored else seen.views.images
    assert np.array_equal(shown[0], expected)


def test_of_the_gripper_s_number_only_the_sign_counts(begun, monkeypatch):
    world, state = begun
    taken = []
    monkeypatch.setattr(world, "step", lambda action: taken.append(action[-1]) or len(taken) > 12)
    monkeypatch.setattr(world, "settle", lambda: None)
    run_trial(world, lambda _: Counting([[0, 0, 0, 0, 0, 0, 0.2], [0, 0, 0, 0, 0, 0, -0.2]]), state)
    assert set(taken[0::2]) == {1.0}
    assert set(taken[1::2]) == {-1.0}


@pytest.mark.parametrize(
    ("chunk", "told"),
    [
        (np.zeros((8, 8)), r"finite actions \[N, 7\], not \(8, 8\)"),
        (np.zeros(7), r"finite actions \[N, 7\], not \(7,\)"),
        (np.zeros((0, 7)), r"finite actions \[N, 7\], not \(0, 7\)"),
        (np.full((1, 7), np.nan), r"finite actions: \[0, 0\] is nan"),
        ([[0.0] * 7, [0.0]], r"actions \[N, 7\], not list \(.*inhomogeneous"),
    ],
)
def test_what_is_no_action_is_refused(begun, chunk, told):
    world, state = begun
    with pytest.raises(LiberoError, match=rf"^a policy must return {told}"):
        run_trial(world, lambda _: Counting(chunk), state)


def test_a_policy_s_fault_is_told_with_its_place(begun):
    world, state = begun

    class Faulty:
        def act(self, observation, instruction):
            return np.reshape(np.zeros(5), (1, 7))

    def ends(world):
        sys.exit(0)

    with pytest.raises(LiberoError, match=rf"^the policy failed at {__file__}, line \d+: ValueError: cannot reshape"):
        run_trial(world, lambda _: Faulty(), state)
    with pytest.raises(LiberoError, match=rf"^the policy failed at {__file__}, line \d+: SystemExit: 0"):
        run_trial(world, ends, state)


def test_a_fault_is_told_where_all_of_us_is_installed(begun, monkeypatch):
    world, state = begun
    monkeypatch.setattr("vga_policy.libero.trials.sysconfig.get_path", lambda _: "/")

    def fails(world):
        return 1 / 0

    with pytest.raises(LiberoError, match=rf"^the policy failed at {__file__}, line \d+: ZeroDivisionError: division"):
        run_trial(world, fails, state)


def test_a_movement_that_is_over_leaves_the_hand_still():
    actor = Scripted(iter([np.ones(7)]))
    assert np.array_equal(actor.act(None, ""), np.ones((1, 7)))
    assert np.array_equal(actor.act(None, ""), STILL[None])


def test_a_run_is_taken_up_and_its_trials_are_those_of_one_go(tmp_path):
    """Fixtures of a trial depend on the resets before it, so that what is known must be reset through."""
    task = tasks("libero_spatial")[2]

    def job(out, trials):
        return Job(task, published(trials)(task), LiberoConditions("zero"), tmp_path / out)

    [first] = run_job(job("halves", 1), actors)
    text = job("halves", 1).file.read_text()
    job("halves", 1).file.write_text(text + text[:20])  # a crash in the middle of a line
    two = run_job(job("halves", 2), actors)
    assert two[0] == first
    assert [trial.case for trial in two] == [TrialCase(0), TrialCase(1)]
    assert not any(trial.success for trial in two)
    assert run_job(job("halves", 2), actors) == two  # from disk, to the second


def test_a_run_goes_on_only_under_its_own_conditions(tmp_path):
    prepare(tmp_path / "run", LiberoConditions("oracle"))
    prepare(tmp_path / "run", LiberoConditions("oracle"))
    with pytest.raises(LiberoError, match="was begun with execute 8, not 5; choose another --out"):
        prepare(tmp_path / "run", LiberoConditions("oracle", execute=5))
    with pytest.raises(LiberoError, match="was begun with plus none, not camera"):
        prepare(tmp_path / "run", LiberoConditions("oracle", plus="camera"))
    (tmp_path / "run" / evaluation.CONDITIONS).write_text("{")
    with pytest.raises(LiberoError, match="cannot be read"):
        prepare(tmp_path / "run", LiberoConditions("oracle"))


def test_results_of_nobody_knows_what_are_not_gone_on_with(tmp_path):
    for name in ("results.json", "trials/libero_goal_0.jsonl"):
        (out := tmp_path / Path(name).parts[0]).mkdir()
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("somebody's")
        with pytest.raises(LiberoError, match=r"holds results, and no conditions\.json that says of what; choose"):
            prepare(out, LiberoConditions("zero"))
        assert [path.name for path in out.rglob("*") if path.is_file()] == [Path(name).name]


def test_results_have_rates_and_intervals_by_suite_task_and_kind(tmp_path):
    jobs = []
    for index, outcomes in ((0, (True, False)), (1, (True, True))):
        task = tasks("libero_goal")[index]
        cases = (TrialCase(0, 0, "30_15_100_0_0"), TrialCase(0, 0, "0_0_150_0_0"))
        job = Job(task, (*cases, TrialCase(0, 1)), LiberoConditions("oracle"), tmp_path)
        job.file.parent.mkdir(exist_ok=True)
        trials = [
            {"task": task.label, "case": vars(case), "success": success, "steps": 100, "seconds": 1.0}
            for case, success in zip(cases, outcomes, strict=True)
        ]
        job.file.write_text("".join(json.dumps(trial) + "\n" for trial in trials))
        assert [trial.success for trial in read_trials(job.file)] == list(outcomes)
        jobs.append(job)
    found = summary(jobs)
    assert (found["success_rate"], found["n"], found["missing"]) == (0.75, 4, 2)
    assert found["interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert found["tasks"]["libero_goal/0"]["success_rate"] == 0.5
    assert found["suites"]["libero_goal"]["successes"] == 3
    assert found["kinds"]["distance"]["success_rate"] == 0.5
    assert sum(each["n"] for each in found["difficulties"].values()) == 1  # the other three are none of LIBERO-Plus'
    assert any("libero_goal/1" in line and "100.0 %" in line for line in evaluation.table(found))
    assert not any("still" in line for line in evaluation.table(found))  # an older run did not count it


def test_failures_in_which_the_hand_stood_still_are_counted(tmp_path):
    task = tasks("libero_goal")[0]
    job = Job(task, published(5)(task), LiberoConditions("oracle"), tmp_path)
    job.file.parent.mkdir()
    for state, (success, still) in enumerate(((True, 50), (False, 40), (False, 39), (False, 300), (False, 0))):
        trial = {"task": task.label, "case": {"state": state}, "success": success, "steps": 300, "still": still}
        job.file.open("a").write(json.dumps(trial) + "\n")
    found = summary([job])
    assert found["stuck"] == found["tasks"]["libero_goal/0"]["stuck"] == 2
    assert list(evaluation.table(found))[-1] == "given up: 4; in 2 of them the hand stood still for the last 2 s"


def test_a_task_that_breaks_is_told_and_the_rest_goes_on(tmp_path):
    lines = []
    broken = replace(tasks("libero_goal")[0], states=tmp_path / "gone")
    jobs = [Job(task, (TrialCase(0),), LiberoConditions("zero"), tmp_path) for task in (broken, tasks(OBJECT[0])[0])]
    assert len(evaluate(jobs, actors, 1, lines.append)) == 1
    assert lines[0].startswith("libero_goal/0: FileNotFoundError")
    assert lines[1].startswith("libero_object/0: 0 of 1")


def test_a_policy_that_cannot_be_used_is_refused_once_and_leaves_nothing(tmp_path):
    conditions = LiberoConditions("trained", checkpoint=str(tmp_path / "gone"))
    jobs = [Job(task, (TrialCase(0),), conditions, tmp_path / "out") for task in tasks("libero_goal")[:2]]
    with pytest.raises(LiberoError, match="gone"):
        evaluate(jobs, actors, 1, pytest.fail)
    assert not (tmp_path / "out").exists()


def dies(conditions):
    """Stands in for a policy that a segmentation fault or the lack of memory ends."""
    os._exit(3)


def test_a_process_that_dies_is_told(tmp_path):
    jobs = [Job(task, (TrialCase(0),), LiberoConditions("zero"), tmp_path / "out") for task in tasks("libero_goal")[:1]]
    with pytest.raises(LiberoError, match=r"^the process that loaded the policy died, perhaps for want of memory$"):
        evaluate(jobs, dies, 1, pytest.fail)
    assert errors.told(BrokenProcessPool("abruptly")).startswith("a process died, perhaps for want of memory")


def test_a_process_keeps_one_policy_from_task_to_task(tmp_path, monkeypatch):
    monkeypatch.setenv("VGA_LIBERO_POLICIES", "")
    file = tmp_path / "counted.py"
    file.write_text("import os\nos.environ['LOADED'] = os.environ['LOADED'] + 'x'\nPOLICY = str\n")
    monkeypatch.setenv("LOADED", "")
    conditions = LiberoConditions("added", checkpoint=LIBERO_POLICIES.add_file(file))
    assert actors(conditions) is actors(conditions)
    assert os.environ["LOADED"] == "x"


def test_a_line_that_a_crash_spoiled_costs_its_trial_only(tmp_path, caplog):
    good = [json.dumps({"task": "a/0", "case": vars(TrialCase(k)), "success": True, "steps": 9}) for k in range(2)]
    file = tmp_path / "trials.jsonl"
    file.write_text("\n".join([good[0], "\0\0\0", '{"task": 3}', good[1]]) + "\n")
    assert [trial.case.state for trial in read_trials(file)] == [0, 1]
    assert f"{file}: 2 unreadable lines are dropped, and their trials run again" in caplog.text
    assert file.read_text().splitlines() == good


def test_a_matched_trial_is_run_once_where_no_seed_changes_it():
    assert [len(plus_matched(tasks(suite)[0])) for suite in ("libero_object", "libero_spatial")] == [1, 10]
    for suite, index in (OBJECT, ("libero_goal", 7), ("libero_spatial", 2)):
        world = world_of(suite, index)
        assert world.task.has_fixtures == bool(world.fixtures())


def test_a_policy_that_draws_random_numbers_changes_no_scene():
    world = world_of("libero_spatial", 2)

    def scenes(meanwhile):
        world.seed(3)
        for _ in range(2):
            world.reset()
            yield np.concatenate(list(world.fixtures().values()))
            meanwhile()

    undisturbed = list(scenes(lambda: None))
    assert not np.array_equal(*undisturbed)
    assert np.array_equal(undisturbed, list(scenes(lambda: np.random.seed(0))))
    np.random.seed(1)
    world.reset()
    theirs = np.random.rand()
    np.random.seed(1)
    assert theirs == np.random.rand(), "nor does a scene change what a policy draws"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "say what is to act: one of --checkpoint CHECKPOINT, --policy FILE, --oracle and --control zero"),
        (["--oracle", "--control", "zero"], "say what is to act: one of"),
        (["--oracle", "--checkpoint", "nano"], "say what is to act: one of"),
        (["--control", "no-wrist"], "say what is to act: one of"),
        (["--oracle", "--plus", "camera", "--trials", "2"], "--plus camera has trials and seeds of its own"),
        (["--oracle", "--plus", "matched", "--seed", "7"], "leave out --trials and --seed"),
        (["--oracle", "--control", "no-wrist"], "keeps something from a policy: give its --checkpoint"),
    ],
)
def test_the_command_wants_to_know_who_acts(options, said, capsys, tmp_path):
    assert cli.main(["eval", "libero", "--out", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_policy_of_the_how_to_page_acts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VGA_LIBERO_POLICIES", "")
    file = tmp_path / "my_policy.py"
    file.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    command = ["eval", "libero", "--policy", str(file), "--suite", "libero_goal", "--task", "7", "--trials", "1"]
    command += ["--out", str(tmp_path / "out"), "--json"]
    assert cli.main(command) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["n"], results["success_rate"]) == (1, 0.0)
    assert (results["conditions"]["policy"], results["conditions"]["checkpoint"]) == ("added", "my_policy")
    file.write_text(file.read_text() + "# another one now")
    assert cli.main(command) == 1
    assert "was begun with weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [("nano", "nano: made for another embodiment than 'libero'"), ("nowhere", "nowhere: no such directory")],
)
def test_what_is_no_policy_of_libero_is_refused_in_one_line(checkpoint, said, capsys, tmp_path):
    assert cli.main(["eval", "libero", "--out", str(tmp_path / "out"), "--checkpoint", checkpoint]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vga eval libero: {said}")
    assert not (tmp_path / "out").exists()
