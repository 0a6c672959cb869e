"""The page of messages, services and actions, from the files of vga_msgs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reference.markdown import MADE

PACKAGE = Path(__file__).parents[2] / "vga_msgs"
KINDS = {"Messages": "msg", "Services": "srv", "Actions": "action"}

INTRODUCTION = f"""\
# Messages, services and actions

The interfaces of `vga_msgs`, as their files define them. Which topic carries which: [Topics](topics.md). Units are SI,
angles are radians, stamps are ROS time. In a service `---` stands between request and response; in an action it stands
between goal, result and feedback. In a running graph `ros2 interface show vga_msgs/msg/ActionChunk` prints the same.

{MADE.format(source="the files of `vga_msgs`")}
"""


def interfaces_page() -> str:
    """Every interface with its text."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    for title, kind in KINDS.items():
        yield f"## {title}\n"
        for path in sorted((PACKAGE / kind).glob(f"*.{kind}")):
            yield f"### {path.stem}\n\n```\n{path.read_text().strip()}\n```\n"
