"""The environment that every process of the graph is given."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

REACH = "ROS_AUTOMATIC_DISCOVERY_RANGE"


def node_environment() -> dict[str, str]:
    """Environment every node needs: the Fast DDS transports, and who may find it: this machine, unless the shell says
    more, as it must on two PCs."""
    return {
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(Path(get_package_share_directory("vga_policy"), "config", "fastdds.xml")),
        REACH: os.environ.get(REACH, "LOCALHOST"),
        "PYTHONUNBUFFERED": "1",
    }
