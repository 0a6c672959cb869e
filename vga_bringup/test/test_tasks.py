"""The tasks: what is drawn from a seed, and what counts as success or failure."""

import itertools
import re

import mujoco
import numpy as np
import pytest
from support.cells import SIM as CELL
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.scene import views
from vga_bringup.sim.scene.objects import CUBE, DEFAULT_PLACEMENTS
from vga_bringup.sim.scene.task import HELD_FOR, READY, START_RANGE, Judge, TaskError
from vga_bringup.sim.tasks.builtin import TASKS, VEGETABLES
from vga_bringup.sim.tasks.registry import arrange
from vga_policy.evaluate.environment import Judgement
from vga_policy.names import TASK_NAMES

SEEDS = range(100)

# Thickness of the objects to grip, and where along their x axis, m.
THICKNESS = {
    "red_cube": (CUBE, 0.0),
    "green_cube": (CUBE, 0.0),
    "cucumber": (0.034, 0.0),
    "carrot": (0.030, -0.036),
    "eggplant": (0.045, 0.037),
}


@pytest.fixture(scope="module")
def simulator():
    with CellSimulator(READY, views.VIEWS) as simulator:
        simulator.start()
        yield simulator


class Trial:
    """A scene whose objects are put anywhere, and the arm's hand around them, without any physics."""

    def __init__(self, simulator, task, seed=0):
        self.arrangement = arrange(task, seed)
        simulator.reset(READY, self.arrangement.placements)
        self.simulator = simulator
        self._judge = Judge(simulator.model, self.arrangement)
        self.now = 0.0

    @property
    def hand(self):
        """Position between the fingertips."""
        return Kinematics(CELL.arm).tcp(np.array(READY)).position

    def put(self, name, position):
        self._joint(name).qpos[:3] = position

    def grip(self, name):
        """Closes the fingers on an object, where it is thickest; a vegetable then lies along the hand's x axis."""
        width, thickest = THICKNESS[name]
        self.put(name, self.hand - (thickest, 0.0, 0.0))
        self._joint(name).qpos[3:] = (1.0, 0.0, 0.0, 0.0)
        self._fingers((width - 0.001) / 2)

    def release(self):
        self._fingers(0.04)

    def judge(self, seconds):
        """The judgement after this state has lasted for so long."""
        mujoco.mj_forward(self.simulator.model, self.simulator.data)
        judgement = None
        for _ in range(round(seconds / 0.1) + 1):
            judgement = self._judge.judge(self.now, self.simulator.data)
            self.now += 0.1
        return judgement

    def _joint(self, name):
        return self.simulator.data.joint(int(self.simulator.model.body(name).jntadr[0]))

    def _fingers(self, way):
        for finger in (1, 2):
            self.simulator.data.joint(f"robot0_finger_joint{finger}").qpos[0] = way


def test_the_tasks_on_offer_are_those_there_are():
    assert tuple(TASKS) == TASK_NAMES


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_decides_the_scene(task):
    first, again, other = arrange(task, 5), arrange(task, 5), arrange(task, 6)
    assert first == again
    assert first.placements != other.placements
    assert first.arm_start != other.arm_start


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(TaskError, match="no task 'juggle'; there are pick_cube, press_button, stack_cube"):
        arrange("juggle", 0)


@pytest.mark.parametrize("task", TASKS)
def test_position_rotation_and_arm_vary_within_bounds(task):
    scenes = [arrange(task, seed) for seed in SEEDS]
    varied = [scene.target for scene in scenes]
    targets = np.array([scene.placements[name] for scene, name in zip(scenes, varied, strict=True)])
    assert (np.ptp(targets, axis=0) > (0.12, 0.03, 0.4)).all()
    starts = np.array([scene.arm_start for scene in scenes])
    assert (np.abs(starts - READY) <= START_RANGE).all()
    assert (np.ptp(starts, axis=0) > np.array(START_RANGE)).all()
    for scene in scenes:
        untouched = set(DEFAULT_PLACEMENTS) - {scene.target, scene.support, *VEGETABLES}
        assert all(scene.placements[name] == DEFAULT_PLACEMENTS[name] for name in untouched)
        distance = np.hypot(*np.array(scene.placements[scene.target][:2]))
        assert 0.35 < distance < 0.70, "within the arm's comfortable reach"


