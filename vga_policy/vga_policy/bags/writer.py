"""A rosbag2 bag in MCAP, written by its own thread.

Layout and metadata are what `ros2 bag`, rosbags and mcap read (rosbag2 metadata version 9). Chunks are small (256 kB)
and uncompressed: images are JPEG already, random access stays fast, and a killed process loses one chunk at most.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import yaml
from mcap.writer import CompressionType, Writer

from vga_policy.contract.files import write_atomically

CHUNK_SIZE = 256 * 1024
QUEUE_LENGTH = 4096  # messages; several seconds of a busy cell, tens of MB
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


class BagWriter:
    """Writes one bag directory. Messages are raw CDR; times are ns since the epoch.

    `add_topic` and `write` never wait for the disk: when the disk falls behind by QUEUE_LENGTH messages, further ones
    are dropped and counted. A failed write ends the recording: see `problem`. Not for use by several threads at once.

    path: the bag's directory, which must not exist yet. metadata: texts stored in the bag's first record.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        path.mkdir(parents=True)
        self.path = path
        self.counts: dict[str, int] = {}
        self.dropped = 0
        self.problem = ""
        self._topics: dict[str, Topic] = {}
        self._metadata = dict(metadata)
        self._first = self._last = 0
        self._file = path / f"{path.name}_0.mcap"
        self._queue: queue.SimpleQueue[Topic | _Message | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="bag writer", daemon=True)
        self._thread.start()

    @property
    def messages(self) -> int:
        """Messages written so far."""
        return sum(self.counts.values())

    def add_topic(self, topic: Topic) -> None:
        """Announces a topic, at any time before its first message."""
        self._topics[topic.name] = topic
        self.counts = {**self.counts, topic.name: 0}
        self._queue.put(topic)

    def write(self, topic: str, data: bytes, log_time: int, publish_time: int) -> None:
        """Queues one message of an announced topic."""
        if topic not in self._topics:
            raise KeyError(f"topic {topic} was not announced")
        if self._queue.qsize() < QUEUE_LENGTH:
            self._queue.put(_Message(topic, data, log_time, publish_time))
        else:
            self.dropped += 1

    def close(self) -> None:
        """Waits for the queued messages, finishes the bag and writes its metadata.yaml. Harmless when repeated."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._file.exists():
            write_atomically(self.path / "metadata.yaml", yaml.safe_dump(self._description(), sort_keys=False))

    def _run(self) -> None:
        try:
            with self._file.open("wb") as stream:
                self._drain(stream)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            self.problem = f"{self._file}: {error.strerror}"
            while self._queue.get() is not None:  # keep the queue moving until close()
                self.dropped += 1

    def _drain(self, stream: BinaryIO) -> None:
        writer = Writer(stream, chunk_size=CHUNK_SIZE, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="vga_policy")
        writer.add_metadata("vga", self._metadata)
        schemas: dict[str, int] = {}
        channels: dict[str, int] = {}
        while (item := self._queue.get()) is not None:
            if isinstance(item, Topic):
                if item.type not in schemas:
                    schemas[item.type] = writer.register_schema(item.type, "ros2msg", item.definition.encode())
                details = {
                    "offered_qos_profiles": yaml.safe_dump([_qos(item.qos)], sort_keys=False),
                    "topic_type_hash": item.type_hash,
                }
                channels[item.name] = writer.register_channel(item.name, "cdr", schemas[item.type], details)
                continue
            self.counts[item.topic] += 1
            writer.add_message(
                channels[item.topic], item.log_time, item.data, item.publish_time, self.counts[item.topic]
            )
            self._first = min(self._first or item.log_time, item.log_time)
            self._last = max(self._last, item.log_time)
        writer.finish()

    def _description(self) -> dict[str, Any]:
        """Contents of metadata.yaml."""
        topics = [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [_qos(topic.qos)],
                    "type_description_hash": topic.type_hash,
                },
                "message_count": self.counts.get(topic.name, 0),
            }
            for topic in self._topics.values()
        ]
        return {
            "rosbag2_bagfile_information": {
                "version": 9,
                "storage_identifier": "mcap",
                **self._span(),
                "topics_with_message_count": topics,
                "compression_format": "",
                "compression_mode": "",
                "relative_file_paths": [self._file.name],
                "files": [{"path": self._file.name, **self._span()}],
                "custom_data": None,
                "ros_distro": "jazzy",
            }
        }

    def _span(self) -> dict[str, Any]:
        return {
            "starting_time": {"nanoseconds_since_epoch": self._first},
            "duration": {"nanoseconds": self._last - self._first},
            "message_count": self.messages,
        }


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
