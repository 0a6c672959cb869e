"""A runner of a recorder, whose process id it prints."""

import sys
import time

from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import NodeSpec
from vga_policy.cell.shipped import cell_path
from vga_policy.ros.environment import node_environment

orphan = NodeSpec(
    "vga_teleop",
    "recorder_node",
    "orphan",
    parameters={"cell": str(cell_path("sim"))},
    environment=node_environment(),
)
with Runner((orphan,), sys.stderr) as runner:
    print(runner.pid("orphan"), flush=True)
    time.sleep(100)
