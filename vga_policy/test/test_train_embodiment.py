"""A policy of what has no cell file, from demonstrations to chunks; a robot's is not taken for it, nor it for one."""

import argparse
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.cells import SIM
from support.demonstrations import demonstration, write_demonstrations
from support.episodes import write_episodes
from support.training import curve, tiny_loop, tiny_policy
from vga_policy.checkpoints import BEST
from vga_policy.checkpoints.checkpoint import CheckpointError, load
from vga_policy.cli import main
from vga_policy.dataset.opening import open_dataset
from vga_policy.dataset.statistics import normalization
from vga_policy.inference.policy import ObservationError, Policy
from vga_policy.libero.embodiment import LIBERO
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.policies import added, trained
from vga_policy.observation.observation import Observation
from vga_policy.plugins import libero_policy_name
from vga_policy.text.encoder import HashedNgrams
from vga_policy.train import trainer
from vga_policy.train.input.batch import normalized_actions
from vga_policy.train.runs.failure import TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_demonstrations(tmp_path_factory.mktemp("data") / "libero", LIBERO, 6)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run that came to its end."""
    run = tmp_path_factory.mktemp("run") / "run"
    loop = tiny_loop(steps=60, validate_every=20, lr=4e-3, muon=6e-3)
    trainer.train(tiny_policy(data, loop, geometry_share=4), run)
    return run


def seen(seed: int, step: int) -> Observation:
    """A step of a demonstration as a policy sees it."""
    made = demonstration(LIBERO, seed)
    images = tuple(np.ascontiguousarray(image.transpose(1, 2, 0)) for image in made.images[step])
    return Observation(0, images, (0, 0), made.proprioception[step].astype(float), made.instruction)


def test_it_acts_as_it_was_shown(run):
    policy = Policy.from_pretrained(run, LIBERO)
    for seed, sense in ((2, -1.0), (3, 1.0)):
        chunk = policy.act(seen(seed, 0)).values
        assert chunk.shape == (8, 7)
        assert (np.sign(chunk[:, 0]) == sense).all()
        assert set(np.abs(chunk[:, 6])) == {1.0}
        assert np.abs(chunk).max() <= 1.0


def test_the_gripper_is_learned_as_it_is(data):
    samples = open_dataset([data], 28).samples
    statistics = normalization(samples, LIBERO, relative=False)
    actions, observed = (torch.from_numpy(values) for values in (samples.actions, samples.proprioception))
    learned = normalized_actions(actions, observed, statistics, LIBERO)
    assert torch.equal(learned[..., 6], actions[..., 6])
    assert (learned[..., 0].min(), learned[..., 0].max()) == (-1.0, 1.0)
    back = statistics.chunk(learned[0].double().numpy(), origin=LIBERO.origin(samples.proprioception[0]))
    np.testing.assert_allclose(LIBERO.actions.command(back), samples.actions[0], atol=0.05)


def test_errors_are_told_in_its_units(run):
    validations = [line["validation"] for line in curve(run) if "validation" in line]
    assert validations[-1]["pose"] < 0.8 * validations[0]["pose"]
    assert {"action", "keyframe", "pose", "gripper", "camera", "depth"} <= validations[0].keys()
    assert not validations[0].keys() & {"joints_rad", "gripper_m"}


def test_its_checkpoint_says_what_it_is_for(run):
    files = {path.name for path in (run / BEST).iterdir()}
    assert files == {
        "config.json",
        "model.safetensors",
        "normalization.json",
        "embodiment.json",
        "instructions.safetensors",
    }
    policy = Policy.from_pretrained(run)
    assert policy.embodiment == LIBERO
    statistics = policy.checkpoint.normalization
    assert not statistics.relative  # there is nothing that its actions could be offsets from
    assert (statistics.action.q01[6], statistics.action.q99[6]) == (-1.0, 1.0)
    assert 0.8 < statistics.action.q99[0] < 1.0


def test_an_observation_of_a_robot_is_refused(run):
    policy = Policy.from_pretrained(run)
    with pytest.raises(ObservationError, match="1 images for 2 view slots"):
        policy.act(Observation(0, seen(0, 0).images[:1], (0,), np.zeros(8), ""))
    with pytest.raises(ObservationError, match="proprioception: expected 8 finite numbers"):
        policy.act(Observation(0, seen(0, 0).images, (0, 0), np.zeros(9), ""))


def test_training_goes_on_from_it_in_its_units(data, run, tmp_path):
    trainer.train(tiny_policy(data, tiny_loop(steps=1), init=str(run)), tmp_path / "more")
    before, after = ((path / BEST / "normalization.json").read_text() for path in (run, tmp_path / "more"))
    assert before == after


def test_a_policy_can_do_without_the_wrist(data, tmp_path):
    trainer.train(tiny_policy(data, tiny_loop(steps=1), views=("agentview",)), tmp_path / "run")
    alone = LIBERO.with_views(["agentview"])
    chunk = Policy.from_pretrained(tmp_path / "run", alone).act(
        Observation(0, seen(0, 0).images[:1], (0,), np.zeros(8), "reach 0")
    )
    assert chunk.values.shape == (8, 7)
    with pytest.raises(CheckpointError, match=r"slot roles: \['fixed', 'wrist'\] here, \['fixed'\] there"):
        Policy.from_pretrained(tmp_path / "run", LIBERO)


def one_line(refused) -> str:
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_robots_and_benchmarks_policies_are_not_taken_for_each_other(run):
    with pytest.raises(CheckpointError) as refused:
        Policy.from_pretrained("nano", LIBERO)
    assert one_line(refused) == (
        "nano: made for another embodiment than 'libero': embodiment: 'libero' here, 'fr3' there: give a checkpoint "
        "that was trained with an embodiment like this one"
    )
    with pytest.raises(CheckpointError) as refused:
        Policy.from_pretrained(run, SIM)
    assert one_line(refused) == (
        f"{run}: made for another cell than 'sim': embodiment: 'fr3' here, 'libero' there: give a checkpoint that was "
        "trained in a cell like this one"
    )
    with pytest.raises(CheckpointError, match="this policy is for 'libero', not for a robot's cell"):
        _ = Policy.from_pretrained(run).cell


def test_neither_starts_the_other(data, run, tmp_path):
    with pytest.raises(TrainingError, match="made for another embodiment: embodiment: 'libero' here, 'fr3' there"):
        trainer.train(tiny_policy(data, init="nano", preset="nano"), tmp_path / "no")
    write_episodes(tmp_path / "episodes", 2, seconds=1.2, rest=0.1, grasp=0.6)
    with pytest.raises(TrainingError, match="made for another cell: embodiment: 'fr3' here, 'libero' there"):
        trainer.train(tiny_policy(tmp_path / "episodes", init=str(run)), tmp_path / "no")
    both = trainer.replace(tiny_policy(data), data=(str(data), str(tmp_path / "episodes")))
    with pytest.raises(TrainingError, match=r"episodes: has no demonstrations.json, as .*libero has"):
        trainer.train(both, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_policy_of_another_embodiment_gives_its_geometry(data, tmp_path, capsys):
    out = tmp_path / "geometry"
    assert main(["export", "geometry", "nano", "--out", str(out)]) == 0
    assert f"--init {out}" in capsys.readouterr().out
    config = tiny_policy(data, tiny_loop(steps=1), init=str(out), preset="nano")
    begun = trainer.open_demonstrations(config, preset := config.resolved())
    model = trainer.build_model(config, preset, begun, HashedNgrams(384), restored=False)
    nano = load("nano").model.state_dict()
    same = {name.split(".")[0] for name, value in model.state_dict().items() if torch.equal(value, nano[name])}
    assert {"aggregator", "camera_head", "depth_head"} <= same
    assert "proprioception_encoder" not in same
    assert main(["export", "geometry", "nano", "--out", str(out)]) == 1
    assert capsys.readouterr().err == f"vga export geometry: {out} exists already: choose another --out\n"


def test_robots_commands_refuse_it_in_one_line(run, tmp_path, capsys):
    episodes = tmp_path / "episodes"
    write_episodes(episodes, 1, seconds=1.2)
    command = ["--checkpoint", str(run / BEST), "--out", str(tmp_path / "out")]
    assert main(["eval", "open-loop", *command, "--data", str(episodes)]) == 1
    assert main(["eval", "sim", *command, "--in-process", "--task", "pick_cube", "--trials", "1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("is for 'libero', not for a robot's cell: give one that was trained in a cell" in line for line in lines)


def test_its_geometry_is_judged_and_it_is_checked(data, run, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out"), "--samples", "8", "--json"]
    assert main(["eval", "geometry", "--checkpoint", str(run), "--data", str(data), *out]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 8
    assert set(report["policy"]) == {"agentview", "wrist"}
    assert main(["check", str(run / BEST)]) == 0
    assert "million parameters, for embodiment 'libero'" in capsys.readouterr().out


@dataclass
class Pictures:
    """Of the benchmark's views, what a policy looks at."""

    images: np.ndarray


