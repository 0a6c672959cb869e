"""A thousand malformed chunks between good ones, from an outside process: counted by reason, and without effect."""

import time
from collections import Counter

import numpy as np
import pytest
from support.cells import cell_at
from support.driver_process import POLICY, DriverProcess, Outsider, RosPolicy, chunk_message
from support.owned import own_address
from support.simulated_arm import SimulatedArm
from support.waiting import eventually
from vga_policy.cell.schema import Box

ADDRESS = own_address()
# A corridor along the x axis: the sine stays in its middle, a turn of joint 1 leaves it.
CELL = cell_at(ADDRESS, heartbeat_timeout=1.0).model_copy(
    update={"workspace": Box(min=[-0.2, -0.03, 0.0], max=[0.9, 0.03, 1.1])}
)
AMPLITUDE = [0.0, 0.2, 0.0, 0.2, 0.0, 0.2, 0.3]  # rad
SECONDS = 5.0
TOTAL = 1000
NUMBERED_FROM = 100_000  # sequence of the first malformed chunk
PENDING = 8  # malformed chunks sent and not yet judged, at most
GOOD, DEAD, UNKNOWN = (bytes([n]) * 16 for n in (1, 2, 3))


def set_step(step, joint, value):
    def change(joints):
        joints[step, joint] = value

    return change


def ramp(joints):
    joints[:, 6] -= 0.3 * np.arange(8)  # 3 rad/s


def zigzag(joints):
    joints[:, 1] += 0.04 * (-1.0) ** np.arange(8)


def turn(joints):
    joints[:, 0] += np.minimum(0.02 * np.arange(1, 9) ** 1.5, 0.14)


def offset(joints):
    joints[:, 6] += 0.3


def drop_last(chunk):
    chunk.trajectory.points.pop()
    chunk.gripper_width.pop()


def delay_steps(chunk):
    for point in chunk.trajectory.points:
        point.time_from_start.nanosec += 50_000_000


def shift_stamp(seconds):
    def change(chunk):
        chunk.header.stamp.sec += seconds

    return change


def set_field(chunk, path, value):
    *parents, name = path.split(".")
    for parent in parents:
        chunk = getattr(chunk, parent)
    setattr(chunk, name, value)


# What is wrong -> (the reason it must be counted under, what it does to the joints, what it does to the message).
KINDS = {
    "NaN": ("nonfinite", set_step(3, 2, np.nan), None),
    "infinity": ("nonfinite", set_step(7, 0, np.inf), None),
    "gripper NaN": ("nonfinite", None, lambda c: set_field(c, "gripper_width", [np.nan] * 8)),
    "unknown joint": ("joint_names", None, lambda c: c.trajectory.joint_names.__setitem__(0, "elbow")),
    "no names": ("joint_names", None, lambda c: set_field(c, "trajectory.joint_names", [])),
    "reordered joints": ("joint_names", None, lambda c: c.trajectory.joint_names.reverse()),
    "seven steps": ("length", None, drop_last),
    "six joints": ("length", None, lambda c: c.trajectory.points[4].positions.pop()),
    "no gripper": ("length", None, lambda c: set_field(c, "gripper_width", [])),
    "empty": ("length", None, lambda c: set_field(c, "trajectory.points", [])),
    "wrong dt": ("dt", None, delay_steps),
    "dead goal": ("goal", None, lambda c: set_field(c, "goal_id.uuid", np.frombuffer(DEAD, np.uint8))),
    "unknown goal": ("goal", None, lambda c: set_field(c, "goal_id.uuid", np.frombuffer(UNKNOWN, np.uint8))),
    "no goal": ("goal", None, lambda c: set_field(c, "goal_id.uuid", np.zeros(16, np.uint8))),
    "from the future": ("stamp_future", None, shift_stamp(1)),
    "far future": ("stamp_future", None, shift_stamp(10**6)),
    "stale": ("stamp_stale", None, shift_stamp(-2)),
    "repeated": ("sequence", None, lambda c: set_field(c, "sequence", 1)),
    "joint limit": ("joint_limit", set_step(6, 3, 0.5), None),
    "gripper limit": ("gripper_limit", None, lambda c: set_field(c, "gripper_width", [0.2] * 8)),
    "too fast": ("velocity_limit", ramp, None),
    "too jerky": ("acceleration_limit", zigzag, None),
    "jump": ("jump", offset, None),
    "out of the workspace": ("workspace", turn, None),
}


