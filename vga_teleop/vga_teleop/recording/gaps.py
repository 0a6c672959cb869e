"""Losses seen in the sequence numbers that a middleware gives a publisher's messages."""

from __future__ import annotations

from collections.abc import Callable


class Gaps:
    """Watches the numbers of one topic. While several publish, each counting for itself, nothing can be told.

    publishers: how many publish the topic now. It is asked only where the numbers do not follow each other.
    """

    def __init__(self, publishers: Callable[[], int]) -> None:
        self._publishers = publishers
        self._expected: int | None = None
        self._several = False

    def missed(self, number: int | None) -> int:
        """Messages lost before the one with this number; None: the middleware does not count."""
        expected, self._expected = self._expected, None if number is None else number + 1
        if number is None or expected is None or number == expected:
            return 0
        before, self._several = self._several, self._publishers() > 1
        if before or self._several or number < expected:  # below: the publisher was started anew
            return 0
        return number - expected
