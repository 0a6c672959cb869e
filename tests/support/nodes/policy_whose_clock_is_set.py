"""The policy's node, whose system's clock is set back by 2 s at a certain word of the driver's."""

import sys
import time

from vga_policy.nodes.policy_node import PolicyNode, main

on_driver = PolicyNode._on_driver


def listening(self, message):
    if message.hold_reason == "set the clock back":
        self._system_clock._system = lambda: time.time_ns() - 2_000_000_000
    on_driver(self, message)


PolicyNode._on_driver = listening
sys.exit(main())
