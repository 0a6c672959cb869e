"""The judge's counts, on records made by hand: 1 kHz velocities of joint 1, one command a cycle."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from vga_bringup.judge.bench import Notes
from vga_bringup.judge.evaluation import ROUNDING, SECOND_COMMAND, differences, judge
from vga_bringup.judge.plot import draw
from vga_bringup.judge.report import report
from vga_bringup.judge.robot.record import CLEAN_AFTER, DT, Record
from vga_bringup.judge.robot.server import COLUMNS, EXTRAPOLATED, MODES, RECEIVED, Recorder
from vga_bringup.judge.session import Outcome, Session
from vga_policy.cell.arm_models import FR3

MIDDLE = (FR3.lower + FR3.upper) / 2
NAMES = [f"joint{i}" for i in range(1, 8)]


def rows_of(velocity, q=MIDDLE, mode="VELOCITY", motion=1):
    rows = np.zeros((len(velocity), len(COLUMNS)))
    column = {name: index for index, name in enumerate(COLUMNS)}
    rows[:, column["t"]] = DT * np.arange(len(velocity))
    rows[:, column["kind"]] = RECEIVED
    rows[:, column["id"]] = 500 + np.arange(len(velocity))
    rows[:, column["fresh"]] = 1
    rows[:, column["motion"]] = motion
    rows[:, column["mode"]] = MODES.index(mode)
    rows[:, column["signal1"]] = velocity
    rows[:, column["q1"] : column["q7"] + 1] = q
    return rows


def record_of(rows, objections=(), motions=None, stops=()):
    start = np.zeros((1, 24))
    start[0, :3] = 1, 0.0, MODES.index("VELOCITY")
    return Record(rows, start if motions is None else motions, list(objections), list(stops))


def objection(row, value, unit="rad/s^2", limit=10.0, **other):
    return {
        "t": DT * row, "motion": 1, "row": row, "source": "command", "unit": unit, "axis": "joint 1", "joint": 1,
        "name": "joint_motion_generator_acceleration_discontinuity", "value": value, "limit": limit, **other,
    }  # fmt: skip


def judged(record):
    return judge(record, FR3, -1.0, 1e9)


def ramp(count=100, acceleration=8.0):
    """From rest: the first command has one cycle of the acceleration."""
    return acceleration * DT * np.arange(1, count + 1)


def test_a_stream_without_gaps_is_clean_and_measured_from_rest():
    found = judged(record_of(rows_of(ramp())))
    assert (found.commands, found.clean, found.due, found.lost) == (100, 100, 100, 0)
    assert found.worst["acceleration"][0].ratio == pytest.approx(0.8)
    assert found.worst["jerk"][0].ratio == pytest.approx(8.0 / DT / 5000)  # at its first command
    assert found.beyond == {"acceleration": 0, "jerk": 1, "velocity_commanded": 0, "velocity_measured": 0,
                            "torque": 0, "torque_rate": 0}  # fmt: skip


def test_a_motion_goes_on_from_what_the_robot_reported():
    start = np.zeros((1, 24))
    start[0, :3] = 1, 0.0, MODES.index("VELOCITY")
    start[0, 3], start[0, 10] = 0.5, 8.0  # dq_d and ddq_d of joint 1
    first, second = differences(record_of(rows_of(0.5 + ramp()), motions=start))
    np.testing.assert_allclose(first[:, 0], 8.0)
    np.testing.assert_allclose(second[:, 0], 0.0, atol=1e-6)


@pytest.mark.parametrize("what", ["lost", "late"])
def test_commands_are_not_clean_until_some_cycles_after_one_was_lost_or_late(what):
    rows = rows_of(ramp())
    if what == "lost":
        rows[50, COLUMNS.index("kind")] = EXTRAPOLATED
    rows[50, COLUMNS.index("fresh")] = 0
    record = record_of(rows)
    assert np.flatnonzero(~record.clean).tolist() == list(range(50, 51 + CLEAN_AFTER))
    found = judged(record)
    assert (found.due, found.lost, found.clean) == (100, 1, 99 - CLEAN_AFTER)


def test_a_command_that_is_missing_altogether_counts_as_lost():
    found = judged(record_of(np.delete(rows_of(ramp()), 50, axis=0)))  # in torque mode the robot makes none up
    assert (found.due, found.lost, found.clean) == (100, 1, 99 - CLEAN_AFTER)


def test_two_motions_lose_nothing_between_them():
    later = rows_of(ramp(), motion=2)
    later[:, COLUMNS.index("id")] += 5000
    found = judged(record_of(np.vstack((rows_of(ramp()), later))))
    assert (found.due, found.lost, found.clean) == (200, 0, 200)


def test_errors_are_told_apart_by_what_was_lost_before_them():
    rows = rows_of(ramp())
    rows[50, COLUMNS.index("fresh")] = 0
    found = judged(record_of(rows, [objection(40, 12.0), objection(55, 70.0), objection(56, 9000.0, "rad/s^3", 5000)]))
    assert found.errors_clean == {"acceleration": 1}
    assert found.errors_lossy == {"acceleration": 1, "jerk": 1}
    (event,) = found.events  # both belong together
    assert len(event["errors"]) == 2
    shown = {command["cycle"]: command for command in event["commands"]}
    assert shown[-5]["what"] == "late"
    assert shown[0] == {"ms": 0.0, "cycle": 0, "what": "in time", "dq_1": pytest.approx(8.0 * DT * 56)}


def test_a_measurement_is_judged_by_the_stream_up_to_it():
    rows = rows_of(ramp())
    rows[50, COLUMNS.index("fresh")] = 0
    measured = {"source": "measured", "name": "joint_velocity_violation"}
    at = [objection(40, 3.0, "rad/s", 2.6, **measured), objection(55, 3.0, "rad/s", 2.6, **measured)]
    found = judged(record_of(rows, [{**item, "row": -1} for item in at]))
    assert found.errors_clean == {"velocity_measured": 1}
    assert found.errors_lossy == {"velocity_measured": 1}


@pytest.mark.parametrize(
    ("accelerations", "artefact"),
    [((4.0, 8.0), True), ((1.0, 8.0), False)],  # jerks of 4000 each; of 1000 and 7000
)
def test_the_jerk_of_a_second_command_is_counted_from_rest(accelerations, artefact):
    rows = rows_of(DT * np.cumsum(accelerations))
    found = judged(record_of(rows, [objection(1, 8000.0, "rad/s^3", 5000.0)]))
    assert found.artefacts == ({SECOND_COMMAND: 1} if artefact else {})
    assert found.errors_clean == ({} if artefact else {"jerk": 1})


def test_a_rounding_error_beyond_a_limit_is_named_as_such_and_a_real_excess_is_not():
    found = judged(record_of(rows_of(ramp()), [objection(40, 10.0000001), objection(41, 10.001)]))
    assert found.artefacts == {ROUNDING: 1}
    assert found.errors_clean == {"acceleration": 1}


def test_the_limit_on_speed_is_the_one_at_the_measured_position():
    near = MIDDLE.copy()
    near[0] = FR3.upper[0] - 0.1
    _, high = FR3.velocity_limits(near)
    speed = np.full(100, 0.9 * high[0])
    assert judged(record_of(rows_of(speed, near))).worst["velocity_commanded"][0].ratio == pytest.approx(0.9)
    away = judged(record_of(rows_of(-speed, near))).worst["velocity_commanded"][0]  # it may leave the end faster
    assert away.ratio == pytest.approx(0.9 * high[0] / 2.619, rel=1e-6)


def test_torques_are_measured_against_range_and_rate():
    found = judged(record_of(rows_of(500 * DT * np.arange(1, 101), mode="TORQUE")))
    assert found.worst["torque"][0].ratio == pytest.approx(50 / 87)
    assert found.worst["torque_rate"][0].ratio == pytest.approx(0.5)
    assert found.worst["acceleration"][0].ratio == 0.0


# --- The report ---


def outcome(lost=(), objections=(), attempt=1, enforce=False, scenario="home", commands=1000):
    rows = rows_of(ramp(commands, 1.0))
    rows[list(lost), COLUMNS.index("fresh")] = 0
    session = Session("lab", "velocity", 1.0, (scenario,), enforce)
    found = judged(record_of(rows, objections, stops=[DT * item["row"] for item in objections]))
    return Outcome(session, scenario, attempt, 1.0, Notes(), found, np.zeros((0, 7)), np.zeros((0, 7)))


def reported(*outcomes, control=False):
    found = report(outcomes, NAMES, {"seed": 1, "control": control}, full=False, control=control)
    json.dumps(found, allow_nan=False)
    return found


def test_the_attempt_that_lost_least_counts_and_all_are_listed():
    found = reported(outcome(range(100, 150)), outcome([100], attempt=2))
    assert found["passed"]
    assert (found["commands"], found["lost_cycles"]) == (1000, 1)
    assert [(item["attempt"], item["counts"]) for item in found["scenarios"]] == [(1, False), (2, True)]


def test_a_scenario_that_loses_too_much_each_time_is_a_problem():
    found = reported(outcome(range(100, 150)), outcome(range(100, 140), attempt=2))
    assert not found["passed"]
    assert "4.0% of the cycles lost" in found["problems"][0]


def test_a_scenario_in_which_next_to_nothing_moved_is_a_problem():
    (problem,) = reported(outcome(commands=100))["problems"]
    assert problem == "velocity-lab-1 home: 100 commands, verdicts {}: it did not take place"


def test_errors_fail_a_run_and_are_what_the_control_needs():
    errors = [objection(row, 12.0) for row in range(200, 350)]
    assert not reported(outcome(objections=errors))["passed"]
    assert reported(outcome(objections=errors), control=True)["passed"]
    assert not reported(outcome(objections=errors[:100]), control=True)["passed"]
    assert not reported(outcome(objections=errors[:1], enforce=True))["passed"]


def test_a_robot_that_stops_is_counted_apart():
    found = reported(outcome(), outcome(objections=[objection(200, 12.0)], enforce=True))
    assert found["commands"] == 1000
    assert found["enforced"]["stops"] == 1
    assert sum(found["errors_clean"].values()) == 0


def test_the_picture_shows_what_was_commanded(tmp_path):
    found = outcome()
    speeds = np.linspace(-2.5, 2.5, 500)[:, None] * np.ones(7)
    pictures = []
    for name, q in (("still", np.zeros((0, 7))), ("moving", np.tile(MIDDLE, (500, 1)))):
        shown = replace(found, q=q, speed=speeds[: len(q)])
        draw([shown], FR3, reported(shown), tmp_path / f"{name}.png")
        pictures.append(np.array(Image.open(tmp_path / f"{name}.png").convert("RGB"), dtype=int))
    still, moving = pictures
    assert (np.abs(still - moving).max(axis=2) > 30).sum() > 7 * 200  # a line in every panel


# --- The recorder ---


class Checker:
    """franka-sim's MotionLimitChecker as far as the recorder knows it."""

    _active, _motion_id = True, 1
    _joint_positions, _measured_velocity = MIDDLE.tolist(), None

    class _mode:  # noqa: N801
        name = "VELOCITY"

    class Violation:
        error_name, unit, axis = "joint_motion_generator_acceleration_discontinuity", "rad/s^2", "joint 3"
        value, limit = 12.0, 10.0

    def start_motion(self, mode, state, motion_id=0):
        pass

    def absorb_command(self, command, joint_positions=None, *, fresh, enforce=False):
        violation = self.Violation() if command["dq_c"][2] > 1 else None
        return type("Absorbed", (), {"violation": violation})()

    def extrapolate(self, message_id):
        return {"dq_c": [0.25] * 7, "message_id": message_id}, None

    def check_measured_velocity(self, *_):
        return None

    check_measured_cartesian_velocity = check_self_collision = latch = check_measured_velocity


def test_what_the_recorder_writes_is_what_the_record_reads(tmp_path):
    recorder = Recorder()
    recorder.install(Checker)
    checker = Checker()
    checker.start_motion(Checker._mode, {"dq_d": [0.5] * 7}, 1)
    checker.absorb_command({"dq_c": [0.5] * 7, "message_id": 10}, fresh=True)
    checker.extrapolate(11)
    checker.absorb_command({"dq_c": [2.0] * 7, "message_id": 12}, fresh=True)
    recorder.write(tmp_path / "record.npz")
    record = Record.read(tmp_path / "record.npz")
    assert record.id.tolist() == [10, 11, 12]
    assert record.received.tolist() == [True, False, True]
    assert record.clean.tolist() == [True, False, False]
    assert record.signal[:, 0].tolist() == [0.5, 0.25, 2.0]
    np.testing.assert_array_equal(record.motions[1].dq, [0.5] * 7)
    (found,) = record.objections
    assert (found.row, found.joint, found.source) == (2, 3, "command")
    assert judged(record).errors_lossy == {"acceleration": 1}
