"""The driver's node, but for a callback that fails."""

import sys

from vga_bringup.nodes.franka_driver_node import FrankaDriverNode, main


def troubled(self):
    raise RuntimeError("out of ideas")


FrankaDriverNode._diagnose = troubled
sys.exit(main())
