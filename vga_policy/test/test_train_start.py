"""What a run is made of before its first step: which episodes judge, in which units, what trains, what is refused."""

import pytest
import torch
from episode_fixtures import write_episodes
from safetensors.torch import load_file
from training_fixtures import curve, tiny_loop, tiny_policy
from vga_policy.train import trainer
from vga_policy.train.run import BEST, Run


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    trainer.train(tiny_policy(episodes, tiny_loop(steps=2, rate=0.1), init=str(policy), cache=str(cache)), run)
    began, ended = load_file(policy / BEST / "model.safetensors"), Run.open(run).state().weights
    heads = [name for name in began if name.startswith(("camera_head.", "depth_head."))]
    assert len(heads) > 10
    assert all(torch.equal(ended[f"model.{name}"], began[name]) for name in heads)
    assert not torch.equal(ended["model.action_queries"], began["action_queries"])
    assert not any("camera" in line.get("validation", line) for line in curve(run))
    assert not list(cache.rglob("depth*"))
    assert "no episode has ground truth of depth and cameras" in caplog.text
