"""The robot as seen from outside: what commands and other programs ask of the running graph. See docs/how-to/python.md.

A :class:`Session` sees the graph; the clients ask it for something through that session. ROS is imported with the first
of these names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vga_policy.ros.errors import GraphError, RefusedError

if TYPE_CHECKING:
    from vga_policy.ros.client.driver import DriverClient
    from vga_policy.ros.client.policy import PolicyClient
    from vga_policy.ros.client.readiness import Readiness, wait_until_steady
    from vga_policy.ros.client.recorder import RecorderClient
    from vga_policy.ros.client.scene import SceneClient
    from vga_policy.ros.client.session import Session, stop_request
    from vga_policy.ros.client.success import SuccessSignal

__all__ = [
    "DriverClient",
    "GraphError",
    "PolicyClient",
    "Readiness",
    "RecorderClient",
    "RefusedError",
    "SceneClient",
    "Session",
    "SuccessSignal",
    "stop_request",
    "wait_until_steady",
]

_MODULES = {
    "DriverClient": "driver",
    "PolicyClient": "policy",
    "Readiness": "readiness",
    "RecorderClient": "recorder",
    "SceneClient": "scene",
    "Session": "session",
    "SuccessSignal": "success",
    "stop_request": "session",
    "wait_until_steady": "readiness",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
