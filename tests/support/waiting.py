"""Waiting for what must come about, with a word of what it was where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
SECONDS = 30.0  # that a busy machine may take; what has to be quicker is told so, where it is waited for


def eventually(
    condition: Callable[[], T],
    what: str | Callable[[], str] = "what was waited for",
    seconds: float = SECONDS,
    meanwhile: Callable[[], object] = lambda: time.sleep(0.002),
) -> T:
    """The condition's first true value. Fails where there is none within `seconds`, naming `what` had to come about.

    what: words, or a function that finds them when the wait is over. meanwhile: what is done between two looks.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what() if callable(what) else what}")
        meanwhile()
    return value


def seconds_until(condition: Callable[[], object], what: str, seconds: float) -> float:
    """How long it took the condition to hold, s, to 2 ms."""
    started = time.monotonic()
    eventually(condition, what, seconds, lambda: time.sleep(0.002))
    return time.monotonic() - started
