"""The cell contract: one YAML file that says what the robot cell is.

Live nodes, recorder, dataset and policy read this one file; it is stored in every bag and checkpoint.
Units are SI, angles are radians, boxes are in the arm's base frame (REP-103).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vga_policy import topics
from vga_policy.cell.arm_models import ArmModel, ModelName, arm_model
from vga_policy.cell.errors import CellError
from vga_policy.topics import absolute

ARM_JOINTS = 7

RECORDED_TOPICS = [
    absolute(name)
    for name in (
        topics.JOINT_STATES,
        topics.GELLO_JOINT_STATES,
        topics.DRIVER_REFERENCE,
        topics.DRIVER_GRIPPER_STATE,
        topics.DRIVER_STATE,
        topics.DRIVER_CHUNK_VERDICT,
        topics.POLICY_ACTION_CHUNK,
        topics.POLICY_HEARTBEAT,
        topics.DIAGNOSTICS,
    )
]

Joints = Annotated[list[float], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
PositiveJoints = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
Vector3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Base of every section: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Box(Section):
    """An axis-aligned box in the arm's base frame, metres."""

    name: str = ""
    min: Vector3
    max: Vector3

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        if any(low >= high for low, high in zip(self.min, self.max, strict=True)):
            raise ValueError("every value of min must be below the same value of max")
        return self


class ColorProfile(Section):
    """Colour stream of a camera."""

    width: Annotated[int, Field(gt=0)] = 640
    height: Annotated[int, Field(gt=0)] = 480
    fps: Literal[6, 15, 30, 60] = 30


class Camera(Section):
    """One RealSense camera, found by serial number.

    slot: position of its image in the model's input (0 is the view that carries VGGT's first-view tokens);
        None for a camera that is recorded but not shown to the policy.
    role: what the camera looks from; part of the contract's meaning, unlike its serial number.
    exposure_us, gain, white_balance_k: locked values; None leaves that control automatic.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    serial: str
    role: Literal["fixed", "wrist"]
    slot: Annotated[int, Field(ge=0)] | None = None
    color: ColorProfile = ColorProfile()
    depth: bool = False
    exposure_us: Positive | None = None
    gain: Positive | None = None
    white_balance_k: Positive | None = None
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90


class JointLimits(Section):
    """Limits of the motion asked for: rad, rad/s, rad/s^2. They may tighten the arm model's own, never widen them.

    share: of the arm's own velocity limit that the motion may use, wherever that is below `velocity`: the FR3's falls
        near the ends of the joints. What is left is for the correction of tracking errors.
    """

    lower: Joints
    upper: Joints
    velocity: PositiveJoints
    acceleration: PositiveJoints
    share: Annotated[float, Field(gt=0, le=0.95)] = 0.9

    @model_validator(mode="after")
    def _ordered(self) -> JointLimits:
        if any(low >= high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError("every joint's lower limit must be below its upper limit")
        return self


class Tracking(Section):
    """How the arm follows the reference (docs: vga_bringup.robot.tracking).

    velocity: streamed joint velocity, feed-forward plus `gain` (1/s) times the position error.
    impedance: torque-mode joint impedance with `stiffness` (Nm/rad) and `damping` (Nm s/rad).
    """

    mode: Literal["velocity", "impedance"] = "velocity"
    rate_hz: Annotated[float, Field(ge=50, le=200)] = 100.0
    gain: Positive = 4.0
    stiffness: PositiveJoints = [600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0]
    damping: PositiveJoints = [50.0, 50.0, 50.0, 50.0, 30.0, 25.0, 15.0]


class Collision(Section):
    """Thresholds above which the arm reflexes: joint torques (Nm) and Cartesian force/torque (N, Nm)."""

    joint_torque: PositiveJoints = [40.0, 40.0, 36.0, 36.0, 32.0, 28.0, 24.0]
    cartesian_wrench: Annotated[list[Positive], Field(min_length=6, max_length=6)] = [
        40.0, 40.0, 40.0, 50.0, 50.0, 50.0,
    ]  # fmt: skip


class Payload(Section):
    """What the flange carries besides the hand (the wrist camera): kg, m, kg m^2 (row-major 3x3)."""

    mass: Annotated[float, Field(ge=0)] = 0.0
    center_of_mass: Vector3 = [0.0, 0.0, 0.0]
    inertia: Annotated[list[float], Field(min_length=9, max_length=9)] = [0.0] * 9


class SelfCollision(Section):
    """How near the arm's links may come to each other.

    clearance: m between what is not neighbours on the arm. mounted: what the flange carries besides the hand, such as
        the wrist camera: boxes in the hand's frame (origin on the flange, z away from the arm, fingers open along y).
    """

    clearance: Annotated[float, Field(ge=0, le=0.2)] = 0.05
    mounted: list[Box] = []


class Arm(Section):
    """The Franka arm. model: which one, with its limits (vga_policy.cell.arm_models)."""

    ip: str
    model: ModelName = "fr3"
    realtime: Literal["enforce", "ignore"] = "enforce"
    joint_names: Annotated[list[str], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
    base_frame: str = "fr3_link0"
    home: Joints
    limits: JointLimits
    speed_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    homing_speed: Annotated[float, Field(gt=0, le=1)] = 0.15
    tracking: Tracking = Tracking()
    collision: Collision = Collision()
    payload: Payload = Payload()
    self_collision: SelfCollision = SelfCollision()
    end_effector_xyz: Vector3 = [0.0, 0.0, 0.0]
    end_effector_rpy: Vector3 = [0.0, 0.0, 0.0]

    @model_validator(mode="before")
    @classmethod
    def _model_of_old_files(cls, data: Any) -> Any:
        """Cells of before `model` was a key name their arm by its joints."""
        names = data.get("joint_names") if isinstance(data, dict) else None
        if isinstance(names, list) and "model" not in data and all(str(name).startswith("panda") for name in names):
            return {**data, "model": "panda"}
        return data

    @property
    def own(self) -> ArmModel:
        """The robot's own limits."""
        return arm_model(self.model)

    @model_validator(mode="after")
    def _home_inside(self) -> Arm:
        if len(set(self.joint_names)) != ARM_JOINTS:
            raise ValueError("joint_names must differ from each other")
        for name, q, low, high in zip(self.joint_names, self.home, self.limits.lower, self.limits.upper, strict=True):
            if not low < q < high:
                raise ValueError(f"home of {name} ({q}) must lie inside its limits [{low}, {high}]")
        return self


