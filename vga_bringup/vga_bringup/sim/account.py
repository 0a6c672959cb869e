"""What libfranka's state says beyond the measured joints: franky-sim's account of it, at a third of the cost.

franky-sim keeps one object per quantity and asks each for the others, which takes a third of every millisecond of a
slow core. Here they are computed in a row, by the same formulas and filters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from franky_sim.base_simulator import InnerRobotState, PoseDerivativeTracker

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


# Neighbours in it, written at once.
RUNS = {"poses": ("O_T_EE", "O_T_EE_d"), "joints": ("elbow", "ddq_d"), "commands": ("elbow_c", "O_ddP_EE_c")}


class Message:
    """A robot state as it goes over the wire, made once and then kept up to date."""

    def __init__(self, packed: bytes) -> None:
        self.bytes = bytearray(packed)
        self._place = {name: self._run(name, name) for name in ("tau_ext_hat_filtered", "O_dP_EE_d")}
        self._place |= {name: self._run(*ends) for name, ends in RUNS.items()}

    def put(self, name: str, *parts: np.ndarray) -> None:
        """Replaces a field or a run of RUNS by its parts."""
        self._place[name][:] = parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, first: str, last: str) -> np.ndarray:
        assert WIRE.fields is not None
        begin, (kind, end) = WIRE.fields[first][1], WIRE.fields[last][:2]
        return np.frombuffer(self.bytes, "<f4", (end + kind.itemsize - begin) // 4, begin)


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
    """Filtered derivative of a vector, as franky-sim's FiniteDifferenceTracker has it."""

    KEPT = 0.95  # of the last derivative at each update

    def __init__(self, size: int) -> None:
        self.value = np.zeros(size)
        self._last: np.ndarray | None = None
        self._since = 0.0

    def update(self, time: float, vector: np.ndarray) -> None:
        """Takes the vector as of `time` (s); it must not be written to afterwards."""
        if self._last is not None:
            self.value = self.KEPT * self.value + ((1 - self.KEPT) / (time - self._since)) * (vector - self._last)
        self._last, self._since = vector, time

    def clear(self) -> None:
        """Forgets what was."""
        if self._last is not None:
            self.value, self._last = np.zeros_like(self.value), None


class Account:
    """Settled once a step. `quantities` takes the place of the robot's own.

    kinematics: joints [7] → pose of the tool centre point. velocity: joints and their speeds → its twist [6].
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
        value = {name: quantity.value for name, quantity in self.quantities.items()}
        q, dq, tau = np.array(state.q), np.array(state.dq), value["tau_J"]
        q_d, pose, pose_d, pose_c = value["q_d"], value["O_T_EE"], value["O_T_EE_d"], value["O_T_EE_c"]
        flat = _flat(pose)
        flat_d = flat if pose_d is pose else _flat(pose_d)
        flat_c = flat_d if pose_c is pose_d else _flat(pose_c)
        message.put("poses", flat, flat_d)
        elbows = np.array((q[2], 1.0 if q[3] > 0.0 else -1.0, q_d[2], 1.0 if q_d[3] > 0.0 else -1.0))
        message.put(
            "joints",
            *(elbows, tau, value["tau_J_d"], value["dtau_J"], q, q_d, dq, value["dq_d"], value["ddq_d"]),
        )
        message.put("tau_ext_hat_filtered", tau)
        message.put("O_dP_EE_d", value["O_dP_EE_d"])
        message.put(
            "commands",
            *(value["elbow_c"], value["delbow_c"], value["ddelbow_c"]),
            *(flat_c, value["O_dP_EE_c"], value["O_ddP_EE_c"]),
        )

    def _settle(self, time: float, state: InnerRobotState) -> None:
        if self._time == time:
            return
        quantities, rates = self.quantities, self._rates
        given = {name for name in COMMANDED if quantities[name].given_at == time}
        if "tau_J_d" not in given:
            raise ValueError("Cannot infer tau_J_d")
        self._time = time
        q, dq = np.array(state.q), np.array(state.dq)
        rates["measured"].update(time, np.array((*state.dq, *state.tau_j)))
        ddq, dtau = rates["measured"].value[:7], rates["measured"].value[7:]

        # The third joint's, which stands for the elbow.
        elbow, elbow_rate = np.array((q[2], np.sign(q[3]))), ddq[2]
        if "elbow_c" in given:
            elbow = self._follow("elbow_c", quantities["elbow_c"].value)
            elbow_rate = rates["elbow_c"].value[0]
        else:
            rates["elbow_c"].clear()

        if "q_d" in given:
            q_d = self._follow("q_d", quantities["q_d"].value)
        elif "elbow_c" in given:
            q_d = self._follow("q_d", np.array((*q[:2], elbow[0], *q[3:])))
        else:
            q_d = self._follow("q_d", q)
        inferred = rates["q_d"].value if "q_d" in given else dq
        dq_d = self._follow("dq_d", quantities["dq_d"].value if "dq_d" in given else inferred)
        pose = self._kinematics(q)
        pose_d = pose if q_d is q else self._kinematics(q_d)
        twist_d = self._velocity(q_d, dq_d)
        rates["O_dP_EE_d"].update(time, twist_d)

        pose_c, twist_c, acceleration_c = pose_d, twist_d, rates["O_dP_EE_d"].value
        if "O_T_EE_c" in given:
            pose_c = quantities["O_T_EE_c"].value
            if quantities["O_T_EE_c"].news:
                self._pose_rate.update(time, pose_c)
            twist_c = self._pose_rate.last_derivative
        else:
            self._pose_rate.clear()
        if "O_dP_EE_c" in given:
            twist_c = self._follow("O_dP_EE_c", quantities["O_dP_EE_c"].value)
            acceleration_c = rates["O_dP_EE_c"].value
        else:
            rates["O_dP_EE_c"].clear()

        self._put(
            q_d=q_d,
            dq_d=dq_d,
            ddq_d=rates["dq_d"].value if "dq_d" in given else ddq,
            tau_J_d=quantities["tau_J_d"].value,
            tau_J=quantities["tau_J"].value,
            dtau_J=dtau,
            elbow_c=elbow,
            delbow_c=np.array((elbow_rate, 0.0)),
            ddelbow_c=np.array((dq[2], 0.0)),
            O_T_EE=pose,
            O_T_EE_d=pose_d,
            O_dP_EE_d=twist_d,
            O_T_EE_c=pose_c,
            O_dP_EE_c=twist_c,
            O_ddP_EE_c=acceleration_c,
        )

    def _follow(self, name: str, value: np.ndarray) -> np.ndarray:
        """`value`, whose rate is kept up while commands say something new."""
        if self.quantities[name].news:
            self._rates[name].update(self._time, value)
        return value

    def _put(self, **values: Any) -> None:
        for name, value in values.items():
            quantity = self.quantities[name]
            quantity.value, quantity.settled_at, quantity.news = value, self._time, True


def _flat(pose: Any) -> np.ndarray:
    """A pose as libfranka has it: 4 x 4, column after column."""
    return pose.homogeneous.T.reshape(16)
