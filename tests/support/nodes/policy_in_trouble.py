"""The policy's node, whose policy hangs or fails at some steps of a task."""

import sys
import time

from vga_policy.inference.policy import Policy
from vga_policy.nodes.policy_node import main

prepare, steps = Policy.prepare, iter(range(10**9))


def troubled(self, observation):
    step = next(steps) if observation.instruction else 0
    if step == 5:
        time.sleep(1.0)
    if 10 <= step < 20:
        raise RuntimeError("out of ideas")
    return prepare(self, observation)


Policy.prepare = troubled
sys.exit(main())