class Gripper(Section):
    """The Franka hand. Widths are total openings in metres.

    grasp_below: a command at or below this width closes with force (grasp); above, the fingers move to the width.
    min_change: smaller changes of the command are not sent, so that noise does not chatter the fingers.
    """

    joint_name: str = "fr3_finger_joint1"
    max_width: Positive = 0.08
    speed: Positive = 0.1
    force: Positive = 20.0
    grasp_below: Positive = 0.03
    release_above: Positive = 0.045
    min_change: Positive = 0.005

    @model_validator(mode="after")
    def _hysteresis(self) -> Gripper:
        if not self.grasp_below < self.release_above <= self.max_width:
            raise ValueError("need grasp_below < release_above <= max_width")
        return self


class Strategy(StrEnum):
    """How chunks become motion (vga_bringup.robot.motion.executor)."""

    OPEN_LOOP_SYNC = "open_loop_sync"
    OPEN_LOOP = "open_loop"
    RECEDING = "receding"
    TEMPORAL_ENSEMBLE = "temporal_ensemble"


class Execution(Section):
    """Chunk execution and its safety limits. Times in seconds.

    max_chunk_age: oldest t_obs a chunk may have when it arrives.
    max_chunk_lead: furthest its t_obs may lie in the future (clock error between hosts).
    max_jump: largest joint distance (rad) between the current reference and the chunk at the moment of the switch.
    blend_time: over which the difference to a new chunk is faded out.
    stop_acceleration: deceleration (rad/s^2) used to come to rest, as far as the arm follows it without lag.
    ensemble_decay: m in the weights exp(-m i) of temporal_ensemble, i = 0 for the oldest chunk.
    """

    strategy: Strategy = Strategy.RECEDING
    max_chunk_age: Positive = 0.5
    max_chunk_lead: Annotated[float, Field(ge=0)] = 0.01
    max_jump: Positive = 0.15
    blend_time: Positive = 0.2
    heartbeat_timeout: Positive = 0.2
    stop_acceleration: Positive = 8.0
    ensemble_decay: Annotated[float, Field(ge=0)] = 0.1


