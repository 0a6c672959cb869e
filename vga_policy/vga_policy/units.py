"""Units of time: stamps are ns since the epoch, as int; durations that people read and set are s."""

from __future__ import annotations

from typing import Protocol

SECOND = 1_000_000_000  # ns


class Stamp(Protocol):
    """What a builtin_interfaces/Time has, of whichever library."""

    sec: int
    nanosec: int


def nanoseconds(stamp: Stamp) -> int:
    """A message's stamp as ns."""
    return int(stamp.sec) * SECOND + int(stamp.nanosec)


def sec_and_nanosec(stamp_ns: int) -> tuple[int, int]:
    """The two fields of the stamp of a time in ns."""
    return divmod(stamp_ns, SECOND)
