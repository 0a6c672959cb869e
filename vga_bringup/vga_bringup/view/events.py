"""What is drawn, recorded or live: messages by topic, in the order of their arrival."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from vga_policy.bags.cdr import Codec
from vga_policy.units import SECOND


class BagMessage(NamedTuple):
    """A message: its topic, called as in bags, its CDR bytes, and how they are read."""

    topic: str
    data: bytes | memoryview
    codec: Codec

    @property
    def message(self) -> Any:
        """The message. Raises CdrError."""
        return self.codec.decode(self.data)

    @property
    def stamp(self) -> int:
        """The stamp (ns) of a message that begins with a header."""
        seconds, rest = struct.unpack_from("<iI", self.data, 4)
        return int(seconds * SECOND + rest)
