"""What libfranka's state says beyond the measured joints: franky-sim's account of it, at a third of the cost.

franky-sim keeps one object per quantity and asks each for the others, which takes a third of every millisecond of a
slow core. Here they are computed in a row, by the same formulas and filters.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from franky_sim.base_simulator import InnerRobotState, PoseDerivativeTracker

Vector = Sequence[float]

COMMANDED = ("q_d", "dq_d", "tau_J_d", "elbow_c", "O_T_EE_c", "O_dP_EE_c")
INFERRED = ("ddq_d", "tau_J", "dtau_J", "delbow_c", "ddelbow_c", "O_T_EE", "O_T_EE_d", "O_dP_EE_d", "O_ddP_EE_c")

# The layout of FrankaRobotState.pack_state, with what changes by itself named and the rest as it stands between.
WIRE = np.dtype(
    [
        ("O_T_EE", "<f4", 16),
        ("O_T_EE_d", "<f4", 16),
        ("_frames", "<f4", 64),
        ("_loads", "<f4", 26),
        ("elbow", "<f4", 2),
        ("elbow_d", "<f4", 2),
        ("tau_J", "<f4", 7),
        ("tau_J_d", "<f4", 7),
        ("dtau_J", "<f4", 7),
        ("q", "<f4", 7),
        ("q_d", "<f4", 7),
        ("dq", "<f4", 7),
        ("dq_d", "<f4", 7),
        ("ddq_d", "<f4", 7),
        ("_contacts", "<f4", 26),
        ("tau_ext_hat_filtered", "<f4", 7),
        ("_forces", "<f4", 12),
        ("O_dP_EE_d", "<f4", 6),
        ("_base", "<f4", 3),
        ("elbow_c", "<f4", 2),
        ("delbow_c", "<f4", 2),
        ("ddelbow_c", "<f4", 2),
        ("O_T_EE_c", "<f4", 16),
        ("O_dP_EE_c", "<f4", 6),
        ("O_ddP_EE_c", "<f4", 6),
        ("_motors", "<f4", 14),
        ("_accelerometers", "<f4", 36),
        ("_modes", "u1", 85),
        ("control_command_success_rate", "<f4"),
    ]
)
OFFSETS = {name: field[1] for name, field in (WIRE.fields or {}).items()}
FLOATS = {count: struct.Struct(f"<{count}f") for count in (6, 7, 32, 34, 60)}


class Message:
    """A robot state as it goes over the wire, made once and then kept up to date."""

    def __init__(self, packed: bytes) -> None:
        self.bytes = bytearray(packed)

    def put(self, first: str, *values: float) -> None:
        """Replaces the neighboring floats that begin with field `first`."""
        FLOATS[len(values)].pack_into(self.bytes, OFFSETS[first], *values)


class Quantity:
    """One entry of the account, with the interface franky-sim's robot uses: set before a step, got after it."""

    def __init__(self, settle: Callable[[float, InnerRobotState], None]) -> None:
        self._settle = settle
        self.value: Any = None
        self.settled_at: float | None = None
        self.given_at: float | None = None
        self.news = True

    def set(self, time: float, value: Any, call_observers: bool = True) -> None:
        """Takes a command for the step at `time`; `call_observers`: whether it is another than at the last step."""
        self.given_at, self.value, self.news = time, value, call_observers

    def finalize(self, time: float, state: InnerRobotState) -> None:
        """Settles the whole account."""
        self._settle(time, state)

    def get(self, time: float) -> Any:
        """The value as of the step at `time`, the last one."""
        if self.settled_at != time:
            raise ValueError("Desired state component not yet finalized.")
        return self.value


class Rate:
    """Filtered derivative of a vector, as franky-sim's FiniteDifferenceTracker has it. So few numbers need no NumPy."""

    KEPT = 0.95  # of the last derivative at each update

    def __init__(self, size: int) -> None:
        self.value = [0.0] * size
        self._last: Vector | None = None
        self._since = 0.0

    def update(self, time: float, vector: Vector) -> None:
        """Takes the vector as of `time` (s)."""
        if self._last is not None:
            gain = (1 - self.KEPT) / (time - self._since)
            self.value = [
                self.KEPT * rate + gain * (new - old)
                for rate, new, old in zip(self.value, vector, self._last, strict=True)
            ]
        self._last, self._since = vector, time

    def clear(self) -> None:
        """Forgets what was."""
        if self._last is not None:
            self.value, self._last = [0.0] * len(self.value), None


