"""From the expert's demonstrations to a trained policy's trials, by the commands alone."""

import json

import h5py
import pytest
from libero_worlds import SIZE, Here
from vga_policy.cli import main
from vga_policy.libero import tasks
from vga_policy.libero.world import World

pytestmark = pytest.mark.usefixtures("one_thread", "here")
TASK = ["--suite", "libero_object", "--task", "1"]
KEPT, LIMIT = 6, 8  # steps of a demonstration and of a trial: drawing them all would take long


@pytest.fixture
def here(monkeypatch):
    """Everything in this process, in one world."""
    found = World(tasks.tasks("libero_object")[1], size=SIZE)
    monkeypatch.setattr(found, "close", lambda: None)

    def world(task, seed=0, **_):
        assert task == found.task
        found.seed(seed)
        return found

    for module in ("collecting", "rendering", "evaluation"):
        monkeypatch.setattr(f"vga_policy.libero.{module}.World", world)
        monkeypatch.setattr(f"vga_policy.libero.{module}.worker_pool", Here)


def cut_and_doubled(file):
    """Leaves the last steps of the demonstration, and puts it there twice: training wants one to judge by."""
    with h5py.File(file, "a") as opened:
        demo = opened["data/demo_0"]
        for name in ("states", "actions"):
            last = demo[name][-KEPT:]
            del demo[name]
            demo[name] = last
        opened.copy(demo, "data/demo_1")


def test_a_policy_is_trained_and_tried_by_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["libero", "collect", *TASK, "--episodes", "1", "--out", "demos"]) == 0
    [file] = tmp_path.rglob("*_demo.hdf5")
    cut_and_doubled(file)
    assert main(["libero", "import", "demos", "--every", "3", "--out", "rendered"]) == 0
    assert {path.name for path in tmp_path.rglob("*.safetensors")} == {"demo_0.safetensors", "demo_1.safetensors"}
    assert main(["check", "rendered/libero_object"]) == 0
    usual = ["--preset", "nano", "--text-encoder", "hashed_ngrams", "--steps", "2", "--batch", "2", "--threads", "1"]
    train = ["train", "--data", "rendered/libero_object", *usual]
    assert main([*train, "--out", "both"]) == 0
    assert "next: vga eval libero --checkpoint both\n" in capsys.readouterr().out
    assert main([*train, "--views", "agentview", "--ablation", "without-joint-training", "--out", "alone"]) == 0
    monkeypatch.setitem(tasks.STEP_LIMITS, "libero_object", LIMIT)
    capsys.readouterr()
    for run, options in (("both", ["--videos", "1"]), ("alone", [])):
        out = f"eval_{run}_{len(options)}_{options[-1] if options else ''}"
        trial = ["--trials", "1", "--device", "cpu", "--out", out, "--json", *options]
        assert main(["eval", "libero", "--checkpoint", run, *TASK, *trial]) == 0
        results = json.loads(capsys.readouterr().out)
        assert (results["n"], results["missing"], results["conditions"]["checkpoint"]) == (1, 0, run)
        assert [trial["steps"] for trial in results["trials"]] == [LIMIT]
        assert len(results["conditions"]["weights"]) == 16
    assert [path.name for path in tmp_path.rglob("*.mp4")] == ["libero_object_1_000.mp4"]
    # Another training's weights in the same place are not mixed with these.
    (tmp_path / "both").rename(tmp_path / "former")
    (tmp_path / "alone").rename(tmp_path / "both")
    assert main(["eval", "libero", "--checkpoint", "both", *TASK, "--trials", "1", "--out", "eval_both_2_1"]) == 1
    assert "was begun with weights" in capsys.readouterr().err