def shown_to_actors(made):
    """A demonstration's first moment, as trials show one."""
    pictures = Pictures(made.images[0].transpose(0, 2, 3, 1))
    return SimpleNamespace(views=pictures, proprioception=made.proprioception[0].astype(float))


def test_it_takes_part_in_the_benchmarks_trials(run):
    made = demonstration(LIBERO, 3)
    shown = shown_to_actors(made)
    actions = trained(run)(None).act(shown, made.instruction)
    np.testing.assert_array_equal(actions, Policy.from_pretrained(run).act(seen(3, 0)).values)
    with pytest.raises(LiberoError, match="nano: made for another embodiment than 'libero'"):
        trained("nano")


def test_controls_keep_something_from_it(run, data, tmp_path):
    made = demonstration(LIBERO, 3)
    shown = shown_to_actors(made)
    policy, scene = Policy.from_pretrained(run), seen(3, 0)
    dark = (scene.images[0], np.zeros_like(scene.images[1]))
    for control, known in (("no-wrist", {"images": dark}), ("no-instruction", {"instruction": ""})):
        actions = trained(run, control=control)(None).act(shown, made.instruction)
        np.testing.assert_array_equal(actions, policy.act(replace(scene, **known)).values)
        assert (actions != policy.act(scene).values).any()
    trainer.train(tiny_policy(data, tiny_loop(steps=1), views=("agentview",)), tmp_path / "run")
    alone = replace(scene, images=scene.images[:1], image_stamps_ns=(0,))
    expected = Policy.from_pretrained(tmp_path / "run").act(alone).values
    np.testing.assert_array_equal(trained(tmp_path / "run")(None).act(shown, made.instruction), expected)
    with pytest.raises(LiberoError, match="has no view of the wrist: there is nothing that --control no-wrist can"):
        trained(tmp_path / "run", control="no-wrist")


