"""The clock of a replay: which recorded messages are due, at any rate, paused, one bag after another, over and over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vga_policy.bags.reader import Bag, BagError, BagTopic
from vga_policy.bags.times import LONGEST_GAP
from vga_policy.units import SECOND


class Due(NamedTuple):
    """A message whose time has come: topic, CDR bytes, and the log time it was recorded with (ns)."""

    topic: str
    data: bytes
    log_time: int


class Playback:
    """Plays bags one after another. It asks no clock: whoever uses it says how much time has passed.

    now_ns: the replay's time, that of the bags. paused: while True it stands still. rounds: how often all bags have
    been played to their end. topics: those of all bags that are replayed, by name.
    """

    def __init__(
        self,
        bags: Sequence[Path],
        rate: float = 1.0,
        loop: bool = False,
        paused: bool = False,
        wanted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`wanted`: whether to replay a topic. Raises BagError when any of the bags cannot be replayed, or for no bag.

        Raises ValueError for a rate that is not positive.
        """
        if not rate > 0:
            raise ValueError(f"rate must be above 0 (found {rate})")
        if not bags:
            raise BagError("no bag to replay")
        self.rate, self.loop, self.paused, self.rounds = rate, loop, paused, 0
        self.topics: dict[str, BagTopic] = {}
        self._bags, self._wanted = list(bags), wanted
        for path in self._bags:
            with Bag(path) as bag:
                replayed = list(filter(self._has_messages, bag.topics.values()))
                if not replayed:
                    raise BagError(f"{bag.file}: none of the topics to replay has a message")
                for topic in replayed:
                    known = self.topics.setdefault(topic.name, topic)
                    if known.type != topic.type:
                        raise BagError(f"{bag.file}: {topic.name} is {topic.type}, in the bags before it {known.type}")
        self.now_ns: int
        self._start_ns: int
        self._end_ns: int
        self._bag: Bag
        self._messages: Iterator[tuple[int, str, int]]
        self._pending: tuple[int, str, int] | None
        self._position = 0
        self._open()

    @property
    def path(self) -> Path:
        """The bag that is being played."""
        return self._bags[self._position]

    @property
    def count(self) -> tuple[int, int]:
        """Which bag that is, from 1, and of how many."""
        return self._position + 1, len(self._bags)

    @property
    def passed(self) -> tuple[float, float]:
        """How much of that bag has been played, and how long it is, s."""
        return (self.now_ns - self._start_ns) / SECOND, (self._end_ns - self._start_ns) / SECOND

    @property
    def finished(self) -> bool:
        """Whether everything has been played; never so in a loop."""
        return self._pending is None

    def advance(self, seconds: float) -> tuple[int, list[Due]]:
        """Lets `seconds` of real time pass. Returns the replay's time then and the messages that fell due, in order.

        At the end of a bag it stops; the next call finds the time at the start of the next bag.
        """
        if self.paused or self._pending is None:
            return self.now_ns, []
        self.now_ns = now = min(self.now_ns + round(seconds * self.rate * SECOND), self._end_ns)
        due = []
        while self._pending is not None and self._pending[0] <= now:
            log_time, topic, index = self._pending
            due.append(Due(topic, bytes(self._bag.raw(topic, index)), log_time))
            self._pending = next(self._messages, None)
        if self._pending is None:
            self._next_bag()
        return now, due

    def close(self) -> None:
        """Lets go of the bag."""
        self._bag.close()

    def _next_bag(self) -> None:
        self._bag.close()
        self._position = (self._position + 1) % len(self._bags)
        if self._position == 0:
            self.rounds += 1
            if not self.loop:
                return
        self._open()

    def _open(self) -> None:
        self._bag = Bag(self.path)
        names = [topic.name for topic in self._bag.topics.values() if self._has_messages(topic)]
        earliest, latest = self._bag.start_ns - LONGEST_GAP, self._bag.end_ns + LONGEST_GAP
        times = np.concatenate([self._bag.log_times(name) for name in names])
        times = times[
            (times >= earliest) & (times <= latest)
        ]  # the rest, of no topic that counts, is waited for by none
        self.now_ns, self._end_ns = int(times.min(initial=self._bag.start_ns)), int(times.max(initial=self._bag.end_ns))
        self._start_ns = self.now_ns
        self._messages = (each for each in self._bag.in_order(names) if earliest <= each[0] <= latest)
        self._pending = next(self._messages, None)

    def _has_messages(self, topic: BagTopic) -> bool:
        return bool(topic.messages) and topic.encoding == "cdr" and self._wanted(topic.name)