@pytest.mark.parametrize("task", TASKS)
def test_objects_touch_the_table_alone(simulator, task):
    model, data = simulator.model, simulator.data
    names = {model.body(name).id: name for name in DEFAULT_PLACEMENTS}
    for seed in SEEDS:
        simulator.reset(READY, arrange(task, seed).placements)
        for pair in model.geom_bodyid[data.contact.geom[: data.ncon]]:
            assert not (pair[0] in names and pair[1] in names), (seed, [names[body] for body in pair])


@pytest.mark.parametrize("task", TASKS)
def test_the_fixed_cameras_see_every_object_whole(simulator, task):
    matrix = views.intrinsics(320, 240)
    corners = np.array(list(itertools.product((-0.03, 0.03), (-0.03, 0.03), (0.0, 0.045))))
    for seed in SEEDS:
        placed = np.array([(placement.x, placement.y, 0.0) for placement in arrange(task, seed).placements.values()])
        points = (placed[:, None] + corners).reshape(-1, 3)
        for camera in ("fixed_1", "fixed_2"):
            mujoco.mj_forward(simulator.model, simulator.data)
            pose = views.camera_pose(simulator.data, camera)
            seen = (points - pose[:3, 3]) @ pose[:3, :3] @ matrix.T
            pixels = seen[:, :2] / seen[:, 2:]
            assert (pixels >= 0).all(), (seed, camera)
            assert (pixels <= (319, 239)).all(), (seed, camera)


def test_every_vegetable_is_asked_for_in_every_place():
    scenes = [arrange("grasp_vegetable", seed) for seed in SEEDS]
    assert {scene.instruction for scene in scenes} == {f"pick up the {name}" for name in VEGETABLES}
    orders = {tuple(sorted(VEGETABLES, key=lambda name: scene.placements[name].x)) for scene in scenes}
    assert len(orders) == 6
    asked = {(scene.target, order(scene).index(scene.target)) for scene in scenes}
    assert len(asked) == 9, "neither the place nor the order gives the answer away"


def order(scene):
    return sorted(VEGETABLES, key=lambda name: scene.placements[name].x)


def test_a_cube_held_high_is_picked_once_it_has_been_held(simulator):
    trial = Trial(simulator, "pick_cube")
    assert trial.judge(1.0) == Judgement(False, False, "nothing held", grasped="")
    trial.grip("red_cube")
    assert not trial.judge(0.0).success
    assert not trial.judge(HELD_FOR - 0.2).success
    assert trial.judge(0.3).success
    trial.release()
    assert trial.judge(0.0) == Judgement(False, False, "nothing held", grasped="")


def test_a_cube_in_the_air_that_nobody_holds_is_not_picked(simulator):
    trial = Trial(simulator, "pick_cube")
    trial.put("red_cube", trial.hand)
    assert not trial.judge(1.0).success


def test_another_cube_does_not_count(simulator):
    trial = Trial(simulator, "pick_cube")
    trial.grip("green_cube")
    assert trial.judge(1.0) == Judgement(False, False, "nothing held", grasped="")


def test_an_object_off_the_table_ends_the_trial(simulator):
    trial = Trial(simulator, "pick_cube")
    trial.put("red_cube", (1.2, 0.0, -0.5))
    assert trial.judge(0.0) == Judgement(False, True, "the red cube fell off the table")
    trial.grip("red_cube")
    assert trial.judge(1.0).failed, "a failure is final"


def test_the_button_counts_when_it_latched(simulator):
    trial = Trial(simulator, "press_button")
    assert not trial.judge(1.0).success
    simulator.data.userdata[0] = 1.0
    assert not trial.judge(0.0).success
    assert trial.judge(HELD_FOR) == Judgement(True, False, "button pressed")


