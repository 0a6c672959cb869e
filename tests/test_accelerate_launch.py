"""Training on two processes, started by `accelerate launch`, makes the updates of one process with the whole batch."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.episodes import write_episodes
from support.training import curve, start, tiny_loop, tiny_policy
from vga_policy.train import trainer
from vga_policy.train.runs.run import Run

# `--multi_gpu` starts several processes; where there is no GPU, or `device` is cpu, they compute on the CPU.
LAUNCHER = (
    str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by two processes, by two that save memory, and by one. Some samples have no ground truth."""
    directory = tmp_path_factory.mktemp("runs")
    write_episodes(directory / "data" / "simulated", 2, seconds=1.5, geometry=True)
    write_episodes(directory / "data" / "real", 1, seconds=1.5, instruction="press the button")
    loop = tiny_loop(steps=6, validate_every=3, save_every=6, seed=3)
    config = tiny_policy(directory / "data", loop, geometry_share=2)
    sparing = replace(config, loop=replace(loop, accumulate=2, checkpoint_activations=True))
    for name, kind in (("two", config), ("sparing", sparing)):
        process = start(directory / name, kind, LAUNCHER)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    trainer.train(config, directory / "one")
    return directory


@pytest.fixture(params=["two", "sparing"])
def pair(runs, request):
    """A run by two processes, and the one by one."""
    return runs / request.param, runs / "one"


def test_there_are_two_processes(pair):
    two, one = pair
    assert Run.open(two).origin()["processes"] == 2
    assert Run.open(one).origin()["processes"] == 1


def test_the_loss_curve_is_that_of_one_process(pair):
    two, one = map(curve, pair)
    assert len(two) == len(one) == 8
    assert any("camera" in line and line["camera"] > 0 for line in one)
    for ours, theirs in zip(two, one, strict=True):
        ours, theirs = ours.get("validation", ours), theirs.get("validation", theirs)
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_gradients_are_those_of_one_process(pair):
    """Their running means, that is: in AdamW's memory after six updates, each on the weights the last one made.

    Not the weights themselves: a key's bias, say, has no gradient but rounding errors, which AdamW blows up.
    """
    two, one = (
        {name: value for name, value in checkpoint.optimizer.items() if name.startswith("exp_avg/")}
        for checkpoint in (Run.open(run).last_checkpoint() for run in pair)
    )
    assert two.keys() == one.keys()
    largest = max(float(value.abs().max()) for value in one.values())
    for name, value in one.items():
        assert torch.allclose(two[name], value, rtol=1e-3, atol=1e-5 * largest), name
