"""The cell contract: one YAML file that says what the robot cell is.

Live nodes, recorder, dataset and policy read this one file; it is stored in every bag and checkpoint.
Units are SI, angles are radians, boxes are in the arm's base frame (REP-103).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vga_policy.cell.arm_models import ArmModel, ModelName, arm_model
from vga_policy.files import parse_yaml

ARM_JOINTS = 7

Joints = Annotated[list[float], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
PositiveJoints = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
Vector3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Positive = Annotated[float, Field(gt=0)]


class ContractError(ValueError):
    """A cell file that cannot be used. The message names file, key and allowed values."""


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

    topics: list[str] = [
        "/joint_states",
        "/gello/joint_states",
        "/franka_driver/reference",
        "/franka_driver/gripper_state",
        "/franka_driver/state",
        "/franka_driver/chunk_verdict",
        "/policy/action_chunk",
        "/policy/heartbeat",
        "/diagnostics",
    ]


class Cell(Section):
    """The whole cell. Load it with :func:`load_cell`."""

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
        """The camera called `name`; ContractError naming the cell's cameras if there is none."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise ContractError(f"no camera '{name}' in cell '{self.name}'; it has {[c.name for c in self.cameras]}")

    def with_views(self, names: list[str]) -> Cell:
        """The same cell with these cameras in slots 0, 1, … (an unseen-view evaluation swaps slot 0)."""
        if len(set(names)) != len(names):
            raise ContractError(f"views {names}: a camera can fill one slot only")
        slots = {self.camera(name).name: slot for slot, name in enumerate(names)}
        cameras = [camera.model_copy(update={"slot": slots.get(camera.name)}) for camera in self.cameras]
        return self.model_copy(update={"cameras": cameras})


class Difference(NamedTuple):
    """One difference in meaning between two contracts."""

    key: str
    mine: Any
    other: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.mine!r} here, {self.other!r} there"


def meaning(cell: Cell) -> dict[str, Any]:
    """The part of the contract a checkpoint depends on: not addresses, serial numbers or limits."""
    return {
        "arm.model": cell.arm.model,
        "arm.joint_names": list(cell.arm.joint_names),
        "gripper.max_width": cell.gripper.max_width,
        "control_rate_hz": cell.control_rate_hz,
        "action.horizon": cell.action.horizon,
        "action.joints": cell.action.joints,
        "slot roles": [camera.role for camera in cell.views],
    }


def differences(mine: Cell, other: Cell) -> list[Difference]:
    """Differences in meaning; empty when a checkpoint or bag of `other` can be used in `mine`."""
    here, there = meaning(mine), meaning(other)
    return [Difference(key, here[key], there[key]) for key in here if here[key] != there[key]]


def parse_cell(text: str, source: str = "cell") -> Cell:
    """Parses the YAML text of a cell file; `source` names it in errors.

    Raises ContractError naming source, key and allowed values.
    """
    try:
        data = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ContractError(f"{source}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ContractError(f"{source}: expected a mapping of keys, found {type(data).__name__}")
    try:
        return Cell.model_validate(data)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise ContractError("\n".join(f"{source}: {line}" for line in lines)) from None


def load_cell(path: str | Path, *, stored: bool = False) -> Cell:
    """Reads a cell file. Raises ContractError when it is missing or wrong.

    stored: the file of a checkpoint or an episode, which moves no arm: one whose limits are wider than the arm's, as
        they could be once, is read all the same.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from None
    cell = parse_cell(text, str(path))
    if not stored and (problems := limit_problems(cell)):
        raise ContractError("\n".join(f"{path}: {problem}" for problem in problems))
    return cell


def limit_problems(cell: Cell) -> list[str]:
    """Where the cell's limits are wider than those of its arm's model: key, value, what is allowed."""
    arm, own, limits = cell.arm, cell.arm.own, cell.arm.limits
    other = next(name for name in get_args(ModelName) if name != arm.model)
    problems = []
    if any(name.startswith(other) for name in arm.joint_names):
        remedy = f"set arm.model: {other}, or name the joints {own.prefix}_joint1 ... {own.prefix}_joint7"
        problems.append(f"arm.joint_names: {arm.joint_names[0]} is a {other}'s, arm.model is {arm.model}; {remedy}")
    for key, wider, bounds, where in (
        ("lower", np.less, own.lower, "below"),
        ("upper", np.greater, own.upper, "above"),
        ("velocity", np.greater, own.velocity, "above"),
        ("acceleration", np.greater, own.acceleration, "above"),
    ):
        values = getattr(limits, key)
        problems += [
            f"arm.limits.{key}: {values[joint]:g} of {arm.joint_names[joint]} is {where} {bounds[joint]:g}, "
            f"the limit of the {own.title} itself: a cell may tighten the arm's limits, not widen them"
            for joint in np.flatnonzero(wider(values, bounds))
        ]
    return problems


def dump_cell(cell: Cell) -> str:
    """YAML text of the cell that :func:`parse_cell` reads back to an equal cell."""
    return yaml.safe_dump(cell.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _explain(item: Any) -> str:
    """One validation error as 'key: what is wrong; allowed: …'."""
    location = [part for part in item["loc"] if not (isinstance(part, str) and "[" in part)]
    key = ".".join(str(part) for part in location) or "cell"
    if item["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(location[:-1]))
        return f"{key}: unknown key; allowed keys here: {known}"
    if item["type"] == "missing":
        return f"{key}: required and missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (found {item['input']!r})" if not isinstance(item["input"], dict) else f"{key}: {message}"


def _fields_at(location: list[Any]) -> list[str]:
    """Names of the keys allowed at a location of the cell file."""
    model: Any = Cell
    for part in location:
        if isinstance(part, int):
            continue
        model = _section_of(model.model_fields[part].annotation)
    return list(model.model_fields)


def _section_of(annotation: Any) -> Any:
    """The Section inside an annotation such as list[Camera] or Leader | None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _section_of(inner)) is not None:
            return found
    return None
