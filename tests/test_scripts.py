"""scripts/: recipes fit today's commands, and those of policies go on after an interruption."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vga_policy.cli import _commands, build_parser
from vga_policy.evaluate.intervals import wilson
from vga_policy.evaluate.results import Conditions, Evaluation
from vga_policy.evaluate.trials import Outcome, Trial
from vga_policy.evaluate.video import TrialVideo
from vga_policy.observation.observation import Observation

ROOT = Path(__file__).parents[1]
RECIPE, LIBERO = ROOT / "scripts/train_nano.sh", ROOT / "scripts/train_libero.sh"
CORRECTIONS, STUDY = ROOT / "scripts/corrections_study.sh", ROOT / "scripts/study_sim.sh"

# Stands in for `vga`: writes down how it was called, begins the collection or run asked for, and fails on demand.
VGA = """#!/bin/bash
echo "$*" >>"$CALLS"
[[ $* =~ --out\\ ([^ ]+) ]] && mkdir -p "${BASH_REMATCH[1]}" && touch "${BASH_REMATCH[1]}/config.json"
[[ -z $FAIL || ! $* =~ $FAIL ]]
"""


def recipe(*arguments, script=RECIPE, **environment):
    return subprocess.run(
        [script, *map(str, arguments)], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def commands(printed):
    return [shlex.split(line.removeprefix("+ vga ")) for line in printed.splitlines() if line.startswith("+ vga ")]


@pytest.fixture
def called(tmp_path):
    """Runs the recipe with a stand-in for `vga` that fails at what contains `fail`; gives its calls."""
    for name, script in (("vga", VGA), ("python3", "#!/bin/bash\n")):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)

    def run(fail="", *options, script=RECIPE):
        calls = tmp_path / "calls"
        calls.write_text("")
        path = f"{tmp_path}:{os.environ['PATH']}"
        finished = recipe(*options, tmp_path / "out", script=script, PATH=path, CALLS=str(calls), FAIL=fail)
        assert (finished.returncode != 0) == bool(fail), finished.stderr
        return calls.read_text().splitlines()

    return run


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_every_command_of_the_recipe_is_understood(options):
    parser = build_parser(_commands())
    shown = commands(recipe("--print", *options).stdout)
    assert [command[0] for command in shown].count("train") == 5
    for command in shown:
        parser.parse_args(command)


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_every_command_of_liberos_recipe_is_understood(options):
    parser = build_parser(_commands())
    shown = commands(recipe("--print", *options, script=LIBERO).stdout)
    assert [command[0] for command in shown].count("train") == 11
    for command in shown:
        parser.parse_args(command)


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_every_command_of_the_study_of_corrections_is_understood(options, monkeypatch):
    monkeypatch.setenv("VGA_TASKS", str(ROOT / "scripts/corrections/far_cube.py"))
    parser = build_parser(_commands())
    shown = commands(recipe("--print", *options, script=CORRECTIONS).stdout)
    assert [command[0] for command in shown].count("train") == 4
    for command in shown:
        parser.parse_args(command)


def test_every_command_of_the_simulated_study_is_understood():
    parser = build_parser(_commands())
    shown = commands(recipe("--print", script=STUDY).stdout)
    assert [command[:2] for command in shown] == [["eval", "robot"], *[["eval", "sim"]] * 8]
    for command in shown:
        parser.parse_args(command)


def test_trials_of_the_same_scenes_that_differ_are_counted(tmp_path):
    conditions = Conditions("nano", "id", ("fixed_1", "wrist"), "receding", 300, "ros", 7)
    endings = {"one": (Outcome.SUCCESS, Outcome.STEP_LIMIT), "other": (Outcome.SUCCESS, Outcome.SUCCESS)}
    for name, outcomes in endings.items():
        trials = tuple(Trial("pick_cube", 7 + i, "", outcome, 60, 6.0) for i, outcome in enumerate(outcomes))
        Evaluation(conditions, trials).save(tmp_path / name / "nano-id")
    script = [sys.executable, ROOT / "scripts/same_scenes.py", tmp_path / "one", tmp_path / "other"]
    said = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == f"{tmp_path}/one: 1 of 2 trials succeed"
    assert said[2].endswith("1 of 2 trials differ: nano-id pick_cube 8")


def test_the_study_of_corrections_goes_on_where_it_was_interrupted(called, tmp_path):
    before = called("train .*plain-1", script=CORRECTIONS)
    assert [command.split()[0] for command in before] == ["eval", *["collect"] * 3, "train", "eval", "train"]
    after = called(script=CORRECTIONS)
    assert after[0] == f"train --resume {tmp_path}/out/plain-1"
    assert [" ".join(command.split()[:2]) for command in after if command.startswith("eval")] == [
        "eval sim", "eval table", "eval table", "eval sim", "eval sim", "eval table", "eval table",
    ]  # fmt: skip


def test_liberos_recipe_goes_on_where_it_was_interrupted(called, tmp_path):
    before = called("eval libero .*no-wrist", script=LIBERO)
    assert [command.split()[0] for command in before] == ["export", "libero", "libero", "train", "eval", "eval"]
    (tmp_path / "out/.done/object").unlink()
    after = called(script=LIBERO)
    assert after[:2] == [f"train --resume {tmp_path}/out/object", before[-1]]
    assert called(script=LIBERO) == []


def test_the_quick_recipe_goes_through_every_step_of_the_full_one(called):
    quick, full = (commands(recipe("--print", *options).stdout) for options in (["--quick"], []))
    assert [command[:3] for command in quick] == [command[:3] for command in full]
    assert [command.split()[0] for command in called("", "--quick")] == [command[0] for command in full]


def test_the_recipe_goes_on_where_it_was_interrupted(called):
    before = called("more/starts ")
    assert "--out " in before[-1]
    assert before[-1].split()[-1] == "2"
    after = called()
    assert after[0] == before[-1]
    assert len(before) - 1 + len(after) == len(commands(recipe("--print").stdout))
    assert called() == []


def test_a_training_that_was_interrupted_is_resumed(called, tmp_path):
    called("out/run2 ")
    after = called()
    assert after[0] == f"train --resume {tmp_path}/out/run2"
    assert after[1].startswith("collect ")


def test_a_collection_that_was_interrupted_begins_anew(called, tmp_path):
    called("demos/vegetable$")
    (half := tmp_path / "out/demos/vegetable/grasp_vegetable_000000").mkdir()
    called("demos/starts ")
    assert not half.exists()


def test_without_vga_the_recipe_says_what_to_type():
    finished = recipe(PATH="/usr/bin:/bin")
    assert finished.returncode == 1
    assert finished.stderr == 'train_nano: no vga here: eval "$(make -s env)"\n'


def test_a_word_that_is_no_option_is_refused():
    assert recipe("--fast").returncode == 2


@pytest.fixture
def paper_size(monkeypatch):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("paper_size", ROOT / "scripts/paper_size.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "paper_size", module)
    spec.loader.exec_module(module)
    return module


def test_commands_at_the_papers_size_are_understood(paper_size, tmp_path, monkeypatch):
    parser, shown = build_parser(_commands()), []
    monkeypatch.setattr(paper_size.Bench, "run", lambda self, name, command, **_: shown.append(command))
    bench = paper_size.Bench(tmp_path, limit=1.0, threads=1)
    paper_size.plan(bench)
    paper_size.latency(bench)
    shown += [paper_size.training(bench, "run", *paper_size.FOUR, preset=each) for each in ("paper", "paper-dinov2")]
    assert len(shown) == 7
    for program, *command in shown:
        assert program == "vga"
        parser.parse_args(list(map(str, command)))


def test_a_command_at_the_papers_size_is_written_down_and_ended_at_its_limit(paper_size, tmp_path):
    bench = paper_size.Bench(tmp_path, limit=0.2, threads=1)
    python = [sys.executable, "-c"]
    assert bench.run("small", [*python, "print('done')"]) == 0
    assert bench.run("large", [*python, "import time; x = b'1' * 400_000_000; time.sleep(60)"]) == -9
    told = (tmp_path / "transcript.txt").read_text()
    assert "  | done\n  exit status 0; " in told
    assert "at its limit of 0.2 GB" in told
    assert bench.failed == ["large"]


def test_moments_of_trials_are_drawn_a_row_each(tmp_path):
    shades = np.linspace(0, 255, 9).astype(np.uint8)
    for name, order in (("darkens.mp4", shades[::-1]), ("brightens.mp4", shades)):
        with TrialVideo(tmp_path / name, 2.5) as video:
            for shade in order:
                video.add(Observation(0, (np.full((64, 64, 3), shade),) * 2, (), np.zeros(8), "do it"))
            video.close(True, "done")
    videos = [tmp_path / "darkens.mp4", tmp_path / "brightens.mp4"]
    command = [sys.executable, ROOT / "scripts/trial_strip.py", *videos, tmp_path / "strip.png"]
    subprocess.run(command, check=True, timeout=60)
    picture = np.asarray(Image.open(tmp_path / "strip.png").convert("L")).astype(int)
    height, width = picture.shape[0] // 2, picture.shape[1] // 5
    middles = picture[height // 3 :: height, width // 2 :: width]
    assert middles.shape == (2, 5)
    assert (middles[0, [0, -1]] > (200, -1)).all()
    assert (middles[0, [0, -1]] < (256, 50)).all()
    assert (np.diff(middles[0]) <= 0).all()
    assert (np.diff(middles[1]) >= 0).all()


def test_success_is_drawn_over_the_steps_of_trainings(tmp_path):
    lines = [{"step": step, "validation": {"action": 1.0 / step}} for step in (5, 10)]
    for run in ("joint_0", "alone_0"):
        (tmp_path / "curve" / run).mkdir(parents=True)
        (tmp_path / "curve" / run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step, successes in ((5, 1), (10, 3)):
        results = tmp_path / f"eval/curve/joint_0/kept/{step:07d}/results.json"
        results.parent.mkdir(parents=True)
        low, high = wilson(successes, 4)
        figures = {"success_rate": successes / 4, "interval": [low, high], "successes": successes, "n": 4}
        results.write_text(json.dumps(figures))
    command = [sys.executable, ROOT / "scripts/success_curve.py", tmp_path, tmp_path / "curve.png"]
    told = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout.splitlines()
    assert told[0] == "alone_0: held-out action error 0.200 at 5, 0.100 at 10"
    assert told[2] == "joint_0 step 10: 3 of 4, 75 % (30.1 … 95.4)"
    picture = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB")).astype(int)
    green = (picture[..., 1] - picture[..., 0]) > 60  # of joint training
    assert green[:, : picture.shape[1] // 2].sum() > 100 < green[:, picture.shape[1] // 2 :].sum()
