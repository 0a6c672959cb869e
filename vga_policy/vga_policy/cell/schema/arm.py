"""Section `arm`: the Franka arm, its limits, and how it is controlled."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from vga_policy.cell.arm_models import ArmModel, ModelName, arm_model
from vga_policy.cell.schema.section import (
    ARM_JOINTS,
    Box,
    Joints,
    Named,
    Positive,
    PositiveJoints,
    Section,
    Vector3,
    described,
)

TURN = 2 * math.pi


class JointLimits(Section):
    """Limits of the motion asked for. They may tighten the arm model's own, never widen them."""

    lower: Annotated[
        Joints,
        described(
            "Lowest angle of each joint that motion may ask for. Stay some 0.05 rad inside the arm's own range, or "
            "the arm may stop with a reflex near the end.",
            "rad",
        ),
    ]
    upper: Annotated[
        Joints, described("Highest angle of each joint that motion may ask for; see arm.limits.lower.", "rad")
    ]
    velocity: Annotated[
        PositiveJoints,
        described(
            "Highest velocity of each joint, before arm.speed_scale. Where arm.limits.share of the arm's own limit is "
            "less, that holds. A chunk that is faster is rejected; homing and a leader's motion are slowed to it.",
            "rad/s",
        ),
    ]
    acceleration: Annotated[
        PositiveJoints,
        described(
            "Highest acceleration of each joint from step to step of a chunk; between steps, and in going over to the "
            "chunk, it may be up to twice as much. A chunk beyond is rejected. Typical: 7.5 to 10.",
            "rad/s^2",
        ),
    ]
    share: Annotated[
        float,
        Field(gt=0, le=0.95),
        described(
            "Share of the arm's own velocity limit that motion may use, wherever that is below arm.limits.velocity: "
            "the FR3's falls near the ends of the joints. What is left is for the correction of tracking errors; with "
            "less left, reflexes come closer.",
            "1",
        ),
    ] = 0.9

    @model_validator(mode="after")
    def _ordered(self) -> JointLimits:
        if any(low >= high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError("every joint's lower limit must be below its upper limit")
        return self


class Tracking(Section):
    """How the arm follows the reference, which chunks, a leader or homing become."""

    mode: Annotated[
        Literal["velocity", "impedance"],
        described(
            "`velocity` streams joint velocities and follows closely. `impedance` streams torques of a spring and a "
            "damper: it gives way on contact and follows less closely."
        ),
    ] = "velocity"
    rate_hz: Annotated[
        float,
        Field(ge=50, le=200),
        described(
            "Rate of the driver's control loop, at which commands are sent and joint states and reference are "
            "published. Higher follows a leader sooner and takes more of the processor.",
            "Hz",
        ),
    ] = 100.0
    gain: Annotated[
        Positive,
        described(
            "Correction in mode `velocity`: rad/s for each rad that the arm lags behind. Higher follows more stiffly "
            "and may oscillate. Mode `impedance` does not use it.",
            "1/s",
        ),
    ] = 4.0
    stiffness: Annotated[
        PositiveJoints,
        described(
            "Spring of each joint in mode `impedance`. Higher follows more closely and gives way less on contact. "
            "Mode `velocity` does not use it.",
            "Nm/rad",
        ),
    ] = [600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0]
    damping: Annotated[
        PositiveJoints,
        described(
            "Damper of each joint in mode `impedance`. Too low and the arm swings, too high and it becomes sluggish. "
            "Mode `velocity` does not use it.",
            "Nm s/rad",
        ),
    ] = [50.0, 50.0, 50.0, 50.0, 30.0, 25.0, 15.0]


class Collision(Section):
    """Thresholds above which the arm stops with a reflex."""

    joint_torque: Annotated[
        PositiveJoints,
        described(
            "External torque at each joint above which the arm stops with a reflex. Lower is more careful; raise it "
            "only as far as the contacts of a task need.",
            "Nm",
        ),
    ] = [40.0, 40.0, 36.0, 36.0, 32.0, 28.0, 24.0]
    cartesian_wrench: Annotated[
        list[Positive],
        Field(min_length=6, max_length=6),
        described(
            "External force along x, y and z, then torque about them, above which the arm stops with a reflex. Lower "
            "is more careful.",
            "N and Nm",
        ),
    ] = [40.0, 40.0, 40.0, 50.0, 50.0, 50.0]


class Payload(Section):
    """What the flange carries besides the hand, such as the wrist camera."""

    mass: Annotated[
        float,
        Field(ge=0),
        described(
            "Mass of what the flange carries besides the hand. A wrong value makes the arm drift when it is guided by "
            "hand, and brings reflexes closer. A wrist camera with its mount: 0.12.",
            "kg",
        ),
    ] = 0.0
    center_of_mass: Annotated[Vector3, described("Center of that mass, in the flange's frame.", "m")] = [0.0, 0.0, 0.0]
    inertia: Annotated[
        list[float],
        Field(min_length=9, max_length=9),
        described("Inertia of that mass about its center, the nine values of the matrix row by row.", "kg m^2"),
    ] = [0.0] * 9


class SelfCollision(Section):
    """How near the arm's links may come to each other."""

    clearance: Annotated[
        float,
        Field(ge=0, le=0.2),
        described(
            "Distance that links which are not neighbors keep from each other. A chunk that brings them nearer is "
            "rejected. Lower it only as far as a task needs.",
            "m",
        ),
    ] = 0.05
    mounted: Annotated[
        list[Box],
        described(
            "What is mounted on the hand, such as the wrist camera: boxes in the hand's frame, whose origin is on the "
            "flange, z pointing away from the arm and the fingers opening along y. An empty list: nothing."
        ),
    ] = []


class Arm(Section):
    """The Franka arm."""

    ip: Annotated[
        Named,
        described(
            "Network address of the arm, as Desk shows it under Settings, Network. An address of this machine, such "
            "as 127.0.0.1, is taken for a simulated arm."
        ),
    ]
    model: Annotated[
        ModelName,
        described(
            "Which arm it is: `fr3`, the Franka Research 3, or `panda`, the older Franka Emika Robot. Its own limits "
            "hold whatever else this file says. A policy runs only on the model that it was trained with."
        ),
    ] = "fr3"
    realtime: Annotated[
        Literal["enforce", "ignore"],
        described(
            "`enforce` refuses to move the arm without a real-time kernel (PREEMPT_RT). `ignore` moves it all the "
            "same: expect dropped commands."
        ),
    ] = "enforce"
    joint_names: Annotated[
        list[str],
        Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS),
        described(
            "Names of the arm's joints, from the base on, in joint states and chunks: fr3_joint1 to fr3_joint7, or "
            "panda_joint1 to panda_joint7. A policy runs only where they are those that it was trained with."
        ),
    ]
    base_frame: Annotated[
        str,
        described(
            "Name of the frame in the base's foot, x forward, y left, z up, which messages and boxes are in. A "
            "Panda's is panda_link0."
        ),
    ] = "fr3_link0"
    home: Annotated[
        Joints,
        described(
            "Joint angles of the posture that the home action goes to. A cell file whose home is outside arm.limits "
            "is refused, and so is homing while home is outside the workspace.",
            "rad",
        ),
    ]
    limits: Annotated[JointLimits, described("How far and how fast the joints may be asked to move.")]
    speed_scale: Annotated[
        float,
        Field(gt=0, le=1),
        described(
            "Share of arm.limits.velocity that may be used. Start a new cell low and raise it towards 1 once you "
            "trust it; chunks that are faster are rejected, not slowed down. Typical: 0.5.",
            "1",
        ),
    ] = 1.0
    homing_speed: Annotated[
        float,
        Field(gt=0, le=1),
        described(
            "Share of the velocity that the cell allows with which the arm goes home, where the request names no "
            "speed of its own. Lower is slower.",
            "1",
        ),
    ] = 0.15
    tracking: Annotated[Tracking, described("How the arm follows what it is asked to do.")] = Tracking()
    collision: Annotated[Collision, described("How hard a contact may be before the arm stops by itself.")] = (
        Collision()
    )
    payload: Annotated[Payload, described("What the flange carries besides the hand; the arm holds its weight.")] = (
        Payload()
    )
    self_collision: Annotated[
        SelfCollision, described("How near the arm may come to itself, and what is mounted on its hand.")
    ] = SelfCollision()
    end_effector_xyz: Annotated[
        Vector3,
        described(
            "Where the tool center point is, seen from midway between the fingertips, along the axes of the hand. "
            "Zero for the Franka hand's own fingers. The workspace holds for this point.",
            "m",
        ),
    ] = [0.0, 0.0, 0.0]
    end_effector_rpy: Annotated[
        Vector3,
        described(
            "How the tool is turned against the hand: roll about x, then pitch about y, then yaw about z, the axes "
            "fixed.",
            "rad",
        ),
    ] = [0.0, 0.0, 0.0]

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

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of the frames of tf that the arm has: its links, flange, hand and tool center point."""
        links = (*(f"link{i}" for i in range(1, ARM_JOINTS + 2)), "hand", "hand_tcp")
        return (self.base_frame, *(f"{self.own.prefix}_{link}" for link in links))

    @property
    def max_velocity(self) -> NDArray[np.float64]:
        """The cell's velocity limits at its speed scale, rad/s [7]."""
        return np.array(self.limits.velocity) * self.speed_scale

    @model_validator(mode="after")
    def _home_inside(self) -> Arm:
        if len(set(self.joint_names)) != ARM_JOINTS:
            raise ValueError("joint_names must differ from each other")
        for name, q, low, high in zip(self.joint_names, self.home, self.limits.lower, self.limits.upper, strict=True):
            if not low < q < high:
                hint = ": angles are in radians, not degrees" if max(map(abs, (q, low, high))) > TURN else ""
                raise ValueError(f"home of {name} ({q}) must lie inside its limits [{low}, {high}] rad{hint}")
        return self
