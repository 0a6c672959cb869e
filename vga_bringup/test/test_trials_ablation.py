"""An ablation's runs in the same trials, compared."""

from __future__ import annotations

import json
import shutil

import pytest
from vga_policy.checkpoints import BEST, locate
from vga_policy.cli import main
from vga_policy.train.ablation.files import run_directory, write_variant
from vga_policy.train.runs.run import CONFIG, LAST

TRIALS = ("--task", "press_button", "--trials", "1", "--max-steps", "3", "--jobs", "1")


def trained(ablation, variant, seed, steps):
    """What a run of 4 steps leaves after `steps` of them, with the shipped policy as its best."""
    run = run_directory(ablation, variant, seed)
    write_variant(run, variant)
    state = run / "states" / f"{steps:07d}"
    state.mkdir(parents=True)
    (run / LAST).symlink_to(state)
    (run / BEST).symlink_to(locate("nano"))
    (run / CONFIG).write_text(json.dumps({"loop": {"steps": 4}}))


@pytest.fixture
def ablation(tmp_path):
    trained(tmp_path, "w/o PVM", 0, 4)
    trained(tmp_path, "VGA", 0, 4)
    trained(tmp_path, "VGA", 1, 2)
    run_directory(tmp_path, "VGA", 2).mkdir()  # killed before it had a configuration
    first = run_directory(tmp_path, "VGA", 0)
    shutil.copytree(first, first.with_name("0.old"), symlinks=True)  # put aside by somebody: no seed's run
    return tmp_path


@pytest.mark.long
def test_finished_runs_are_tried_once_and_compared(ablation, capsys):
    assert main(["eval", "ablation", str(ablation), *TRIALS]) == 0
    told = capsys.readouterr().out
    assert "VGA, seed 0, id, press_button: success_rate 0 %" in told
    assert "| w/o PVM less VGA, Seen view: press button | 1 | +0.0" in told
    files = sorted(ablation.glob("trials/*/*/*/results.json"))
    assert [str(file.parent.relative_to(ablation / "trials")) for file in files] == ["vga/0/id", "without_pvm/0/id"]
    written = [file.stat().st_mtime_ns for file in files]
    assert main(["eval", "ablation", str(ablation), *TRIALS]) == 0
    assert [file.stat().st_mtime_ns for file in files] == written
    assert capsys.readouterr().out == told
    assert main(["eval", "ablation", str(ablation), *TRIALS, "--seed", "5"]) == 1
    assert "trials/vga/0/id: holds other trials; give another --out" in capsys.readouterr().err


def test_without_a_finished_run_there_is_nothing_to_try(tmp_path, capsys):
    trained(tmp_path, "VGA", 0, 2)
    assert main(["eval", "ablation", str(tmp_path), *TRIALS]) == 1
    assert "holds no finished run of `vga ablate`" in capsys.readouterr().err
