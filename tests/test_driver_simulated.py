"""The driver against the simulated arm, over libfranka's real protocol: tracking, stopping, losing the arm."""

import time

import numpy as np
import pytest
from driving import AMPLITUDE, Policy, cell_at, driving, wait_for
from simulated_arm import SimulatedArm, own_address
from vga_bringup.robot.safety.modes import ModeRefusedError
from vga_policy.message_constants import Mode

ADDRESS, OTHER = own_address(30), own_address(31)
REST = 0.01  # rad/s


@pytest.fixture(scope="module")
def simulated_arm():
    with SimulatedArm(ADDRESS) as simulated:
        yield simulated


def at_home(driver):
    """Brings the arm home, whatever the test before left."""
    driver.set_mode(Mode.HOLD)
    wait_for(lambda: driver.state.robot_mode == "idle", what="rest")
    job = driver.home(1.0)
    assert job.wait(10.0)
    assert job.success, job.message
    wait_for(lambda: driver.state.robot_mode == "idle", what="rest")


def time_to_rest(driver, log, cell, end, then):
    """Moves the arm and ends its policy with `end`: (when, seconds until the arm rested for good), in mode `then`.

    Repeats when the machine stalled or the simulator lost real time meanwhile, which says nothing about the driver.
    """
    for _ in range(5):
        at_home(driver)
        driver.set_mode(Mode.POLICY)
        policy = Policy(driver, cell)
        wait_for(lambda policy=policy: time.monotonic() > policy.started + 1.5)
        ended = end(policy)
        wait_for(lambda ended=ended: time.monotonic() > ended + 1.0)
        if driver.state.mode is then and log.real_time_factor(ended, ended + 1.0) > 0.95:
            times, speeds = log.speed_after(ended)
            return ended, max((times - ended)[speeds > REST], default=0.0)
    pytest.fail(f"never at rest in {then.name}, or this machine is too busy to simulate an arm in real time")


@pytest.mark.parametrize("tracking", ["velocity", "impedance"])
def test_a_stream_of_chunks_is_followed(simulated_arm, tracking):
    cell = cell_at(ADDRESS, tracking)
    with driving(cell) as (driver, log):
        assert all(setting.ok for setting in driver.figures().settings)
        at_home(driver)
        driver.set_mode(Mode.POLICY)
        policy = Policy(driver, cell)
        start = follow_a_period(log, policy)
        driver.set_mode(Mode.HOLD)
        policy.end()

        times, measured, reference = log.since(start)
        period = times < start + 2.0
        assert np.sqrt(np.mean((measured - reference)[period] ** 2)) <= 0.02
        assert np.ptp(measured[period], axis=0) == pytest.approx(AMPLITUDE, abs=0.03)
        at_home(driver)


def follow_a_period(log, policy):
    """The start of a period of the sine in which chunks came in time and the simulator kept real time."""
    start = policy.started + 0.5
    for _ in range(10):
        wait_for(lambda start=start: time.monotonic() > start + 2.0)
        refused = [verdict.message for verdict in policy.verdicts if not verdict.accepted]
        if not refused and log.real_time_factor(start, start + 2.0) >= 0.97:
            return start
        start, policy.verdicts = time.monotonic(), []
    pytest.fail(f"this machine is too busy to simulate an arm in real time; last refusals: {refused[:3]}")


@pytest.mark.parametrize("tracking", ["velocity", "impedance"])
def test_an_arm_held_up_at_speed_goes_on(simulated_arm, tracking):
    cell = cell_at(ADDRESS, tracking)
    away = np.array(cell.arm.home) + 0.3
    with driving(cell) as (driver, log):
        at_home(driver)
        for goal in (away, cell.arm.home) * 3:
            job = driver.home(1.0, list(goal))
            wait_for(lambda: np.max(np.abs(log.ticks[-1][1].arm.dq)) > 0.5, what="speed")
            simulated_arm.hold_up(0.06)
            assert job.wait(10.0)
            assert job.success, job.message
            wait_for(lambda: driver.state.robot_mode == "idle", what="rest")


