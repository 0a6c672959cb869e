"""libfranka, which comes inside franky's wheel: its version, the robots it speaks to, and their ports.

Source: Franka's compatibility tables of the FER (the Panda) and the FR3, and the wheels that franky releases.
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import NamedTuple

from vga_policy.cell.arm_models import ModelName, arm_model

PACKAGE = "franky-control"
HOW_TO = "docs/how-to/panda.md"

# TCP ports, fixed by libfranka: the arm's is open while FCI is active.
ROBOT_PORT = 1337
HAND_PORT = 1338


class Protocol(NamedTuple):
    """A version of the robot's network protocol: the robots that speak it and what speaks to them.

    server: its number, the robot's `server version`. system: the robot's system versions, in words.
    since: the first libfranka to speak it, which speaks no other. wheel: the libfranka of franky's wheel for it.
    """

    server: int
    model: ModelName
    system: str
    since: tuple[int, ...]
    wheel: str

    @property
    def robot(self) -> str:
        """The robots that speak it, in words."""
        return f"a {arm_model(self.model).title} of system {self.system}"

    @property
    def installation(self) -> str:
        """How to get a franky that speaks it."""
        return f"install franky's wheel for libfranka {self.wheel} ({HOW_TO})"


PROTOCOLS = (
    Protocol(3, "panda", "3.x", (0, 7, 1), "0.7.1"),
    Protocol(4, "panda", "4.0.0 to 4.2.0", (0, 8), "0.8.0"),
    Protocol(5, "panda", "4.2.1 or later", (0, 9, 1), "0.9.2"),
    Protocol(6, "fr3", "5.2.0 to 5.4", (0, 10), "0.12.1"),
    Protocol(7, "fr3", "5.5.0 to 5.6", (0, 13, 3), "0.13.3"),
    Protocol(8, "fr3", "5.7.0 or 5.7.1", (0, 14, 1), "0.14.2"),
    Protocol(9, "fr3", "5.7.2 to 5.8", (0, 15), "0.17.0"),
    Protocol(10, "fr3", "5.9.0 or later", (0, 18), "0.21.2"),
)


def libfranka_version() -> str:
    """The version in the installed franky, such as 0.21.2; empty for a franky that was built here and has none in it.

    Raises PackageNotFoundError without franky.
    """
    files = metadata.files(PACKAGE) or []
    found = (re.fullmatch(r"libfranka\b.*\.so\.(\d+(?:\.\d+)+)", file.name) for file in files)
    return next((match[1] for match in found if match), "")


def protocol_of(version: str) -> Protocol | None:
    """What a version of libfranka speaks; None for one that is unknown here."""
    numbers = tuple(int(part) for part in version.split(".") if part)
    return next((protocol for protocol in reversed(PROTOCOLS) if protocol.since <= numbers), None)


def build_problem(model: ModelName) -> str:
    """Why the installed franky cannot speak to an arm of this model; empty when it can, or when it does not tell."""
    version = libfranka_version()
    spoken = protocol_of(version)
    if spoken is None or spoken.model == model:
        return ""
    return f"arm.model is {model}, but franky has libfranka {version}, which speaks to {spoken.robot}: {remedy(model)}"


def remedy(model: ModelName) -> str:
    """What to do about a franky that does not speak to an arm of this model."""
    newest = next(protocol for protocol in reversed(PROTOCOLS) if protocol.model == model)
    return f"set arm.model to what the robot is, or {newest.installation}"


def refusal(words: str) -> str:
    """What a robot means that refuses the version of the protocol; words: libfranka's, which give both versions."""
    told = re.search(r"server version: (\d+), library version: \d+", words)
    protocol = next((item for item in PROTOCOLS if told and item.server == int(told[1])), None)
    if told is None or protocol is None:
        return f"the robot's system does not fit this libfranka ({words}): bring robot and franky up to date ({HOW_TO})"
    return (
        f"the robot is {protocol.robot}, to which the installed franky does not speak ({told[0]}): "
        f"set arm.model: {protocol.model} and {protocol.installation}"
    )
