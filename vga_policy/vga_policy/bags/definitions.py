"""Message definitions as rosbag2 stores them, read from the packages' own share directories."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple


class UnknownTypeError(LookupError):
    """A message type whose package is not installed."""


class Definition(NamedTuple):
    """Definition of one message type.

    text: its .msg file followed by those of every type it refers to (MCAP schema encoding "ros2msg").
    type_hash: RIHS01 hash that ROS 2 compares types by.
    has_header: whether its first field is a std_msgs/Header.
    """

    text: str
    type_hash: str
    has_header: bool


@cache
def definition(type_name: str) -> Definition:
    """Definition of a type such as "sensor_msgs/msg/Image". Raises UnknownTypeError."""
    description = json.loads(_interface_file(type_name, ".json").read_text(encoding="utf-8"))
    message = description["type_description_msg"]
    parts = [_interface_file(type_name, ".msg").read_text(encoding="utf-8")]
    for referenced in message["referenced_type_descriptions"]:
        name = referenced["type_name"]
        text = _interface_file(name, ".msg").read_text(encoding="utf-8")
        parts.append(f"{'=' * 80}\nMSG: {name.replace('/msg/', '/')}\n{text}")
    hashes = {item["type_name"]: item["hash_string"] for item in description["type_hashes"]}
    first_field = message["type_description"]["fields"][0]["type"]["nested_type_name"]
    return Definition("\n".join(parts), hashes[type_name], first_field == "std_msgs/msg/Header")


def _interface_file(type_name: str, suffix: str) -> Path:
    try:
        from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    except ImportError:
        raise UnknownTypeError(f"message type {type_name}: ROS is not installed, only reading works without") from None
    package, _, name = type_name.partition("/msg/")
    try:
        path = Path(get_package_share_directory(package), "msg", name + suffix)
    except (PackageNotFoundError, ValueError):
        raise UnknownTypeError(f"message type {type_name}: package {package!r} is not installed") from None
    if not path.is_file():
        raise UnknownTypeError(f"message type {type_name}: {path} does not exist")
    return path
