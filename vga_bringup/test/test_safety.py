"""Invariants of the safety filter.

- Every fault has its reason, and the message names what is wrong.
- Garbage never raises and is never accepted.
- A rejected chunk changes nothing: the references are the same to the last bit.
- Whatever is accepted stays within every limit until the arm rests, stopped at any time.
"""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.bounds.space import Space
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.safety.safety_filter import SAMPLING, Context, SafetyFilter
from vga_bringup.robot.submission import submit
from vga_bringup.robot.types import ChunkRequest
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Box, Strategy
from vga_policy.cli import main
from vga_policy.message_constants import Mode

CELL = load_cell(Path(__file__).parents[1] / "config/cells/sim.yaml").model_copy(
    update={
        "workspace": Box(min=[-0.2, -0.7, 0.2], max=[0.9, 0.7, 1.1]),
        "keep_out": [
            Box(name="wall", min=[-0.6, -1.0, 0.0], max=[-0.4, 1.0, 1.5]),
            Box(name="shelf", min=[0.4, -0.2, 0.0], max=[0.7, 0.2, 0.3]),
        ],
    }
)
HOME = np.array(CELL.arm.home)
LIMITS = CELL.arm.limits
DT, HORIZON = CELL.dt, CELL.action.horizon
GOAL = bytes(range(16))
EXAMPLES = settings(max_examples=100)
seeds = st.integers(0, 2**32 - 1)


def start(strategy=Strategy.RECEDING, q=HOME, cell=CELL):
    execution = cell.execution.model_copy(update={"strategy": strategy})
    cell = cell.model_copy(update={"execution": execution})
    executor = Executor(cell)
    executor.reset(0.0, np.asarray(q, float), 0.08)
    return executor, SafetyFilter(cell)


def smaller(cell, margin):
    """The same cell with smaller boxes to keep out of (m, on every side)."""
    boxes = [
        Box(name=box.name, min=(np.array(box.min) + margin).tolist(), max=(np.array(box.max) - margin).tolist())
        for box in cell.keep_out
    ]
    return cell.model_copy(update={"keep_out": boxes})


def request(joints=None, **changes):
    """A good chunk observed at 1.0 s, moving every joint gently from HOME, with some of it changed."""
    if joints is None:
        joints = HOME + 0.03 * (1 - np.cos(DT * np.arange(1, HORIZON + 1)))[:, None]
    good = ChunkRequest(
        t_obs=1.0,
        goal=GOAL,
        sequence=1,
        joint_names=list(CELL.arm.joint_names),
        positions=np.asarray(joints, float).tolist(),
        time_from_start=[(k + 1) * DT for k in range(HORIZON)],
        gripper_width=[0.04] * HORIZON,
    )
    return replace(good, **changes)


POLICY = Context(now=1.1, mode=Mode.POLICY, goal=GOAL)


def with_step(k, j, value):
    positions = request().positions
    positions[k][j] = value
    return positions


def ramp(speeds, begin=HOME):
    """A chunk at constant joint speeds (rad/s)."""
    return np.asarray(begin) + np.asarray(speeds, float) * DT * np.arange(1, HORIZON + 1)[:, None]


def eased(distance, begin=HOME):
    """A chunk that moves by `distance` [7] (rad) from rest to rest."""
    share = np.arange(1, HORIZON + 1) / HORIZON
    return np.asarray(begin) + (share * share * (3 - 2 * share))[:, None] * np.asarray(distance, float)


