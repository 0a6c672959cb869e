"""The node graph as data: which nodes each configuration runs, and with what.

Two renderers read it: :mod:`vga_bringup.graph.launch` for `ros2 launch`, :mod:`vga_bringup.graph.runner` for machines
without the launch package.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import locate, shipped_for_robots
from vga_policy.ros.environment import node_environment

from vga_bringup.description.frames import tf_every
from vga_bringup.description.urdf import robot_description
from vga_policy import topics

Value = str | bool | float | tuple[str, ...]


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph: a ROS node, what it is called and what it is given.

    namespace: absolute. simulates: it stands for a device, which other nodes use to their end.
    """

    package: str
    executable: str
    name: str
    namespace: str = "/"
    parameters: Mapping[str, Value] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    simulates: bool = False


Graph = tuple[NodeSpec, ...]

OPTIONS = {
    "cell": "A cell file, or the name of a shipped one. Empty is the graph's own.",
    "checkpoint": "A policy: the directory of its checkpoint or of its run, or a shipped one's name. Or untrained.",
    "policy": "false leaves the policy out, for teleoperation.",
    "views": "The cameras of view slots 0, 1, and so on, separated by commas. Empty is the cell's.",
    "teleop": "true runs the leader's node too.",
    "simulated": "true is the simulated cell and leader instead of the real ones.",
    "record": "true runs the episode recorder too.",
    "episodes": "The directory that episodes are recorded into.",
    "device": "Where the policy computes: cpu, cuda, cuda:N, or auto, which takes a GPU where there is one.",
    "use_sim_time": "true has the policy go by /clock, for a replay.",
    "task": "The simulated task whose own objects lie on the table. Empty is the cell's objects.",
    "moved": "Simulated cameras that stand elsewhere, separated by commas, each as NAME X Y Z or NAME X Y Z ROLL PITCH "
    "YAW, in m and degrees.",
    "namespace": "The ROS namespace of every node, which holds one robot. Empty is the root.",
}
UNTRAINED = "untrained"
_NAMESPACE = re.compile(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", re.ASCII)


def sim_graph(
    *,
    cell: str = "sim",
    checkpoint: str = "nano",
    views: tuple[str, ...] = (),
    policy: bool = True,
    teleop: bool = False,
    record: bool = False,
    episodes: str = "episodes",
    device: str = "auto",
    task: str = "",
    moved: tuple[str, ...] = (),
    namespace: str = "",
) -> Graph:
    """Everything on one machine, against the simulated cell."""
    path, contract = _load(cell)
    environment = node_environment()
    graph = (
        _simulator("sim_cell", topics.SIM_CELL, path, task, environment, moved),
        *_cameras("sim_camera", path, contract, environment),
        _driver(path, environment),
        _frames(contract, namespace, environment),
        *((_policy(path, contract, checkpoint, views, device, environment),) if policy else ()),
        *_leader(teleop, path, contract, environment, simulated=True, task=task),
        *_recorder(record, path, episodes, environment),
    )
    return _below(namespace, graph)


def lab_graph(
    *,
    cell: str = "lab",
    teleop: bool = False,
    record: bool = False,
    episodes: str = "episodes",
    namespace: str = "",
) -> Graph:
    """The robot PC: cameras and arm."""
    path, contract = _load(cell)
    environment = node_environment()
    graph = (
        *_cameras("camera_node", path, contract, environment),
        _driver(path, environment),
        _frames(contract, namespace, environment),
        *_leader(teleop, path, contract, environment, simulated=False),
        *_recorder(record, path, episodes, environment),
    )
    return _below(namespace, graph)


def teleop_graph(
    *,
    simulated: bool = False,
    cell: str = "",
    record: bool = False,
    episodes: str = "episodes",
    task: str = "",
    namespace: str = "",
) -> Graph:
    """What a person at the leader needs: cameras, arm and leader, all simulated if so wished."""
    if simulated:
        return sim_graph(
            cell=cell or "sim",
            policy=False,
            teleop=True,
            record=record,
            episodes=episodes,
            task=task,
            namespace=namespace,
        )
    return lab_graph(cell=cell or "lab", teleop=True, record=record, episodes=episodes, namespace=namespace)


def record_graph(
    *, simulated: bool = False, cell: str = "", episodes: str = "episodes", task: str = "", namespace: str = ""
) -> Graph:
    """What a recording session needs: teleoperation and the recorder."""
    return teleop_graph(simulated=simulated, cell=cell, record=True, episodes=episodes, task=task, namespace=namespace)


def policy_graph(
    *,
    cell: str = "lab",
    checkpoint: str = "",
    views: tuple[str, ...] = (),
    device: str = "auto",
    use_sim_time: bool = False,
    namespace: str = "",
) -> Graph:
    """The GPU PC: the policy. A real arm gets none by default."""
    path, contract = _load(cell)
    node = _policy(path, contract, checkpoint, views, device, node_environment())
    return _below(namespace, (replace(node, parameters={**node.parameters, "use_sim_time": use_sim_time}),))


def options(graph: Callable[..., Graph]) -> dict[str, Any]:
    """Names and defaults of a graph's options."""
    return {name: parameter.default for name, parameter in inspect.signature(graph).parameters.items()}


def from_text(graph: Callable[..., Graph], values: Mapping[str, str]) -> Graph:
    """Builds a graph from options given as text, as on a command line. Raises CellError."""
    return graph(**{name: _parse(name, values[name], default) for name, default in options(graph).items()})


def to_text(value: Value) -> str:
    """The text that :func:`from_text` reads back to `value`."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _load(cell: str) -> tuple[str, Cell]:
    path = cell_path(cell)
    return str(path), load_cell(path)


def _below(namespace: str, graph: Graph) -> Graph:
    """The graph's nodes, in this namespace. Raises CellError when it is none."""
    frames = _frame_prefix(namespace)
    prefix = f"/{frames}".rstrip("/")
    return tuple(
        replace(
            spec,
            namespace=f"{prefix}{spec.namespace}".rstrip("/") or "/",
            parameters={
                **spec.parameters,
                **({"frame_prefix": frames} if frames and "cell" in spec.parameters else {}),
            },
        )
        for spec in graph
    )


def _frame_prefix(namespace: str) -> str:
    """What the names of the frames in a namespace begin with: `left/`, or nothing. Raises CellError as `_below`."""
    name = namespace.strip("/")
    if name and not _NAMESPACE.fullmatch(name):
        raise CellError(f"namespace {namespace!r}: use letters, digits and _, a letter first, such as left")
    return f"{name}/" if name else ""


def _cameras(executable: str, path: str, cell: Cell, environment: Mapping[str, str]) -> Graph:
    return tuple(
        NodeSpec(
            "vga_bringup",
            executable,
            camera.name,
            namespace=f"/{topics.CAMERAS}",
            parameters={"cell": path, "camera": camera.name},
            environment=environment,
        )
        for camera in cell.cameras
    )


def _frames(cell: Cell, namespace: str, environment: Mapping[str, str]) -> NodeSpec:
    """What publishes tf: apt's robot_state_publisher, or where there is none ours, which takes the same."""
    parameters: dict[str, Value] = {
        "robot_description": robot_description(cell, _frame_prefix(namespace)),
        "publish_frequency": _tf_frequency(cell.arm.tracking.rate_hz),
    }
    return NodeSpec(
        topics.ROBOT_STATE_PUBLISHER if _installed(topics.ROBOT_STATE_PUBLISHER) else "vga_bringup",
        topics.ROBOT_STATE_PUBLISHER,
        topics.ROBOT_STATE_PUBLISHER,
        parameters=parameters,
        remappings=tuple((f"/{name}", name) for name in (topics.TF, topics.TF_STATIC)),
        environment=environment,
    )


def _installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def _tf_frequency(joint_rate_hz: float) -> float:
    """Such that one message of the joints in `tf_every` is taken, however their stamps jitter."""
    return joint_rate_hz / (tf_every(joint_rate_hz) - 0.5)


def _driver(path: str, environment: Mapping[str, str]) -> NodeSpec:
    return NodeSpec(
        "vga_bringup", "franka_driver_node", topics.DRIVER, parameters={"cell": path}, environment=environment
    )


def _policy(
    path: str, cell: Cell, checkpoint: str, views: tuple[str, ...], device: str, environment: Mapping[str, str]
) -> NodeSpec:
    views = views or tuple(camera.name for camera in cell.views)
    cell.with_views(list(views))  # refuses cameras the cell does not have
    if not checkpoint:
        names = ", ".join(map(repr, [*shipped_for_robots(), UNTRAINED]))
        raise CellError(f"checkpoint: give the directory of a trained policy, or one of {names}")
    parameters: dict[str, Value] = {
        "cell": path,
        "checkpoint": "" if checkpoint == UNTRAINED else str(locate(checkpoint).absolute()),
        "views": views,
        "device": device,
    }
    return NodeSpec("vga_policy", "policy_node", topics.POLICY, parameters=parameters, environment=environment)


def _leader(
    teleop: bool, path: str, cell: Cell, environment: Mapping[str, str], *, simulated: bool, task: str = ""
) -> Graph:
    if not teleop:
        return ()
    if cell.leader is None:
        raise CellError(f"{path}: leader: teleop needs this section, and the cell has none")
    return (
        *((_simulator("sim_leader", topics.SIM_LEADER, path, task, environment),) if simulated else ()),
        NodeSpec("vga_teleop", "gello_node", topics.GELLO, parameters={"cell": path}, environment=environment),
    )


def _simulator(
    executable: str, name: str, path: str, task: str, environment: Mapping[str, str], moved: tuple[str, ...] = ()
) -> NodeSpec:
    parameters: dict[str, Value] = {"cell": path, "task": task, **({"moved": moved} if moved else {})}
    return NodeSpec("vga_bringup", executable, name, parameters=parameters, environment=environment, simulates=True)


def _recorder(record: bool, path: str, episodes: str, environment: Mapping[str, str]) -> Graph:
    if not record:
        return ()
    parameters: dict[str, Value] = {"cell": path, "directory": str(Path(episodes).absolute())}
    return (NodeSpec("vga_teleop", "recorder_node", topics.RECORDER, parameters=parameters, environment=environment),)


def _parse(name: str, text: str, default: Value) -> Value:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise CellError(f"{name} {text!r}: use true or false")
        return text.lower() == "true"
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
