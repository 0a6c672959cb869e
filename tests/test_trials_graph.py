"""`vga eval sim` through the whole graph: scene arranged, arm brought to the start, task run, outcome judged."""

from __future__ import annotations

import json

import pytest
from vga_bringup.sim.tasks.registry import arrange
from vga_bringup.trials.scene import judge
from vga_policy.cli import main

from vga_msgs.msg import TaskState


@pytest.mark.long
def test_a_trial_runs_through_the_graph(ros_domain, sim_cell, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--task", "press_button", "--trials", "1", "--seed", "7", "--max-steps", "12", "--view", "ood", "--json")
    code = main(["eval", "sim", "--checkpoint", "untrained", "--cell", str(sim_cell), "--out", str(out), *options])
    assert code == 0, (out / "nodes.log").read_text()
    report = json.loads(capsys.readouterr().out)
    (trial,) = report["trials"]
    log = (out / "nodes.log").read_text()
    assert (trial["task"], trial["seed"]) == ("press_button", 7)
    assert trial["instruction"] == arrange("press_button", 7).instruction
    # On a busy machine the driver stops a policy that falls silent; that is told, and is no success either.
    assert trial["outcome"] in ("step limit", "fault"), log
    assert trial["reason"]
    assert trial["grasped"] is None
    assert trial["chunks"] < 2 or 0 < trial["chunk_rate"] < 20
    assert report["conditions"]["path"] == "ros"
    assert report["conditions"]["cameras"] == ["fixed_2", "wrist"]
    assert report["conditions"]["latency"] is None
    assert "arranged press_button, seed 7" in log
    assert (out / "videos" / "press_button_ood_7.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("told", "grasped"),
    [({"picks": True, "grasped": "red cube"}, "red cube"), ({"picks": True}, ""), ({"detail": "red cube held"}, None)],
)
def test_what_the_fingers_hold_is_read_from_the_task_state(told, grasped):
    class Told:
        def judged(self):
            return TaskState(**told)

    assert judge(Told()).grasped == grasped


@pytest.mark.parametrize("arguments", [("operator",), ("untrained", "--control", "no-instruction")])
def test_what_needs_simulated_time_is_refused_before_anything_starts(tmp_path, capsys, arguments):
    assert main(["eval", "sim", "--out", str(tmp_path / "out"), "--checkpoint", *arguments]) == 1
    assert "add --in-process" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
