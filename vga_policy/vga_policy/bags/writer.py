"""A rosbag2 bag in MCAP: `BagFile` writes it at once, `BagWriter` in a thread of its own.

Layout and metadata are what `ros2 bag`, rosbags and mcap read (rosbag2 metadata version 9). Chunks are small (256 kB,
or what FLUSH_EVERY brings) and uncompressed: images are JPEG already, random access stays fast, and a killed process
loses one chunk at most. What it left is made whole by :mod:`vga_policy.bags.repair`.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mcap.writer import CompressionType, Writer

from vga_policy.files import write_atomically

CHUNK_SIZE = 256 * 1024
QUEUE_LENGTH = 4096  # messages; several seconds of a busy cell, tens of MB
FLUSH_EVERY = 0.2  # s
_FOREVER = {"sec": 9223372036, "nsec": 854775807}


@dataclass(frozen=True)
class OfferedQos:
    """Quality of service of a topic's publishers, in rosbag2's words; `ros2 bag play` offers the same."""

    reliability: str = "reliable"
    durability: str = "volatile"
    depth: int = 10


@dataclass(frozen=True)
class Topic:
    """A topic as the bag describes it. definition: ros2msg text with dependencies; type_hash: RIHS01."""

    name: str
    type: str
    definition: str
    type_hash: str
    qos: OfferedQos = field(default_factory=OfferedQos)


class _Message(NamedTuple):
    topic: str
    data: bytes
    log_time: int
    publish_time: int


def bag_file(path: Path) -> Path:
    """The MCAP file of the bag directory `path`."""
    return path / f"{path.name}_0.mcap"


class BagFile:
    """Writes the messages of one bag into `file`, which must not exist yet. Every call may raise OSError.

    The file is locked (flock) until it is closed, so that whoever finds it knows whether its writer lives.

    metadata: texts stored in the bag's first record.
    """

    def __init__(self, file: Path, metadata: Mapping[str, str]) -> None:
        self.counts: dict[str, int] = {}
        self.first = self.last = 0  # log time of the earliest and of the latest message, ns
        self._topics: dict[str, Topic] = {}
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._stream = file.open("xb")
        fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._writer = Writer(self._stream, chunk_size=CHUNK_SIZE, compression=CompressionType.NONE)
        self._writer.start(profile="ros2", library="vga_policy")
        self._writer.add_metadata("vga", dict(metadata))

    def add_topic(self, topic: Topic) -> None:
        """Announces a topic, at any time before its first message."""
        if topic.type not in self._schemas:
            schema = self._writer.register_schema(topic.type, "ros2msg", topic.definition.encode())
            self._schemas[topic.type] = schema
        details = {
            "offered_qos_profiles": yaml.safe_dump([_qos(topic.qos)], sort_keys=False),
            "topic_type_hash": topic.type_hash,
        }
        channel = self._writer.register_channel(topic.name, "cdr", self._schemas[topic.type], details)
        self._channels[topic.name] = channel
        self._topics[topic.name] = topic
        self.counts[topic.name] = 0

    def write(self, topic: str, data: bytes, log_time: int, publish_time: int) -> None:
        """Writes one message (raw CDR; ns since the epoch) of an announced topic."""
        self.counts[topic] += 1
        self._writer.add_message(self._channels[topic], log_time, data, publish_time, self.counts[topic])
        self.first = min(self.first or log_time, log_time)
        self.last = max(self.last, log_time)

    def flush(self) -> None:
        """Hands everything written so far to the operating system: no kill of this process loses it."""
        self._writer.flush()

    def close(self) -> None:
        """Writes the index and waits for the disk."""
        with self._stream:
            self._writer.finish()
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def abandon(self) -> None:
        """Closes the file as it is, after an error."""
        with suppress(OSError):
            self._stream.close()

    def describe(self, file: Path) -> None:
        """Writes the metadata.yaml beside the closed file, which lies at `file` by now: the bag is complete."""
        span = {
            "starting_time": {"nanoseconds_since_epoch": self.first},
            "duration": {"nanoseconds": self.last - self.first},
            "message_count": sum(self.counts.values()),
        }
        topics = [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [_qos(topic.qos)],
                    "type_description_hash": topic.type_hash,
                },
                "message_count": self.counts[topic.name],
            }
            for topic in self._topics.values()
        ]
        information = {
            "version": 9,
            "storage_identifier": "mcap",
            **deepcopy(span),  # a dictionary that appears twice would become a YAML anchor
            "topics_with_message_count": topics,
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [file.name],
            "files": [{"path": file.name, **span}],
            "custom_data": None,
            "ros_distro": "jazzy",
        }
        text = yaml.safe_dump({"rosbag2_bagfile_information": information}, sort_keys=False)
        write_atomically(file.with_name("metadata.yaml"), text)


class BagWriter:
    """Writes one bag directory. Messages are raw CDR; times are ns since the epoch.

    `add_topic` and `write` never wait for the disk: when the disk falls behind by QUEUE_LENGTH messages, further ones
    are dropped and counted, as is one stamped before 1970, which no MCAP file can hold. A failed write ends the
    recording: see `problem`. Not for use by several threads at once.

    path: the bag's directory, which must hold no bag yet. metadata: texts stored in the bag's first record.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.dropped = 0
        self.problem = ""
        self._file = BagFile(bag_file(path), metadata)
        self._announced: set[str] = set()
        self._queue: queue.SimpleQueue[Topic | _Message | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="bag writer", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> dict[str, int]:
        """Messages written so far, by topic."""
        return self._file.counts.copy()

    @property
    def messages(self) -> int:
        """Messages written so far."""
        return sum(self.counts.values())

    def add_topic(self, topic: Topic) -> None:
        """Announces a topic, at any time before its first message."""
        self._announced.add(topic.name)
        self._queue.put(topic)

    def write(self, topic: str, data: bytes, log_time: int, publish_time: int) -> None:
        """Queues one message of an announced topic."""
        if topic not in self._announced:
            raise KeyError(f"topic {topic} was not announced")
        if self._queue.qsize() < QUEUE_LENGTH and min(log_time, publish_time) >= 0:
            self._queue.put(_Message(topic, data, log_time, publish_time))
        else:
            self.dropped += 1

    def close(self) -> None:
        """Waits for the queued messages, finishes the bag and writes its metadata.yaml. Harmless when repeated."""
        if not self._thread.is_alive():
            return
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._drain()
        except Exception as error:  # of any kind: nobody else would hear of it
            self._fail(error)
            while self._queue.get() is not None:  # keep the queue moving until close()
                self.dropped += 1
            return
        try:
            self._file.close()
            self._file.describe(bag_file(self.path))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Leaves the file as it is: what of it is whole after a broken write is for the repair to find out."""
        self.problem = f"{bag_file(self.path)}: {getattr(error, 'strerror', None) or repr(error)}"
        self._file.abandon()

    def _drain(self) -> None:
        flushed = time.monotonic()
        while True:
            with suppress(queue.Empty):
                item = self._queue.get(timeout=FLUSH_EVERY)
                if item is None:
                    return
                if isinstance(item, Topic):
                    self._file.add_topic(item)
                else:
                    self._file.write(*item)
            if (now := time.monotonic()) - flushed >= FLUSH_EVERY:
                self._file.flush()
                flushed = now


def _qos(qos: OfferedQos) -> dict[str, Any]:
    """A QoS profile with every key rosbag2 asks for."""
    return {
        "history": "keep_last",
        **asdict(qos),
        "deadline": dict(_FOREVER),
        "lifespan": dict(_FOREVER),
        "liveliness": "automatic",
        "liveliness_lease_duration": dict(_FOREVER),
        "avoid_ros_namespace_conventions": False,
    }
