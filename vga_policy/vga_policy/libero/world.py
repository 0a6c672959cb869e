"""One task of the benchmark, simulated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np
from numpy.typing import NDArray

from vga_policy.libero import wheel
from vga_policy.libero.cameras import CAMERAS, SIZE, Renderer, Views
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.plus import Variant
from vga_policy.libero.tasks import LiberoTask

Vector = NDArray[np.float64]

RATE_HZ = 20
ACTION = 7  # translation and turn of the hand (1 is 0.05 m, 0.5 rad), in the world's axes; fingers: -1 open, +1 close
PROPRIOCEPTION = 8  # position of the hand (m), axis times angle, position of either finger (m)
SETTLING = 10
GIVE = 0.1  # rad or m by which contact may push a joint beyond its range
STILL = np.array([0, 0, 0, 0, 0, 0, -1.0])  # what settles a scene: nothing moves, the fingers open
BUILT = np.array([0, 0, 0, 1.0, 0, 0, 0])  # pose of every fixture in a model that no reset has touched
SITE, HAND = "gripper0_grip_site", "robot0_right_hand"


class World:
    """The simulation of one task, from `reset` to the next.

    `reset` draws a scene, `start` replaces its state by a given one. What is no part of a state, the poses of fixtures,
    is drawn anew by each `reset`, from the seed on: how often it was called counts. Nothing else does, as policies may
    draw from NumPy's generator too, from which the benchmark draws.
    """

    def __init__(self, task: LiberoTask, seed: int = 0, size: int = SIZE, hard_resets: bool = False) -> None:
        """size: of pictures, in pixels. hard_resets: builds the model anew in each `reset`, to the same effect."""
        self.task, self.size = task, size
        environment = wheel.load().environment
        with wheel.quiet():
            self._wrapper = environment(
                bddl_file_name=str(task.bddl),
                use_camera_obs=False,
                has_offscreen_renderer=False,
                hard_reset=hard_resets,
                horizon=100_000,
            )
        self._env = self._wrapper.env
        self._drawn_joints = list(self._env.object_property_initializers)
        self._hard_resets = hard_resets
        self._renderer: Renderer | None = None
        self._camera: tuple[Vector, Vector] | None = None
        self._drawn = np.random.get_state()
        self.seed(seed)

    # --- Time ---

    def seed(self, seed: int) -> None:
        """Everything that later resets draw depends on this and on their order."""
        with self._drawing():
            self._env.seed(seed)
        self._env.object_property_initializers[:] = self._drawn_joints

    def reset(self) -> None:
        """Draws a scene."""
        from robosuite.utils.errors import RandomizationError

        while True:
            if not self._hard_resets:
                self._as_built()
            try:
                with self._drawing():
                    self._env.reset()
                break
            except RandomizationError:  # objects found no room: the next draw may
                continue
        gripper = self._env.robots[0].gripper
        gripper.current_action = np.zeros(gripper.dof)  # it would remember the last trial's, unless built anew

    def start(self, state: Vector) -> None:
        """Puts everything into this state [D]. Raises LiberoError when it is another scene's."""
        self._refuse_other_scene(state)
        self._wrapper.set_init_state(state)

    def _refuse_other_scene(self, state: Vector) -> None:
        size = 1 + self.model.nq + self.model.nv
        if state.shape != (size,):
            raise LiberoError(f"a state of {self.task.label} has {size} numbers, not {state.shape}")

    def refuse_impossible(self, states: Vector) -> None:
        """Raises LiberoError when a joint in these states [T, D] is where none of this scene's can be."""
        self._refuse_other_scene(states[0])
        single = self.model.jnt_type >= mujoco.mjtJoint.mjJNT_SLIDE.value  # a hinge too
        limited = np.flatnonzero((self.model.jnt_limited != 0) & single)
        low, high = self.model.jnt_range[limited].T
        positions = states[:, 1 + self.model.jnt_qposadr[limited]]
        wrong = np.argwhere((positions < low - GIVE) | (positions > high + GIVE))
        if len(wrong):
            step, which = wrong[0]
            name, at = self.model.joint(limited[which]).name, positions[step, which]
            ends = f"{low[which]:.4g} to {high[which]:.4g}"
            raise LiberoError(f"states[{step}]: joint {name} is at {at:.4g}, and goes from {ends}")

    def settle(self) -> None:
        """Lets the scene come to rest, as published evaluations do."""
        for _ in range(SETTLING):
            self.step(STILL)

    def step(self, action: Vector) -> bool:
        """One action [7] of 1/20 s. Whether the task is done."""
        return bool(self._env.step(action)[2])

    def close(self) -> None:
        """Gives memory back."""
        if self._renderer is not None:
            self._renderer.close()
        self._wrapper.close()

    # --- What can be seen and felt ---

    def views(self) -> Views:
        """Pictures, depth and cameras now. Raises LiberoError where the machine cannot render."""
        if self._renderer is not None and (self._renderer.model, self._renderer.size) != (self.model, self.size):
            self._renderer.close()
            self._renderer = None
        if self._renderer is None:
            self._renderer = Renderer(self.model, self.size)
        self._env.sim.forward()  # after a step, what is derived from the state is one substep old
        return self._renderer.views(self.data)

    def proprioception(self) -> Vector:
        """float64 [8]: position of the grip (m), hand's orientation as axis times angle (0 … 2π), both fingers (m)."""
        self._env.sim.forward()
        quaternion = self.data.body(HAND).xquat
        return np.concatenate([self.hand(), axis_angle(quaternion), self.fingers()])

    def hand(self) -> Vector:
        """Position of the grip [3], m."""
        return self.data.site(SITE).xpos.copy()

    def fingers(self) -> Vector:
        """Positions of both fingers [2], m; 0.04 and -0.04 when open."""
        return self.data.qpos[self._env.robots[0]._ref_gripper_joint_pos_indexes].copy()

    # --- What the simulator knows ---

    @property
    def model(self) -> Any:
        """MuJoCo's model."""
        return self._env.sim.model._model

    @property
    def data(self) -> Any:
        """MuJoCo's data."""
        return self._env.sim.data._data

    def state(self) -> Vector:
        """Time, positions and velocities [D]."""
        return np.asarray(self._env.sim.get_state().flatten(), dtype=np.float64)

    def model_file(self) -> str:
        """The scene as MJCF, in which fixtures have the poses that the last `reset` drew."""
        root, poses = ElementTree.fromstring(self._env.model.get_xml()), self.fixtures()
        for body in root.iter("body"):
            if (pose := poses.get(body.get("name", ""))) is not None:
                body.set("pos", " ".join(map(repr, pose[:3].tolist())))
                body.set("quat", " ".join(map(repr, pose[3:].tolist())))
        return ElementTree.tostring(root, encoding="unicode")

    def fixtures(self) -> dict[str, Vector]:
        """Position (m) and quaternion (wxyz) [7] of each fixture's body, by the body's name."""
        bodies = [self.model.body(self._env.obj_body_id[name]) for name in self._fixture_names()]
        return {body.name: np.concatenate([body.pos, body.quat]) for body in bodies}

    def set_fixtures(self, poses: Mapping[str, Vector]) -> None:
        """Moves fixtures to where they were in another run. Raises LiberoError when one is missing."""
        for name in self.fixtures():
            if name not in poses:
                raise LiberoError(f"no pose of the fixture {name}")
            body = self.model.body(name)
            body.pos[:], body.quat[:] = poses[name][:3], poses[name][3:]
        mujoco.mj_forward(self.model, self.data)

    def move_camera(self, variant: Variant | None) -> None:
        """Puts the fixed camera where a variant of LIBERO-Plus has it; None: back where it was."""
        camera = self.model.camera(CAMERAS[0])
        if self._camera is None:
            self._camera = camera.pos.copy(), camera.quat.copy()
        camera.pos[:], camera.quat[:] = self._camera if variant is None else variant.moved(*self._camera)

    def goals(self) -> list[list[str]]:
        """What is to hold at the end: a predicate and its arguments each."""
        return [list(goal) for goal in self._env.parsed_problem["goal_state"]]

    def initially(self) -> list[list[str]]:
        """What holds at the beginning, likewise."""
        return [list(fact) for fact in self._env.parsed_problem["initial_state"]]

    def holds(self, goal: list[str]) -> bool:
        """Whether a goal is reached."""
        return bool(self._env._eval_predicate(goal))

    def done(self) -> bool:
        """Whether all of them are."""
        return bool(self._env._check_success())

    def body(self, name: str) -> int:
        """MuJoCo's number of the root body of an object or a fixture."""
        return int(self._env.obj_body_id[name])

    def things(self) -> list[str]:
        """Names of the objects and fixtures that have bodies of their own."""
        names = (*self._env.objects_dict, *self._env.fixtures_dict)
        return [name for name in names if name in self._env.obj_body_id]

    def region(self, name: str) -> Vector:
        """Center [3] of an object or of a region of the task's description."""
        return np.array(self._env.object_states_dict[name].get_geom_state()["pos"])

    def joint_of(self, region: str) -> str:
        """The joint that opens and closes a region, or turns a fixture on."""
        found = self._env.get_object(region)
        return str(found.joints[0])

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Within, NumPy's generator is this world's own."""
        others = np.random.get_state()
        np.random.set_state(self._drawn)
        try:
            yield
        finally:
            self._drawn = np.random.get_state()
            np.random.set_state(others)

    def _as_built(self) -> None:
        """Does what else building the model anew would do to the next scene."""
        for name in self._fixture_names():  # what lies on one is placed relative to where it was built
            body = self.model.body(self._env.obj_body_id[name])
            body.pos[:], body.quat[:] = BUILT[:3], BUILT[3:]
        # Each building adds the same ones again, and each draws a number.
        self._env.object_property_initializers += self._drawn_joints

    def _fixture_names(self) -> list[str]:
        return [name for name in self._env.fixtures_dict if name in self._env.obj_body_id]


def axis_angle(quaternion: Vector) -> Vector:
    """Axis times angle (0 … 2π) [3] of a unit quaternion (wxyz), in robosuite's convention: its sign counts."""
    w = min(1.0, max(-1.0, float(quaternion[0])))
    sine = math.sqrt(1.0 - w * w)
    if math.isclose(sine, 0.0):
        return np.zeros(3)
    return np.asarray(quaternion[1:] * (2.0 * math.acos(w) / sine))
