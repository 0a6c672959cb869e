"""A person takes over from the policy and hands back, in the driver itself, on a clock that a test steps."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from support.cells import SIM as CELL
from vga_bringup.robot import driver as driver_module
from vga_bringup.robot.arm import ArmState
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.driver import FrankaDriver
from vga_bringup.robot.motion.following import CAUGHT
from vga_bringup.robot.motion.teleoperation import LeaderSample
from vga_bringup.robot.safety.modes import ModeRefusedError
from vga_bringup.robot.safety.safety_filter import SafetyFilter
from vga_bringup.robot.types import ChunkRequest
from vga_policy.message_constants import Mode, Refusal

HOME = np.array(CELL.arm.home)
PERIOD = 1 / CELL.arm.tracking.rate_hz
LATENCY = 0.14  # s from what a chunk was made of to its arrival
GOAL, NEXT = bytes([1]) * 16, bytes([2]) * 16
LIMITS = Limits(CELL)


class Arm:
    """An arm that is where it was last asked to be, and all that it was asked for."""

    unfit, moving, settings = "", False, ()

    def __init__(self):
        self.q, self.dq, self.time_ms = HOME.copy(), np.zeros(7), 0
        self.commands = []

    def read(self):
        self.time_ms += round(1000 * PERIOD)
        return ArmState(self.q.copy(), self.dq.copy(), np.zeros(7), self.time_ms, "move", "", 1.0)

    def follow(self, q, dq, _q, _dq):
        self.q, self.dq = q.copy(), dq.copy()
        self.commands.append((q.copy(), dq.copy()))

    def release(self):
        self.dq = np.zeros(7)


class Listener:
    def __init__(self):
        self.ticks = []

    def on_tick(self, tick):
        self.ticks.append(tick)

    def on_state(self, state):
        pass


class Rig:
    """The driver with a policy that heads for a place that wanders around home, and a leader that shows `shown(t)`."""

    def __init__(self, monkeypatch, seed=0):
        self.now = 100.0
        clock = SimpleNamespace(monotonic=lambda: self.now, time_ns=lambda: round(self.now * 1e9))
        monkeypatch.setattr(driver_module, "time", clock)
        self.log, self.arm = Listener(), Arm()
        self.driver = FrankaDriver(CELL, self.log)
        self.driver._arm = self.arm
        self.rng = np.random.default_rng(seed)
        self.goal, self.width, self.healthy = GOAL, 0.08, True
        self.shown, self.trigger = lambda t: HOME, 0.08
        self.verdicts = []  # when, and what
        self._phases = self.rng.uniform(0, 2 * np.pi, 7)
        self._seen = []  # when, and the arm's state then
        self._count = self._sequence = 0

    def tick(self, leader=True, policy=True):
        """One control period."""
        self.now += PERIOD
        self._count += 1
        if leader:
            positions = [*self.shown(self.now), self.trigger / 2]
            self.driver.leader(LeaderSample(self.now - 0.002, CELL.joint_state_names, positions))
        if policy and self._count % 5 == 0:
            self.driver.heartbeat(self.goal, self.healthy, "" if self.healthy else "camera wrist is silent")
        if policy and self.goal and self._count % 10 == 0:
            self._act()
        self.driver._tick(self.arm)
        self._seen.append((self.now, self.arm.q.copy(), self.arm.dq.copy()))

    def run(self, seconds, **who):
        for _ in range(round(seconds / PERIOD)):
            self.tick(**who)

    def begin(self):
        """The policy in command, and moving."""
        self.tick(policy=False)
        self.driver.set_mode(Mode.POLICY)
        self.run(0.8)
        assert self.driver.state.goal == GOAL

    def refusals(self):
        return {verdict.reason for _, verdict in self.verdicts if not verdict.accepted}

    def _act(self):
        """A chunk from where the arm was LATENCY ago, as a damped spring takes it to the place."""
        seen = [item for item in self._seen if item[0] <= self.now - LATENCY]
        if not seen:
            return
        t, q, dq = seen[-1]
        steps, h = [], CELL.dt / 10
        for k in range(80):
            place = HOME + 0.25 * np.sin(2 * np.pi * 0.4 * (t + k * h) + self._phases)
            dq = dq + h * np.clip(9.0 * (place - q) - 6.0 * dq, -3.0, 3.0)
            q = q + h * dq
            if k % 10 == 9:
                steps.append(q.tolist())
        self._sequence += 1
        times = [(k + 1) * CELL.dt for k in range(8)]
        request = ChunkRequest(t, self.goal, self._sequence, CELL.arm.joint_names, steps, times, [self.width] * 8)
        self.verdicts.append((self.now, self.driver.submit(request)))


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


def wandering(rng):
    """A leader in a hand: anywhere within 1 rad of home, moving by some decimeters."""
    at, far, phase = rng.uniform(-1.0, 1.0, 7), rng.uniform(0.0, 0.15, 7), rng.uniform(0, 2 * np.pi, 7)
    return lambda t: HOME + at + far * np.sin(2 * np.pi * 0.5 * t + phase)


def test_forty_take_overs_at_random_moments(monkeypatch):
    rig, handed_back, waits = Rig(monkeypatch, seed=5), [], []
    rig.begin()
    rng = rig.rng
    for _ in range(40):
        rig.shown = wandering(rng)
        rig.run(rng.uniform(0.3, 0.7))
        assert rig.driver.set_mode(Mode.TELEOP, keep_goal=True).startswith("TELEOP: the arm follows")
        rig.run(rng.uniform(0.05, 0.8))
        rig.driver.set_mode(Mode.POLICY, keep_goal=True)
        handed_back.append(rig.now)
        before = len(rig.verdicts)
        rig.run(0.3)
        accepted = [at for at, verdict in rig.verdicts[before:] if verdict.accepted]
        waits.append(min(accepted, default=np.inf) - handed_back[-1])
        assert rig.driver.state.mode is Mode.POLICY, rig.driver.state.hold_reason
        assert rig.driver.state.goal == GOAL
    assert rig.refusals() <= {Refusal.TAKEN_OVER}
    assert max(waits) <= 0.3

    safety = SafetyFilter(CELL)
    assert all(safety.tick_ok(q, dq) for q, dq in rig.arm.commands)
    ticks = [tick for tick in rig.log.ticks if tick.reference.moving]
    q, dq = (np.array([getattr(tick.reference, name) for tick in ticks]) for name in ("q", "dq"))
    assert np.abs(np.diff(dq, axis=0)).max() / PERIOD < (2 * LIMITS.acceleration).max(), "velocity jumps"
    drift = np.diff(q, axis=0) - PERIOD * (dq[1:] + dq[:-1]) / 2
    assert np.abs(drift).max() < PERIOD**2 * LIMITS.acceleration.max() / 4, "position jumps"
    modes = [tick.mode for tick in rig.log.ticks]
    changes = [(a, b) for a, b in pairwise(modes) if a is not b and Mode.HOLD not in (a, b)]
    assert len(changes) == 80
    assert all(tick.goal == GOAL for tick in rig.log.ticks if tick.mode is Mode.TELEOP), "who was corrected"


def test_the_arm_follows_the_leaders_motion_from_where_both_are(rig):
    rig.begin()
    rig.shown = lambda t: HOME + 0.9
    rig.run(0.2)
    before = rig.arm.q
    rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    rig.run(0.5)
    assert np.abs(rig.arm.q - before).max() < 0.1, "a leader that stands still moves nothing"
    at, motion = rig.arm.q, np.array([0.1, -0.1, 0.1, 0.1, 0.0, 0.2, -0.2])
    assert rig.driver.figures().teleop.offset == pytest.approx(at - HOME - 0.9, abs=2e-3)
    rig.shown = lambda t: HOME + 0.9 + motion
    rig.run(1.0)
    assert rig.arm.q == pytest.approx(at + motion, abs=3e-3)


def test_the_hand_keeps_its_grip_until_the_trigger_has_come_there(rig):
    rig.width, rig.trigger = 0.01, 0.08
    rig.begin()
    rig.driver.set_mode(Mode.TELEOP, keep_goal=True)

    def asked(trigger):
        rig.trigger = trigger
        rig.run(0.1)
        return rig.log.ticks[-1].reference.gripper_width, rig.driver.figures().teleop.gripping

    assert asked(0.08) == (0.01, False), "an open trigger lets nothing fall"
    assert asked(0.01 + 2 * CAUGHT) == (0.01, False)
    assert asked(0.012) == (pytest.approx(0.012), True)
    assert asked(0.07) == (pytest.approx(0.07), True)


def test_a_leader_unplugged_means_hold_and_the_same_goal_goes_on_after(rig):
    rig.begin()
    rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    rig.run(0.3)
    rig.run(0.5, leader=False)
    state = rig.driver.state
    assert (state.mode, state.goal, state.at_rest) == (Mode.HOLD, GOAL, True)
    assert state.hold_reason == "no message of the leader for 0.20 s: once it is back, set POLICY again"
    with pytest.raises(ModeRefusedError, match="takes over from a policy in command, and the driver is in HOLD"):
        rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    assert rig.driver.set_mode(Mode.POLICY, keep_goal=True) == "POLICY: the same goal goes on"
    rig.run(0.4)
    assert rig.driver.state.mode is Mode.POLICY
    assert rig.verdicts[-1][1].accepted
    assert rig.refusals() == {Refusal.TAKEN_OVER}


@pytest.mark.parametrize("end", ["stopped", "armed anew", "sent home"])
def test_what_else_the_operator_wants_ends_the_goal(rig, end):
    rig.begin()
    rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    rig.run(0.5, leader=False)
    if end == "stopped":
        rig.driver.stop()
    elif end == "armed anew":
        rig.driver.set_mode(Mode.POLICY)
    else:
        assert not rig.driver.home().done
    rig.run(0.1)
    assert rig.driver.state.goal is None
    if end == "armed anew":
        assert not rig.verdicts[-1][1].accepted
    else:
        with pytest.raises(
            ModeRefusedError, match="homing is running" if end == "sent home" else "no task to hand back"
        ):
            rig.driver.set_mode(Mode.POLICY, keep_goal=True)


@pytest.mark.parametrize(
    ("goal", "words"),
    [(None, "there is no task to hand back to: set HOLD, then POLICY for the next one"), (NEXT, "there is no task")],
    ids=["ended", "superseded"],
)
def test_a_task_that_ends_meanwhile_is_not_handed_back_to(rig, goal, words):
    rig.begin()
    rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    rig.goal = goal
    rig.run(0.2)
    with pytest.raises(ModeRefusedError, match=words):
        rig.driver.set_mode(Mode.POLICY, keep_goal=True)
    assert rig.driver.state.mode is Mode.TELEOP, "the person stays in command"


def test_a_policy_that_has_fallen_silent_or_ill_is_not_handed_back_to(rig):
    rig.begin()
    rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    rig.run(0.5, policy=False)
    with pytest.raises(ModeRefusedError, match=r"no healthy policy heartbeat for 0\.5\d s: the policy is silent"):
        rig.driver.set_mode(Mode.POLICY, keep_goal=True)
    rig.healthy = False
    rig.run(0.3)
    with pytest.raises(ModeRefusedError, match="camera wrist is silent"):
        rig.driver.set_mode(Mode.POLICY, keep_goal=True)
    rig.healthy = True
    rig.run(0.1)
    rig.driver.set_mode(Mode.POLICY, keep_goal=True)


def test_nothing_is_taken_over_where_no_policy_commands(rig):
    rig.tick()
    for doing, words in (("nothing", "in HOLD: start a task first"), ("homing", "homing is running: wait for it")):
        if doing == "homing":
            assert not rig.driver.home(goal=(HOME + 0.1).tolist()).done
        with pytest.raises(ModeRefusedError, match=f"TELEOP refused: .*{words}"):
            rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    rig.driver.stop()
    rig.run(1.0)
    rig.goal = None
    rig.driver.set_mode(Mode.POLICY)
    rig.run(0.2)
    with pytest.raises(ModeRefusedError, match="no task is running, so there is nothing to take over"):
        rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    rig.goal = NEXT
    rig.run(0.5)
    rig.run(0.3, leader=False)
    with pytest.raises(ModeRefusedError, match="no leader publishes joint states"):
        rig.driver.set_mode(Mode.TELEOP, keep_goal=True)


def test_the_policys_chunks_are_not_heeded_while_a_person_commands(rig):
    rig.begin()
    rig.driver.set_mode(Mode.TELEOP, keep_goal=True)
    before = len(rig.verdicts)
    rig.run(0.5)
    verdicts = [verdict for _, verdict in rig.verdicts[before:]]
    assert {verdict.reason for verdict in verdicts} == {Refusal.TAKEN_OVER}
    assert verdicts[0].message == "not in command: a person has taken over, and the driver is in TELEOP"
