"""ROS domains and loopback addresses that are given out: no two test processes of a machine ever share one.

Who has one holds an abstract Unix socket of its name. The kernel knows those per network namespace, as it does DDS's
and libfranka's ports, and lets go of them with the process, however that ends.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

DOMAINS = range(1, 100)  # beyond 101, DDS's ports are those that Linux gives to anybody; 0 is the user's
ADDRESSES = range(250 * 250)
_turns = count(os.getpid() * 7)  # one that was just given back may still be haunted: it is given out last
_kept: list[socket.socket] = []


def _claim(what: str, numbers: range) -> tuple[socket.socket, int]:
    for _ in numbers:
        number = numbers[next(_turns) % len(numbers)]
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0vga test {what} {number}")
        except OSError:  # another's
            claim.close()
            continue
        return claim, number
    raise RuntimeError(f"every {what} of {numbers} is taken by a test that runs on this machine")


@contextmanager
def own_domain() -> Iterator[int]:
    """A ROS domain of nobody else, for as long as the context lasts."""
    claim, number = _claim("ROS domain", DOMAINS)
    with claim:
        yield number


def own_address() -> str:
    """A loopback address of nobody else, for as long as this process lives: libfranka's ports are fixed."""
    claim, number = _claim("address", ADDRESSES)
    _kept.append(claim)
    high, low = divmod(number, 250)
    return f"127.77.{high + 1}.{low + 1}"
