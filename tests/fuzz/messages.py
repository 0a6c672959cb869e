"""ROS messages: what every subscription of a node does with a valid message that has one to three odd values.

The nodes' own handlers are called, on stand-ins that have what these handlers touch: no graph, no waiting.
"""

import re
import time
from collections.abc import Callable
from functools import cache
from random import Random
from types import SimpleNamespace

import numpy as np

from fuzz import draw
from fuzz.entrance import Case, Entrance, Seen
from fuzz.valid import CELL

INPUTS = 200
FLOATS = (0.0, -0.0, 1e-9, 0.5, -1.0, 3.2, 100.0, 1e9, 1e30, -1e30, 1e308, -1e308)  # finite
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
TEXTS = ("", " ", "x", "\n", "\x00", "a" * 5000, "rgb8", "16UC1", "fr3_joint1", "../..", "☃")
INTEGER = re.compile(r"u?int(8|16|32|64)")


def odd_message(rng: Random, message) -> None:
    """Changes one field of a message, or of one inside it, to another value of its type."""
    kinds = message.get_fields_and_field_types()
    name = rng.choice(list(kinds))
    setattr(message, name, _odd(rng, kinds[name], getattr(message, name)))


def _odd(rng: Random, kind: str, old):
    if kind.startswith("sequence<") or kind.endswith("]"):
        return _odd_sequence(rng, kind, list(old))
    if kind in ("double", "float"):
        value = rng.choice(FLOATS if rng.random() < 0.8 else NOT_FINITE)
        return float(np.clip(value, -3e38, 3e38)) if kind == "float" else value
    if kind == "boolean":
        return not old
    if kind == "octet":
        return bytes([rng.randrange(256)])
    if kind.startswith("string"):
        return rng.choice((*TEXTS, old[:-1], old * 2))
    if INTEGER.fullmatch(kind):
        signed = not kind.startswith("u")
        bits = int(kind.removeprefix("u").removeprefix("int"))
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return rng.choice((low, high, 0, min(high, 1), min(high, 77), int(np.clip(int(old) + 1, low, high))))
    odd_message(rng, old)
    return old


def _odd_sequence(rng: Random, kind: str, old: list) -> list:
    fixed = kind.endswith("]")
    element = kind.split("[")[0] if fixed else kind.removeprefix("sequence<").rstrip(">").split(",")[0]
    way = rng.random()
    if old and (fixed or way < 0.5):
        at = rng.randrange(len(old))
        old[at] = _odd(rng, element, old[at])
        return old
    if way < 0.6:
        return []
    if way < 0.75:
        return old[:-1]
    if way < 0.9:
        return old + old
    return old[:1] * rng.choice((1, 100, 3000))


# Valid messages.


def _stamp(message, age: float = 0.0):
    from vga_policy.ros.messages import time_message

    message.header.stamp = time_message(time.time_ns() - round(age * 1e9))
    return message


@cache
def _cell():
    from vga_policy.cell.loading import load_cell

    return load_cell(CELL)


def _joints():
    from sensor_msgs.msg import JointState

    message = JointState(name=_cell().joint_state_names, position=[*_cell().arm.home, 0.02])
    return _stamp(message)


def _chunk():
    from builtin_interfaces.msg import Duration
    from trajectory_msgs.msg import JointTrajectoryPoint

    from vga_msgs.msg import ActionChunk

    cell = _cell()
    message = ActionChunk(sequence=1, gripper_width=[0.04] * cell.action.horizon, cameras=["fixed_1", "wrist"])
    message.goal_id.uuid = np.full(16, 7, np.uint8)
    message.trajectory.joint_names = list(cell.arm.joint_names)
    for step in range(1, cell.action.horizon + 1):
        seconds, rest = divmod(round(step * cell.dt * 1e9), 10**9)
        point = JointTrajectoryPoint(positions=[joint + 0.002 * step for joint in cell.arm.home])
        point.time_from_start = Duration(sec=seconds, nanosec=rest)
        message.trajectory.points.append(point)
    return _stamp(message, 0.05)


