"""The page of topics, services and actions: who offers and who uses which, read from the nodes' sources."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reference.markdown import MADE, code, table
from vga_policy import topics

ROOT = Path(__file__).parents[2]
NODES = [
    *(ROOT / "vga_policy/vga_policy/nodes").glob("*_node.py"),
    *(ROOT / "vga_teleop/vga_teleop/nodes").glob("*_node.py"),
    ROOT / "vga_policy/vga_policy/ros/node.py",
    *(
        ROOT / f"vga_bringup/vga_bringup/nodes/{name}.py"
        for name in ("camera_node", "franka_driver_node", "robot_state_publisher", "sim_cell", "sim_leader")
    ),
]
OFFERS = {"create_publisher": "topic", "create_service": "service", "create_long_action": "action"}
USES = {"create_subscription": "topic"}
EVERY_NODE = "node"  # ros/node.py: what all of them do
CAMERA = "cameras/NAME"
RELIABLE = "reliable, keeps {depth}"
QOS = {
    "topics.LATCHED": "reliable, keeps 1 for late subscribers",
    "topics.SENSOR_DATA": "best effort",
    "qos": "best effort",
}

INTRODUCTION = f"""\
# Topics, services and actions

Names are relative: with `namespace:=left` all of them lie below `/left`, but `/clock` and `/diagnostics`. `NAME` is a
camera's name in the cell file. What the fields mean: [Messages](messages.md). A queue that keeps 1 for late subscribers
(transient local) gives the last state to whoever comes later. Cameras publish best effort: a late image is worth
nothing.

{MADE.format(source="the sources of the nodes")}
"""

ALSO = """\
The recorder also reads every topic that the cell file's [`recording`](cell_file.md#recording) names. Replay publishes
what a bag has. In simulation `sim_camera` takes the place of `camera_node`, with the same topics.
"""


@dataclass
class Line:
    """One name of the graph: its interface, QoS of who offers it, and the nodes at both ends."""

    kind: str = ""
    qos: str = ""
    offered_by: set[str] = field(default_factory=set)
    used_by: set[str] = field(default_factory=set)


def topics_page() -> str:
    """Three tables, by name."""
    lines: dict[tuple[str, str], Line] = defaultdict(Line)
    for path in NODES:
        _read(path, lines)
    topic = [
        (code(name), code(line.kind), line.qos, _nodes(line.offered_by), _nodes(line.used_by))
        for (what, name), line in sorted(lines.items())
        if what == "topic"
    ]
    offered = {
        what: table(
            ("name", "interface", "offered by"),
            [
                (code(name), code(line.kind), _nodes(line.offered_by))
                for (found, name), line in sorted(lines.items())
                if found == what
            ],
        )
        for what in ("service", "action")
    }
    return "\n".join(
        [
            INTRODUCTION,
            "## Topics\n",
            table(("name", "message", "QoS", "published by", "read by the nodes"), topic),
            ALSO,
            "## Services\n",
            offered["service"],
            "## Actions\n",
            offered["action"],
        ]
    )


def _nodes(names: set[str]) -> str:
    return "every node" if EVERY_NODE in names else ", ".join(code(name) for name in sorted(names))


def _read(path: Path, lines: dict[tuple[str, str], Line]) -> None:
    tree = ast.parse(path.read_text())
    packages = dict(_packages(tree))
    for call in ast.walk(tree):
        if isinstance(call, ast.Tuple) and len(call.elts) > 1 and ast.unparse(call.elts[0]).startswith("action."):
            name = _name(ast.unparse(call.elts[1]))  # actions that a loop creates
            if name is not None:
                lines["action", name].kind = _interface(call.elts[0], packages)
                lines["action", name].offered_by.add(path.stem)
            continue
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        method = call.func.attr
        if method not in OFFERS | USES or not isinstance(call.args[0], ast.Name | ast.Attribute):
            continue
        name = _name(ast.unparse(call.args[1]))
        if name is None:  # not one of the graph's: a topic that a bag or the cell file names
            continue
        line = lines[(OFFERS | USES)[method], name]
        line.kind = _interface(call.args[0], packages)
        if method in USES:
            line.used_by.add(path.stem)
        else:
            line.offered_by.add(path.stem)
            if method == "create_publisher":
                line.qos = _qos(call.args[2], tree)


def _packages(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Where the names of interfaces come from: Trigger, std_srvs/srv/Trigger; msg, vga_msgs/msg."""
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                yield alias.asname or alias.name, f"{statement.module.replace('.', '/')}/{alias.name}"


def _interface(kind: ast.expr, packages: dict[str, str]) -> str:
    first, _, rest = ast.unparse(kind).partition(".")
    return f"{packages[first]}/{rest}" if rest else packages[first]


def _name(expression: str) -> str | None:
    """The name in the root namespace, without its first slash, of `topics.X`, or of a camera's `own.x`."""
    first, _, attribute = expression.partition(".")
    if first not in ("topics", "names", "own"):
        return None
    constant = getattr(topics, attribute, None)
    if isinstance(constant, str):
        return constant
    if attribute in vars(topics.OWN_CAMERA):
        return str(getattr(topics.CameraTopics(CAMERA), attribute))
    return None


def _qos(expression: ast.expr, tree: ast.Module) -> str:
    text = ast.unparse(expression)
    if text in QOS:
        return QOS[text]
    depth = (
        text
        if text.isdigit()
        else next(
            ast.unparse(s.value) for s in tree.body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == text
        )
    )
    return RELIABLE.format(depth=depth)
