"""Every figure of the report against a bag whose figures are known."""

import json

import numpy as np
import pytest
from support.cells import SIM as CELL
from support.synthetic_run import DECISION, LATENCY, Run
from vga_bringup.demo.bag import read_recording
from vga_bringup.demo.report import HEALTHY, make_report, write_report


def report(run, path, seconds=None):
    return make_report(read_recording(run.record(path / "bag")), seconds or 7.0)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return report(Run(), tmp_path_factory.mktemp("healthy"))


def test_a_healthy_run(healthy):
    assert healthy["problems"] == []
    assert healthy["healthy"]


def test_chunks(healthy):
    assert healthy["policy_rate_hz"] == 10.0
    assert healthy["policy_worst_period_ms"] == 100.0
    assert healthy["chunks_published"] == 80
    assert healthy["chunks_accepted_share"] == 1.0
    assert healthy["rejected_by_reason"] == {}
    assert healthy["steps_dropped"] == 80


def test_motion_is_measured_from_first_verdict_to_last_chunk(healthy):
    assert healthy["duration_s"] == pytest.approx(7.9 - DECISION / 1e3)
    assert set(healthy["joint_span_rad"]) == set(CELL.arm.joint_names)
    assert list(healthy["joint_span_rad"].values()) == pytest.approx([0.8] * 7, abs=1e-3)


def test_latency_is_from_the_oldest_image_to_the_first_reference(healthy):
    first = LATENCY + 10  # the verdict falls between two references
    assert healthy["capture_to_command_ms"] == {"p50": first, "p95": first}
    assert healthy["late_steps_executed"] == 0
    assert healthy["hold_share"] == 0.0


def test_cameras(healthy):
    for figures in healthy["cameras"].values():
        assert figures["rate_hz"] == pytest.approx(15, abs=0.15)
        assert figures["frames_lost"] == 0
        assert figures["worst_gap_ms"] == pytest.approx(66.7, abs=0.1)


def test_tracking_and_simulation(healthy):
    velocity_rms = 0.4 * 2 * np.pi / 4 / np.sqrt(2)
    assert healthy["tracking_rms_rad"] == pytest.approx(0.010 * velocity_rms, rel=0.05)
    assert healthy["limit_violations"] == 0
    assert healthy["sim_real_time_factor"] == pytest.approx(0.98)
    assert healthy["cell"] == "sim"
    assert healthy["versions"]["vga_bringup"]


def test_rejected_chunks(tmp_path):
    result = report(Run(rejected={20: "jump", 21: "jump", 50: "stamp_stale"}), tmp_path)
    assert result["rejected_by_reason"] == {"jump": 2, "stamp_stale": 1}
    assert result["chunks_accepted_share"] == pytest.approx(77 / 80, abs=1e-4)
    assert result["late_steps_executed"] == 0
    assert result["problems"] == ["chunks_accepted_share is 0.9625, below 0.99"]


def test_late_steps(tmp_path):
    result = report(Run(late_from=30), tmp_path)
    # Nine references from 110 to 190 ms after t_obs head for step 0, due at 100 ms: one step, nine times.
    assert result["late_steps_executed"] == 1
    assert result["problems"] == ["late_steps_executed is 1, above 0"]


def test_holding(tmp_path):
    result = report(Run(held=(3000, 4000)), tmp_path)
    assert result["hold_share"] == pytest.approx(1 / 7.9, abs=0.002)
    assert "hold_share" in result["problems"][0]


def test_lost_and_frozen_frames(tmp_path):
    result = report(Run(lost_frames={20, 40, 41}, frozen_frames=set(range(60, 100, 2))), tmp_path)
    wrist, fixed = result["cameras"]["wrist"], result["cameras"]["fixed_1"]
    assert (wrist["frames_lost"], fixed["frames_lost"]) == (3, 0)
    assert wrist["worst_gap_ms"] == pytest.approx(200, abs=0.1)
    assert wrist["rate_hz"] == pytest.approx(fixed["rate_hz"] - 23 / 7.895, abs=0.01)
    assert "slowest camera's rate_hz" in result["problems"][0]


@pytest.mark.parametrize(
    ("run", "key"),
    [
        (Run(amplitude=0.1), "fourth largest joint_span_rad"),
        (Run(lag=60), "tracking_rms_rad"),
        (Run(amplitude=1.5, lag=0), "limit_violations"),
        (Run(real_time_factor=0.9), "sim_real_time_factor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_is_the_problem_named(run, key, tmp_path):
    problems = report(run, tmp_path)["problems"]
    assert [problem.split(" is ")[0] for problem in problems] == [key]


def test_a_run_that_ended_early(tmp_path):
    problems = report(Run(), tmp_path, seconds=30)["problems"]
    assert problems == ["duration_s is 7.895, below 30", "chunks_published is 80, below 285"]


def test_thirty_seconds_need_what_the_acceptance_says():
    rules = {rule.name: rule for rule in HEALTHY}
    assert rules["chunks_published"].low(30) == 285


def test_nothing_executed(tmp_path):
    run = Run()
    run.rejected = {sequence: "mode" for sequence, _ in run.chunks}
    result = report(run, tmp_path)
    assert result["problems"] == ["no chunk was executed: 80 published, rejected {'mode': 80}"]
    assert not result["healthy"]


def test_written_as_json(healthy, tmp_path):
    write_report(healthy, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == healthy
