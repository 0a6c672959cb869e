"""The same leader trajectory through libfranka's protocol in real time and in an InProcessCell: the arm ends the same.

On one side lie the driver's threads, franky, the network and the simulated robot's server; on the other a few lines in
their place.
"""

import contextlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from support.cells import cell_at, write_cell
from support.driving import driving
from support.owned import own_address
from support.waiting import eventually
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.robot.motion.teleoperation import LeaderSample
from vga_bringup.sim.demonstration import demonstrate
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.physics.state import find_state
from vga_bringup.sim.referee import cell_referee
from vga_policy.message_constants import Mode

CELL = cell_at(own_address())
NAMES = CELL.joint_state_names
TASK, SEED = "pick_cube", 21
SLOWER = 1.5  # than demonstrated: a busy machine simulates the arm slower than the driver expects
HOMING_SPEED = 0.3
SETTLING = 1.0  # s the leader stands still at either end
PERIOD = 0.01
PATIENCE = 120.0  # s


@pytest.fixture(scope="module")
def simulated():
    cell = InProcessCell(CELL)
    yield cell
    cell.close()


@pytest.fixture(scope="module")
def trajectory(simulated):
    """A demonstration's leader as a function of time (s), and its end."""
    times, leaders = [], []

    def watch(leader):
        times.append(SLOWER * simulated.now)
        leaders.append([*leader.q, leader.width])

    assert demonstrate(simulated, TASK, SEED, watch=watch).success
    return (lambda t: np.array([np.interp(t, times, column) for column in np.transpose(leaders)])), times[-1]


@contextlib.contextmanager
def physics(directory):
    """The physics of a simulated cell, alone: the reader of its state."""
    path = write_cell(directory, CELL.arm.ip)
    command = [sys.executable, "-m", "vga_bringup.sim.physics.process", "--cell", path, "--parent", str(os.getpid())]
    process = subprocess.Popen(command)
    try:
        eventually(lambda: find_state(CELL.arm.ip, process.pid), "the physics", 30.0)
        yield find_state(CELL.arm.ip, process.pid)
    finally:
        process.terminate()
        process.wait(10.0)


def in_real_time(directory, leader, end):
    """Drives the simulated arm; what was sent and when [N, 9], and where the arm ended [8]."""
    with physics(directory) as state, driving(CELL) as (driver, log):
        arrangement = cell_referee(CELL, state).arrange(TASK, SEED)
        job = driver.home(HOMING_SPEED, goal=arrangement.arm_start)
        assert job.wait(30.0)
        assert job.success, job.message
        eventually(lambda: driver.state.robot_mode == "idle", what="rest")
        sent: list[list[float]] = []
        began = time.monotonic()
        first = state.read().sim_time
        while (passed := state.read().sim_time - first - SETTLING) < end + SETTLING:  # by the arm's own clock
            assert time.monotonic() < began + PATIENCE, "the simulated arm stands still"
            now, sample = time.monotonic(), leader(np.clip(passed, 0.0, end))
            driver.leader(LeaderSample(now, NAMES, [*sample[:7], sample[7] / 2]))
            sent.append([now - began, *sample])
            if len(sent) == 1:
                driver.set_mode(Mode.TELEOP)
            time.sleep(PERIOD)
        assert driver.state.mode is Mode.TELEOP, driver.state.hold_reason
        _, tick = log.ticks[-1]
        return np.array(sent), np.append(tick.arm.q, tick.gripper.width)


def on_simulated_time(simulated, sent):
    """Gives an InProcessCell the same samples at the same times; where its arm ended [8]."""
    simulated.reset(TASK, SEED, Mode.TELEOP)
    for at, *leader in sent:
        simulated.step(max(0.0, at - simulated.now))
        simulated.lead(np.array(leader[:7]), leader[7])
    return simulated.proprioception


def test_the_arm_ends_within_5_mm_and_20_mrad(simulated, trajectory, tmp_path):
    sent, real = in_real_time(tmp_path, *trajectory)
    simulated = on_simulated_time(simulated, sent)
    kinematics = Kinematics(CELL.arm)
    ends = [kinematics.tcp(end[:7]).position for end in (real, simulated)]
    distance, joints = np.linalg.norm(ends[0] - ends[1]), np.abs(real[:7] - simulated[:7]).max()
    print(f"{1e3 * distance:.2f} mm and {1e3 * joints:.2f} mrad apart")
    assert distance < 5e-3
    assert joints < 20e-3
    assert real[7] == pytest.approx(simulated[7], abs=2e-3), "both hold the cube"
    assert real[7] > 0.04
