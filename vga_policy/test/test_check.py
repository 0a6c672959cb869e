"""`vga check`: what each thing is, whether it is whole, and what is wrong with it."""

import argparse
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.cells import SIM_FILE
from support.episodes import write_episodes
from support.training import tiny_loop, tiny_policy
from vga_policy.check.commands import UNKNOWN, WHOLE, WRONG, check_command
from vga_policy.checkpoints import BEST
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.lerobot.export import export
from vga_policy.train import trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One whole thing of every kind that takes no simulation to make."""
    root = tmp_path_factory.mktemp("whole")
    write_episodes(root / "episodes", 3, seconds=1.2, fps=10.0)
    export([root / "episodes"], root / "dataset", video=False)
    trainer.train(tiny_policy(root / "episodes", tiny_loop(steps=1)), root / "run")
    shutil.copyfile(SIM_FILE, root / "cell.yaml")
    return root


@pytest.fixture
def things(whole, tmp_path):
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "things", symlinks=True)


@pytest.fixture
def check(capsys):
    """Runs the command; returns its status and what it found of each path."""
    parser = argparse.ArgumentParser()
    check_command(parser.add_subparsers())

    def run(*paths):
        arguments = parser.parse_args(["check", "--json", *map(str, paths)])
        status = arguments.run(arguments)
        return status, json.loads(capsys.readouterr().out)

    return run


def test_whole_things_are_named_for_what_they_are(whole, check):
    bag = next((whole / "episodes" / "episode_000").glob("*.mcap"))
    kinds = {
        whole / "episodes": "directory of episodes",
        whole / "episodes" / "episode_001": "episode",
        bag: "bag",
        whole / "dataset": "LeRobot dataset",
        whole / "run": "training run",
        whole / "run" / BEST: "checkpoint",
        whole / "cell.yaml": "cell file",
    }
    status, found = check(*kinds)
    assert [(one["path"], one["kind"], one["problems"]) for one in found] == [
        (str(path), kind, []) for path, kind in kinds.items()
    ]
    assert status == WHOLE
    assert found[0]["holds"] == "3 episodes, 3 of them whole"


@pytest.mark.parametrize("name", ["nope", "nope.yaml", "."])
def test_what_is_not_there_or_nothing_of_ours_has_its_own_status(check, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    status, (found,) = check(name)
    assert (status, found["kind"], len(found["problems"])) == (UNKNOWN, None, 1)


def test_a_damaged_episode_is_named_as_training_names_it(things, check):
    directory = things / "episodes"
    bad = directory / "episode_001" / "episode.yaml"
    bad.write_text(bad.read_text().replace("task: pick_cube", "task: [1, 2]"))
    status, (found,) = check(directory)
    assert (status, found["holds"]) == (WRONG, "3 episodes, 2 of them whole")
    assert found["problems"] == [str(skipped) for skipped in EpisodeDataset([directory], 28).skipped]


def test_a_damaged_picture_is_found(things, check):
    file = next((things / "episodes" / "episode_000").glob("*.mcap"))
    data = bytearray(file.read_bytes())
    start = data.index(b"\xff\xd8\xff")
    data[start : start + 2] = b"\0\0"
    file.write_bytes(data)
    status, (found,) = check(file.parent)
    assert (status, len(found["problems"])) == (WRONG, 1)


def test_a_dataset_without_a_task_names_each_episode(things, check):
    import pyarrow.parquet as pq

    tasks = things / "dataset" / "meta" / "tasks.parquet"
    pq.write_table(pq.read_table(tasks).slice(0, 0), tasks)
    status, (found,) = check(things / "dataset")
    assert status == WRONG
    assert [problem.count(f"episode {number}: ") for number, problem in enumerate(found["problems"])] == [1, 1, 1]


def test_weights_that_are_no_numbers_are_found(things, check):
    file = things / "run" / BEST / "model.safetensors"
    tensors = load_file(file)
    save_file({name: torch.full_like(tensor, np.nan) for name, tensor in tensors.items()}, file)
    status, (run, checkpoint) = check(things / "run", things / "run" / BEST)
    assert status == WRONG
    assert run["problems"]
    assert checkpoint["problems"]


def test_every_fault_of_a_cell_file_is_a_line(things, check):
    cell = things / "cell.yaml"
    cell.write_text(
        cell.read_text().replace("version: 1", "version: 1\ncolor: red").replace("horizon: 8", "horizon: -8")
    )
    status, (found,) = check(cell)
    assert (status, len(found["problems"])) == (WRONG, 2)
    assert all(problem.startswith(str(cell)) for problem in found["problems"])


def test_lines_are_short(things, check):
    cell = things / "cell.yaml"
    cell.write_text(f"name: {'x' * 5000}\n{'y' * 5000}: 1\n")
    _, (found,) = check(cell)
    assert found["problems"]
    assert all(len(problem.replace(str(cell), "")) <= 200 for problem in found["problems"])