NAMES = list(CELL.arm.joint_names)
joint = np.eye(7)
FAULTS = {
    "HOLD": (request(), replace(POLICY, mode=Mode.HOLD), "mode", "HOLD"),
    "teleoperation": (request(), replace(POLICY, mode=Mode.TELEOP), "mode", "TELEOP"),
    "no live goal": (request(), replace(POLICY, goal=None), "goal", "no goal is live"),
    "dead goal": (request(goal=bytes(16)), POLICY, "goal", "live goal is 0001"),
    "a joint missing": (request(joint_names=NAMES[:6]), POLICY, "joint_names", "fr3_joint7"),
    "joints reordered": (request(joint_names=NAMES[::-1]), POLICY, "joint_names", "another order"),
    "another arm's joints": (request(joint_names=[f"panda_{n}" for n in NAMES]), POLICY, "joint_names", "panda_"),
    "too few steps": (request(positions=request().positions[:7]), POLICY, "length", "positions holds 7"),
    "too few times": (request(time_from_start=[0.1]), POLICY, "length", "time_from_start holds 1"),
    "too many widths": (request(gripper_width=[0.04] * 9), POLICY, "length", "gripper_width holds 9"),
    "a step too short": (request(positions=[*request().positions[:7], [0.0] * 6]), POLICY, "length", "step 7 holds 6"),
    "no steps": (request(positions=[], time_from_start=[], gripper_width=[]), POLICY, "length", "holds 0"),
    "another rate": (request(time_from_start=[k * 0.05 for k in range(1, 9)]), POLICY, "dt", "0.05 s instead of 0.1"),
    "first step due at once": (request(time_from_start=[k * 0.1 for k in range(8)]), POLICY, "dt", "step 0"),
    "NaN time": (request(time_from_start=[0.1, math.nan, *[0.3] * 6]), POLICY, "dt", "step 1"),
    "NaN joint": (request(positions=with_step(3, 4, math.nan)), POLICY, "nonfinite", "fr3_joint5 is nan at step 3"),
    "infinite joint": (request(positions=with_step(0, 0, -math.inf)), POLICY, "nonfinite", "fr3_joint1 is -inf"),
    "NaN width": (request(gripper_width=[0.04] * 7 + [math.nan]), POLICY, "nonfinite", "width is nan at step 7"),
    "NaN stamp": (request(t_obs=math.nan), POLICY, "nonfinite", "t_obs"),
    "from the future": (request(t_obs=1.2), POLICY, "stamp_future", "0.100 s in the future"),
    "too old": (request(t_obs=0.5), POLICY, "stamp_stale", "0.600 s ago, limit 0.5"),
    "beyond a joint's limit": (request(with_step(7, 0, 2.75)), POLICY, "joint_limit", "fr3_joint1 would be at 2.750"),
    "far beyond": (request(with_step(2, 3, 1e9)), POLICY, "joint_limit", "fr3_joint4 would be"),
    "width too large": (request(gripper_width=[0.081] * 8), POLICY, "gripper_limit", "0.0810 m at step 0"),
    "width negative": (request(gripper_width=[0.04] * 7 + [-0.01]), POLICY, "gripper_limit", "-0.0100 m at step 7"),
    "too fast": (request(eased(1.3 * joint[0])), POLICY, "velocity_limit", "fr3_joint1 needs 2."),
    "too sharp": (request(HOME + np.where(np.arange(8) >= 4, 0.12, 0.0)[:, None] * joint[2]), POLICY,
                  "acceleration_limit", "fr3_joint3 needs 12.00 rad/s^2 at step 3, limit 10"),
    "elsewhere": (request(ramp(np.zeros(7), HOME - 0.5 * joint[4])), POLICY, "jump", "fr3_joint5 is 0.500 rad away"),
    "started too suddenly": (request(ramp(1.45 * joint[6])), POLICY, "jump", "fr3_joint7 is 0."),
    "out of the workspace": (request(eased([0, 0.7, 0, -0.4, 0, 0, 0])), POLICY, "workspace", "tool center point"),
    "into a box": (request(eased([0, 0.7, 0, 0, 0, 0.5, 0])), POLICY, "keep_out", "enter the box 'shelf'"),
}  # fmt: skip

HERE_ONLY = ("jump", "workspace", "keep_out")  # reasons that depend on where the arm is


def test_a_good_chunk_is_accepted():
    executor, safety = start()
    verdict = submit(executor, safety, request(), POLICY)
    assert verdict.accepted, verdict
    assert (verdict.anchor, verdict.steps_dropped) == (1.1, 0)
    assert executor.reference(1.2).sequence == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_reason(fault):
    bad, context, reason, words = FAULTS[fault]
    executor, safety = start()
    verdict = submit(executor, safety, bad, context)
    assert verdict.reason == reason, verdict
    assert words in verdict.message
    assert math.isnan(verdict.anchor)
    assert executor.at_rest(context.now)
    assert submit(executor, safety, request(), POLICY).accepted


