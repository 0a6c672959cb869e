"""Which times of a bag can be: log times within hours of each other, stamps that ascend and are no later than arrival.

A clock that was wrong all the time makes a bag unusable; a few messages with a wrong stamp are passed over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vga_policy.episodes import topics
from vga_policy.units import SECOND

EARLIEST, LATEST = 946_684_800 * SECOND, 4_102_444_800 * SECOND  # the years 2000 to 2099: any clock that was ever set
LONGEST_GAP = 3600 * SECOND  # between two messages, and between a stamp and its arrival
LONGEST_SPAN = 12 * LONGEST_GAP
AHEAD = SECOND // 5  # of its arrival, more than the topic's others are: clocks of two hosts may differ, but steadily
FEW = 8  # at most one message in so many is passed over
USED = (topics.JOINT_STATES, topics.REFERENCE, topics.LEADER)


class OddTime(NamedTuple):
    """A message whose time cannot be. number: of the message on the topic; words: its time, and why that cannot be."""

    topic: str
    number: int
    words: str


def is_used(topic: str) -> bool:
    """Whether episodes are made of this topic, so that its times count."""
    camera = topics.camera_of(topic)
    return topic in USED or bool(camera and topic == topics.image_topic(camera))


def odd_log_time(log_times: Mapping[str, NDArray[np.int64]]) -> OddTime | None:
    """The first log time that makes no sense, of topics' ascending log times [N], ns."""
    for topic, times in log_times.items():
        if len(unset := np.flatnonzero((times < EARLIEST) | (times >= LATEST))):
            return OddTime(topic, int(unset[0]), f"log time {_seconds(times[unset[0]])}, not of the years 2000 to 2099")
    names = [topic for topic, times in log_times.items() for _ in times]
    numbers = np.concatenate([np.arange(len(times)) for times in log_times.values()])
    times = np.concatenate(list(log_times.values()))
    order = np.argsort(times, kind="stable")
    gaps = np.diff(times[order])
    if not len(gaps):
        return None
    widest = int(gaps.argmax())
    before = widest + 1 <= len(times) // 2  # the fewer are the odd ones
    at = order[widest if before else widest + 1]
    if gaps[widest] > LONGEST_GAP:
        where = "before the next message" if before else "after the one before"
        words = f"log time {_seconds(times[at])}, {_seconds(gaps[widest])} {where}"
        return OddTime(names[at], int(numbers[at]), words)
    if (span := times[order[-1]] - times[order[0]]) > LONGEST_SPAN:
        last = order[-1]
        words = f"log time {_seconds(times[last])}, {_seconds(span)} after the first message"
        return OddTime(names[last], int(numbers[last]), words)
    return None


def senseless_stamps(stamps: NDArray[np.int64], log_times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which stamps [N] are of no clock that was set, or hours off their arrival: bool [N]."""
    unset = (stamps < EARLIEST) | (stamps >= LATEST)
    return unset | (np.abs(stamps - log_times) > LONGEST_GAP)


def odd_stamps(stamps: NDArray[np.int64], log_times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which messages to pass over so that stamps [N] make sense, ascend, and do not jump ahead of arrival: bool [N]."""
    odd = senseless_stamps(stamps, log_times)
    if not odd.all():
        ahead = stamps - log_times
        odd |= (ahead > AHEAD // 20) & (ahead - np.median(ahead[~odd]) > AHEAD)
    kept = np.flatnonzero(~odd)
    odd[kept] = ~_longest_ascending(stamps[kept])
    return odd


def describe_stamp(stamp: int, log_time: int) -> str:
    """A header stamp and its arrival, in words."""
    return f"stamp {_seconds(stamp)}, arrived at {_seconds(log_time)}"


def _longest_ascending(stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Members of the longest subsequence that never goes back: bool [N]."""
    if (np.diff(stamps) >= 0).all():
        return np.ones(len(stamps), dtype=bool)
    tails: list[int] = []  # the lowest last stamp of an ascending sequence of each length
    ends: list[int] = []  # whose it is
    before = np.full(len(stamps), -1)
    for index, stamp in enumerate(stamps.tolist()):
        length = bisect_right(tails, stamp)
        before[index] = ends[length - 1] if length else -1
        tails[length : length + 1], ends[length : length + 1] = [stamp], [index]
    kept = np.zeros(len(stamps), dtype=bool)
    index = ends[-1]
    while index >= 0:
        kept[index] = True
        index = int(before[index])
    return kept


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / SECOND:.3f} s"
