"""The policy's node, whose policy takes longer for every chunk by the seconds that are given first."""

import sys
import time

from vga_policy.inference.policy import Policy
from vga_policy.nodes.policy_node import main

predict, seconds = Policy.predict, float(sys.argv.pop(1))


def slow(self, inputs):
    time.sleep(seconds)
    return predict(self, inputs)


Policy.predict = slow
sys.exit(main())
