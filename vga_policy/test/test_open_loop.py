"""Open-loop evaluation: errors that are known beforehand, and the command from checkpoint to picture."""

import json

import numpy as np
import pytest
from support.cells import SIM
from support.episodes import MadeEpisode, write_episodes
from vga_policy.cli import main
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.evaluate import open_loop
from vga_policy.evaluate.open_loop_plot import draw_open_loop
from vga_policy.inference.untrained import untrained_policy
from vga_policy.observation.observation import ActionChunk


class Prophet:
    """A policy that knows the episode, and errs by a known amount more each step."""

    def __init__(self, episode, error):
        self._episode, self._error = episode, error

    def act(self, observation):
        time = (observation.stamp_ns - self._episode.start_ns) / 1e9
        due = [time + 0.1 * (step + 1) for step in range(8)]
        joints = np.array([self._episode.reference(moment) for moment in due])
        joints[:, 2] += self._error * np.arange(1, 9)
        return ActionChunk.of_joints(joints, np.array([self._episode.width(moment) for moment in due]))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("episodes")
    write_episodes(directory, 2)
    return directory


def test_errors_by_joint_and_step(tmp_path):
    episode = MadeEpisode(seconds=3.0)
    episode.write(tmp_path / "episode")
    data = EpisodeDataset([tmp_path], 28)
    result = open_loop.run(Prophet(episode, 0.01), data, range(len(data)))
    errors = result.errors()
    assert errors.shape == (8, 8)
    # Recorded steps are interpolated between samples 10 ms apart of a smooth motion.
    assert np.allclose(errors[:, 2], 0.01 * np.arange(1, 9), atol=2e-4)
    assert np.allclose(np.delete(errors, 2, axis=1), 0.0, atol=2e-4)
    summary = result.summary()
    assert summary["joint_error_rad"] == pytest.approx(0.045 / 7, abs=2e-4)
    assert summary["standing_still"]["joint_error_rad"] > 0.02
    assert summary["by_step"][3]["joints_rad"][2] == pytest.approx(0.04, abs=2e-4)
    assert "mean" in open_loop.table(result, SIM.arm.joint_names)


def test_only_known_steps_count(tmp_path):
    MadeEpisode(seconds=2.0).write(tmp_path / "episode")
    data = EpisodeDataset([tmp_path], 28, skip_idle=False)
    result = open_loop.run(Prophet(MadeEpisode(seconds=2.0), 0.0), data, range(len(data)))
    assert not result.known.all()
    result.predicted[~result.known] = 1e6
    assert np.nanmax(result.errors()) < 1e-3


def test_the_policy_gets_the_datasets_own_images(recorded):
    policy = untrained_policy(SIM)
    data = EpisodeDataset([recorded], policy.checkpoint.config.image_size)
    seen = []
    prepare = policy.prepare
    policy.prepare = lambda observation: seen.append(prepare(observation)) or seen[-1]
    open_loop.run(policy, data, [4])
    assert np.array_equal(np.stack(seen[0].views).transpose(0, 3, 1, 2), data[4]["images"].numpy())


def test_from_checkpoint_to_picture(recorded, tmp_path, capsys):
    untrained_policy(SIM).save(tmp_path / "checkpoint")
    arguments = ["eval", "open-loop", "--checkpoint", str(tmp_path / "checkpoint"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--data", str(recorded), "--samples", "5"]) == 0
    assert "5 samples of 2 episodes" in capsys.readouterr().out
    assert main([*arguments, "--data", str(recorded), "--samples", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "out" / "open_loop.json").read_text())
    assert len(report["by_step"]) == 8
    assert (tmp_path / "out" / "open_loop.png").stat().st_size > 10_000
    assert main([*arguments, "--data", str(tmp_path / "nowhere")]) == 1
    there = f"vga eval open-loop: {tmp_path / 'out' / 'open_loop.json'}: results of something else are there"
    assert capsys.readouterr().err.strip() == f"{there} (data, options): give another --out, or add --overwrite"
    assert main([*arguments, "--data", str(recorded), "--samples", "4"]) == 1
    assert capsys.readouterr().err.startswith(f"{there} (options): ")
    assert main([*arguments, "--data", str(tmp_path / "nowhere"), "--overwrite"]) == 1
    assert capsys.readouterr().err.strip() == f"vga eval open-loop: {tmp_path / 'nowhere'}: no such directory"
    assert main([*arguments, "--data", str(recorded), "--views", "top", "wrist", "--overwrite"]) == 1
    assert "no camera 'top'" in capsys.readouterr().err


def test_steps_that_nobody_recorded_are_left_blank(tmp_path):
    MadeEpisode(seconds=0.7, rest=0.1).write(tmp_path / "short")
    data = EpisodeDataset([tmp_path], 28, skip_idle=False)
    result = open_loop.run(Prophet(MadeEpisode(seconds=0.7, rest=0.1), 0.0), data, range(len(data)))
    assert result.summary()["by_step"][-1]["gripper_m"] is None
    draw_open_loop(result, result, SIM, tmp_path / "picture.png")
