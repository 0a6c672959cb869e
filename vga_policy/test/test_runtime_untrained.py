"""The untrained policy in closed loop: it moves the arm all the time, and keeps it near home, slow and smooth."""

import numpy as np
import pytest
from policy_fixtures import HOME, SIM, observation
from vga_policy.checkpoints.checkpoint import save
from vga_policy.inference.policy import Policy
from vga_policy.inference.untrained import untrained_checkpoint

TICK = 5  # samples of the reference a control step
SAMPLE = SIM.dt / TICK
LATENCY = 0.15
BLEND = 0.2


class IdealArm:
    """Follows chunks without error: always the newest, LATENCY after t_obs, the seam faded out over BLEND.

    A simplified `receding` executor that rebuilds its reference from plain arrays.
    """

    def __init__(self, start):
        self.position, self.velocity, self.width = np.array(start), np.zeros(7), 0.08
        self._pending, self._plan = [], None

    def receive(self, t_obs, chunk):
        anchor = t_obs if self._plan is not None or self._pending else t_obs + LATENCY  # from standstill: its start
        self._pending.append((t_obs + LATENCY, anchor, np.vstack([self.position, chunk.joints]), chunk.gripper_width))

    def move(self, now):
        """Advances to `now`."""
        if self._pending and now > self._pending[0][0] - 1e-9:
            _, anchor, points, self._widths = self._pending.pop(0)
            self._plan = lambda t: along(points, (t - anchor) / SIM.dt)
            self._switched, self._anchor = now - SAMPLE, anchor
            self._offset = self.position - self._plan(self._switched)
            self._slip = self.velocity - (self._plan(now) - self._plan(self._switched)) / SAMPLE
        if self._plan is None:
            return
        u = min((now - self._switched) / BLEND, 1.0)
        seam = self._offset * (2 * u**3 - 3 * u**2 + 1) + self._slip * BLEND * (u**3 - 2 * u**2 + u)
        position = self._plan(now) + seam
        self.velocity, self.position = (position - self.position) / SAMPLE, position
        self.width = self._widths[min(int((now - self._anchor) / SIM.dt), len(self._widths) - 1)]


def along(points, step):
    """The points [N, 7] interpolated at a fractional index."""
    k = min(int(step), len(points) - 2)
    return points[k] + (step - k) * (points[k + 1] - points[k])


def closed_loop(policy, seconds, start=HOME, noise=0):
    """Joint positions [N, 7] and gripper widths [N], every SAMPLE seconds, under ever new noise images."""
    arm, joints, widths = IdealArm(start), [], []
    for k in range(round(seconds / SAMPLE)):
        if k % TICK == 0:
            seen = observation(arm.position, arm.width, seed=100_000 * noise + k, size=(24, 32))
            arm.receive(k * SAMPLE, policy.act(seen))
        arm.move((k + 1) * SAMPLE)
        joints.append(arm.position)
        widths.append(arm.width)
    return np.array(joints), np.array(widths)


def tcp_height(q):
    """Height of the tool center point of an FR3 with hand above its base, m (Craig's DH parameters)."""
    a = [0, 0, 0, 0.0825, -0.0825, 0, 0.088]
    d = [0.333, 0, 0.316, 0, 0.384, 0, 0]
    sin_alpha = [0, -1, 1, 1, -1, 1, 1]
    cos_alpha = [1, 0, 0, 0, 0, 0, 0]
    pose = np.eye(4)
    for ai, di, sa, ca, s, c in zip(a, d, sin_alpha, cos_alpha, np.sin(q), np.cos(q), strict=True):
        pose = pose @ [[c, -s, 0, ai], [s * ca, c * ca, -sa, -di * sa], [s * sa, c * sa, ca, di * ca], [0, 0, 0, 1]]
    return (pose @ [0, 0, 0.107 + 0.1034, 1])[2]


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """Two sets of weights, through checkpoints: what moves the arm are weights."""
    loaded = []
    for seed in (0, 1):
        directory = tmp_path_factory.mktemp("untrained") / "checkpoint"
        save(untrained_checkpoint(SIM, seed=seed), directory)
        loaded.append(Policy.from_pretrained(directory, SIM))
    return loaded


@pytest.mark.parametrize("weights", [0, 1])
def test_the_arm_keeps_moving_gently(policies, weights):
    joints, widths = closed_loop(policies[weights], 20.0, noise=weights)
    ten_seconds = round(10.0 / SAMPLE)
    for start in range(0, len(joints) - ten_seconds, TICK):
        assert (np.ptp(joints[start : start + ten_seconds], axis=0) >= 0.45).sum() >= 5
    assert np.abs(joints - HOME).max() < 0.5
    assert np.abs(np.diff(joints, axis=0)).max() / SAMPLE < 0.8
    steps = joints[::TICK]
    assert np.abs(np.diff(steps, 2, axis=0)).max() / SIM.dt**2 < 4.0
    assert min(map(tcp_height, steps)) > 0.3
    openings = np.diff((widths > 0.5 * SIM.gripper.max_width).astype(int))
    assert 2 <= np.abs(openings).sum() <= 14


def test_home_is_where_the_dh_parameters_say():
    assert tcp_height(HOME) == pytest.approx(0.487, abs=1e-3)


@pytest.mark.parametrize("weights", [0, 1])
def test_from_far_away_the_arm_returns(policies, weights):
    start = HOME + np.random.default_rng(weights).choice([-0.8, 0.8], 7)
    joints, _ = closed_loop(policies[weights], 12.0, start=start)
    assert np.abs(joints[-round(5.0 / SAMPLE) :] - HOME).max() < 0.5
    assert np.abs(np.diff(joints, axis=0)).max() / SAMPLE < 1.0


def test_every_single_chunk_is_slow_and_smooth(policies):
    rng = np.random.default_rng(0)
    for seed in range(50):
        at = HOME + rng.uniform(-0.45, 0.45, 7)
        plan = np.vstack([at, policies[0].act(observation(at, seed=seed, size=(24, 32))).joints])
        assert (np.abs(np.diff(plan, axis=0)) / SIM.dt < 0.8).all()
        assert (np.abs(np.diff(plan, 2, axis=0)) / SIM.dt**2 < 4.0).all()
