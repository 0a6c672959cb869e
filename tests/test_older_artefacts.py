"""What an old version wrote, artefacts/ (its README.md says which and how), is read by this one as that one read it."""

import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vga_policy.cell.loading import load_cell
from vga_policy.cli import main
from vga_policy.inference.policy import Policy
from vga_policy.observation.observation import Observation
from vga_policy.presets.presets import PRESETS

ARTEFACTS = Path(__file__).with_name("artefacts")
EXPECTED = ARTEFACTS / "expected"
# Options of the trainings there. An ablation goes on with the same ones only.
LOOP = "--batch 4 --lr 0.001 --muon 0.003 --warm-up 2 --average 0.9 --validate-every 2 --save-every 2"
LOOP += " --device cpu --threads 1 --workers 0"
POLICY = f"--data episodes --preset nano --text-encoder hashed_ngrams --geometry-share 2 --validation 0.3 {LOOP}"
CLOSE = 1e-3  # relative: other processors add up in other orders, and every step of a training builds on the last

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch) -> None:
    """A directory with all of it, as it lay when it was written; paths in it are relative to that."""
    monkeypatch.chdir(tmp_path)
    for part in ("cells", "results", "ablation"):
        shutil.copytree(ARTEFACTS / part, part, symlinks=True)
    for archive in ARTEFACTS.glob("*.tar.xz"):
        with tarfile.open(archive) as archived:
            archived.extractall(filter="data")


@pytest.fixture
def small_nano(monkeypatch) -> None:
    """The preset nano has the shape that it was given to write these."""
    own = PRESETS["nano"]()
    written = Policy.from_pretrained("run/best").checkpoint.config  # of its run's text encoder, which was another
    shape = replace(written, language_width=own.model.language_width)
    monkeypatch.setitem(PRESETS, "nano", lambda: replace(own, model=shape))