def test_chunks_out_of_order_are_refused_for_their_sequence():
    executor, safety = start()
    assert submit(executor, safety, request(sequence=3), POLICY).accepted
    later = replace(POLICY, now=1.2)
    assert submit(executor, safety, request(sequence=3, t_obs=1.1), later).reason == "sequence"
    assert submit(executor, safety, request(sequence=4, t_obs=0.9), later).reason == "sequence"
    jitter = 2e-4  # of converting the stamp of the same observation
    assert submit(executor, safety, request(sequence=4, t_obs=1.0 - jitter), later).accepted


@pytest.mark.parametrize("fault", [name for name, (*_, reason, _) in FAULTS.items() if reason not in HERE_ONLY])
def test_a_faulty_copy_of_a_chunk_already_taken_is_refused_for_its_fault(fault):
    bad, context, reason, _ = FAULTS[fault]
    executor, safety = start()
    assert submit(executor, safety, request(), POLICY).accepted
    assert submit(executor, safety, replace(bad, sequence=1), context).reason == reason


def test_a_chunk_with_every_step_past_is_stale():
    executor, safety = start()
    assert submit(executor, safety, request(ramp(0.3 * joint[0])), POLICY).accepted
    patient = CELL.model_copy(update={"execution": CELL.execution.model_copy(update={"max_chunk_age": 2.0})})
    verdict = submit(executor, SafetyFilter(patient), request(sequence=2, t_obs=1.05), replace(POLICY, now=1.91))
    assert verdict.reason == "stamp_stale"
    assert "past its last step" in verdict.message


def test_a_jump_in_motion_is_refused_even_where_its_first_steps_are_past():
    executor, safety = start()
    assert submit(executor, safety, request(ramp(0.3 * joint[0])), POLICY).accepted
    bad = ramp(0.3 * joint[0], HOME + 0.2 * joint[0])
    verdict = submit(executor, safety, request(bad, sequence=2, t_obs=1.15), replace(POLICY, now=1.5))
    assert verdict.reason == "jump"


def test_a_chunk_that_could_not_be_stopped_inside_the_limits_is_refused():
    speeds = np.array((0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.4, 0.4))
    steps = np.cumsum(speeds)[:, None] * DT * joint[0]
    near = HOME + joint[0] * (LIMITS.upper[0] - 0.005) - steps[-1]  # every step is inside
    executor, safety = start(q=near)
    verdict = submit(executor, safety, request(near + steps), POLICY)
    assert verdict.reason == "joint_limit"
    assert "while stopping after the last step" in verdict.message


def test_near_an_end_the_arms_own_limit_of_speed_holds():
    """The FR3 takes 0.58 rad/s of J2 at 1.68 rad, where the cell would allow 2.1."""
    speeds = np.array((0.1, 0.3, 0.5, 0.7, 0.7, 0.5, 0.2, 0.0))
    steps = np.cumsum(speeds)[:, None] * DT * joint[1]
    begin = HOME.copy()
    begin[1], begin[3] = 1.72 - steps[-1, 1], -1.5
    wide = CELL.model_copy(update={"workspace": Box(min=[-2, -2, -2], max=[2, 2, 2]), "keep_out": []})
    executor, safety = start(cell=wide, q=begin)
    verdict = submit(executor, safety, request(begin + steps), POLICY)
    assert verdict.reason == "velocity_limit"
    assert re.search(r"fr3_joint2 needs 0\.\d+ rad/s at 1\.\d+ rad .* limit 0\.\d+ there", verdict.message)
    slower = np.cumsum(speeds / 2)[:, None] * DT * joint[1]
    executor, safety = start(cell=wide, q=begin)
    assert submit(executor, safety, request(begin + slower), POLICY).accepted


def test_speed_scale_lowers_the_velocity_limit():
    slow = CELL.model_copy(update={"arm": CELL.arm.model_copy(update={"speed_scale": 0.2})})
    executor, safety = start()
    fast = request(eased(0.5 * joint[0]))
    assert submit(executor, SafetyFilter(slow), fast, POLICY).reason == "velocity_limit"
    assert submit(executor, safety, fast, POLICY).accepted


def test_widths_of_a_float32_policy_are_accepted():
    executor, safety = start()
    assert submit(executor, safety, request(gripper_width=[float(np.float32(0.08))] * HORIZON), POLICY).accepted


