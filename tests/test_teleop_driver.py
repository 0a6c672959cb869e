"""The driver in TELEOP, against the simulated arm over libfranka's real protocol. The leader is a thread."""

import threading
import time

import numpy as np
import pytest
from driving import cell_at, driving, wait_for
from simulated_arm import SimulatedArm, own_address
from vga_bringup.robot.motion.following import APPROACH_SPEED
from vga_bringup.robot.motion.teleoperation import LeaderSample
from vga_bringup.robot.safety.modes import ModeRefusedError
from vga_policy.message_constants import Mode

ADDRESS = own_address(60)
CELL = cell_at(ADDRESS)
HOME = np.array(CELL.arm.home)
NAMES = CELL.joint_state_names
REST = 0.01  # rad/s


class Leader:
    """A leader read 100 times a second while `heard`. It stands at `q` (rad), or swings from there and back."""

    def __init__(self, driver, q=HOME, width=0.08):
        self.q, self.width = np.array(q, dtype=float), width
        self.stand()
        self.heard = threading.Event()
        self.heard.set()
        self.last = 0.0
        self._driver = driver
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def swing(self, amplitude):
        """0.5 Hz, `amplitude` (rad) from peak to peak in every joint."""
        self._swing = amplitude, time.monotonic()

    def stand(self):
        self._swing = 0.0, 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(0.01):
            if self.heard.is_set():
                now = time.monotonic()
                amplitude, since = self._swing
                q = self.q + amplitude * (1 - np.cos(np.pi * (now - since))) / 2
                self._driver.leader(LeaderSample(now, NAMES, [*q, self.width / 2]))
                self.last = now


@pytest.fixture(scope="module")
def rig():
    with SimulatedArm(ADDRESS), driving(CELL) as rig:
        yield rig


@pytest.fixture
def driver(rig):
    driver, _ = rig
    go_home(driver)
    return driver


@pytest.fixture
def log(rig):
    return rig[1]


def go_home(driver):
    for _ in range(4):
        driver.set_mode(Mode.HOLD)
        wait_for(lambda: driver.state.robot_mode == "idle", what="rest")
        job = driver.home(0.5)
        assert job.wait(20.0)
        if job.success:  # else the machine stalled and the arm was left behind
            break
    assert job.success, job.message
    wait_for(lambda: driver.state.robot_mode == "idle", what="rest")


def following(driver):
    figures = driver.figures()
    return figures.state.mode is Mode.TELEOP and not figures.teleop.approaching


def approach_speed(log, since):
    return max(np.abs(tick.reference.dq).max() for t, tick in list(log.ticks) if t > since)


def test_without_a_leader_teleop_is_refused(driver):
    with pytest.raises(ModeRefusedError, match="no leader publishes"):
        driver.set_mode(Mode.TELEOP)


def test_a_leader_too_far_away_is_refused_by_the_joints_name(driver):
    with Leader(driver, HOME + np.array([0, 0, 0, 0.9, 0, 0, 0])) as leader:
        wait_for(lambda: leader.last)
        with pytest.raises(ModeRefusedError, match=r"fr3_joint4 by 0.90 rad \(leader -1.46, arm -2.36\)"):
            driver.set_mode(Mode.TELEOP)
    assert driver.state.mode is Mode.HOLD


def test_the_arm_approaches_slowly_then_follows_and_then_takes_the_trigger(driver, log):
    for _ in range(5):
        go_home(driver)
        with Leader(driver, HOME + 0.3, width=0.02) as leader:
            wait_for(lambda leader=leader: leader.last)
            started = time.monotonic()
            driver.set_mode(Mode.TELEOP)
            with pytest.raises(ModeRefusedError, match="still moving"):
                driver.set_mode(Mode.POLICY)
            wait_for(lambda: following(driver) or driver.state.mode is Mode.HOLD)
            if driver.state.mode is Mode.HOLD:
                continue  # the machine stalled
            assert 0.9 * APPROACH_SPEED < approach_speed(log, started) <= APPROACH_SPEED + 0.05
            wait_for(lambda: driver.gripper_state.commanded_width == 0.02)
            driver.figures()

            leader.swing(0.4)
            swinging = time.monotonic()
            wait_for(lambda swinging=swinging: time.monotonic() > swinging + 2.0)
            figures = driver.figures().teleop
            ticks = [tick for t, tick in list(log.ticks) if t > swinging]
            if {tick.mode for tick in ticks} == {Mode.TELEOP}:
                assert len(figures.latencies) > 50
                assert np.median(figures.latencies) < 0.05
                assert np.ptp([tick.reference.q for tick in ticks], axis=0) == pytest.approx(np.full(7, 0.4), abs=0.05)
                break
    else:
        pytest.fail("this machine is too busy to be a leader 100 times a second")
    wait_for(lambda: driver.state.mode is Mode.HOLD)


