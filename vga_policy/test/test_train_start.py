"""What a run is made of before its first step: which episodes judge, in which units, what trains, what is refused."""

import argparse
import logging
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.cells import SIM
from support.episodes import write_episodes
from support.training import SIZE, TINY, curve, tiny_loop, tiny_policy
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import BEST
from vga_policy.checkpoints.checkpoint import CheckpointError, load
from vga_policy.cli import main
from vga_policy.model.backbone.dino_siglip import DINOV2_LARGE, SIGLIP_SO400M, DinoSiglipConfig
from vga_policy.presets.presets import PRESETS
from vga_policy.text.pretrained import QwenGTE
from vga_policy.text.registry import TEXT_ENCODERS
from vga_policy.train import trainer
from vga_policy.train.commands import _said_once, ablate_command, pretrain_command, train_command
from vga_policy.train.config import (
    AugmentationConfig,
    GeometryConfig,
    LoopConfig,
    OptimizerConfig,
    PolicyConfig,
    loop_defaults,
)
from vga_policy.train.input.split import validation_count, validation_first
from vga_policy.train.options import doc
from vga_policy.train.runs.failure import TrainingError
from vga_policy.train.runs.run import Progress, Run
from vga_policy.train.runs.start import start_from

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    """Ten short ones without ground truth of geometry."""
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory, 10, seconds=1.2, rest=0.1, grasp=0.6)
    return directory


@pytest.fixture(scope="module")
def policy(episodes, tmp_path_factory):
    """A run of one step."""
    run = tmp_path_factory.mktemp("policy") / "run"
    trainer.train(tiny_policy(episodes, tiny_loop(steps=1)), run)
    return run


def test_without_ground_truth_of_geometry_its_heads_stay_as_they_are(episodes, policy, tmp_path, caplog):
    run, cache = tmp_path / "run", tmp_path / "cache"
    trainer.train(tiny_policy(episodes, tiny_loop(steps=2, lr=0.1), init=str(policy), cache=str(cache)), run)
    began, ended = load_file(policy / BEST / "model.safetensors"), Run.open(run).last_checkpoint().weights
    heads = [name for name in began if name.startswith(("camera_head.", "depth_head."))]
    assert len(heads) > 10
    assert all(torch.equal(ended[f"model.{name}"], began[name]) for name in heads)
    assert not torch.equal(ended["model.action_queries"], began["action_queries"])
    assert not any("camera" in line.get("validation", line) for line in curve(run))
    assert not list(cache.rglob("depth*"))
    assert "no episode has depth and camera poses" in caplog.text


def divided(config):
    """Names of the episodes that train and of those that judge."""
    demonstrations = trainer.open_demonstrations(config, config.resolved())
    dataset = demonstrations.dataset
    names = np.repeat([episode.path.name for episode in dataset.episodes], [e.samples for e in dataset.episodes])
    return set(names[demonstrations.training]), set(names[demonstrations.validation])


def test_what_judges_is_the_same_of_fewer_episodes(episodes, tmp_path):
    trained, validation = divided(tiny_policy(episodes))
    assert len(validation) == 3
    assert len(trained) == 7
    gone = min(trained)
    shutil.copytree(episodes, tmp_path / "fewer", ignore=shutil.ignore_patterns(gone))
    assert divided(tiny_policy(tmp_path / "fewer")) == (trained - {gone}, validation)
    seeded = [divided(tiny_policy(episodes, tiny_loop(seed=seed)))[1] for seed in range(4)]
    assert len(set(map(frozenset, seeded))) > 1


def test_one_judges_and_one_trains_at_least(episodes):
    assert [validation_count(share, 2) for share in (0.01, 0.5, 0.99)] == [1, 1, 1]
    trained, validation = divided(tiny_policy(episodes, validation=0.99))
    assert len(trained) == 1
    assert len(validation) == 9


def test_fewer_episodes_are_learned_in_the_same_units(episodes, tmp_path):
    said = []
    for count in (1, None):
        trainer.train(tiny_policy(episodes, tiny_loop(steps=1), episodes=count), tmp_path / str(count))
        said.append((tmp_path / str(count) / BEST / "normalization.json").read_text())
    assert said[0] == said[1]


def test_a_hand_that_never_moved_is_not_trained_on_to_move(tmp_path):
    write_episodes(tmp_path / "open", 2, seconds=1.2, rest=0.1, grasp=9.0)
    write_episodes(tmp_path / "closing", 2, seconds=1.2, rest=0.1, grasp=0.6)
    trainer.train(tiny_policy(tmp_path / "open", tiny_loop(steps=1)), tmp_path / "run")
    config = tiny_policy(tmp_path / "closing", tiny_loop(steps=1), init=str(tmp_path / "run"))
    with pytest.raises(TrainingError, match=r"gripper never moved in its data, but \d+% .* --normalization data"):
        trainer.train(config, tmp_path / "on")
    assert not (tmp_path / "on").exists()