@pytest.fixture(scope="module")
def outsider(ros_domain, tmp_path_factory):
    outsider = Outsider()
    with SimulatedArm(ADDRESS), DriverProcess(tmp_path_factory.mktemp("driver"), CELL):
        eventually(outsider.connected, "the driver", 20.0)
        yield outsider
    outsider.close()


def malformed(policy, kind, number):
    """One malformed chunk, made of what the good policy would say now; numbered from NUMBERED_FROM."""
    _, spoil_joints, spoil_message = KINDS[kind]
    t_obs = time.time() - 0.08
    joints = policy.joints(t_obs)
    if spoil_joints:
        spoil_joints(joints)
    chunk = chunk_message(CELL, policy.goal, NUMBERED_FROM + number, t_obs, joints)
    if spoil_message:
        spoil_message(chunk)
    return chunk


def run(outsider, goal, spoilers=0):
    """One task of the good policy: (references sent to the arm, verdicts, what was sent malformed)."""
    outsider.go_home()
    assert outsider.set_mode(POLICY).success
    outsider.references.clear()
    outsider.verdicts.clear()
    sent = []
    ticks = int(SECONDS / 0.05)

    def unanswered():
        return len(sent) - sum(not verdict.accepted for verdict in list(outsider.verdicts))

    def spoil(policy, tick):
        # Not faster than the driver judges them: on a slow machine chunks would grow stale in its queue.
        while tick > 3 and len(sent) < min(spoilers, spoilers * (tick + 1) // ticks) and unanswered() < PENDING:
            kind = list(KINDS)[len(sent) % len(KINDS)]
            outsider.publish(malformed(policy, kind, len(sent)))
            sent.append(kind)

    policy = RosPolicy(outsider, CELL, goal, AMPLITUDE, also=spoil)
    eventually(lambda: time.time() > policy.started + SECONDS + 0.5 and len(sent) == spoilers, seconds=6 * SECONDS)
    policy.kill()
    return policy, list(outsider.references), sent


def trajectory(policy, references):
    """Reference positions [T, 7] every 10 ms from 1 s after the policy started, NaN where the machine stalled.

    Not of the first second: a motion begins when its first chunk arrives, which is never twice at the same time.
    """
    times = np.array([m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in references]) - policy.started
    q = np.array([m.position for m in references])
    grid = np.arange(1.0, SECONDS, 0.01)
    after = np.searchsorted(times, grid)
    stalled = times[after] - times[after - 1] > 0.05
    positions = np.stack([np.interp(grid, times, q[:, joint]) for joint in range(7)], axis=1)
    return np.where(stalled[:, None], np.nan, positions)


def test_malformed_chunks_are_counted_and_change_nothing(outsider):
    outsider.heartbeat(DEAD)  # in HOLD: dead from now on
    alone, references_alone, _ = run(outsider, GOOD)
    before = dict(outsider.diagnostics["/franka_driver: control"])
    among, references_among, sent = run(outsider, bytes([4]) * 16, TOTAL)

    expected = Counter(KINDS[kind][0] for kind in sent)
    assert len(sent) == TOTAL
    eventually(lambda: sum(not verdict.accepted for verdict in outsider.verdicts) >= TOTAL, "all verdicts", 5.0)
    reasons = {verdict.sequence: verdict.reason for verdict in outsider.verdicts}
    wrong = {kind: reasons.get(NUMBERED_FROM + number) for number, kind in enumerate(sent)
             if kind != "repeated" and reasons.get(NUMBERED_FROM + number) != KINDS[kind][0]}  # fmt: skip
    assert not wrong
    assert Counter(verdict.reason for verdict in outsider.verdicts if not verdict.accepted) == expected

    def counted():
        now = outsider.diagnostics["/franka_driver: control"]
        return {reason: int(now[f"rejected_{reason}"]) - int(before[f"rejected_{reason}"]) for reason in expected}

    eventually(lambda: counted() == dict(expected), "the counts on /diagnostics", 3.0)

    undisturbed, disturbed = trajectory(alone, references_alone), trajectory(among, references_among)
    assert np.nanmax(disturbed[:, 6]) - np.nanmin(disturbed[:, 6]) > 0.25
    difference = np.abs(undisturbed - disturbed)
    assert np.isfinite(difference).mean() > 0.5, "this machine is too busy to compare trajectories"
    assert np.nanmax(difference) <= 0.005