@pytest.fixture
def vga(capsys) -> Callable[..., str]:
    """Runs a command, which has to succeed, and returns what it prints."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_verdicts_and_a_persons_decisions_on_episodes_are_kept(vga):
    assert vga("curate", "episodes", "--workers", "1") == (EXPECTED / "curate.txt").read_text()
    told = {one["id"]: one for one in json.loads(vga("curate", "episodes", "--workers", "1", "--json"))["episodes"]}
    decisions = [(one["proposed"], one["decided"], one["decision_reason"]) for _, one in sorted(told.items())]
    assert decisions == [
        ("accept", None, ""),
        ("reject", "reject", "hesitates above the button"),
        ("reject", "accept", "few images, on purpose"),
    ]
    assert [one["figures"]["seconds"] for _, one in sorted(told.items())] == [3.9, 4.9, 3.8]


def test_checkpoint_predicts_the_same_chunk():
    policy = Policy.from_pretrained("run/best")
    image = (np.indices((48, 64)).sum(axis=0)[..., None] * (1, 2, 3) % 256).astype(np.uint8)
    proprioception = np.array([*policy.cell.arm.home, 0.04])
    chunk = policy.act(Observation(0, (image, image[::-1].copy()), (0, 0), proprioception, "press the button"))
    steps = np.column_stack([chunk.joints, chunk.gripper_width])
    np.testing.assert_allclose(steps, json.loads((EXPECTED / "chunk.json").read_text()), atol=1e-4)
    assert np.ptp(steps[:, :7], axis=0).max() > 0.01  # it says something


def test_checkpoint_and_episodes_give_the_same_open_loop_errors(vga):
    expected = json.loads((EXPECTED / "open_loop.json").read_text())
    assert (expected["samples"], expected["episodes"]) == (30, 2)  # the third one is rejected
    told = json.loads(vga("eval", "open-loop", "--checkpoint", "run/best", "--data", "episodes", "--json"))
    assert told.keys() >= expected.keys()
    for key in ("samples", "episodes", "views", "checkpoint"):
        assert told[key] == expected[key], key
    for key in ("joint_error_rad", "gripper_error_m", "standing_still"):
        assert told[key] == pytest.approx(expected[key], rel=CLOSE), key
    for now, then in zip(told["by_step"], expected["by_step"], strict=True):
        assert now["joints_rad"] == pytest.approx(then["joints_rad"], rel=CLOSE, abs=2e-6)
        assert now["gripper_m"] == pytest.approx(then["gripper_m"], rel=CLOSE, abs=2e-6)


def test_checkpoint_acts_in_closed_loop(vga):
    trials = "--task press_button --trials 1 --max-steps 5 --videos 0 --fast --jobs 1 --cell cells/small.yaml"
    vga("eval", "sim", "--checkpoint", "run/best", *trials.split(), "--out", "tried")
    now, then = (json.loads(Path(where, "results.json").read_text()) for where in ("tried", "results/policy"))
    assert now["conditions"]["weights"] == then["conditions"]["weights"]
    assert [(trial["seed"], trial["steps"]) for trial in now["trials"]] == [(1000000, 5)]


@pytest.mark.usefixtures("small_nano")
def test_interrupted_run_goes_on_where_it_was(vga):
    assert [line["step"] for line in _log("run/log.jsonl")] == [1, 2, 2, 3, 4, 4]
    vga("train", "--resume", "run")
    _same_curve("run/log.jsonl", "resumed.jsonl")
    assert Path("run/last").resolve().name == "0000008"


@pytest.mark.usefixtures("small_nano")
def test_new_run_starts_from_the_old_one(vga):
    vga("train", *POLICY.split(), "--init", "run", "--steps", "1", "--out", "again")
    _same_curve("again/log.jsonl", "from_run.jsonl")


@pytest.mark.usefixtures("small_nano")
def test_scenes_and_pretrained_geometry_are_trained_on(vga):
    vga("pretrain", "--scenes", "scenes", *LOOP.split(), "--validation", "0.25", "--steps", "2", "--out", "again")
    _same_curve("again/log.jsonl", "pretrained.jsonl")
    vga("train", *POLICY.split(), "--init", "geometry", "--steps", "1", "--out", "policy")
    first, then = _log("policy/log.jsonl")[0], _log("run/log.jsonl")[0]
    assert first["loss"] == pytest.approx(then["loss"], rel=CLOSE)


@pytest.mark.usefixtures("small_nano")
def test_finished_ablation_is_told_of_and_not_trained_again(vga):
    rows = ["--seeds", "0", "1", "--rows", "VGA", "w/o PVM"]
    told = vga("ablate", *POLICY.split(), "--init", "geometry", "--steps", "2", *rows, "--out", "ablation")
    table, _, rest = told.partition("\n\ntable and curves: ")
    assert table.strip() == (EXPECTED / "ablation.md").read_text().strip()
    assert rest.splitlines()[1:] == ["next: vga eval ablation ablation"]
    assert Path("ablation/figures.csv").read_text() == (EXPECTED / "ablation.csv").read_text()
    assert not list(Path("ablation").rglob("*.safetensors"))


def test_results_of_trials_give_the_same_table(vga):
    told = vga("eval", "table", "results/policy", "results/operator", "--out", "table")
    assert told == (EXPECTED / "table.md").read_text()
    assert "| operator | 100 [20.7, 100] 1/1 |" in told


@pytest.mark.parametrize("name", ["lab", "sim", "small", "full"])
def test_cell_file_says_what_it_said(name):
    expected = json.loads((EXPECTED / "cells.json").read_text())[name]
    _holds(load_cell(f"cells/{name}.yaml").model_dump(mode="json"), expected, name)


def test_arm_of_an_old_cell_is_known_by_its_joints():
    assert [load_cell(f"cells/{name}.yaml").arm.model for name in ("lab", "full")] == ["fr3", "panda"]


def _log(path: str | Path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def _same_curve(path: str, expected: str) -> None:
    """Steps and validations are those of the old version; not how long they took."""
    now, then = _log(path), _log(EXPECTED / expected)
    assert [line["step"] for line in now] == [line["step"] for line in then]
    assert ["validation" in line for line in now] == ["validation" in line for line in then]
    for here, there in zip(now, then, strict=True):
        told, wanted = ({**line.pop("validation", {}), **line, "seconds": 0} for line in (here, there))
        assert told == pytest.approx(wanted, rel=CLOSE), here["step"]


def _holds(found, expected, where: str) -> None:
    """Every value that there was is there; there may be more."""
    if isinstance(expected, dict):
        assert found.keys() >= expected.keys(), where
        for key, value in expected.items():
            _holds(found[key], value, f"{where}.{key}")
    elif where.endswith(".recording.topics"):
        assert set(expected) <= set(found), where
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for position, value in enumerate(expected):
            _holds(found[position], value, f"{where}.{position}")
    else:
        assert found == expected, where
