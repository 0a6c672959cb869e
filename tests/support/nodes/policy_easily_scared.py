"""The policy's node, which does not survive a certain word of the driver's."""

import sys

from vga_policy.nodes.policy_node import PolicyNode, main

on_driver = PolicyNode._on_driver


def brittle(self, message):
    if message.hold_reason == "boo":
        raise RuntimeError("out of ideas")
    on_driver(self, message)


PolicyNode._on_driver = brittle
sys.exit(main())