class PolicyInputs(Section):
    """How recent the policy's inputs must be, seconds."""

    max_image_age: Positive = 0.2
    max_joint_age: Positive = 0.1
    max_image_skew: Positive = 0.15


class ActionDefinition(Section):
    """What a step of an action chunk means. Part of the contract's meaning.

    horizon: steps of a chunk; from two on they say how fast the arm is to move at the end.
    joints: what a training label is made of; the gripper's is always the command.
    """

    horizon: Annotated[int, Field(ge=2, le=64)] = 8
    joints: Literal["accepted_reference", "next_joint_state", "leader"] = "accepted_reference"


class Leader(Section):
    """A GELLO leader arm on a Dynamixel bus. `vga gello calibrate` finds offsets, signs and the gripper's angles.

    ids: servos of the 7 joints in the arm's order, then of the trigger. rate_hz: at which they are read, as far as the
    wire allows. Joint = sign (servo angle - offset); angles in rad. gripper_closed: the trigger pulled.
    """

    port: str
    baudrate: Annotated[int, Field(gt=0)] = 57600
    ids: Annotated[list[Annotated[int, Field(ge=0, le=252)]], Field(min_length=8, max_length=8)] = [*range(1, 9)]
    rate_hz: Annotated[float, Field(ge=10, le=500)] = 125.0
    offsets: Joints
    signs: Annotated[list[Literal[-1, 1]], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
    gripper_closed: float
    gripper_open: float

    @model_validator(mode="after")
    def _usable(self) -> Leader:
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("ids must differ from each other")
        if self.gripper_closed == self.gripper_open:
            raise ValueError("gripper_closed and gripper_open must differ")
        return self


class Recording(Section):
    """What an episode's bag holds. Topics of the cameras are added by themselves."""

    topics: list[str] = RECORDED_TOPICS


class Cell(Section):
    """The whole cell. Load it with :func:`vga_policy.cell.loading.load_cell`."""

    version: Literal[1] = 1
    name: str
    control_rate_hz: Positive = 10.0
    action: ActionDefinition = ActionDefinition()
    arm: Arm
    gripper: Gripper = Gripper()
    execution: Execution = Execution()
    workspace: Box
    keep_out: list[Box] = []
    cameras: Annotated[list[Camera], Field(min_length=1)]
    inputs: PolicyInputs = PolicyInputs()
    leader: Leader | None = None
    recording: Recording = Recording()

    @model_validator(mode="after")
    def _cameras_consistent(self) -> Cell:
        for key in ("name", "serial"):
            values = [getattr(camera, key) for camera in self.cameras]
            if duplicates := {value for value in values if values.count(value) > 1}:
                raise ValueError(f"cameras: {key} {sorted(duplicates)} is used more than once")
        slots = sorted(camera.slot for camera in self.cameras if camera.slot is not None)
        if slots != list(range(len(slots))) or not slots:
            raise ValueError(
                f"cameras: slots are {slots}; they must be 0, 1, … without gaps or duplicates, at least one"
            )
        return self

    @property
    def dt(self) -> float:
        """Duration of one control step, seconds."""
        return 1.0 / self.control_rate_hz

    @property
    def views(self) -> list[Camera]:
        """The cameras the policy sees, in slot order."""
        return sorted(
            (camera for camera in self.cameras if camera.slot is not None),
            key=lambda camera: camera.slot or 0,
        )

    def camera(self, name: str) -> Camera:
        """The camera called `name`; CellError naming the cell's cameras if there is none."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise CellError(f"no camera '{name}' in cell '{self.name}'; it has {[c.name for c in self.cameras]}")

    def with_views(self, names: list[str]) -> Cell:
        """The same cell with these cameras in slots 0, 1, … (an unseen-view evaluation swaps slot 0)."""
        if len(set(names)) != len(names):
            raise CellError(f"views {names}: a camera can fill one slot only")
        slots = {self.camera(name).name: slot for slot, name in enumerate(names)}
        cameras = [camera.model_copy(update={"slot": slots.get(camera.name)}) for camera in self.cameras]
        return self.model_copy(update={"cameras": cameras})
