"""`vga bench overfit`: what it shows a model, reports and refuses. That models learn is in test_model_learning."""

import json
from dataclasses import replace

import pytest
from support.episodes import MadeEpisode
from support.training import TINY
from vga_policy.bench.overfit import by_heart, constant_guess, control, draw_samples, table
from vga_policy.cli import main
from vga_policy.episodes.listing import DatasetError
from vga_policy.objective.recipe import Recipe
from vga_policy.presets import presets
from vga_policy.presets.presets import Preset

SMALL = Preset(
    model=replace(TINY, language_width=384),
    text_encoder="minilm",
    recipe=Recipe(initialization="random", strategy="full"),
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("episodes")
    for seed in range(4):
        MadeEpisode(seconds=2.0, seed=seed, amplitude=0.2 + 0.1 * seed, geometry=True).write(directory / f"{seed}")
    return directory


def test_one_episode_in_four_is_never_shown(episodes):
    shown = draw_samples([str(episodes)], SMALL, 6, 12, seed=0)
    assert [len(batch.images) for batch in shown] == [6, 12, 4]
    assert shown.by_heart.images.shape == (6, 2, 3, 28, 28)
    assert shown.by_heart.labels.depth_mask.any()
    assert shown.control.labels.actions.abs().max() <= 1.0
    # The fourth episode moves furthest: its actions are beyond the range of the others'.
    assert shown.unseen.labels.actions[..., :7].abs().max() == 1.0


def test_every_run_is_a_row(episodes):
    shown = draw_samples([str(episodes)], SMALL, 4, 8, seed=0)
    rows = by_heart(SMALL, shown.by_heart, 3, 4, seed=0) + control(SMALL, shown.control, shown.unseen, 4, seed=0)
    joint, alone, frozen, matched, shuffled, matched_frozen = rows
    assert joint.depth_error is not None
    assert joint.trains > alone.trains > frozen.trains
    assert all(row.action_l1 > 0 for row in rows)
    assert [row.unseen_l1 is None for row in rows] == [True] * 3 + [False] * 3
    assert [row.steps for row in rows] == [3] * 3 + [10] * 3
    assert matched.trains == shuffled.trains > matched_frozen.trains
    assert matched.action_l1 != shuffled.action_l1
    printed = table(rows, constant_guess(shown.control, shown.unseen)).splitlines()
    assert len(printed) == 1 + len(rows) + 2
    assert "rank 4" in printed[3]


def test_too_little_data_is_said(episodes, tmp_path, capsys):
    with pytest.raises(DatasetError, match=r"4 episodes with .* too few for 1000 samples"):
        draw_samples([str(episodes)], SMALL, 16, 1000, seed=0)
    assert main(["bench", "overfit", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("vga bench overfit: ")


def test_the_command_prints_what_it_found(episodes, capsys, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "nano", lambda: SMALL)
    arguments = ["--samples", "4", "--control-samples", "0", "--steps", "2", "--threads", "1"]
    assert main(["bench", "overfit", "--data", str(episodes), *arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [run["steps"] for run in report["runs"]] == [2, 2, 2]
    assert report["constant_guess_l1"] > 0
