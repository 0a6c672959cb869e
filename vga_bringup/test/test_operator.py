"""The scripted expert in the simulated cell: it succeeds, it sees what happens, and it tries again."""

import numpy as np
import pytest
from support.cells import SIM as CELL
from vga_bringup.robot.bounds.kinematics import Pose
from vga_bringup.sim.demonstration import demonstrate
from vga_bringup.sim.expert.disturbance import Disturbance
from vga_bringup.sim.expert.inverse import InverseKinematics, from_rotation_vector, rotation_vector
from vga_bringup.sim.expert.scripted_expert import ScriptedExpert
from vga_bringup.sim.expert.style import Style
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene.task import READY
from vga_bringup.sim.tasks.builtin import TASKS
from vga_policy.message_constants import Mode

DISTURBED = 5  # a seed that brings an odd start, two shoves, a nudge and bad aim
POINTING_DOWN = np.diag((1.0, -1.0, -1.0))


@pytest.fixture(scope="module")
def cell():
    cell = InProcessCell(CELL)
    yield cell
    cell.close()


def test_rotation_vectors_and_back():
    for vector in np.random.default_rng(0).uniform(-1.7, 1.7, (20, 3)):
        assert rotation_vector(from_rotation_vector(vector)) == pytest.approx(vector, abs=1e-9)
    assert rotation_vector(np.eye(3)) == pytest.approx(np.zeros(3))


def test_inverse_kinematics_reaches_the_working_space_within_the_limits():
    inverse = InverseKinematics(CELL.arm, np.array(READY))
    random = np.random.default_rng(1)
    for position in random.uniform((0.36, -0.28, 0.015), (0.62, 0.28, 0.4), (40, 3)):
        turned = from_rotation_vector(np.array((0.0, 0.0, random.uniform(-2.0, 0.7)))) @ POINTING_DOWN
        q = np.array(READY)
        for _ in range(5):
            q = inverse.solve(q, Pose(turned, position))
        reached = inverse.pose(q)
        assert np.linalg.norm(reached.position - position) < 1e-3
        assert np.linalg.norm(rotation_vector(reached.rotation @ turned.T)) < 5e-3
        assert (np.array(CELL.arm.limits.lower) <= q).all()
        assert (q <= np.array(CELL.arm.limits.upper)).all()


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_succeeds_as_fast_as_a_person(cell, task, seed):
    assert demonstrate(cell, task, seed).success
    assert 2.5 < cell.now < 15.0


def test_the_expert_recovers_from_disturbances(cell):
    arrangement = cell.reset("pick_cube", DISTURBED)
    disturbance = Disturbance.of(arrangement, CELL.arm)
    assert disturbance.arm_start
    assert disturbance.shoves
    assert disturbance.nudges
    assert demonstrate(cell, "pick_cube", DISTURBED, perturb=True).success


def test_demonstrations_differ_in_pace_and_path(cell):
    random = np.random.default_rng(0)
    styles = [Style.draw(random) for _ in range(20)]
    assert np.ptp([style.pace for style in styles]) > 0.2
    assert np.ptp([style.aim for style in styles], axis=0).min() > 0.01
    paths = []
    for style in styles[:2]:
        expert, snapshot = expert_for(cell, "press_button", 3, style), cell.snapshot()
        paths.append([expert.act(0.01 * turn, snapshot).q for turn in range(200)])
    assert np.abs(np.subtract(*paths)).max() > 0.02


def test_a_grasp_that_missed_is_repeated(cell):
    expert = expert_for(cell, "pick_cube", 2)
    moved = []

    def snatch():
        """Takes the cube away just before the fingers close."""
        if not moved and cell.snapshot().width < 0.06:
            moved.append(cell.now)
            joint = cell.simulator.data.joint(int(cell.simulator.model.body("red_cube").jntadr[0]))
            joint.qpos[:3] += (-0.07, 0.0, 0.0)

    lead(cell, expert, snatch)
    assert moved
    assert cell.task_state.success
    assert cell.now > moved[0] + 4.0, "that took a second approach"


def test_the_hand_follows_an_object_that_moves(cell):
    expert = expert_for(cell, "pick_cube", 4)

    def drift():
        if cell.now < 2.0:
            cell.push("red_cube", (0.03, 0.0, 0.0))

    lead(cell, expert, drift)
    assert cell.task_state.success


def test_an_expert_that_is_done_holds_still(cell):
    expert = expert_for(cell, "press_button", 6)
    lead(cell, expert)
    while not expert.done:
        expert.act(cell.now, cell.snapshot())
        cell.step(0.01)
    first = expert.act(cell.now, cell.snapshot())
    cell.step(0.5)
    assert np.abs(expert.act(cell.now, cell.snapshot()).q - first.q).max() < 0.01


def expert_for(cell, task, seed, style=None):
    arrangement = cell.reset(task, seed, Mode.TELEOP)
    style = style or Style.draw(np.random.default_rng(seed))
    return ScriptedExpert(CELL, arrangement, style, np.array(arrangement.arm_start))


def lead(cell, expert, meanwhile=lambda: None):
    """Lets the expert lead until it has succeeded, or for 20 s."""
    while cell.now < 20.0 and not cell.task_state.success:
        cell.lead(*expert.act(cell.now, cell.snapshot()))
        meanwhile()
        cell.step(0.01)
