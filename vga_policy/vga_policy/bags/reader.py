"""Random access to a recorded bag by topic and time, without rclpy.

Opening reads the summary at the file's end; where the messages of a topic lie is read from the chunks' message indexes
when the topic is first asked for, and kept in memory only. The messages themselves stay in the (mapped) file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import ChunkIndex
from mcap.summary import Summary
from numpy.typing import NDArray

from vga_policy.bags.cdr import CdrError, Codec, codec
from vga_policy.bags.times import FEW, describe_stamp, is_used, odd_log_time, odd_stamps, senseless_stamps
from vga_policy.units import SECOND

MCAP_MAGIC = b"\x89MCAP0\r\n"
MESSAGE, CHUNK, MESSAGE_INDEX, DATA_END = 5, 6, 7, 15  # opcodes
RECORD_HEADER = 9  # opcode, u64 length
INDEX_HEADER = RECORD_HEADER + 2 + 4  # channel, bytes of the entries that follow
MESSAGE_HEADER = RECORD_HEADER + 2 + 4 + 8 + 8  # channel, sequence, log time, publish time
CHUNK_HEADER = RECORD_HEADER + 8 + 8 + 8 + 4 + 4 + 8  # an uncompressed chunk's fields before its first record
CHUNK_CRC = RECORD_HEADER + 8 + 8 + 8  # where its checksum lies
DATA_END_SIZE = RECORD_HEADER + 4
FOOTER_SIZE = RECORD_HEADER + 8 + 8 + 4  # starts of summary and of its offsets, checksum
ENCAPSULATION = 4  # bytes before a message's first field; 00 01 is little-endian CDR
STAMPED = ENCAPSULATION + 8  # shortest message with a stamp

CONVERT = "rosbags-convert --dst-storage mcap --src {} --dst DIR"
CLOCK = "the clock was wrong: record it again"
DAMAGED = "take a copy of the file that is whole, or leave the episode out"
REPAIR = (
    "copied in part, or its recording was cut off: copy it again; on the computer that records, the recorder "
    "repairs it when it is next started on that directory"
)
FOREIGN = {
    b"SQLite format 3\0": "an SQLite bag; convert it with `rosbags-convert --dst-storage mcap`",
    b"#ROSBAG V2.0": "a ROS 1 bag; convert it with `rosbags-convert --dst-storage mcap`",
}
FOREIGN_FILES = ("*.mcap.zstd", "*.mcap.lz4", "*.mcap.*", "*.db3", "*.db3.*", "*.bag")
COMPRESSED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}  # how compressed files and messages begin


class BagError(ValueError):
    """A bag that cannot be used as asked. The message names the file, the reason and, if there is one, the remedy."""


class BagTopic(NamedTuple):
    """A topic as the bag describes it.

    definition: its type's, in ros2msg. qos: YAML lists of its publishers' profiles. encoding: of its messages.
    unreadable: why messages cannot be decoded; empty when they can. Of no concern until the topic is used.
    """

    name: str
    type: str
    definition: str
    qos: tuple[str, ...]
    messages: int
    encoding: str = "cdr"
    unreadable: str = ""


class _Index(NamedTuple):
    """Messages of one topic in order of arrival: log times (int64 [N], ns), file offsets of their records ([N])."""

    log_times: NDArray[np.int64]
    offsets: NDArray[np.int64]


class Bag:
    """One bag, open for reading. Messages of a topic are numbered from 0 in the order of their arrival (log time).

    topics: by name. metadata: texts the recorder stored (record "vga"). start_ns, end_ns: first and last log time of
    the topics that episodes are made of, or of all where there are none such. passed_over: by topic, how many messages
    are left out because of their stamps, and the first of them in words; they have no number.
    """

    def __init__(self, path: str | Path) -> None:
        """`path`: a bag directory or its .mcap file.

        Raises BagError when it is no whole, uncompressed MCAP bag, or when its times make no sense.
        """
        self.path = Path(path)
        self.file = _mcap_file(self.path)
        _check_ends(self.file)
        self._chunks: list[ChunkIndex] = []
        self._channels: dict[str, list[int]] = {}
        self._indexes: dict[str, _Index] = {}
        self._stamps: dict[str, NDArray[np.int64]] = {}
        self.topics: dict[str, BagTopic] = {}
        self.metadata: dict[str, str] = {}
        self.passed_over: dict[str, tuple[int, str]] = {}
        try:
            self._bytes = np.memmap(self.file, mode="r").view(np.ndarray)
            self._data = memoryview(self._bytes.data)
            self._read_summary()
        except BagError:
            raise
        except (McapError, OSError, ValueError, LookupError, struct.error, MemoryError) as error:
            raise BagError(f"{self.file}: damaged: {_line(error)}; {DAMAGED}") from None
        self._judge_times()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file; messages already read stay valid."""
        self._bytes, self._data = np.empty(0, np.uint8), memoryview(b"")

    # What is in it.

    def require(self, topic: str, type_name: str, *fields: str) -> None:
        """Raises BagError unless the topic is there, with messages, of this type, with these fields."""
        found = self.topics.get(topic)
        if found is None or not found.messages:
            raise BagError(f"{self.file}: no message on {topic}")
        if found.encoding == "cdr" and found.type != type_name:
            raise BagError(f"{self.file}: {topic} is {found.type[:80] or 'of no type'}, expected {type_name}")
        if missing := sorted(set(fields) - self.codec(topic).fields):
            raise BagError(f"{self.file}: {topic}: its definition of {type_name} lacks {', '.join(missing)}")

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
            offsets = self._index(topic).offsets
            whole = self._lengths(offsets) >= STAMPED  # a message too short for a stamp has 0
            starts = offsets[whole] + MESSAGE_HEADER
            if len(other := np.flatnonzero((self._gather(starts, 2) != (0, 1)).any(axis=1))):
                raise BagError(f"{self.file}: {topic}: {self._encoding(starts[other[0]])}")
            fields = self._gather(starts + ENCAPSULATION, 8)
            seconds, rest = fields[:, :4].copy().view("<i4")[:, 0], fields[:, 4:].copy().view("<u4")[:, 0]
            stamps = np.zeros(len(offsets), np.int64)
            stamps[whole] = seconds.astype(np.int64) * SECOND + rest
            self._stamps[topic] = stamps
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
        if found.unreadable:
            raise BagError(f"{self.file}: {topic}: {found.unreadable}")
        try:
            return codec(found.type, found.definition)
        except CdrError as error:
            raise BagError(f"{self.file}: {topic}: {error}") from None

    # Whether it is whole, and whether its times can be.

    def verify(self) -> None:
        """Reads the file once and compares it with the checksums stored in it. Raises BagError naming the place.

        A file without checksums passes.
        """
        end = self._summary_start - DATA_END_SIZE
        if end > 0 and self._bytes[end] == DATA_END:
            stored = int.from_bytes(self._data[end + RECORD_HEADER : end + DATA_END_SIZE], "little")
            if stored and crc32(self._data[:end]) == stored:
                return
        else:
            stored = 0
        for chunk in self._chunks:
            start = chunk.chunk_start_offset
            wanted = int.from_bytes(self._data[start + CHUNK_CRC : start + CHUNK_CRC + 4], "little")
            records = self._data[start + CHUNK_HEADER : start + chunk.chunk_length]
            if self._data[start : start + 1] != bytes([CHUNK]) or (wanted and crc32(records) != wanted):
                raise BagError(f"{self.file}: damaged: the chunk at byte {start} has another checksum; {DAMAGED}")
        if stored:
            raise BagError(f"{self.file}: damaged: what lies between its chunks has another checksum; {DAMAGED}")

    def _judge_times(self) -> None:
        """Finds first and last log time, and passes over a few odd stamps. Raises BagError for times that cannot be."""
        filled = [topic.name for topic in self.topics.values() if topic.messages and topic.encoding == "cdr"]
        counted = [topic for topic in filled if is_used(topic)] or filled
        log_times = {topic: self.log_times(topic) for topic in counted}
        if odd := odd_log_time(log_times) if log_times else None:
            raise BagError(f"{self.file}: {odd.topic}: message {odd.number}: {odd.words}; {CLOCK}")
        self.start_ns = min((int(times[0]) for times in log_times.values()), default=0)
        self.end_ns = max((int(times[-1]) for times in log_times.values()), default=0)
        for topic in filter(is_used, counted):
            try:
                stamps = self.stamps(topic)
            except BagError:
                continue  # whoever reads it will hear
            self._pass_over(topic, stamps, log_times[topic])

    def _pass_over(self, topic: str, stamps: NDArray[np.int64], log_times: NDArray[np.int64]) -> None:
        odd = odd_stamps(stamps, log_times)
        count, first = int(odd.sum()), int(odd.argmax())
        if not count:
            return
        if count * FEW <= len(odd):
            index = self._indexes[topic]
            words = f"message {first}: {describe_stamp(stamps[first], log_times[first])}"
            self._indexes[topic] = _Index(index.log_times[~odd], index.offsets[~odd])
            self._stamps[topic] = stamps[~odd]
            self.topics[topic] = self.topics[topic]._replace(messages=len(odd) - count)
            self.passed_over[topic] = count, words
        elif (senseless := senseless_stamps(stamps, log_times)).any():
            first = int(senseless.argmax())
            words = describe_stamp(stamps[first], log_times[first])
            raise BagError(f"{self.file}: {topic}: message {first}: {words}; {CLOCK}")

    # Reading the file's own index.

    def _read_summary(self) -> None:
        footer = len(self._bytes) - len(MCAP_MAGIC) - FOOTER_SIZE
        start, _, checksum = struct.unpack_from("<QQI", self._data, footer + RECORD_HEADER)
        self._summary_start = start
        if checksum and crc32(self._data[start : footer + FOOTER_SIZE - 4]) != checksum:
            raise BagError(f"{self.file}: damaged: its index has another checksum; {DAMAGED}")
        with self.file.open("rb") as stream:
            reader = SeekingReader(stream, record_size_limit=len(self._bytes))
            summary = reader.get_summary()
            stored = [record for record in reader.iter_metadata() if record.name == "vga"] if summary else []
        if summary is None or summary.statistics is None:
            raise BagError(f"{self.file}: has no index; {REPAIR}")
        self.metadata = stored[0].metadata if stored else {}
        self._chunks = sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
        if compressed := sorted({chunk.compression for chunk in self._chunks} - {""}):
            raise BagError(self._compressed(", ".join(compressed)))
        self._read_channels(summary, summary.statistics.channel_message_counts)

    def _read_channels(self, summary: Summary, counts: dict[int, int]) -> None:
        indexed = {channel for chunk in self._chunks for channel in chunk.message_index_offsets}
        if unknown := sorted({*counts, *indexed} - summary.channels.keys()):
            raise BagError(f"{self.file}: its index does not describe channel {unknown[0]}; `{self._convert}`")
        for number, channel in summary.channels.items():
            if counts.get(number) and number not in indexed:
                raise BagError(f"{self.file}: {channel.topic}: written without a message index; `{self._convert}`")
            schema = summary.schemas.get(channel.schema_id)
            text = schema.data.decode(errors="replace") if schema else ""
            unreadable = ""
            if channel.message_encoding != "cdr":
                unreadable = f"encoded as {channel.message_encoding[:40]!r}, expected cdr"
            elif schema is None or not text.strip():
                unreadable = "has no definition of its type; record it where the type is installed"
            elif schema.encoding != "ros2msg":
                unreadable = f"its type is defined in {schema.encoding[:40]!r}, expected ros2msg; `{self._convert}`"
            qos = channel.metadata.get("offered_qos_profiles", "")
            found = BagTopic(
                channel.topic,
                schema.name if schema else "",
                text,
                (qos,) if qos else (),
                counts.get(number, 0),
                channel.message_encoding,
                unreadable,
            )
            if (known := self.topics.get(channel.topic)) is not None:
                found = _joined(known, found)
            self.topics[channel.topic] = found
            self._channels.setdefault(channel.topic, []).append(number)

    @property
    def _convert(self) -> str:
        """The command that makes a bag that can be read."""
        return CONVERT.format(self.path)

    def _compressed(self, how: str) -> str:
        return f"{self.file}: compressed ({how}); random access needs an uncompressed bag: `{self._convert}`"

    def _encoding(self, start: int) -> str:
        """What the message at this byte is, if not little-endian CDR."""
        how = COMPRESSED.get(bytes(self._data[start : start + 4]))
        return f"its messages are compressed ({how}): `{self._convert}`" if how else "not little-endian CDR"

    def _index(self, topic: str) -> _Index:
        if topic not in self._indexes:
            if topic not in self._channels:
                raise BagError(f"{self.file}: no message on {topic}")
            try:
                self._indexes[topic] = self._read_index(topic)
            except (ValueError, OverflowError, LookupError, MemoryError) as error:
                if isinstance(error, BagError):
                    raise
                raise BagError(f"{self.file}: damaged: its index of {topic}: {_line(error)}; {DAMAGED}") from None
        return self._indexes[topic]

    def _read_index(self, topic: str) -> _Index:
        """The messages of a topic as the chunks' indexes list them; each must be there, and say the same time."""
        parts = [
            self._chunk_entries(chunk, chunk.message_index_offsets[channel])
            for chunk in self._chunks
            for channel in self._channels[topic]
            if channel in chunk.message_index_offsets
        ]
        entries = np.concatenate(parts) if parts else np.empty((0, 2), np.int64)
        log_times, offsets = entries[np.argsort(entries[:, 0], kind="stable")].T
        there = len(offsets) == self.topics[topic].messages
        there = there and bool(((offsets >= 0) & (offsets < len(self._bytes) - MESSAGE_HEADER)).all())
        if there:
            times = self._gather(offsets + RECORD_HEADER + 6, 8).view("<i8")[:, 0]
            channels = self._gather(offsets + RECORD_HEADER, 2).view("<u2")[:, 0]
            ends = offsets + MESSAGE_HEADER + self._lengths(offsets)
            there = bool(
                (self._bytes[offsets] == MESSAGE).all()
                and np.isin(channels, self._channels[topic]).all()
                and (times == log_times).all()
                and ((ends <= len(self._bytes)) & (ends >= offsets)).all()
            )
        if not there:
            raise BagError(f"{self.file}: damaged: its index of {topic} leads to no messages; {DAMAGED}")
        return _Index(log_times, offsets)

    def _chunk_entries(self, chunk: ChunkIndex, offset: int) -> NDArray[np.int64]:
        """Log time and file offset of a channel's messages in one chunk, [N, 2], as its message index lists them."""
        header = self._data[offset : offset + INDEX_HEADER]
        size = int.from_bytes(header[-4:], "little")
        inside = len(header) == INDEX_HEADER and offset + INDEX_HEADER + size <= len(self._bytes)
        if not inside or header[0] != MESSAGE_INDEX or size % 16:
            raise BagError(f"{self.file}: damaged: no message index at byte {offset}; {DAMAGED}")
        entries = np.frombuffer(self._data, "<i8", size // 8, offset + INDEX_HEADER).reshape(-1, 2).astype(np.int64)
        entries[:, 1] += chunk.chunk_start_offset + CHUNK_HEADER
        return entries

    def _lengths(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of CDR in the messages whose records begin at `offsets`: [N]."""
        records = self._gather(offsets + 1, 8).view("<i8")[:, 0]
        return np.asarray(records - (MESSAGE_HEADER - RECORD_HEADER), dtype=np.int64)

    def _gather(self, offsets: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """`size` bytes at each offset: [N, size]."""
        return self._bytes[offsets[:, None] + np.arange(size)]


def _joined(known: BagTopic, other: BagTopic) -> BagTopic:
    """One topic that is recorded in two channels."""
    unreadable = known.unreadable or other.unreadable
    if (known.type, known.encoding, known.definition) != (other.type, other.encoding, other.definition):
        unreadable = (
            unreadable
            or f"is both {known.type[:60]} and {other.type[:60]} in {known.encoding[:20]}, differently defined"
        )
    return known._replace(qos=(*known.qos, *other.qos), messages=known.messages + other.messages, unreadable=unreadable)


def _line(error: BaseException) -> str:
    """An error in one short line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


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
    foreign = next((each for pattern in FOREIGN_FILES for each in sorted(path.glob(pattern))), None)
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
        if how := COMPRESSED.get(head[:4]):
            found = f"compressed ({how}); decompress it: `{CONVERT.format(file.parent)}`"
        raise BagError(f"{file}: {found}" if head else f"{file}: empty; {REPAIR}")
    if tail != MCAP_MAGIC:
        raise BagError(f"{file}: incomplete; {REPAIR}")
