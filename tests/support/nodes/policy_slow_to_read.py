"""The policy's node, with a text encoder that takes its time."""

import sys
import time

from vga_policy.nodes.policy_node import main
from vga_policy.text.encoder import HashedNgrams

encode = HashedNgrams.encode


def slow(self, text):
    if text == "a riddle":
        raise RuntimeError("out of words")
    if text:
        time.sleep(1.0)
    return encode(self, text)


HashedNgrams.encode = slow
sys.exit(main())