SEES = """
class Sees:
    def act(self, observation, instruction):
        return observation.views.images.mean(axis=(1, 2, 3)), instruction

def POLICY(world):
    return Sees()
"""


def test_somebody_elses_policy_takes_part_too(tmp_path, monkeypatch):
    monkeypatch.setenv("VGA_LIBERO_POLICIES", "")
    file = tmp_path / "sees.py"
    file.write_text(SEES)
    assert libero_policy_name(str(file)) == "sees"
    shown = shown_to_actors(demonstration(LIBERO, 3))
    (fixed, wrist), told = added("sees")(None).act(shown, "reach")
    assert told == "reach"
    (seen_fixed, seen_wrist), told = added("sees", "no-wrist")(None).act(shown, "reach")
    assert (seen_fixed, seen_wrist, told) == (fixed, 0, "reach")
    (seen_fixed, seen_wrist), told = added("sees", "no-instruction")(None).act(shown, "reach")
    assert (seen_fixed, seen_wrist, told) == (fixed, wrist, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("POLICY = 3", "odd.py: POLICY is 3, and must be a function of the world"),
        ("policy = 3", "odd.py: defines no POLICY"),
        ("import nothing_such", "policy of LIBERO 'odd' of .*odd.py: ModuleNotFoundError: No module named"),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path, monkeypatch, text, said):
    monkeypatch.setenv("VGA_LIBERO_POLICIES", "")
    (tmp_path / "odd.py").write_text(text)
    libero_policy_name(str(tmp_path / "odd.py"))
    with pytest.raises(LiberoError, match=said):
        added("odd")
    with pytest.raises(argparse.ArgumentTypeError, match=r"none.py: no such file"):
        libero_policy_name(str(tmp_path / "none.py"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"horizon": 4}, "the model's horizon is 8, embodiment.json's 4"),
        ({"horizon": 0}, "embodiment.json: rate_hz and horizon must be positive"),
        ({"name": None}, "embodiment.json: name: Input should be a valid string"),
    ],
)
def test_a_damaged_contract_is_named(run, tmp_path, change, said):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in (run / BEST).iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    text = (damaged / "embodiment.json").read_text()
    (damaged / "embodiment.json").write_text(json.dumps({**json.loads(text), **change}))
    with pytest.raises(CheckpointError) as refused:
        Policy.from_pretrained(damaged)
    assert said in one_line(refused)