def test_what_a_policys_units_clip_is_said(episodes, policy, tmp_path, caplog):
    arm = SIM.arm.model_copy(update={"home": [SIM.arm.home[0] + 0.5, *SIM.arm.home[1:]]})
    write_episodes(
        tmp_path / "elsewhere", 2, cell=SIM.model_copy(update={"arm": arm}), seconds=1.2, rest=0.1, grasp=0.6
    )

    def warned(data, **how):
        caplog.clear()
        config = tiny_policy(data, tiny_loop(steps=1), init=str(policy), **how)
        trainer.train(config, tmp_path / "_".join(("on", data.name, *how)))
        return "clipped to it" in caplog.text

    assert not warned(episodes)
    assert warned(tmp_path / "elsewhere")
    joint = SIM.arm.joint_names[0]
    assert f"100% of {joint}'s positions; --normalization data" in caplog.text
    assert not warned(tmp_path / "elsewhere", normalization="data")
    theirs, kept = (
        load(tmp_path / run / BEST).normalization.proprioception
        for run in ("on_elsewhere_normalization", "on_elsewhere")
    )
    assert theirs.q01[0] > kept.q99[0]


def test_the_papers_encoders_have_weights_from_somewhere(episodes, tmp_path, monkeypatch):
    dino, siglip = (
        replace(vit, width=8, depth=2, heads=2, hidden=16, grid=SIZE // 14) for vit in (DINOV2_LARGE, SIGLIP_SO400M)
    )
    vision = DinoSiglipConfig(dino=dino, siglip=siglip, projector=(16,))
    model = replace(TINY, backbone=replace(TINY.backbone, vision=vision))
    monkeypatch.setitem(PRESETS, "tiny-paper", lambda: replace(PRESETS["tiny"](), model=model))
    config = tiny_policy(episodes, tiny_loop(steps=1), preset="tiny-paper")
    with pytest.raises(TrainingError, match="they are random: give their weights with --encoders"):
        trainer.train(config, tmp_path / "run")
    built = model.build().aggregator.patch_embed
    files = []
    for name in ("dino", "siglip"):
        (tmp_path / name).mkdir()
        files.append(str(tmp_path / name))
        save_file(getattr(built, name).state_dict(), tmp_path / name / "model.safetensors")
    with pytest.raises(
        TrainingError, match=r"tensors do not fit .*; the two are swapped: DINOv2's comes first$"
    ) as told:
        trainer.train(replace(config, encoders=tuple(reversed(files))), tmp_path / "run")
    assert len(str(told.value)) < 600
    assert not (tmp_path / "run").exists()
    trainer.train(replace(config, encoders=tuple(files)), tmp_path / "run")
    trainer.train(replace(config, init=str(tmp_path / "run")), tmp_path / "on")
    ours = load_file(tmp_path / "on" / BEST / "model.safetensors")
    assert all(torch.equal(ours[f"aggregator.patch_embed.dino.{key}"], x) for key, x in built.dino.state_dict().items())
    with pytest.raises(TrainingError, match="leave out --encoders"):
        trainer.train(replace(config, preset="tiny", encoders=tuple(files)), tmp_path / "other")


def test_a_text_encoder_without_weights_leaves_no_run(episodes, tmp_path, monkeypatch):
    monkeypatch.setitem(TEXT_ENCODERS, "qwen_gte", lambda: QwenGTE(weights=str(tmp_path / "none")))
    with pytest.raises(TrainingError, match=r"cannot be loaded: .* --text-encoder"):
        trainer.train(tiny_policy(episodes, text_encoder="qwen_gte"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    for command in (train_command, pretrain_command, ablate_command):
        command(subparsers)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_options_beside_resume_are_refused_and_named(command, tmp_path, capsys):
    given = parsed(command, "--resume", str(tmp_path), "--lr", "1e-4", "--preset", "nano", "--no-augmentation")
    assert given.run(given) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"vga {command}: --preset, --lr, --no-augmentation: --resume goes on as")
    assert f"--init {tmp_path}" in said
    alone = parsed(command, "--resume", str(tmp_path))
    assert alone.run(alone) == 1
    assert "no run was started there" in capsys.readouterr().err


def test_an_ablation_takes_no_option_that_it_varies_itself():
    required = ("ablate", "--data", "episodes", "--out", "ablation")
    assert parsed(*required, "--seed", "5").seeds == [5]
    with pytest.raises(SystemExit):
        parsed(*required, "--ablation", "without-pvm")


@pytest.mark.parametrize("kind", [PolicyConfig, GeometryConfig, LoopConfig, OptimizerConfig, AugmentationConfig])
def test_every_field_of_a_run_is_described_in_a_sentence(kind):
    for field in fields(kind):
        assert re.fullmatch(r"[A-Z].{9,}\.", doc(kind, field.name)), field.name


def test_help_gives_meaning_and_default_of_each_preset():
    parser = argparse.ArgumentParser()
    train_command(parser.add_subparsers())
    (command,) = parser._subparsers._group_actions[0].choices.values()
    told = " ".join(command.format_help().split())
    assert "The number of training steps. Default: 20000 for nano, 120000 for the other presets." in told
    assert "--rank RANK The rank of the low-rank updates. Default: the preset's." in told
    assert "--average" not in told


def test_options_are_the_fields_of_a_run(tmp_path, monkeypatch, capsys):
    asked = []

    def train(config, out):
        asked.append(config)
        Run.create(out, {}, {"tasks": ["pick_cube", "a real robot's", "stack_cube"]}, processes=1)
        return Progress(step=7, best=0.125, best_step=5)

    monkeypatch.setattr(trainer, "train", train)
    options = "--preset nano --views front wrist --lr 0.01 --steps 7 --crop 0.5 0.9 --text-encoder hashed_ngrams"
    run = parsed("train", "--data", "a", "b", "--out", str(tmp_path / "run"), *options.split())
    assert run.run(run) == 0
    defaults = loop_defaults("nano")
    loop = replace(defaults, steps=7, optimizer=replace(defaults.optimizer, lr=0.01))
    assert asked == [
        PolicyConfig(
            data=("a", "b"),
            views=("front", "wrist"),
            text_encoder="hashed_ngrams",
            augmentation=AugmentationConfig(crop=(0.5, 0.9)),
            loop=loop,
        )
    ]
    out = tmp_path / "run"
    assert capsys.readouterr().out.splitlines() == [
        f"best by validation: 0.125 at step 5 of 7, in {out}/best",
        f"curves: {out}/curves.png; tensorboard --logdir {out}",
        f"next: vga eval open-loop --checkpoint {out} --data a b",
        f"next: vga eval sim --checkpoint {out} --task pick_cube stack_cube --in-process",
    ]


def test_a_policy_of_another_cell_is_tried_in_that_one(tmp_path, monkeypatch, capsys):
    def train(config, out):
        Run.create(out, {}, {"tasks": ["pick_cube"]}, processes=1)
        (out / "best").mkdir()
        (out / "best" / "cell.yaml").write_text(cell_path("sim").read_text().replace("name: sim", "name: bench", 1))
        return Progress(step=7, best=0.125, best_step=5)

    monkeypatch.setattr(trainer, "train", train)
    run = parsed("train", "--data", "a", "--out", str(tmp_path / "run"))
    assert run.run(run) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"--in-process --cell {tmp_path / 'run/best/cell.yaml'}")


def test_a_presets_options_can_be_listed(capsys):
    run = parsed("train", "--show-options", "--preset", "paper", "--lr", "0.5")
    assert run.run(run) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["--preset"], shown["--lr"]) == ("paper", "0.5")
    assert (shown["--updates"], shown["--text-encoder"], shown["--steps"]) == ("lora", "qwen_gte", "120000")


