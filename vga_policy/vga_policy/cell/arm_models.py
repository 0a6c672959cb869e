"""What each model of arm takes before it stops by itself: the robot's limits as data.

Sources: FR3: libfranka 0.21.2 (include/franka/rate_limiting.h and the joint_velocity_limits of its URDF) and Franka's
"Robot and interface specifications"; FER, the Panda: libfranka 0.9.2 and the same page. The robot stops with a reflex
when a command or the arm itself is beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ModelName = Literal["fr3", "panda"]

VELOCITY_TOLERANCE = 1e-3  # rad/s, which libfranka leaves below a limit that depends on the position


@dataclass(frozen=True, eq=False)
class ArmModel:
    """Limits of one model of arm; arrays are float64 [7].

    title: in words. prefix: of its joints' and links' names in URDF.
    lower, upper: joint range, rad. velocity: rad/s, far from the ends of the range.
    offset, deceleration: near an end, at a distance of s rad, sqrt(2 deceleration s) - offset is the most it takes
        (rad/s, rad/s^2); None for an arm whose velocity limit does not depend on the position.
    acceleration: rad/s^2. jerk: rad/s^3. torque: of the motors, Nm. torque_rate: Nm/s.
    """

    name: ModelName
    title: str
    prefix: str
    lower: Array
    upper: Array
    velocity: Array
    offset: Array | None
    deceleration: Array | None
    acceleration: Array
    jerk: Array
    torque: Array
    torque_rate: Array

    def velocity_limits(self, q: Array, braking: Array | float = np.inf) -> tuple[Array, Array]:
        """The lowest (<= 0) and the highest (>= 0) velocity at joint angles `q` [..., 7] (rad), rad/s: two [..., 7].

        braking: rad/s^2, [7]; the limits are lowered so that an arm that brakes no harder than this stays below them.
        """
        return -self._limit_at(q - self.lower, braking), self._limit_at(self.upper - q, braking)

    def arrival(self, distance: Array, braking: Array | float, h: float) -> Array:
        """The velocity v [..., 7] that just is the limit once h v / 2 of `distance` (rad, to an end) is gone."""
        if self.offset is None or self.deceleration is None:
            return np.broadcast_to(self.velocity, distance.shape)
        deceleration = np.minimum(self.deceleration, braking)
        # With w = v + offset: w^2 = 2 deceleration (distance - h v / 2).
        b = deceleration * h / 2
        w = np.sqrt((b * b + 2 * deceleration * distance + 2 * b * self.offset).clip(min=0.0)) - b
        return np.asarray((np.minimum(self.velocity, w - self.offset) - VELOCITY_TOLERANCE).clip(min=0.0))

    def _limit_at(self, distance: Array, braking: Array | float) -> Array:
        """The limit at `distance` (rad) from an end."""
        return self.arrival(distance, braking, 0.0)


def _joints(*values: float) -> Array:
    array = np.array(values if len(values) == 7 else values * 7, dtype=float)
    array.flags.writeable = False
    return array


_TORQUE = _joints(87, 87, 87, 87, 12, 12, 12)

FR3 = ArmModel(
    name="fr3",
    title="Franka Research 3",
    prefix="fr3",
    lower=_joints(-2.7501, -1.7918, -2.9065, -3.0481, -2.8101, 0.54092, -3.0196),
    upper=_joints(2.7501, 1.7918, 2.9065, -0.1458, 2.8101, 4.5205, 3.0196),
    velocity=_joints(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    offset=_joints(0.30, 0.20, 0.20, 0.30, 0.35, 0.35, 0.35),
    deceleration=_joints(6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0),
    acceleration=_joints(10.0),
    jerk=_joints(5000.0),
    torque=_TORQUE,
    torque_rate=_joints(1000.0),
)

PANDA = ArmModel(
    name="panda",
    title="Franka Emika Robot (Panda)",
    prefix="panda",
    lower=_joints(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    upper=_joints(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    velocity=_joints(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    offset=None,
    deceleration=None,
    acceleration=_joints(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    jerk=_joints(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    torque=_TORQUE,
    torque_rate=_joints(1000.0),
)

_MODELS: dict[ModelName, ArmModel] = {"fr3": FR3, "panda": PANDA}


def arm_model(name: ModelName) -> ArmModel:
    """The model that a cell file names."""
    return _MODELS[name]
