"""The loader benchmark: what it measures of our side, and what it says when it cannot compare."""

import sys

import pytest
from support.episodes import write_episodes
from vga_policy.bench.loader.measure import measure
from vga_policy.cli import main
from vga_policy.dataset.dataset import EpisodeDataset


def bench(*arguments):
    return main(["bench", "loader", *map(str, arguments)])


def test_without_episodes_it_says_how_to_get_some(tmp_path, capsys):
    assert bench("--data", tmp_path / "nowhere", "--out", tmp_path / "out") == 1
    assert capsys.readouterr().err == (
        f"vga bench loader: {tmp_path}/nowhere: no such directory: collect some with `vga collect --in-process`\n"
    )


def test_an_interpreter_without_lerobot_is_named(tmp_path, capsys):
    write_episodes(tmp_path / "episodes", 1, seconds=1.5)
    assert bench("--data", tmp_path / "episodes", "--out", tmp_path / "out", "--python", sys.executable,
                 "--rounds", 1, "--duration", 0.1, "--batch", 2, "--image-size", 28, "--workers", 0) == 1  # fmt: skip
    said = capsys.readouterr().err
    assert said.startswith(
        f"vga bench loader: {sys.executable}: LeRobot's reader cannot read {tmp_path}/out/loader-images"
    )
    assert not (tmp_path / "out" / "loader.json").exists()


def test_without_ffmpeg_the_remedy_is_named(tmp_path, capsys):
    """The interpreter dies as LeRobot's does where torchcodec finds no FFmpeg."""
    write_episodes(tmp_path / "episodes", 1, seconds=1.5)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'RuntimeError: Could not load libtorchcodec.' >&2\nexit 1\n")
    python.chmod(0o755)
    assert bench("--data", tmp_path / "episodes", "--out", tmp_path / "out", "--python", python,
                 "--rounds", 1, "--duration", 0.1, "--batch", 2, "--image-size", 28, "--workers", 0) == 1  # fmt: skip
    assert "apt-get install ffmpeg" in capsys.readouterr().err


def test_our_side(tmp_path):
    write_episodes(tmp_path, 1, seconds=1.5)
    data = EpisodeDataset([tmp_path], 28, skip_idle=False)
    speed = measure(data, batch=4, workers=0, seconds=0.2)
    assert speed.rate > 50
    assert 0 < speed.cpu_ms < 20
    with pytest.raises(ValueError, match="make no batch of 1000"):
        measure(data, batch=1000, workers=0, seconds=0.2)
