"""`vga eval robot` on the simulated graph: killed in the middle of a trial, gone on with, and reported."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import yaml
from support.waiting import eventually
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_bringup.study import design
from vga_bringup.study.ghost import References
from vga_bringup.study.ledger import lock, open_ledger
from vga_policy.cell.loading import load_cell
from vga_policy.cli import main
from vga_policy.evaluate.results import load
from vga_policy.ros import topics
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.session import Session

TRIALS, MAX_STEPS = 2, 15


@pytest.fixture(scope="module")
def graph(ros_domain, sim_cell, tmp_path_factory):
    """The simulated cell with a recorder and no policy; where it records."""
    folder = tmp_path_factory.mktemp("graph")
    with (folder / "nodes.log").open("w") as log:
        parts = sim_graph(cell=str(sim_cell), policy=False, record=True, episodes=str(folder / "episodes"))
        with Runner(parts, log) as runner, Session("waits") as session:
            wait_until_steady(session, load_cell(sim_cell), lambda _: runner.check(), nodes=(topics.RECORDER,))
            yield folder / "episodes"


@pytest.fixture
def study(sim_cell, tmp_path):
    folder = tmp_path / "study"
    plan = design.StudyPlan({"raw": "untrained"}, ("ood",), ("pick_cube",), TRIALS, 7, MAX_STEPS, str(sim_cell))
    design.create(plan, folder)
    assert lock(folder) == TRIALS
    return folder


def test_a_study_that_is_killed_in_a_trial_runs_it_again_and_counts_none_twice(graph, study, capsys):
    log, command = study / "policy.log", [sys.executable, "-m", "vga_policy", "eval", "robot", str(study)]
    killed = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        eventually(
            lambda: log.is_file() and "' runs" in log.read_text(),
            "the first trial runs",
            120.0,
            lambda: time.sleep(0.1),
        )
    finally:
        killed.kill()
        said = killed.communicate()[0].decode()
        print(said)
    assert main(["eval", "robot", str(study)]) == 0, said
    told = capsys.readouterr().out
    assert "start=" in told.partition("was killed in the middle, does not count, and will be run again")[0], told
    with open_ledger(study) as ledger:
        records = ledger.records()
        code = records[0].blind_code
    assert sorted(record.condition for record in records) == ["task=pick_cube,start=7", "task=pick_cube,start=8"]
    tried = load(study / "reports/raw-ood")
    assert [trial.seed for trial in tried.trials] == [7, 8]
    assert tried.conditions.cameras == ("fixed_2", "wrist")
    assert "| raw |" in told
    episodes = [yaml.safe_load(file.read_text()) for file in sorted(graph.glob("*/episode.yaml"))]
    counted = [episode for episode in episodes if episode["outcome"] != "discarded"]
    assert len(counted) == TRIALS < len(episodes)  # that of the killed trial is discarded
    assert all(f"arm {code}" in episode["note"] and "reset error" in episode["note"] for episode in counted)
    assert len(References(study).of("pick_cube", 7)) == 3
    assert (study / "ghost.png").is_file()
