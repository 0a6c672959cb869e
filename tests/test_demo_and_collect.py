"""`vga demo` and `vga collect` from end to end, in real time: the commands as a user gives them, and what they leave.

On a machine that is busy with something else a run is not healthy and a demonstration may fail: both are told, and
what is told is what is tested.
"""

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image
from support.cells import SIM
from vga_bringup.demo.report import HEALTHY
from vga_bringup.sim.tasks.registry import arrange
from vga_policy.curation.curate import measure_episode
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.episodes.metadata import load_episode

pytestmark = pytest.mark.usefixtures("ros_domain")

ATTEMPTS = 3  # that a busy machine has to bring one chunk to the arm
SECONDS = 200.0
FIGURES = {
    "duration_s", "policy_rate_hz", "policy_worst_period_ms", "chunks_published", "chunks_accepted_share",
    "rejected_by_reason", "steps_dropped", "hold_share", "late_steps_executed", "capture_to_command_ms", "cameras",
    "joint_span_rad", "tracking_rms_rad", "tracking_worst_rad", "limit_violations", "sim_real_time_factor",
}  # fmt: skip
ABOUT = {"cell", "checkpoint", "bag", "versions", "machine", "task", "success", "detail", "processors_busy_share"}


def vga(*arguments):
    """Exit code and output of a command."""
    command = [sys.executable, "-m", "vga_policy", *map(str, arguments)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
    print(ended.stdout)
    return ended.returncode, ended.stdout


def demonstrated(cell, directory):
    """Exit code, output, report and directory of the first demo whose policy moved the arm."""
    for attempt in range(ATTEMPTS):
        out = directory / f"demo_{attempt}"
        options = ("--task", "pick_cube", "--seed", 5, "--duration", 1)
        code, said = vga("demo", "--cell", cell, "--out", out, *options)
        report = json.loads((out / "report.json").read_text())
        assert report["healthy"] == (not report["problems"])
        assert code == (0 if report["healthy"] else 1)
        assert f"results: {out}" in said
        if "chunks_published" in report:
            return said, report, out
    pytest.fail(f"no chunk was executed: {report['problems']}, {(out / 'nodes.log').read_text()}")


def test_a_demo_reports_on_what_it_recorded_and_shows_it(sim_cell, tmp_path):
    said, report, out = demonstrated(sim_cell, tmp_path)
    assert report.keys() == FIGURES | ABOUT | {"healthy", "problems"}
    assert (report["cell"], Path(report["checkpoint"]).name, report["task"]) == ("sim", "nano", "pick_cube")
    assert report["success"] is False  # a second does not suffice
    assert f"did not succeed: {report['detail']}" in said
    assert report["duration_s"] > 0.5
    assert report["chunks_published"] >= 1
    assert 0 <= report["chunks_accepted_share"] <= 1
    assert report["limit_violations"] == 0
    assert report["cameras"].keys() == {"fixed_1", "wrist", "fixed_2"}
    assert report["joint_span_rad"].keys() == set(SIM.arm.joint_names)
    for rule in HEALTHY:  # what is said to be unhealthy is what the figures show
        problem = rule.problem(report, 0.0)
        assert (problem in report["problems"]) == bool(problem)

    (path,) = (out / "episodes").iterdir()
    episode = load_episode(path)
    assert path.name == report["bag"]
    assert (episode.task, episode.outcome, episode.note) == ("pick_cube", "failure", report["detail"])
    assert episode.instruction == arrange("pick_cube", 5).instruction

    with Image.open(out / "summary.png") as summary:
        assert min(summary.size) > 500
    with av.open(str(out / "demo.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == pytest.approx(15 * report["duration_s"], abs=2)
    assert all(frame.std() > 10 for frame in frames)


def test_a_demonstration_is_collected_in_real_time(sim_cell, tmp_path):
    out = tmp_path / "episodes"
    code, said = vga(
        "collect", "--task", "press_button", "--episodes", 1, "--seed", 3, "--cell", sim_cell, "--out", out
    )
    (path,) = out.iterdir()
    episode = load_episode(path)
    assert code == 0, (tmp_path / "episodes.log").read_text()
    assert (episode.task, episode.operator, episode.seed) == ("press_button", "scripted operator", 3)
    assert episode.instruction == arrange("press_button", 3).instruction
    assert episode.outcome in ("success", "failure")
    assert episode.note
    assert f"1 episode in {out}, {int(episode.outcome == 'success')} successful" in said

    metrics = measure_episode(path).metrics
    assert metrics.duration > 1.0
    data = EpisodeDataset([path], 28, usable_only=False)
    sample = data[len(data) // 2]
    assert sample["actions"].shape == (SIM.action.horizon, 8)
    assert sample["images"].shape[0] == len(SIM.views)