def _heartbeat():
    from vga_msgs.msg import PolicyHeartbeat

    message = PolicyHeartbeat(healthy=True)
    message.goal_id.uuid = np.full(16, 7, np.uint8)
    return _stamp(message)


def _driver_state():
    from vga_msgs.msg import DriverState

    return _stamp(DriverState(mode=2, connected=True, robot_mode="move", tracking="velocity"))


def _task_state():
    from vga_msgs.msg import TaskState

    return _stamp(TaskState(task="pick_cube", seed=3, instruction="pick up the red cube"))


def _compressed():
    import simplejpeg
    from sensor_msgs.msg import CompressedImage

    pixels = np.zeros((48, 64, 3), np.uint8)
    return _stamp(CompressedImage(format="rgb8; jpeg compressed bgr8", data=simplejpeg.encode_jpeg(pixels, 90)))


def _raw():
    from sensor_msgs.msg import Image

    return _stamp(Image(height=48, width=64, encoding="rgb8", step=192, data=bytes(48 * 192)))


# Stand-ins for the nodes.


class Sink(SimpleNamespace):
    """Whatever is called on it does nothing."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


@cache
def _policy():
    from vga_policy.inference.untrained import untrained_policy

    return untrained_policy(_cell(), device="cpu", threads=1)


def _policy_node():
    """A policy node in mid-task, with one good sample of every input."""
    from vga_policy.inference.cycle_statistics import CycleStatistics
    from vga_policy.inference.health import HealthMonitor
    from vga_policy.inference.task_runner import TaskRunner
    from vga_policy.inference.worker import Worker
    from vga_policy.nodes.policy_node import PolicyNode
    from vga_policy.observation.joint_states import JointStates
    from vga_policy.observation.resampler import Resampler
    from vga_policy.ros.clocks import ClockWatch, SetClock

    cell = _cell()
    resampler, cadence = Resampler([camera.name for camera in cell.views], cell.inputs), CycleStatistics()
    idle = Worker(lambda: None, lambda _: None)
    idle.stop()
    node = Sink(
        cell=cell, dump="", _policy=_policy(), _resampler=resampler, _joint_states=JointStates(cell),
        _clocks=ClockWatch(), _system_clock=SetClock(), _cadence=cadence,
        _monitor=HealthMonitor(resampler, cadence, idle, idle), _sequence=0,
        _encoder=idle, _worker=idle, _arm=Sink(problem=""), _chunks=Sink(), send=lambda call, message: None,
        _now=time.time_ns,
        _runner=TaskRunner(cell.dt, "/driver/state", "/driver/set_mode", lambda _: None, lambda _: None),
    )  # fmt: skip
    handlers = {
        name: getattr(PolicyNode, name).__get__(node)
        for name in (
            "_on_joints",
            "_on_image",
            "_on_raw_image",
            "_on_driver",
            "_cycle",
            "_follow_driver",
            "_sender_problem",
        )
    }
    vars(node).update(handlers)
    node._on_driver(_driver_state())
    node._runner.begin(bytes(16), "pick up the cube", 100, Sink(), time.time_ns(), "")
    node._runner.task.encoded = True
    for camera in cell.views:
        node._on_image(camera.name, _compressed())
    node._on_joints(_joints())
    return node


def _cycle(node) -> None:
    """What the node does with what it has heard: another good joint state, a control cycle, and its diagnostics."""
    node._on_joints(_joints())
    node._follow_driver()
    node._cycle()
    now = time.time_ns()
    health = node._monitor.look(now, node._sender_problem())
    node._monitor.inputs(health, now, time.monotonic())
    node._monitor.inference(health, node._runner.task, 0, 0, "")


def _hear_policy(handler: str, *before) -> Callable:
    def use(message) -> None:
        node = _policy_node()
        getattr(node, handler)(*before, message)
        _cycle(node)

    return use


def _driver_node():
    """A driver in mode POLICY with a live goal, at home; its threads do not run."""
    from vga_bringup.nodes.franka_driver_node import FrankaDriverNode
    from vga_bringup.robot.driver import FrankaDriver
    from vga_policy.message_constants import Mode
    from vga_policy.ros.clocks import ClockWatch

    cell, now = _cell(), time.monotonic()
    driver = FrankaDriver(cell, Sink())
    driver._executor.reset(now, np.array(cell.arm.home), 0.04)
    driver._modes.request(Mode.POLICY, now)
    driver._modes.heartbeat(bytes([7]) * 16, True, "", now)
    node = Sink(cell=cell, driver=driver, _policy_clock=ClockWatch(), _verdict=Sink(), _leader=Sink(here=True))
    node.send = lambda call, message: call(message)
    for name in ("_on_chunk", "_on_heartbeat", "_on_leader"):
        setattr(node, name, getattr(FrankaDriverNode, name).__get__(node))
    return node


def _hear_driver(handler: str) -> Callable:
    def use(message) -> None:
        from vga_bringup.nodes.driver_messages import diagnostics, driver_state

        node = _driver_node()
        getattr(node, handler)(message)
        node._on_leader(_joints())
        node._on_chunk(_chunk())
        now = time.monotonic()
        node.driver._teleop.misalignment(np.array(_cell().arm.home))
        node.driver._teleop.engage(now, np.array(_cell().arm.home), 0.04)
        for reference in (node.driver._executor.reference(now + 0.1), node.driver._teleop.reference(now + 0.1)):
            assert np.isfinite(reference.q).all(), "a reference that is not finite"
        diagnostics(node.driver.figures(), "/driver", 50.0, 0)
        driver_state(node.driver.state)

    return use


def _hear_recorder(handler: str) -> Callable:
    def use(message) -> None:
        from vga_teleop.nodes.recorder_node import RecorderNode

        node = Sink(recorder=Sink(demonstrating=False), _scene=None)
        getattr(RecorderNode, handler).__get__(node)(message)
        if handler == "_on_scene":
            int(node._scene.seed)

    return use


def _record(message) -> None:
    """The recorder takes raw messages of any type with a header."""
    from rclpy.serialization import serialize_message
    from vga_teleop.nodes.recorder_node import header_stamp

    data = serialize_message(message)
    assert header_stamp(data) // 10**9 in (message.header.stamp.sec, message.header.stamp.sec + 4)


def _ask_client(message) -> None:
    from vga_policy.ros.client.driver import DriverClient

    DriverClient.mode.fget(SimpleNamespace(state=message))


VALID = {
    "/joint_states to the policy": (_joints, _hear_policy("_on_joints")),
    "/cameras/*/compressed to the policy": (_compressed, _hear_policy("_on_image", "wrist")),
    "/cameras/*/image_raw to the policy": (_raw, _hear_policy("_on_raw_image", "wrist")),
    "/franka_driver/state to the policy": (_driver_state, _hear_policy("_on_driver")),
    "/policy/action_chunk to the driver": (_chunk, _hear_driver("_on_chunk")),
    "/policy/heartbeat to the driver": (_heartbeat, _hear_driver("_on_heartbeat")),
    "/gello/joint_states to the driver": (_joints, _hear_driver("_on_leader")),
    "/franka_driver/state to the recorder": (_driver_state, _hear_recorder("_on_driver")),
    "/sim_cell/task_state to the recorder": (_task_state, _hear_recorder("_on_scene")),
    "/franka_driver/state to a client": (_driver_state, _ask_client),
    "recorded messages to the recorder": (_joints, _record),
}


def _entrance(name: str) -> Entrance:
    make, hear = VALID[name]

    def damage(case: Case):
        message = make()
        for _ in range(draw.count(case.rng)):
            odd_message(case.rng, message)
        return message

    def use(_case: Case, message, _seen: Seen) -> None:
        hear(message)

    return Entrance(f"message {name}", INPUTS, damage, use)


ENTRANCES = [_entrance(name) for name in VALID]
