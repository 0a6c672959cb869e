"""Random access to a recorded bag by topic and time, without rclpy.

Opening reads the summary at the file's end; where the messages of a topic lie is read from the chunks' message indexes
when the topic is first asked for, and kept in memory only. The messages themselves stay in the (mapped) file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import ChunkIndex
from numpy.typing import NDArray

from vga_policy.bags.cdr import CdrError, Codec, codec
from vga_policy.units import SECOND

MCAP_MAGIC = b"\x89MCAP0\r\n"
MESSAGE_INDEX, MESSAGE = 7, 5  # opcodes
RECORD_HEADER = 9  # opcode, u64 length
INDEX_HEADER = RECORD_HEADER + 2 + 4  # channel, bytes of the entries that follow
MESSAGE_HEADER = RECORD_HEADER + 2 + 4 + 8 + 8  # channel, sequence, log time, publish time
CHUNK_HEADER = RECORD_HEADER + 8 + 8 + 8 + 4 + 4 + 8  # an uncompressed chunk's fields before its first record
ENCAPSULATION = 4  # bytes before a message's first field; 00 01 is little-endian CDR

REPAIR = "its recording was cut off: the recorder repairs it when it is next started on that directory"
FOREIGN = {
    b"SQLite format 3\0": "an SQLite bag; convert it with `rosbags-convert --dst-storage mcap`",
    b"#ROSBAG V2.0": "a ROS 1 bag; convert it with `rosbags-convert --dst-storage mcap`",
}


class BagError(ValueError):
    """A bag that cannot be used as asked. The message names the file, the reason and, if there is one, the remedy."""


class BagTopic(NamedTuple):
    """A topic as the bag describes it. definition: ros2msg text; qos: YAML list of its publishers' profiles."""

    name: str
    type: str
    definition: str
    qos: str
    messages: int


class _Index(NamedTuple):
    """Messages of one topic in order of arrival: log times (int64 [N], ns), file offsets of their records ([N])."""

    log_times: NDArray[np.int64]
    offsets: NDArray[np.int64]