@pytest.fixture
def rig(simulated_arm):
    """A driver of the arm at home: (driver, log, cell)."""
    cell = cell_at(ADDRESS)
    with driving(cell) as (driver, log):
        at_home(driver)
        yield driver, log, cell


def test_a_silent_policy_brings_the_arm_to_rest(rig):
    driver, log, cell = rig
    _, seconds = time_to_rest(driver, log, cell, Policy.kill, Mode.HOLD)
    assert seconds <= 0.6
    assert driver.state.robot_mode == "idle"
    assert "the policy is silent" in driver.state.hold_reason


def test_chunks_of_a_canceled_goal_do_not_move_the_arm(rig):
    driver, log, cell = rig
    verdicts = []

    def cancel(policy):
        ended = policy.end()
        for sequence in range(1000, 1040):  # the policy has not heard of it
            driver.heartbeat(None, True, "")
            verdicts.append(driver.submit(policy.chunk(sequence)))
            time.sleep(0.025)
        return ended

    ended, seconds = time_to_rest(driver, log, cell, cancel, Mode.POLICY)
    assert seconds <= 0.6
    assert {verdict.reason for verdict in verdicts} == {"goal"}
    _, _, reference = log.since(ended + 0.6)
    assert np.ptp(reference, axis=0).max() < 1e-9

    second = Policy(driver, cell)
    wait_for(lambda: log.speed_after(second.started)[1].max(initial=0.0) > 0.1, what="the next goal's motion")
    second.end()


def test_stop_ends_homing_and_homing_can_be_canceled(rig):
    driver, log, cell = rig
    driver.set_mode(Mode.POLICY)
    policy = Policy(driver, cell)
    wait_for(lambda: time.monotonic() > policy.started + 1.0)
    assert not driver.home().success  # not in POLICY
    driver.stop()
    policy.kill()
    wait_for(lambda: driver.state.robot_mode == "idle")
    away = driver.home(0.05)
    wait_for(lambda: not driver.state.at_rest)
    with pytest.raises(ModeRefusedError, match="homing is running"):
        driver.set_mode(Mode.POLICY)
    driver.stop()
    assert away.wait(2.0)
    assert not away.success
    assert "from home" in away.message
    wait_for(lambda: driver.state.robot_mode == "idle")
    canceled = driver.home(0.05)
    canceled.cancel()
    assert canceled.wait(2.0)
    assert not canceled.success
    wait_for(lambda: driver.state.robot_mode == "idle")
    assert driver.home().wait(20.0)
    assert np.allclose(log.ticks[-1][1].arm.q, cell.arm.home, atol=0.02)


def test_the_arm_holds_in_hold(rig):
    _, log, _ = rig
    start = time.monotonic()
    wait_for(lambda: time.monotonic() > start + 1.0)
    times, measured, _ = log.since(start)
    assert np.ptp(measured, axis=0).max() < 1e-3
    assert len(times) >= 50 * (times[-1] - times[0])


def test_the_gripper_homes(rig):
    driver, _, _ = rig
    job = driver.gripper_homing()
    assert job.wait(10.0)
    assert job.success, job.message
    assert driver.gripper_state.max_width == pytest.approx(0.08, abs=2e-3)


def test_a_lost_simulator_comes_back():
    cell = cell_at(OTHER)
    with SimulatedArm(OTHER) as simulated, driving(cell) as (driver, _):
        driver.set_mode(Mode.POLICY)
        policy = Policy(driver, cell)
        wait_for(lambda: time.monotonic() > policy.started + 0.5)
        simulated.kill()
        took = wait_for(lambda: not driver.state.connected, 3.0, "the loss to be noticed")
        assert took < 1.5
        policy.kill()
        simulated.start()
        job = driver.recover()
        assert job.wait(10.0)
        assert job.success, job.message
        driver.set_mode(Mode.POLICY)
        second = Policy(driver, cell)
        wait_for(lambda: driver.figures().accepted > 0)
        second.end()