numbers = st.floats() | st.sampled_from([0.0, 0.1, math.nan, math.inf, -math.inf])
garbage = st.builds(
    ChunkRequest,
    t_obs=numbers | st.floats(0.9, 1.1),
    goal=st.binary(max_size=17) | st.just(GOAL),
    sequence=st.integers(0, 2**32 - 1),
    joint_names=st.lists(st.text(max_size=3), max_size=9) | st.just(NAMES),
    positions=st.lists(st.lists(numbers, max_size=9), max_size=10)
    | st.lists(st.lists(numbers, min_size=7, max_size=7), min_size=8, max_size=8)
    | st.just(request().positions),
    time_from_start=st.lists(numbers, max_size=10) | st.just(request().time_from_start),
    gripper_width=st.lists(numbers, max_size=10) | st.lists(numbers, min_size=8, max_size=8),
)


@settings(parent=EXAMPLES, max_examples=400)
@given(garbage)
def test_garbage_never_raises_and_is_never_executed(bad):
    executor, safety = start()
    verdict = submit(executor, safety, bad, POLICY)
    if verdict.accepted:
        assert np.isfinite(np.array(bad.positions)).all()
        assert np.isfinite(bad.gripper_width).all()
    else:
        assert verdict.message
        assert executor.at_rest(POLICY.now)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_rejected_chunks_change_nothing(strategy):
    """The same run with and without bad chunks in between gives the same references, bit by bit."""
    runs = start(strategy), start(strategy)
    # Those that are at fault wherever the arm is, as they are seen 0.1 s after their observation.
    bad = [request for request, context, reason, _ in FAULTS.values() if context is POLICY and reason not in HERE_ONLY]
    accepted = 0
    for i, now in enumerate(np.arange(1.0, 4.0, 0.01)):
        context = replace(POLICY, now=now)
        if i % 10 == 5:
            t_obs = now - 0.15
            phase = t_obs - 1.1 + DT * np.arange(1, HORIZON + 1)
            good = request(HOME + 0.2 * (1 - np.cos(phase.clip(0.0)))[:, None], sequence=i, t_obs=t_obs)
            verdicts = [submit(executor, safety, good, context) for executor, safety in runs]
            assert verdicts[0] == verdicts[1] or not verdicts[0].accepted
            accepted += verdicts[0].accepted
        fault = bad[i % len(bad)]
        executor, safety = runs[1]
        assert not submit(
            executor, safety, replace(fault, t_obs=fault.t_obs + now - POLICY.now, sequence=9999), context
        ).accepted
        plain, disturbed = (executor.reference(now) for executor, _ in runs)
        np.testing.assert_array_equal((plain.q, plain.dq), (disturbed.q, disturbed.dq))
        assert (plain.sequence, plain.step) == (disturbed.sequence, disturbed.step)
    assert accepted >= (3 if strategy is Strategy.OPEN_LOOP_SYNC else 20)


@pytest.mark.parametrize("strategy", list(Strategy))
@settings(parent=EXAMPLES, max_examples=30)
@given(seed=seeds, stopped_at=st.floats(1.0, 3.0))
def test_what_is_accepted_stays_within_every_limit(strategy, seed, stopped_at):
    """A policy that wanders wildly is refused again and again, but what moves stays in bounds, also when stopped."""
    rng = np.random.default_rng(seed)
    executor, safety = start(strategy)
    kinematics = Kinematics(CELL.arm)
    path = []
    for i, now in enumerate(np.arange(1.0, 4.0, 0.01)):
        if i % 10 == 0 and now < stopped_at:
            reference = executor.reference(now - 0.1)
            wander = np.cumsum(np.cumsum(rng.normal(0, rng.choice([0.005, 0.02, 0.04]), (HORIZON, 7)), axis=0), axis=0)
            joints = reference.q + reference.dq * DT * np.arange(1, HORIZON + 1)[:, None] + wander
            chunk = request(joints, t_obs=now - 0.1, sequence=i + 1)
            submit(executor, safety, chunk, replace(POLICY, now=now))
        elif 0 <= now - stopped_at < 0.01:
            executor.stop(now)
        reference = executor.reference(now)
        assert safety.tick_ok(reference.q, reference.dq)
        path.append((reference.q, reference.dq))
    assert executor.at_rest(now)
    q, dq = np.array(path).swapaxes(0, 1)
    small = 1e-3  # between the instants that are checked
    assert (q >= np.array(LIMITS.lower) - small).all()
    assert (q <= np.array(LIMITS.upper) + small).all()
    low, high = Limits(CELL).velocity_range(q)
    assert (dq <= high + 0.02).all()
    assert (dq >= low - 0.02).all()
    assert (np.abs(np.diff(dq, axis=0)) / 0.01 <= 2 * np.array(LIMITS.acceleration) + 1e-6).all()
    tcp = kinematics.tcp(q).position
    assert (tcp >= np.array(CELL.workspace.min) - 5 * small).all()
    assert (tcp <= np.array(CELL.workspace.max) + 5 * small).all()
    place = Space(smaller(CELL, 5 * small)).look(q)
    assert not place.touching.any()
    assert (place.distances >= Space(CELL).parts.clearance - 10 * small).all()