class Bag:
    """One bag, open for reading. Messages of a topic are numbered from 0 in the order of their arrival (log time).

    topics: by name. metadata: texts the recorder stored (record "vga"). start_ns, end_ns: first and last log time.
    """

    def __init__(self, path: str | Path) -> None:
        """`path`: a bag directory or its .mcap file. Raises BagError when it is no whole, uncompressed MCAP bag."""
        self.path = Path(path)
        self.file = _mcap_file(self.path)
        _check_ends(self.file)
        self._chunks: list[ChunkIndex] = []
        self._channels: dict[str, list[int]] = {}
        self._indexes: dict[str, _Index] = {}
        self._stamps: dict[str, NDArray[np.int64]] = {}
        try:
            self._read_summary()
            self._bytes = np.memmap(self.file, mode="r").view(np.ndarray)
        except BagError:
            raise
        except (McapError, OSError, ValueError, LookupError, struct.error) as error:
            raise BagError(f"{self.file}: damaged: {error or type(error).__name__}") from None
        self._data = memoryview(self._bytes.data)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file; messages already read stay valid."""
        self._bytes, self._data = np.empty(0, np.uint8), memoryview(b"")

    # What is in it.

    def require(self, topic: str, type_name: str) -> None:
        """Raises BagError unless the topic is there, with messages, of this type."""
        found = self.topics.get(topic)
        if found is None or not found.messages:
            raise BagError(f"{self.file}: no message on {topic}")
        if found.type != type_name:
            raise BagError(f"{self.file}: {topic} is {found.type}, expected {type_name}")

    def count(self, topic: str) -> int:
        """Messages on a topic; 0 when the bag does not know it."""
        return self.topics[topic].messages if topic in self.topics else 0

    def log_times(self, topic: str) -> NDArray[np.int64]:
        """When each message arrived at the recorder: int64 [N], ns, ascending."""
        return self._index(topic).log_times

    def publish_times(self, topic: str) -> NDArray[np.int64]:
        """When each message was published: int64 [N], ns."""
        return self._gather(self._index(topic).offsets + MESSAGE_HEADER - 8, 8).view("<i8")[:, 0].astype(np.int64)

    def stamps(self, topic: str) -> NDArray[np.int64]:
        """Header stamp of each message: int64 [N], ns. Raises BagError when the type has no header."""
        if topic not in self._stamps:
            if not self.codec(topic).has_header:
                raise BagError(f"{self.file}: {topic}: {self.topics[topic].type} has no header, hence no stamps")
            starts = self._index(topic).offsets + MESSAGE_HEADER
            if len(starts) and (self._gather(starts, 2) != (0, 1)).any():
                raise BagError(f"{self.file}: {topic}: not little-endian CDR")
            fields = self._gather(starts + ENCAPSULATION, 8)
            seconds, rest = fields[:, :4].copy().view("<i4")[:, 0], fields[:, 4:].copy().view("<u4")[:, 0]
            self._stamps[topic] = seconds.astype(np.int64) * SECOND + rest
        return self._stamps[topic]

    def ordered_stamps(self, topic: str) -> NDArray[np.int64]:
        """Like :meth:`stamps`. Raises BagError where a stamp is before that of the message before it."""
        stamps = self.stamps(topic)
        if len(back := np.flatnonzero(np.diff(stamps) < 0)):
            at, by = back[0] + 1, (stamps[back[0]] - stamps[back[0] + 1]) / SECOND
            raise BagError(f"{self.file}: {topic}: the stamp of message {at} is {by:.3f} s before the one before it")
        return stamps

    # Messages.

    def raw(self, topic: str, index: int) -> memoryview:
        """CDR bytes of one message, in the mapped file."""
        start, length = self.span(topic, index)
        return self._data[start : start + length]

    def span(self, topic: str, index: int) -> tuple[int, int]:
        """Where in the file the CDR bytes of one message lie: offset and length."""
        offset = int(self._index(topic).offsets[index])
        length = int.from_bytes(self._data[offset + 1 : offset + RECORD_HEADER], "little")
        return offset + MESSAGE_HEADER, length - (MESSAGE_HEADER - RECORD_HEADER)

    def message(self, topic: str, index: int) -> Any:
        """One message, decoded as the bag's own definition says. Raises BagError."""
        try:
            return self.codec(topic).decode(self.raw(topic, index))
        except CdrError as error:
            raise BagError(f"{self.file}: {topic}: message {index}: {error}") from None

    def payload(self, topic: str, index: int, field: str) -> tuple[int, int]:
        """Where in the file an array field of one message lies: offset and length in bytes."""
        array = getattr(self.message(topic, index), field)  # a view of the mapped file
        start = array.__array_interface__["data"][0] - self._bytes.__array_interface__["data"][0]
        return start, array.nbytes

    def messages(self, topic: str) -> Iterator[Any]:
        """Every message of a topic, decoded, in order of arrival."""
        return (self.message(topic, index) for index in range(len(self.log_times(topic))))

    def in_order(self, topics: Sequence[str] | None = None) -> Iterator[tuple[int, str, int]]:
        """Log time, topic and index of every message of these topics (default: all), in order of arrival."""
        names = list(self.topics if topics is None else topics)
        times = [self.log_times(name) for name in names]
        owner = np.repeat(np.arange(len(names)), [len(each) for each in times])
        index = np.concatenate([np.arange(len(each)) for each in times]) if times else np.empty(0, np.int64)
        merged = np.concatenate(times) if times else np.empty(0, np.int64)
        for i in np.argsort(merged, kind="stable"):
            yield int(merged[i]), names[owner[i]], int(index[i])

    def codec(self, topic: str) -> Codec:
        """How messages of a topic are decoded. Raises BagError when the bag does not know it or defines it badly."""
        found = self.topics.get(topic)
        if found is None:
            raise BagError(f"{self.file}: no message on {topic}")
        try:
            return codec(found.type, found.definition)
        except CdrError as error:
            raise BagError(f"{self.file}: {topic}: {error}") from None

    # Reading the file's own index.

    def _read_summary(self) -> None:
        with self.file.open("rb") as stream:
            reader = make_reader(stream)
            summary = reader.get_summary()
            stored = [record for record in reader.iter_metadata() if record.name == "vga"] if summary else []
        if summary is None or summary.statistics is None:
            raise BagError(f"{self.file}: has no index; {REPAIR}")
        self.metadata: dict[str, str] = stored[0].metadata if stored else {}
        self.start_ns, self.end_ns = summary.statistics.message_start_time, summary.statistics.message_end_time
        self._chunks = sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
        if compressed := {chunk.compression for chunk in self._chunks} - {""}:
            raise BagError(
                f"{self.file}: compressed ({', '.join(compressed)}); random access needs an uncompressed bag"
            )
        indexed = {channel for chunk in self._chunks for channel in chunk.message_index_offsets}
        counts = summary.statistics.channel_message_counts
        self.topics: dict[str, BagTopic] = {}
        for number, channel in summary.channels.items():
            if channel.message_encoding != "cdr":
                raise BagError(f"{self.file}: {channel.topic}: encoded as {channel.message_encoding!r}, expected cdr")
            if counts.get(number) and number not in indexed:
                raise BagError(f"{self.file}: {channel.topic}: written without a message index")
            schema = summary.schemas[channel.schema_id]
            known = self.topics.get(channel.topic)
            self.topics[channel.topic] = BagTopic(
                channel.topic,
                schema.name,
                schema.data.decode(),
                channel.metadata.get("offered_qos_profiles", ""),
                counts.get(number, 0) + (known.messages if known else 0),
            )
            self._channels.setdefault(channel.topic, []).append(number)

    def _index(self, topic: str) -> _Index:
        if topic not in self._indexes:
            if topic not in self._channels:
                raise BagError(f"{self.file}: no message on {topic}")
            parts = [
                self._chunk_entries(chunk, chunk.message_index_offsets[channel])
                for chunk in self._chunks
                for channel in self._channels[topic]
                if channel in chunk.message_index_offsets
            ]
            entries = np.concatenate(parts) if parts else np.empty((0, 2), np.int64)
            order = np.argsort(entries[:, 0], kind="stable")
            offsets = entries[order, 1]
            in_file = (offsets >= 0) & (offsets < len(self._bytes) - MESSAGE_HEADER)
            if not in_file.all() or (self._bytes[offsets] != MESSAGE).any():
                raise BagError(f"{self.file}: damaged: its index of {topic} leads to no messages")
            self._indexes[topic] = _Index(entries[order, 0], offsets)
        return self._indexes[topic]

    def _chunk_entries(self, chunk: ChunkIndex, offset: int) -> NDArray[np.int64]:
        """Log time and file offset of a channel's messages in one chunk, [N, 2], as its message index lists them."""
        header = self._data[offset : offset + INDEX_HEADER]
        size = int.from_bytes(header[-4:], "little")
        if len(header) < INDEX_HEADER or header[0] != MESSAGE_INDEX or offset + INDEX_HEADER + size > len(self._bytes):
            raise BagError(f"{self.file}: damaged: no message index at byte {offset}")
        entries = np.frombuffer(self._data, "<i8", size // 8, offset + INDEX_HEADER).reshape(-1, 2).astype(np.int64)
        entries[:, 1] += chunk.chunk_start_offset + CHUNK_HEADER
        return entries

    def _gather(self, offsets: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """`size` bytes at each offset: [N, size]."""
        return self._bytes[offsets[:, None] + np.arange(size)]


def _mcap_file(path: Path) -> Path:
    if not path.exists():
        raise BagError(f"{path}: no such bag")
    if path.is_file():
        return path
    files = sorted(path.glob("*.mcap"))
    if len(files) == 1:
        return files[0]
    if files:
        raise BagError(f"{path}: split into {len(files)} files; an episode is one")
    foreign = next((each for pattern in ("*.db3", "*.bag") for each in path.glob(pattern)), None)
    if foreign is not None:
        return foreign  # to be named for what it is
    raise BagError(f"{path}: no .mcap file in it")


def _check_ends(file: Path) -> None:
    """Raises BagError unless the file begins and ends as a whole MCAP file does."""
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
            stream.seek(max(0, file.stat().st_size - len(MCAP_MAGIC)))
            tail = stream.read()
    except OSError as error:
        raise BagError(f"{file}: cannot be read: {error.strerror}") from None
    if not head.startswith(MCAP_MAGIC):
        found = next((what for magic, what in FOREIGN.items() if head.startswith(magic)), "not an MCAP file")
        raise BagError(f"{file}: {found}" if head else f"{file}: empty; {REPAIR}")
    if tail != MCAP_MAGIC:
        raise BagError(f"{file}: incomplete; {REPAIR}")
