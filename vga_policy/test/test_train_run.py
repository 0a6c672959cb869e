"""Training from episodes to a checkpoint: the loss falls, killed runs go on alike, what contradicts is refused."""

import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from support.cells import SIM, observation
from support.episodes import MadeEpisode, write_episodes
from support.training import curve, start, steps, tiny_loop, tiny_policy, weights
from support.waiting import eventually
from vga_policy.checkpoints import BEST
from vga_policy.dataset.origins import Origin
from vga_policy.inference.policy import Policy
from vga_policy.train import trainer
from vga_policy.train.config import LoopConfig
from vga_policy.train.engine.precision import warn_of_emulation
from vga_policy.train.input.sampler import BatchSampler
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import Run

CELL = SIM.model_copy(
    update={
        "cameras": [
            camera.model_copy(update={"color": camera.color.model_copy(update={"width": 64, "height": 48})})
            for camera in SIM.cameras
        ]
    }
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    """Four episodes: two with depth and camera poses, two without."""
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory / "simulated", 2, cell=CELL, seconds=2.0, geometry=True)
    write_episodes(directory / "real", 2, cell=CELL, seconds=2.0, instruction="press the button")
    return directory


@pytest.fixture(scope="module")
def finished(episodes, tmp_path_factory):
    """A run that came to its end undisturbed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    trainer.train(tiny_policy(episodes, tiny_loop(muon=2e-3, keep_every=10)), run)
    return run


def test_the_loss_falls(finished):
    losses = steps(finished)
    assert len(losses) == 30
    for term in ("action", "keyframe", "depth"):
        values = [line[term] for line in losses if line[term]]  # 0: no sample of the batch has a label
        assert np.mean(values[-5:]) < 0.8 * np.mean(values[:5]), term
    assert all(line["camera"] > 0 for line in losses[-5:])


def test_the_best_checkpoint_is_a_policy(finished):
    policy = Policy.from_pretrained(finished / BEST, cell=SIM)
    chunk = policy.act(observation(instruction="press the button"))
    assert chunk.joints.shape == (8, 7)
    validations = [line["validation"]["action"] for line in curve(finished) if "validation" in line]
    assert len(validations) == 2
    # What only training has is in its state, not in the policy.
    assert any(name.startswith("keyframe_head.") for name in Run.open(finished).last_checkpoint().weights)
    assert not any("keyframe" in name for name in policy.checkpoint.model.state_dict())
    assert (finished / BEST).resolve().name == f"{15 * (1 + int(np.argmin(validations))):07d}"


def test_policies_are_kept_on_the_way(finished):
    kept = sorted((finished / "kept").iterdir())
    assert [path.name for path in kept] == ["0000010", "0000020", "0000030"]
    chunks = [Policy.from_pretrained(path, cell=SIM).act(observation()).joints for path in kept]
    assert not np.array_equal(chunks[0], chunks[1])
    if (finished / BEST).resolve().name == "0000030":
        assert np.array_equal(chunks[2], Policy.from_pretrained(finished / BEST, cell=SIM).act(observation()).joints)


def test_a_run_says_what_it_is_made_of(finished):
    origin = Run.open(finished).origin()
    assert len(origin["data"]["fingerprint"]) == 64
    assert origin["data"]["instructions"] == ["pick up the red cube", "press the button"]
    assert origin["code"]
    assert origin["command"]
    assert any(finished.joinpath("tensorboard").iterdir())
    assert cv2.imread(str(finished / "curves.png")) is not None


def test_killed_at_random_and_resumed_the_curve_is_the_same(episodes, finished, tmp_path):
    """SIGKILL, whatever it is doing; then to the end in this process."""
    run = tmp_path / "run"
    process = start(run, tiny_policy(episodes, tiny_loop(muon=2e-3, keep_every=10)))
    wait_for_steps(run, 11 + os.getpid() % 12, process)
    process.kill()
    process.communicate()
    done = len(steps_so_far(run))
    trainer.resume(run)
    assert done < 30
    assert curve(run) == curve(finished)
    assert weights(run) == weights(finished)
    assert sorted(os.listdir(run / "kept")) == sorted(os.listdir(finished / "kept"))


def test_asked_to_stop_it_saves_and_says_how_to_go_on(episodes, finished, tmp_path):
    run = tmp_path / "run"
    process = start(run, tiny_policy(episodes))
    wait_for_steps(run, 2, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"go on with --resume {run}" in said
    assert "Traceback" not in said
    stopped = Run.open(run).last_checkpoint().progress.step
    assert stopped == len(steps(run))
    trainer.resume(run)
    assert curve(run) == curve(finished)


def steps_so_far(run):
    return steps(run) if (run / "config.json").exists() else []


def wait_for_steps(run, count, process):
    def reached():
        assert process.poll() is None, process.stderr.read()
        return len(steps_so_far(run)) >= count

    eventually(reached, f"{count} steps", 120.0)


def test_low_rank_updates_leave_the_backbone_and_are_merged(episodes, finished, tmp_path):
    run = tmp_path / "run"
    config = tiny_policy(episodes, tiny_loop(steps=4), init=str(finished), strategy="lora", rank=2)
    trainer.train(config, run)
    began, ended = Run.open(finished).last_checkpoint().ema, Run.open(run).last_checkpoint()
    frozen = "aggregator.patch_embed.convolutions.0.weight"
    kept = ended.weights[frozen if frozen in ended.weights else f"model.{frozen}"]
    torch.testing.assert_close(kept, began[f"model.{frozen}"], rtol=0, atol=0)
    assert any(".lora_A." in name for name in ended.ema)
    Policy.from_pretrained(run / BEST, cell=SIM)


def test_starts_of_episodes_are_shown_oftener(episodes, monkeypatch):
    monkeypatch.setattr(trainer, "START", 0.75)
    config = tiny_policy(episodes)
    demonstrations = trainer.open_demonstrations(config, config.resolved())
    shown, times = np.unique(demonstrations.with_starts(3), return_counts=True)
    assert shown.tolist() == demonstrations.training.tolist()
    samples = [demonstrations.dataset[index] for index in shown]
    began: dict[int, int] = {}
    early = [s["stamp_ns"] - began.setdefault(s["episode"], s["stamp_ns"]) < 0.75e9 for s in samples]
    assert 0 < sum(early) < len(early)
    assert times.tolist() == [3 if first else 1 for first in early]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_corrections_are_shown_as_often_as_asked_for(episodes, tmp_path, share):
    config = tiny_policy(episodes, corrections_share=share)
    with pytest.raises(TrainingError, match=f"--corrections-share {share}: no corrections train here"):
        trainer.open_demonstrations(config, config.resolved()).shown(config)
    for number in range(3):
        MadeEpisode(seed=number, taken_over=(1.0, 2.0)).write(tmp_path / f"corrected_{number}")
    config = replace(config, data=(*config.data, str(tmp_path)))
    demonstrations = trainer.open_demonstrations(config, config.resolved())
    shown = demonstrations.shown(config)
    corrected = demonstrations.dataset.samples.origins[shown] == Origin.INTERVENTION
    assert corrected.mean() == pytest.approx(share, abs=0.01)
    assert set(shown) == set(demonstrations.training), "everything is shown"


def test_a_policy_that_is_trained_on_keeps_its_units(episodes, finished, tmp_path):
    def trained_on(name, **changes):
        config = tiny_policy(episodes, tiny_loop(steps=1, validate_every=1), init=str(finished), episodes=1, **changes)
        trainer.train(config, tmp_path / name)
        return (tmp_path / name / BEST / "normalization.json").read_text()

    before = (finished / BEST / "normalization.json").read_text()
    assert trained_on("alike") == before
    other = json.loads(trained_on("absolute", targets="absolute"))
    assert other["targets"] == "absolute"
    assert other["action"] != json.loads(before)["action"]


def test_one_episode_is_too_few(tmp_path):
    MadeEpisode(cell=CELL, seconds=1.5).write(tmp_path / "only")
    with pytest.raises(TrainingError, match="one usable episode; two are needed"):
        trainer.train(tiny_policy(tmp_path), tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no episode in"):
        trainer.train(tiny_policy(tmp_path / "empty"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_episodes_of_two_cells_do_not_mix(episodes, tmp_path):
    slower = CELL.model_copy(update={"control_rate_hz": 5.0})
    MadeEpisode(cell=slower, seconds=1.5).write(tmp_path / "slower")
    config = tiny_policy(episodes)
    with pytest.raises(TrainingError, match="control_rate_hz"):
        trainer.train(replace(config, data=(*config.data, str(tmp_path / "slower"))), tmp_path / "run")


def test_a_checkpoint_of_another_contract_is_no_start(episodes, finished, tmp_path):
    slower = CELL.model_copy(update={"control_rate_hz": 5.0})
    for number in range(2):
        MadeEpisode(cell=slower, seconds=1.5).write(tmp_path / "slower" / str(number))
    config = tiny_policy(tmp_path / "slower", init=str(finished))
    with pytest.raises(TrainingError, match=r"made for another cell: control_rate_hz: 5\.0 here, 10\.0 there"):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_data_does_not_continue_a_run(episodes, tmp_path):
    run = tmp_path / "run"
    write_episodes(tmp_path / "data", 2, cell=CELL, seconds=1.5)
    trainer.train(tiny_policy(tmp_path / "data", tiny_loop(steps=2)), run)
    MadeEpisode(cell=CELL, seconds=1.5, seed=9).write(tmp_path / "data" / "one_more")
    with pytest.raises(TrainingError, match="began with other data"):
        trainer.resume(run)
    with pytest.raises(TrainingError, match="is not empty"):
        trainer.train(tiny_policy(tmp_path / "data"), run)


def test_processes_that_would_show_the_3d_heads_other_samples_are_refused(episodes, tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    with pytest.raises(TrainingError, match=r"--geometry-share 8: must divide the 4 samples .* each of the 2"):
        trainer.train(tiny_policy(episodes, geometry_share=8), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fewer_validation_samples_than_processes_are_taken_by_each(episodes, tmp_path, monkeypatch):
    loop = tiny_loop(steps=1, validation_samples=1, lr=0.0, ema=0.0)
    trainer.train(tiny_policy(episodes, loop), tmp_path / "one")
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    monkeypatch.setattr(Accelerator, "process_index", 1)
    trainer.train(tiny_policy(episodes, loop), tmp_path / "second_of_two")
    one, second = (curve(tmp_path / name)[-1]["validation"] for name in ("one", "second_of_two"))
    assert second == pytest.approx(one)


def test_what_contradicts_itself_is_refused(episodes):
    with pytest.raises(TrainingError, match="--init"):
        tiny_policy(episodes, preset="paper").resolved()
    with pytest.raises(TrainingError, match="starts at random: leave out --init"):
        tiny_policy(episodes, ablation="zeroinit-lora", init="x").resolved()
    with pytest.raises(ValueError, match="validation"):
        tiny_policy(episodes, validation=1.0)
    with pytest.raises(ValueError, match="batch"):
        LoopConfig(batch=0)


def test_each_epoch_shows_every_sample_once_in_an_order_of_its_own():
    order = BatchSampler(samples=10, batch=4, seed=3)
    shown = np.concatenate([order.of(step) for step in range(5)])
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert list(shown[:10]) != list(shown[10:])
    halves = [list(order.batches(2, 4, slice(part * 2, part * 2 + 2))) for part in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == [order.of(2).tolist(), order.of(3).tolist()]


def test_the_command_fails_in_one_line(tmp_path):
    command = [sys.executable, "-m", "vga_policy", "train", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "no episode in" in finished.stderr


def test_bfloat16_is_warned_of_where_the_processor_lacks_it():
    without = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}
    with pytest.warns(UserWarning, match="--precision fp32"):
        warn_of_emulation(without)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_emulation(without | {"amx_bf16": True})
        warn_of_emulation({"architecture": "arm64"})
