"""Training on two processes, started by `accelerate launch`, makes the updates of one process with the whole batch.

So does what saves memory, in any combination: the model divided among the processes, accumulation and checkpointing.
"""

import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.episodes import write_episodes
from support.training import LOSSES, curve, start, start_all, tiny_loop, tiny_policy
from support.waiting import eventually
from vga_policy.checkpoints import BEST
from vga_policy.inference.policy import Policy
from vga_policy.train import trainer
from vga_policy.train.runs.run import FROZEN, LAST, Run

# `--multi_gpu` starts several processes; where there is no GPU, or `device` is cpu, they compute on the CPU.
LAUNCHER = (
    str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip
TOGETHER = {"accumulate": 2, "checkpoint_activations": True}
KINDS = {
    "DDP": {},
    "DDP, accumulated and checkpointed": TOGETHER,
    "FSDP2": {"shard": True},
    "FSDP2, accumulated": {"shard": True, "accumulate": 2},
    "FSDP2, checkpointed": {"shard": True, "checkpoint_activations": True},
    "FSDP2, accumulated and checkpointed": {"shard": True, **TOGETHER},
}
LONG = 30  # steps of a run that is killed
pytestmark = pytest.mark.timeout(900)  # two processes and their launcher import torch for each of a dozen launches
STATE = (f"{LAST}/weights.safetensors", f"{LAST}/average.safetensors", f"{LAST}/optimiser.safetensors")


def loop(**changes):
    """Without clipping, which would hide a gradient of another scale."""
    short = tiny_loop(**{"steps": 6, "validate_every": 3, "save_every": 6, "seed": 3, **changes})
    return replace(short, optimizer=replace(short.optimizer, clip=1e9))


def finish(process):
    """The end of two processes."""
    _, said = process.communicate(timeout=280)
    assert process.returncode == 0, said


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A run's: some samples have no ground truth, and no more than three validate in two processes."""
    data = tmp_path_factory.mktemp("data")
    write_episodes(data / "simulated", 2, seconds=1.5, geometry=True)
    write_episodes(data / "real", 1, seconds=1.5, instruction="press the button")
    return tiny_policy(data, loop(validation_samples=9), geometry_share=2)


@pytest.fixture(scope="module")
def runs(config, tmp_path_factory):
    """The same run by two processes in every kind, one with a gradient of another scale, and the run by one process."""
    directory = tmp_path_factory.mktemp("runs")
    kinds = {kind: replace(config, loop=replace(config.loop, **options)) for kind, options in KINDS.items()}
    weights = {name: getattr(LOSSES, name) / 1.001 for name in ("action", "keyframe", "camera", "depth")}
    kinds["wrong"] = replace(kinds["FSDP2"], losses=replace(LOSSES, **weights))
    finish(start_all({directory / kind: config for kind, config in kinds.items()}, LAUNCHER))
    trainer.train(config, directory / "one")
    return directory


def gradients(run):
    """Their running means over the run's steps, each on the weights that the last one made.

    Not the weights themselves: a key's bias, say, has no gradient but rounding errors, which AdamW blows up.
    """
    memory = Run.open(run).last_checkpoint().optimizer
    return {name: value for name, value in memory.items() if name.startswith("exp_avg/")}


def apart(run, other):
    """The largest difference of their gradients, relative to the largest of them."""
    ours, theirs = gradients(run), gradients(other)
    assert ours.keys() == theirs.keys()
    differences = [float((ours[name] - theirs[name]).abs().max()) for name in ours]
    return max(differences) / max(float(value.abs().max()) for value in theirs.values())


def assert_alike(run, other, rounding=1e-4):
    """Their curves are the same, but for rounding, which grows with the steps."""
    assert len(curve(run)) == len(curve(other))
    for ours, theirs in zip(curve(run), curve(other), strict=True):
        assert ours.get("validation", ours) == pytest.approx(theirs.get("validation", theirs), rel=rounding, abs=1e-6)


def test_there_are_two_processes(runs):
    assert all(Run.open(runs / kind).origin()["processes"] == 2 for kind in KINDS)
    assert Run.open(runs / "one").origin()["processes"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_run_is_that_of_one_process(runs, kind):
    assert any("camera" in line and line["camera"] > 0 for line in curve(runs / "one"))
    assert len(curve(runs / "one")) == 8
    assert_alike(runs / kind, runs / "one")
    largest = apart(runs / kind, runs / "one")
    print(f"{kind}: largest difference of the update {largest:.1e} of the largest")
    assert largest < 1e-5


def test_a_gradient_of_another_scale_would_be_noticed(runs):
    """The control of the test above."""
    largest = apart(runs / "wrong", runs / "one")
    print(f"a gradient too small by 0.1 %: {largest:.1e}")
    assert largest > 5e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_is_exported_whole(runs, kind):
    average, exported = (load_file(runs / kind / file) for file in (STATE[1], f"{BEST}/model.safetensors"))
    assert (runs / kind / BEST).resolve().name == f"{6:07d}"  # the state's
    assert {f"model.{name}" for name in exported} <= average.keys()
    assert all(torch.equal(value, average[f"model.{name}"]) for name, value in exported.items())
    Policy.from_pretrained(runs / kind / BEST)


@pytest.fixture(scope="module")
def killed(config, tmp_path_factory):
    """A divided run without interruption, and a copy of what SIGKILL left of the same."""
    directory = tmp_path_factory.mktemp("killed")
    divided = replace(config, loop=loop(shard=True, steps=LONG, validate_every=15, save_every=3))
    whole = start(directory / "whole", divided, LAUNCHER)
    finish(whole)
    process = start(directory / "run", divided, LAUNCHER)
    eventually(lambda: (directory / "run" / LAST).exists() or process.poll() is not None, "a state", 120.0)
    for worker in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert len(curve(directory / "run")) < LONG
    return directory


def test_killed_and_resumed_it_comes_to_the_same_bytes(killed, tmp_path):
    run = shutil.copytree(killed / "run", tmp_path / "run", symlinks=True)
    finish(start(run, launcher=LAUNCHER))
    assert curve(run) == curve(killed / "whole")
    for file in (*STATE, f"{BEST}/model.safetensors"):
        assert (run / file).read_bytes() == (killed / "whole" / file).read_bytes(), file


def test_one_process_goes_on_with_a_divided_run(killed, tmp_path):
    run = shutil.copytree(killed / "run", tmp_path / "run", symlinks=True)
    trainer.resume(run)
    assert_alike(run, killed / "whole", 1e-3)
    assert apart(run, killed / "whole") < 1e-3


def test_two_processes_go_on_with_a_run_of_one(config, killed, tmp_path):
    run = tmp_path / "run"
    process = start(run, replace(config, loop=loop(shard=True, steps=LONG, validate_every=15, save_every=3)))
    eventually(lambda: (run / LAST).exists() or process.poll() is not None, "a state", 120.0)
    process.kill()
    process.communicate(timeout=60)
    assert len(curve(run)) < LONG
    finish(start(run, launcher=LAUNCHER))
    assert_alike(run, killed / "whole", 1e-3)
    assert apart(run, killed / "whole") < 1e-3


@pytest.fixture(scope="module")
def low_rank(config, runs, tmp_path_factory):
    """Runs of low-rank updates of the one process's weights: by two processes in float32 and bfloat16, and by one."""
    directory = tmp_path_factory.mktemp("low_rank")

    def lora(**changes):
        return replace(config, loop=loop(ema=0.0, **changes), init=str(runs / "one"), strategy="lora", rank=2)

    finish(start(directory / "fp32", lora(shard=True), LAUNCHER))
    rounded = {"bf16": lora(precision="bf16", shard=True), "DDP bf16": lora(precision="bf16")}
    finish(start_all({directory / kind: config for kind, config in rounded.items()}, LAUNCHER))
    trainer.train(lora(), directory / "one")
    return directory


def test_low_rank_updates_are_those_of_one_process(low_rank):
    assert_alike(low_rank / "fp32", low_rank / "one")
    assert apart(low_rank / "fp32", low_rank / "one") < 1e-5


def test_low_rank_updates_of_weights_frozen_in_bfloat16_are_those_of_ddp(low_rank):
    """Not those of one process: the gradient of a sample more or less is rounded to bfloat16 otherwise."""
    frozen, same = (load_file(low_rank / kind / FROZEN) for kind in ("bf16", "DDP bf16"))
    assert {value.dtype for value in frozen.values()} == {torch.bfloat16, torch.float32}
    assert all(value.dtype == same[name].dtype and torch.equal(value, same[name]) for name, value in frozen.items())
    assert apart(low_rank / "bf16", low_rank / "DDP bf16") < 5e-3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_low_rank_updates_are_merged_as_they_are_exported(low_rank, precision):
    state = Run.open(low_rank / precision).last_checkpoint().weights
    exported = load_file(low_rank / precision / BEST / "model.safetensors")
    place = "aggregator.global_blocks.1.attn.qkv"
    up, down = (state[f"model.{place}.lora_{side}.default.weight"] for side in "BA")
    assert up.abs().max() > 0
    merged = state[f"model.{place}.base_layer.weight"].float() + 2 * up @ down
    torch.testing.assert_close(exported[f"{place}.weight"], merged)
    assert exported.keys() == Policy.from_pretrained(low_rank / "one" / BEST).checkpoint.model.state_dict().keys()