class Account:
    """Settled once a step. `quantities` takes the place of the robot's own.

    kinematics: joints [7] → pose of the tool center point. velocity: joints and their speeds → its twist [6].
    Rates of Cartesian commands begin with the commands, at zero; those of joints are followed always.
    """

    def __init__(
        self, kinematics: Callable[[np.ndarray], Any], velocity: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> None:
        self._kinematics, self._velocity = kinematics, velocity
        self.quantities = {name: Quantity(self._settle) for name in (*COMMANDED, *INFERRED)}
        self._time = -1.0  # s, of the last settlement
        self._rates = {
            "measured": Rate(14),  # dq, tau_J
            "q_d": Rate(7),
            "dq_d": Rate(7),
            "elbow_c": Rate(2),
            "O_dP_EE_d": Rate(6),
            "O_dP_EE_c": Rate(6),
        }
        self._pose_rate = PoseDerivativeTracker()

    def write(self, message: Message, state: InnerRobotState) -> None:
        """Puts what was settled last into a message, and leaves the rest as it is."""
        of = {name: quantity.value for name, quantity in self.quantities.items()}
        q, q_d = state.q, of["q_d"]
        pose, pose_d, pose_c = of["O_T_EE"], of["O_T_EE_d"], of["O_T_EE_c"]
        flat = _flat(pose)
        flat_d = flat if pose_d is pose else _flat(pose_d)
        flat_c = flat_d if pose_c is pose_d else _flat(pose_c)
        message.put("O_T_EE", *flat, *flat_d)
        message.put(
            "elbow",
            *(q[2], 1.0 if q[3] > 0.0 else -1.0, q_d[2], 1.0 if q_d[3] > 0.0 else -1.0),
            *(*state.tau_j, *of["tau_J_d"], *of["dtau_J"]),
            *(*q, *q_d, *state.dq, *of["dq_d"], *of["ddq_d"]),
        )
        message.put("tau_ext_hat_filtered", *state.tau_j)
        message.put("O_dP_EE_d", *of["O_dP_EE_d"])
        message.put(
            "elbow_c",
            *(*of["elbow_c"], *of["delbow_c"], *of["ddelbow_c"]),
            *(*flat_c, *of["O_dP_EE_c"], *of["O_ddP_EE_c"]),
        )

    def _settle(self, time: float, state: InnerRobotState) -> None:
        if self._time == time:
            return
        quantities, rates = self.quantities, self._rates
        given = {name for name in COMMANDED if quantities[name].given_at == time}
        if "tau_J_d" not in given:
            raise ValueError("Cannot infer tau_J_d")
        self._time = time
        q, dq = state.q, state.dq
        rates["measured"].update(time, (*dq, *state.tau_j))
        ddq, dtau = rates["measured"].value[:7], rates["measured"].value[7:]

        # The third joint's, which stands for the elbow.
        elbow: Vector = (q[2], math.copysign(1.0, q[3]) if q[3] else 0.0)
        elbow_rate = ddq[2]
        if "elbow_c" in given:
            elbow = self._follow("elbow_c", self._command("elbow_c"))
            elbow_rate = rates["elbow_c"].value[0]
        else:
            rates["elbow_c"].clear()

        q_d: Vector = q
        if "q_d" in given:
            q_d = self._command("q_d")
        elif "elbow_c" in given:
            q_d = (*q[:2], elbow[0], *q[3:])
        self._follow("q_d", q_d)
        inferred = rates["q_d"].value if "q_d" in given else dq
        dq_d = self._follow("dq_d", self._command("dq_d") if "dq_d" in given else inferred)
        pose = self._kinematics(np.array(q))
        pose_d = pose if q_d is q else self._kinematics(np.array(q_d))
        twist_d = self._velocity(np.array(q_d), np.array(dq_d)).tolist()
        rates["O_dP_EE_d"].update(time, twist_d)

        pose_c, twist_c, acceleration_c = pose_d, twist_d, rates["O_dP_EE_d"].value
        if "O_T_EE_c" in given:
            pose_c = quantities["O_T_EE_c"].value
            if quantities["O_T_EE_c"].news:
                self._pose_rate.update(time, pose_c)
            twist_c = self._pose_rate.last_derivative.tolist()
        else:
            self._pose_rate.clear()
        if "O_dP_EE_c" in given:
            twist_c = self._follow("O_dP_EE_c", self._command("O_dP_EE_c"))
            acceleration_c = rates["O_dP_EE_c"].value
        else:
            rates["O_dP_EE_c"].clear()

        self._put(
            q_d=q_d,
            dq_d=dq_d,
            ddq_d=rates["dq_d"].value if "dq_d" in given else ddq,
            tau_J_d=self._command("tau_J_d"),
            tau_J=state.tau_j,
            dtau_J=dtau,
            elbow_c=elbow,
            delbow_c=(elbow_rate, 0.0),
            ddelbow_c=(dq[2], 0.0),
            O_T_EE=pose,
            O_T_EE_d=pose_d,
            O_dP_EE_d=twist_d,
            O_T_EE_c=pose_c,
            O_dP_EE_c=twist_c,
            O_ddP_EE_c=acceleration_c,
        )

    def _command(self, name: str) -> Vector:
        return np.asarray(self.quantities[name].value).tolist()

    def _follow(self, name: str, vector: Vector) -> Vector:
        """`vector`, whose rate is kept up while commands say something new."""
        if self.quantities[name].news:
            self._rates[name].update(self._time, vector)
        return vector

    def _put(self, **values: Any) -> None:
        for name, value in values.items():
            quantity = self.quantities[name]
            quantity.value, quantity.settled_at, quantity.news = value, self._time, True


def _flat(pose: Any) -> list[float]:
    """A pose as libfranka has it: 4 x 4, column after column."""
    return pose.homogeneous.T.reshape(16).tolist()