def test_options_are_listed_as_an_ablation_has_them(capsys):
    assert main(["train", "--show-options", "--ablation", "zeroinit-lora"]) == 0
    assert "lora" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("--updates"))


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_value_that_cannot_be_is_told_where_options_are_listed(command, capsys):
    assert main([command, "--show-options", "--validation", "2"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"vga {command}: validation:")
    assert told.count("\n") == 1


def test_an_unknown_start_is_told_what_there_is(tmp_path):
    with pytest.raises(TrainingError, match=r"--init nono: no such file or directory, nor a shipped policy \(.*nano"):
        start_from(torch.nn.Linear(1, 1), Path("nono"), SIM)
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "geometry.json").write_text("{}")
    with pytest.raises(CheckpointError, match=rf"made by vga pretrain, no policy yet: vga train --init {tmp_path}"):
        load(tmp_path)


def test_what_several_runs_say_is_said_once(caplog):
    with caplog.at_level(logging.INFO):
        with _said_once(trainer.LOG):
            for said in ("4 of 12 left out", "4 of 12 left out", "other"):
                trainer.LOG.warning(said)
        trainer.LOG.warning("other")
    assert [record.getMessage() for record in caplog.records] == ["4 of 12 left out", "other", "other"]


@pytest.mark.parametrize("option", [["--steps", "0"], ["--rank", "0"], ["--batch", "many"], ["--preset", "huge"]])
def test_values_that_cannot_be_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        parsed("train", "--data", "a", *option)
    assert option[0] in capsys.readouterr().err


def test_the_moving_averages_old_name_is_still_understood(capsys):
    assert parsed("train", "--data", "a", "--average", "0.9").ema == 0.9
    assert capsys.readouterr().err == "--average is now --ema\n"


def test_episodes_of_one_name_are_held_out_of_every_directory():
    """As LIBERO's, whose tasks all have a demo_1; what else is there changes nothing of their order."""
    paths = [Path(f"{suite}/task_{n}/demo_{k}") for suite in "abc" for n in range(10) for k in range(12)]
    first = [paths[position] for position in validation_first(paths, 0)[:18]]
    assert {path.parts[0] for path in first} == {"a", "b", "c"}
    half = paths[::2]
    assert [half[position] for position in validation_first(half, 0)] == [
        paths[position] for position in validation_first(paths, 0) if paths[position] in half
    ]
