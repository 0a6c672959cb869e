"""A node of all kinds: it says what it does, and ends as it is told. `tool.py here|apart`: how it is left."""

import sys
import time

from rclpy.experimental import EventsExecutor
from vga_policy.ros.clocks import every
from vga_policy.ros.node import CellNode, NodeError, run_node
from vga_policy.ros.parameters import NodeParameter


class PartError(NodeError):
    pass


class Tool(CellNode):
    end = NodeParameter("", "how it ends")
    speed = NodeParameter(1.0, "how fast", read_only=False)

    def __init__(self):
        super().__init__("tool")

    def configure(self):
        super().configure()
        self.resources.callback(self.say, "let go")
        self.say("configured for " + self.cell.name)  # then a signal may come
        if self.end == "slow":
            time.sleep(600.0)
        if self.end == "refused":
            raise LookupError("no such tool")

    def activate(self):
        self.resources.callback(self.say, "stopped")
        if self.end == "stillborn":
            raise PartError("the tool is broken")
        self.say("runs")
        every(self, 0.05, self.work)

    @property
    def exit_code(self):
        return 7 if self.end == "done" else None

    def work(self):
        if self.end == "failed":
            raise PartError("the tool broke")
        if self.end == "bug":
            raise RuntimeError("a mistake")

    def say(self, what):
        print(what, flush=True)


leave = {"here": None, "apart": 5.0}[sys.argv.pop(1)]
sys.exit(
    run_node("tool", Tool, refusals=(LookupError,), interruptible=True, executor=EventsExecutor, leave_within=leave)
)
