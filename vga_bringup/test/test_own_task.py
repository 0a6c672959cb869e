"""A lab's own task and text encoder, of a package that is none of ours: collected, trained and tried."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.cells import SIM as CELL
from support.training import tiny_loop, tiny_policy
from vga_bringup.collect.in_process import Collector, CollectRequest
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.scene.objects import TABLE
from vga_bringup.sim.scene.task import HELD_FOR, READY, Judge, TaskError
from vga_bringup.sim.tasks.registry import arrange, find
from vga_policy.checkpoints.checkpoint import CheckpointError, load
from vga_policy.cli import main
from vga_policy.episodes.metadata import load_episode
from vga_policy.train import trainer

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_task"
BUILD = "import sys; from setuptools.build_meta import prepare_metadata_for_build_wheel as build; build(sys.argv[1])"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example as pip lays it out: module and metadata in one folder, on the path of this process and others."""
    source, site = tmp_path_factory.mktemp("source") / "own_task", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source)
    subprocess.run([sys.executable, "-c", BUILD, str(site)], cwd=source, check=True, capture_output=True)
    shutil.copy(source / "own_task.py", site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        yield site
    sys.modules.pop("own_task", None)
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def episodes(installed, tmp_path_factory):
    """Two demonstrations of the task."""
    request = CollectRequest(CELL, "push_block", 2, tmp_path_factory.mktemp("episodes"), depth=False)
    collector = Collector(request)
    for seed in range(2):
        collector.episode(seed)
    collector.close()
    return request.directory


@pytest.fixture(scope="module")
def run(episodes, one_thread, tmp_path_factory):
    """A policy that has learned a little of them, with the package's encoder."""
    run = tmp_path_factory.mktemp("trained") / "run"
    loop = tiny_loop(steps=2, batch=2, validate_every=2, save_every=2)
    trainer.train(tiny_policy(episodes, loop, text_encoder="letters", validation=0.5), run)
    return run


def test_the_scripted_operator_demonstrates_it(episodes):
    for path in sorted(episodes.iterdir()):
        episode = load_episode(path)
        assert (episode.task, episode.instruction) == ("push_block", "push the block onto the mat")
        assert (episode.outcome, episode.source) == ("success", "collect --fast")


def test_a_policy_is_trained_and_tried(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "trials"
    trial = ["--task", "push_block", "--trials", "1", "--max-steps", "10", "--videos", "0", "--out", str(out)]
    assert main(["eval", "sim", "--in-process", "--checkpoint", str(run), "--jobs", "1", *trial]) == 0
    assert "push_block 1000000: " in capsys.readouterr().err
    (result,) = json.loads((out / "results.json").read_text())["trials"]
    assert (result["task"], result["steps"]) == ("push_block", 10)


def test_a_checkpoint_names_the_package_of_its_encoder(run, installed, monkeypatch):
    described = json.loads((run / "best" / "config.json").read_text())["text_encoder"]
    assert described == {"name": "letters", "width": 26, "package": "own-task"}
    assert load(run).encoder.encode("Bubble").argmax() == 1
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(installed)])
    importlib.invalidate_caches()
    with pytest.raises(CheckpointError, match="'letters' is of the package own-task, which is not installed here"):
        load(run)


def test_its_table_holds_its_own_things_alone(installed):
    scene = arrange("push_block", 3)
    assert set(scene.placements) == {"block", "mat"}
    with CellSimulator(READY, things=scene.definition.objects) as simulator:
        simulator.start()
        simulator.reset(READY, {**scene.placements, "block": scene.placements["mat"]})
        judge = Judge(simulator.model, scene)
        assert not judge.judge(0.0, simulator.data).success
        assert judge.judge(HELD_FOR, simulator.data).success
        simulator.reset(READY, scene.placements)
        told = judge.judge(1.0, simulator.data)
    assert not told.success
    assert told.detail == "block 0.24 m off the middle of the mat"


FILE = """
from dataclasses import replace
from vga_bringup.sim.tasks import Object, Placement, box
from vga_bringup.sim.tasks.builtin import TASKS
TASK = replace(TASKS["pick_cube"], {change})
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a task's file, lists it and returns its name: another one each time."""

    def write(change="", text=FILE):
        path = tmp_path / f"mine_{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text.replace("{change}", change))
        monkeypatch.setenv("VGA_TASKS", str(path))
        return path.stem

    return write


def test_a_file_is_a_task_too(written):
    name = written("instruction='take the {target}'")
    assert find(name).objects == TABLE
    assert arrange(name, 0).instruction == "take the red cube"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("draw=lambda random: ('brick', {})", r"draw: no object 'brick'; there are red_cube, green_cube"),
        ("draw=lambda random: 1 / 0", r"draw: ZeroDivisionError: division by zero \(mine_0.py, line 5\)"),
        ("objects={'it': Object('<geom type=\"brick\"/>', 0.0, Placement(0.5, 0.0))}", "its objects: .*brick"),
        ("objects={'it': 5}", "its objects: 'int' object has no attribute 'assets'"),
        ("support='shelf'", "no object 'shelf'"),
        ("nonsense=1", "TypeError: .*nonsense"),
    ],
)
def test_a_broken_task_is_named_in_a_line(written, change, reason):
    name = written(change)
    with pytest.raises(TaskError, match=reason) as refused:
        arrange(name, 0)
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)
    assert arrange("pick_cube", 0).target == "red_cube", "the others are none the worse"


def test_a_judgement_that_fails_is_named(written):
    scene = arrange(written("judge=lambda scene, arrangement: scene.height('brick')"), 0)
    with CellSimulator(READY) as simulator:
        simulator.start()
        with pytest.raises(TaskError, match=r"judge: KeyError: .*brick"):
            Judge(simulator.model, scene).judge(0.0, simulator.data)


def test_what_is_no_task_is_refused(written):
    with pytest.raises(TaskError, match="defines no TASK"):
        find(written(text="x = 1"))
    with pytest.raises(TaskError, match=r"is a int, not a Task of vga_bringup.sim.tasks"):
        find(written(text="TASK = 1"))


def test_the_command_takes_a_file(written, tmp_path, capsys):
    name = written("instruction=1 / 0")
    out = ["--episodes", "1", "--out", str(tmp_path / "none")]
    assert main(["collect", "--in-process", "--task", str(tmp_path / f"{name}.py"), *out]) == 2
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