def test_a_way_may_leave_what_it_begins_in_but_enter_nothing():
    post = Box(name="post", min=[0.26, 0.27, 0.0], max=[0.36, 0.37, 0.5])
    safety = SafetyFilter(CELL.model_copy(update={"keep_out": [*CELL.keep_out, post]}))
    in_shelf = HOME + np.array([0, 0.7, 0, 0, 0, 0.5, 0])
    in_post, right, left, behind = (in_shelf + angle * joint[0] for angle in (0.8, -1.2, 1.2, 2.4))
    assert "'shelf'" in safety.pose_problem(in_shelf)
    assert "'post'" in safety.pose_problem(in_post)
    assert not safety.pose_problem(right)
    assert not safety.pose_problem(left)
    assert safety.way_problem(in_shelf, HOME) == ""
    assert safety.way_problem(in_shelf, right) == ""
    assert safety.way_problem(right, left) == "enters the box 'shelf'"
    assert safety.way_problem(in_shelf, left) == "enters the box 'post'"
    assert safety.way_problem(left, behind) == "leaves the workspace"
    assert safety.way_problem(behind, left) == ""


def test_tick_ok_is_the_last_line_of_defense():
    _, safety = start()
    rest = np.zeros(7)
    assert safety.tick_ok(HOME, rest)
    for j in range(7):
        assert not safety.tick_ok(HOME + joint[j] * math.nan, rest)
        assert not safety.tick_ok(HOME, joint[j] * math.nan)
        assert not safety.tick_ok(HOME, -joint[j] * (LIMITS.velocity[j] + 0.1))
        beyond = HOME.copy()
        beyond[j] = LIMITS.upper[j] + 0.01
        assert not safety.tick_ok(beyond, rest)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_check_looks_at_no_more_than_the_motion_ahead_however_long_the_task(strategy):
    """What it costs in time: `vga bench safety`."""
    executor, safety = start(strategy)
    looked_at, look = [], safety.space.look

    def noted(q):
        looked_at.append(len(q))
        return look(q)

    safety.space.look = noted
    synchronous = strategy is Strategy.OPEN_LOOP_SYNC  # takes a chunk when the arm has come to rest after the last one
    wait, moved = (HORIZON * DT + 2.0, HORIZON * DT) if synchronous else (DT, DT)
    for i in range(100):
        now = 1.1 + wait * i
        phase = moved * i + DT * np.arange(1, HORIZON + 1)
        chunk = request(HOME + 0.1 * (1 - np.cos(phase))[:, None], t_obs=now - 0.05, sequence=i + 1)
        assert submit(executor, safety, chunk, replace(POLICY, now=now)).accepted
    assert len(looked_at) == 100  # once a chunk
    ahead = HORIZON * DT + CELL.execution.max_chunk_age + 1.0  # s: the chunk, its age, and a second to come to rest
    assert max(looked_at) <= ahead / SAMPLING


def test_the_cost_of_a_check_is_measured(tmp_path, capsys):
    out = tmp_path / "safety.json"
    assert main(["bench", "safety", "--out", str(out)]) == 0
    costs = json.loads(out.read_text())
    assert set(costs) == set(Strategy)
    assert all(cost["ratio"] > 1 for cost in costs.values())
    assert "temporal_ensemble" in capsys.readouterr().out
    assert main(["bench", "safety", "--cell", "nowhere"]) == 2
    assert "vga bench safety: " in capsys.readouterr().err
