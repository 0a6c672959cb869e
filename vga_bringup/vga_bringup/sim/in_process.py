"""The cell without network and without waiting: physics, driver and cameras in one process, on a simulated clock.

What decides is the code of the real path: the driver's arbiter says what the arm is asked to do, chunks pass the safety
filter, the gripper is commanded by `robot.gripper`'s rule. What lies between them and the physics, franky and
libfranka's protocol, is replaced by what they amount to: a joint velocity that is ramped up a little later.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import mujoco
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from vga_policy.cell.schema import Camera, Cell
from vga_policy.evaluate.environment import Judgement
from vga_policy.message_constants import Mode
from vga_policy.observation.observation import ActionChunk, Observation
from vga_policy.units import SECOND

from vga_bringup.robot.arbiter import Arbiter
from vga_bringup.robot.arm import ArmState
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.motion.executor import Executor
from vga_bringup.robot.motion.teleoperation import LeaderSample, Teleoperation
from vga_bringup.robot.reports import Tick
from vga_bringup.robot.safety.safety_filter import Context, SafetyFilter
from vga_bringup.robot.submission import submit
from vga_bringup.robot.types import ChunkRequest, Reference, Verdict
from vga_bringup.sim.physics.hand import Hand
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.physics.state import PUBLIC_STATE, Snapshot
from vga_bringup.sim.rendering.renderer import CellRenderer
from vga_bringup.sim.scene import views
from vga_bringup.sim.scene.objects import TABLE, Objects
from vga_bringup.sim.scene.snapshot import CellSnapshot, snapshot
from vga_bringup.sim.scene.task import Arrangement, Judge
from vga_bringup.sim.tasks.registry import arrange

STEP = 0.001  # s of physics
JUDGED_EVERY = 0.05  # s
GOAL = bytes([1]) * 16  # of the one policy that commands this cell

COMMAND_DELAY = 0.003  # s between the driver's velocity command and the arm: network and franky's planner

Vector = NDArray[np.float64]


class Picture(NamedTuple):
    """What a camera sees. color: uint8 [H, W, 3], RGB. depth: uint16 [H, W], mm, 0 where unknown; None if not wanted.

    pose: the optical frame (OpenCV) in the arm's base frame [4, 4]; its inverse is the extrinsic matrix.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.uint16] | None
    pose: Vector


