"""A recorder fed at the pace of a busy cell, in a process made to be killed."""

import ctypes
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from vga_policy.bags.definitions import definition
from vga_policy.bags.writer import BagFile, OfferedQos, Topic
from vga_teleop.recording.recorder import Recorder, recorded_topics, required_topics

from support.cells import SIM

IMAGE = b"\xff" * 40_000
MULTIPROCESSING = multiprocessing.get_context("forkserver")
MULTIPROCESSING.set_forkserver_preload(["support.killed_recorder"])


class Killed(NamedTuple):
    """Log times, ns, 0 for none."""

    given: int  # last message that the recorder was given
    flushed: int  # last message in the file when its last flush began


def feed(directory: Path, handed_over, flushed) -> None:
    """Records 1 kHz of joint states and 3 cameras at 30 Hz until killed; writes the times of `Killed` as it goes."""
    flush = BagFile.flush

    def flush_and_tell(file: BagFile) -> None:
        last = file.last
        flush(file)
        flushed.value = last

    BagFile.flush = flush_and_tell
    recorder = Recorder(SIM, directory, min_free=0)
    header = definition("std_msgs/msg/Header")
    for name in recorded_topics(SIM):
        recorder.add_topic(Topic(name, "std_msgs/msg/Header", header.text, header.type_hash, OfferedQos()))
    for name in required_topics(SIM):
        recorder.message(name, b"", time.time_ns(), 0)
    handed_over.value = -1
    recorder.start("pick_cube", "pick up the red cube", "Ada")
    images = [name for name in required_topics(SIM) if "image" in name]
    due = time.monotonic()
    for count in range(10**9):
        now = time.time_ns()
        recorder.message("/joint_states", count.to_bytes(8, "little"), now, now - 5)
        for name in images if count % 33 == 0 else ():
            recorder.message(name, IMAGE, now, now - 5)
        handed_over.value = now
        due += 0.001
        time.sleep(max(0.0, due - time.monotonic()))


def record_and_kill(directory: Path, after: float) -> Killed:
    """Kills a recorder `after` seconds of its start."""
    handed_over, flushed = (MULTIPROCESSING.Value(ctypes.c_longlong, 0, lock=False) for _ in Killed._fields)
    process = MULTIPROCESSING.Process(target=feed, args=(directory, handed_over, flushed))
    process.start()
    while handed_over.value == 0:
        assert process.is_alive()
        time.sleep(0.001)
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return Killed(max(0, handed_over.value), flushed.value)