def test_a_silent_leader_brings_the_arm_to_rest_and_its_return_does_not_move_it(driver, log):
    with Leader(driver) as leader:
        for _ in range(8):
            wait_for(lambda: leader.last)
            driver.set_mode(Mode.TELEOP)
            wait_for(lambda: following(driver))
            leader.swing(0.5)
            wait_for(lambda: np.abs(log.ticks[-1][1].arm.dq).max() > 0.6)
            leader.heard.clear()
            wait_for(lambda: driver.state.mode is Mode.HOLD)
            assert "no message of the leader" in driver.state.hold_reason
            silent = leader.last
            wait_for(lambda silent=silent: time.monotonic() > silent + 0.8)

            where = log.ticks[-1][1].arm.q
            leader.q = where + 0.2
            leader.stand()
            leader.heard.set()  # it is back, elsewhere
            back = time.monotonic()
            wait_for(lambda back=back: time.monotonic() > back + 0.3)
            assert log.ticks[-1][1].arm.q == pytest.approx(where, abs=0.005)
            driver.set_mode(Mode.TELEOP)  # a fresh alignment
            wait_for(lambda: following(driver))
            assert approach_speed(log, back) <= APPROACH_SPEED + 0.05
            leader.q = np.array(HOME)
            wait_for(lambda: np.abs(log.ticks[-1][1].arm.q - HOME).max() < 0.05)
            driver.set_mode(Mode.HOLD)
            wait_for(lambda: driver.state.at_rest)

            times, speeds = log.speed_after(silent)
            kept_time = log.real_time_factor(silent, silent + 0.5) > 0.95 and np.diff(times).max() < 0.05
            if kept_time:  # else the machine stalled, which says nothing about the driver
                assert max((times - silent)[(speeds > REST) & (times < back)]) <= 0.3
                return
    pytest.fail("this machine is too busy to simulate an arm in real time")


def test_hold_in_mid_motion_brakes_smoothly(driver, log):
    with Leader(driver) as leader:
        wait_for(lambda: leader.last)
        driver.set_mode(Mode.TELEOP)
        wait_for(lambda: following(driver))
        leader.swing(0.5)
        wait_for(lambda: np.abs(log.ticks[-1][1].reference.dq).max() > 0.6)
        driver.set_mode(Mode.HOLD)
        held = time.monotonic()
        wait_for(lambda: time.monotonic() > held + 0.5)
    assert driver.state.at_rest
    assert driver.state.hold_reason == "requested by the operator"
    ticks = [tick for t, tick in list(log.ticks) if t > held - 0.2]
    seconds = np.diff([tick.reference_ns * 1e-9 for tick in ticks])
    steps = np.abs(np.diff([tick.reference.q for tick in ticks], axis=0))
    assert (steps <= 1.0 * seconds[:, None] + 0.04).all()  # no jump; at the end, to where the arm is
    assert log.speed_after(held + 0.4)[1].max() < REST


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"read_at": -0.2}, "old"),
        ({"read_at": 0.2}, "future"),
        ({"names": NAMES[::-1]}, "names"),
        ({"positions": [*HOME[:6], float("nan"), 0.04]}, "nonfinite"),
        ({"positions": [*HOME]}, "names"),
    ],
)
def test_samples_that_cannot_be_used_are_counted_and_arm_nothing(driver, change, reason):
    before = driver.figures().teleop.ignored.get(reason, 0)
    sample = {"names": NAMES, "positions": [*HOME, 0.04], **change}
    sample["read_at"] = time.monotonic() + change.get("read_at", 0.0)
    wait_for(lambda: time.monotonic() > sample["read_at"] - 0.3)
    driver.leader(LeaderSample(**sample))
    assert driver.figures().teleop.ignored[reason] == before + 1
    with pytest.raises(ModeRefusedError):
        driver.set_mode(Mode.TELEOP)


def test_home_takes_another_position(driver, log):
    goal = HOME + np.array([0.2, -0.1, 0, 0.1, 0, 0, 0.3])
    job = driver.home(1.0, goal.tolist())
    assert job.wait(10.0)
    assert job.success, job.message
    assert log.ticks[-1][1].arm.q == pytest.approx(goal, abs=0.03)


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ([0.0] * 6, "7 finite joint angles"),
        ([float("nan")] * 7, "7 finite joint angles"),
        ([*HOME[:5], 6.0, 0.0], "fr3_joint6 would be at 6.000 rad"),
        ([0.0, 1.7, 0.0, -1.0, 0.0, 1.5, 0.0], "tool center point would be at"),
    ],
)
def test_a_position_out_of_bounds_is_refused(driver, goal, words):
    job = driver.home(1.0, goal)
    assert job.done
    assert not job.success
    assert words in job.message