@pytest.mark.parametrize(
    ("offset", "success"), [((0.0, 0.0, CUBE), True), ((0.03, 0.0, CUBE), False), ((0.0, 0.0, 0.06), False)]
)
def test_a_cube_counts_as_stacked_where_it_rests_on_the_other(simulator, offset, success):
    trial = Trial(simulator, "stack_cube")
    below = np.array(simulator.object_position("green_cube"))
    trial.put("red_cube", below + offset)
    assert trial.judge(1.0).success is success


def test_a_stacked_cube_must_be_let_go(simulator):
    trial = Trial(simulator, "stack_cube")
    trial.put("green_cube", trial.hand - (0.0, 0.0, CUBE))
    trial.grip("red_cube")
    assert trial.judge(1.0) == Judgement(False, False, "red cube held")
    trial.release()
    assert trial.judge(1.0).success


@pytest.mark.parametrize("seed", range(3))
def test_the_vegetable_asked_for_counts_and_another_one_fails(simulator, seed):
    trial = Trial(simulator, "grasp_vegetable", seed)
    right = trial.arrangement.target
    wrong = next(name for name in VEGETABLES if name != right)
    trial.grip(right)
    assert trial.judge(1.0).success
    trial = Trial(simulator, "grasp_vegetable", seed)
    trial.grip(wrong)
    reason = f"the {wrong} was picked up instead of the {right}"
    assert trial.judge(1.0) == Judgement(False, True, reason, grasped=wrong)


def fallen(name):
    return lambda trial: trial.put(name, (1.2, 0.0, -0.5))


def gripped(name):
    return lambda trial: trial.grip(name)


def untouched(_):
    pass


def pressed(trial):
    trial.simulator.data.userdata[0] = 1.0


def resting(trial):
    trial.put("red_cube", trial.simulator.object_position("green_cube") + np.array((0.0, 0.0, CUBE)))


TARGETS = ("red_cube", "button", "carrot")
NO_PICK = None
STATES = [
    ("pick_cube", untouched, "nothing held", ""),
    ("pick_cube", gripped("red_cube"), "red cube held 0.[0-9]{2} m above the table", "red cube"),
    ("pick_cube", gripped("green_cube"), "nothing held", ""),
    ("pick_cube", fallen("red_cube"), "the red cube fell off the table", None),
    ("press_button", untouched, "button not pressed", NO_PICK),
    ("press_button", pressed, "button pressed", NO_PICK),
    ("press_button", gripped("red_cube"), "button not pressed", NO_PICK),
    ("stack_cube", untouched, "red cube not stacked", NO_PICK),
    ("stack_cube", gripped("red_cube"), "red cube held", NO_PICK),
    ("stack_cube", resting, "red cube rests on the green cube", NO_PICK),
    ("stack_cube", fallen("red_cube"), "the red cube fell off the table", NO_PICK),
    ("stack_cube", fallen("green_cube"), "the green cube fell off the table", NO_PICK),
    ("grasp_vegetable", untouched, "nothing held", ""),
    ("grasp_vegetable", gripped("carrot"), "carrot held 0.[0-9]{2} m above the table", "carrot"),
    ("grasp_vegetable", gripped("eggplant"), "the eggplant was picked up instead of the carrot", "eggplant"),
    ("grasp_vegetable", gripped("red_cube"), "nothing held", ""),
    ("grasp_vegetable", fallen("carrot"), "the carrot fell off the table", None),
]


@pytest.mark.parametrize(("task", "state", "detail", "grasped"), STATES)
def test_what_the_fingers_hold_is_told_in_the_tasks_to_pick_something_up(simulator, task, state, detail, grasped):
    trial = Trial(simulator, task, seed=next(seed for seed in SEEDS if arrange(task, seed).target in TARGETS))
    state(trial)
    told = trial.judge(1.0)
    assert re.fullmatch(detail, told.detail)
    assert told.grasped == grasped


def test_a_wrong_vegetable_is_not_grasped_before_it_counts_as_chosen(simulator):
    trial = Trial(simulator, "grasp_vegetable")
    right = trial.arrangement.target
    trial.grip(next(name for name in VEGETABLES if name != right))
    assert trial.judge(0.0) == Judgement(False, False, "nothing held", grasped="")