class InProcessCell:
    """The simulated cell in this process. Time, in seconds, starts at zero with every `reset`; nothing else moves it.

    on_tick: called with every control tick, as the driver's listener is. on_step: called before every millisecond of
    physics with its number, after the tick if there is one. simulator: the physics, for whoever wants to interfere.
    The same seed and the same commands at the same times give the same trial. Close it in the thread that made it.
    """

    def __init__(
        self,
        cell: Cell,
        on_tick: Callable[[Tick], None] = lambda _: None,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.cell = cell
        self.on_tick, self.on_step = on_tick, on_step
        self._renderer: CellRenderer | None = None
        self._furnish(TABLE)
        self._safety = SafetyFilter(cell)
        self._limits = Limits(cell)
        self._leader_names = [*cell.arm.joint_names, cell.gripper.joint_name]
        self._steps_a_tick = round(1 / cell.arm.tracking.rate_hz / STEP)
        self.reset("pick_cube", 0)

    def reset(
        self, task: str, seed: int, mode: Mode = Mode.POLICY, arm_start: Sequence[float] | None = None
    ) -> Arrangement:
        """Sets the scene of a trial, the arm at rest at `arm_start` (default: the trial's) with an open hand.

        mode: POLICY to be moved by `offer`, TELEOP by `lead`. Raises TaskError.
        """
        self.arrangement = arrange(task, seed)
        if self.arrangement.definition.objects != self._things:
            self._furnish(self.arrangement.definition.objects)
        self.mode = mode
        self._live = GOAL if mode is Mode.POLICY else None  # outlives a take-over
        self.problem = ""  # why the driver no longer moves the arm; empty while it does
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self._steps = 0
        self._chunks: list[tuple[float, float, ActionChunk]] = []
        self._sequence = 0
        start = self.arrangement.arm_start if arm_start is None else arm_start
        self.simulator.reset(start, self.arrangement.placements)
        self._commands: deque[tuple[int, Vector]] = deque()
        self._velocity = np.zeros(7)
        self._target = np.zeros(7)
        self._hand.reset(0.0)
        self._width = self.cell.gripper.max_width  # of the newest reference that the arm followed, m
        self._executor, self._teleop = Executor(self.cell), Teleoperation(self.cell)
        sources = {Mode.TELEOP: self._teleop}
        self._arbiter = Arbiter(self.cell, self._executor, self._safety, sources, hand_width=lambda: self._width)
        self._arbiter.measured(self._q.copy())
        self._arbiter.rest_here(0.0)
        self._arbiter.lend(mode, 0.0)
        self._judge = Judge(self._model, self.arrangement)
        self._judgement = self._judge.judge(0.0, self._data)
        if self._renderer is not None:
            self._renderer.noise.reseed(seed)
        return self.arrangement

    @property
    def now(self) -> float:
        """Simulated time since the last `reset`, s."""
        return self._steps * STEP

    @property
    def proprioception(self) -> Vector:
        """Measured now: 7 joint angles (rad) and the gripper's opening (m)."""
        return np.append(self._q, self.simulator.robot.hand_width)

    @property
    def commanded_width(self) -> float:
        """The hand's opening that was last asked for, m."""
        return self._width

    @property
    def task_state(self) -> Judgement:
        """How the trial stands."""
        return self._judgement

    def snapshot(self) -> CellSnapshot:
        """What an expert sees now."""
        return snapshot(self._model, self._data, self._things)

    def lead(self, q: Vector, width: float) -> None:
        """One sample of the leader, read now: joint angles [7] (rad) and opening (m)."""
        self._teleop.take(LeaderSample(self.now, self._leader_names, [*q, width / 2]), self.now)

    def take_over(self) -> None:
        """From POLICY to TELEOP in motion: the arm follows the leader's motion from where both are."""
        self.mode = Mode.TELEOP
        self._arbiter.take_over(self.mode, self.now)

    def hand_back(self) -> None:
        """From TELEOP to POLICY in motion: the next chunk moves the arm on from where it is."""
        self.mode = Mode.POLICY
        self._arbiter.hand_back(self.now)

    def offer(self, chunk: ActionChunk, t_obs: float, latency: float) -> None:
        """A chunk observed at `t_obs` that reaches the driver `latency` seconds later, or now if that is past."""
        self._chunks.append((t_obs + latency, t_obs, chunk))

    def step(self, seconds: float) -> None:
        """Lets time pass, in whole milliseconds."""
        for _ in range(round(seconds / STEP)):
            self._submit()
            if self._steps % self._steps_a_tick == 0:
                self._tick()
            self.on_step(self._steps)
            self._advance()

    def push(self, object_or_body: str, velocity: Sequence[float]) -> None:
        """Knocks a free object: sets its velocity [3], m/s."""
        self._data.joint(int(self._model.body(object_or_body).jntadr[0])).qvel[:3] = velocity

    def shove(self, force: Sequence[float]) -> None:
        """Pushes the hand with a constant force [3] (N, base frame) until told otherwise."""
        self._data.xfrc_applied[self._model.body(views.HAND_BODY).id, :3] = force

    def observe(self, *, compressed: bool = False) -> Observation:
        """What the policy's cameras and the arm's encoders show now; stamps are ns of this cell's clock.

        compressed: by way of the JPEG images that the policy's node gets.
        """
        stamp = round(self.now * SECOND)
        cameras = self.cell.views
        images = tuple(self.picture(camera.name).color for camera in cameras)
        if compressed:
            images = tuple(map(_through_jpeg, cameras, images))
        return Observation(stamp, images, (stamp,) * len(cameras), self.proprioception, self.arrangement.instruction)

    def picture(self, camera: str, *, with_depth: bool = False) -> Picture:
        """What a camera of the cell sees now. Drawn when asked for, and only then."""
        return self.pictures([self.cell.camera(camera)], with_depth=with_depth)[0]

    def pictures(self, cameras: Sequence[Camera], *, with_depth: bool = False) -> list[Picture]:
        """What several cameras see at this instant."""
        renderer = self._drawing()
        mujoco.mj_getState(self._model, self._data, self._snapshot, PUBLIC_STATE)
        renderer.load(Snapshot(0.0, self._snapshot))
        found = []
        for camera in cameras:
            size = camera.color.height, camera.color.width
            color, depth = np.empty((*size, 3), np.uint8), np.empty(size, np.uint16) if with_depth else None
            renderer.draw(camera, color, depth)
            found.append(Picture(color, depth, views.camera_pose(renderer.data, camera.name)))
        return found

    def move_camera(self, name: str, view: views.View) -> None:
        """Moves a camera to another view, until it is moved again."""
        views.move(self._model, name, view)

    def close(self) -> None:
        """Frees what drawing took."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _drawing(self) -> CellRenderer:
        if self._renderer is None:
            self._renderer = CellRenderer(self.cell.cameras, self._model, noise=0)
            self._renderer.noise.reseed(self.arrangement.seed)
        return self._renderer

    def _furnish(self, things: Objects) -> None:
        """Makes the physics, with these things on the table."""
        self.close()
        cell, self._things = self.cell, things
        self.simulator = CellSimulator(cell.arm.home, [camera.name for camera in cell.cameras], things)
        self.simulator.init()
        self.simulator.start()
        self._model, self._data = self.simulator.model, self.simulator.data
        first = int(self._model.joint("robot0_fr3_joint1").qposadr[0])
        first_dof = int(self._model.joint("robot0_fr3_joint1").dofadr[0])
        self._q = self._data.qpos[first : first + 7]
        self._dq = self._data.qvel[first_dof : first_dof + 7]
        joints = [self._model.joint(f"robot0_fr3_joint{k}").id for k in range(1, 8)]
        self._model.jnt_range[joints] = np.stack((cell.arm.own.lower, cell.arm.own.upper), axis=1)
        self._hand = Hand(self.simulator.robot, cell.gripper)
        self._snapshot = np.empty(mujoco.mj_stateSize(self._model, PUBLIC_STATE))

    # The driver's control tick, and what follows from it.

    def _submit(self) -> None:
        """Gives the driver the chunks that reach it now."""
        for arrival, t_obs, chunk in [item for item in self._chunks if item[0] <= self.now]:
            self._chunks.remove((arrival, t_obs, chunk))
            self._sequence += 1
            verdict = self._admit(chunk, t_obs)
            if verdict.accepted:
                self.accepted += 1
            else:
                self.rejected[verdict.reason] += 1

    def _admit(self, chunk: ActionChunk, t_obs: float) -> Verdict:
        request = ChunkRequest(
            t_obs=t_obs,
            goal=GOAL,
            sequence=self._sequence,
            joint_names=self.cell.arm.joint_names,
            positions=chunk.joints.tolist(),
            time_from_start=[(k + 1) * self.cell.dt for k in range(chunk.horizon)],
            gripper_width=chunk.gripper_width.tolist(),
        )
        return submit(self._executor, self._safety, request, Context(self.now, self.mode, GOAL, kept=self._live))

    def _tick(self) -> None:
        now, arbiter = self.now, self._arbiter
        arbiter.measured(self._q.copy())
        if not self.problem:
            arbiter.step(self.mode, now)
        reference, target = arbiter.reference(now), arbiter.reference(now + self._steps_a_tick * STEP)
        if problem := arbiter.problem(reference, target):
            self.problem = problem
            arbiter.let_go()
            reference = target = arbiter.reference(now)
        self._width = reference.gripper_width
        velocity = target.dq + self.cell.arm.tracking.gain * (target.q - self._q)
        command = self._limits.commanded(self._q, self._dq, velocity)
        self._commands.append((self._steps + round(COMMAND_DELAY / STEP), command))
        if not self.problem and (self.mode is Mode.TELEOP or reference.sequence is not None):
            self._hand.command(reference.gripper_width)
        self._hand.step(now)
        if self._steps % round(JUDGED_EVERY / STEP) == 0:
            self._judgement = self._judge.judge(now, self._data)
        self.on_tick(self._report(reference))

    def _report(self, reference: Reference) -> Tick:
        now_ns = self._steps * 1_000_000
        torque = np.array(self.simulator.robot.inner_state.tau_j)
        arm = ArmState(self._q.copy(), self._dq.copy(), torque, self._steps, "move", "", 1.0)
        return Tick(now_ns, now_ns, arm, self._hand.state(now_ns), reference, self.mode, self._live)

    def _advance(self) -> None:
        """One millisecond of the arm's velocity controller and the physics."""
        if self._commands and self._commands[0][0] <= self._steps:
            self._target = self._commands.popleft()[1]
        ramp = self._limits.tracker_acceleration * STEP
        self._velocity = self._velocity + np.clip(self._target - self._velocity, -ramp, ramp)
        self.simulator.robot.joint_velocity_control(self._velocity)
        self.simulator.advance()
        self._steps += 1


def _through_jpeg(camera: Camera, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image as the camera node compresses it and the policy node decodes it."""
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(image, camera.jpeg_quality, "RGB", "420"))
