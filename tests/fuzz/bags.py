"""Bags: damaged bytes, and whole bags of messages, times or definitions without sense. A good episode lies beside."""

import struct
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

from fuzz import draw
from fuzz.entrance import Case, Seen, choice, mutated

MAGIC = 8
HEADER = 9  # opcode, u64 length
MESSAGE, CHUNK, DATA_END, FOOTER = 5, 6, 15, 2
CHUNK_FIELDS = 8 + 8 + 8 + 4 + 4 + 8
SECOND = 10**9
ODD_TIMES = (0, 1, SECOND, 86_400 * SECOND, 10**18, 2**62, 2**63 - 1, 2**64 - 1)
SHIFTS = (-86_400, -3600, -10, -1.2, -0.3, 0.3, 0.9, 1.2, 10, 600, 3600, 86_400, 10**8)
IMAGE_SIZE = 28
EXPORT_EVERY = 5


def damage(case: Case) -> Path:
    """An episode beside a good one, its bag damaged."""
    root = case.directory / "episodes"
    root.mkdir()
    case.copy("episodes/e0", "episodes/good")
    bad = case.copy(f"episodes/e{case.rng.randrange(2)}", "episodes/bad")
    file = next(bad.glob("*.mcap"))
    if case.rng.random() < 0.5:
        file.write_bytes(mutated(case.rng, file.read_bytes(), damaged_bytes, draw.count(case.rng)))
    else:
        topics = mutated(case.rng, read(file), odd_bag, draw.count(case.rng))
        file.unlink()
        write(case.rng, topics, file)
    return root


def use(case: Case, root: Path, seen: Seen) -> None:
    """Checked, curated, indexed and sampled as for training, exported and replayed."""
    from vga_policy.bags.playback import Playback
    from vga_policy.bags.reader import BagError
    from vga_policy.dataset.dataset import EpisodeDataset
    from vga_policy.episodes.listing import DatasetError

    seen.vga("check", root / "bad")
    seen.vga("check", next((root / "bad").glob("*.mcap")))
    if seen.vga("curate", root, "--jobs", "1", "--json"):
        seen.lost.append("vga curate judged neither episode")
    geometry = case.rng.random() < 0.5
    options = {"geometry": geometry, "usable_only": False, "skip_idle": False}
    dataset = seen.expects(DatasetError, EpisodeDataset, [root], IMAGE_SIZE, **options)
    if dataset is not None:
        seen.words += map(str, dataset.skipped)
        for index in {0, len(dataset) // 2, len(dataset) - 1}:
            seen.expects(DatasetError, dataset.__getitem__, index)
    if case.number % EXPORT_EVERY == 0:
        seen.vga("export", "lerobot", root, case.directory / "exported", "--images", "--all")
        playback = seen.expects(BagError, Playback, [root / "bad"])
        if playback is not None:
            _play(playback)


def _play(playback) -> None:
    """To its end, which is no further away than a bag's messages may be apart."""
    while not playback.finished:
        playback.advance(600.0)
    playback.close()


# Bytes.


def damaged_bytes(rng: Random, data: bytes) -> bytes:
    """One fault in the file; half of the time its checksums are taken out, so that what is behind them sees it."""
    way = choice(rng, [(3, draw.data), (3, _record_length), (2, _record_bytes), (2, _swapped_chunks), (2, _footer)])
    data = way(rng, data)
    return without_checksums(data) if rng.random() < 0.6 else data


def records(data: bytes, start: int = MAGIC, end: int | None = None) -> list[tuple[int, int, int]]:
    """Opcode, offset and length of the body of every record, as far as they can be told."""
    found, at, end = [], start, len(data) if end is None else end
    while at + HEADER <= end:
        length = int.from_bytes(data[at + 1 : at + HEADER], "little")
        if at + HEADER + length > end:
            break
        found.append((data[at], at + HEADER, length))
        if data[at] == CHUNK:
            found += records(data, at + HEADER + CHUNK_FIELDS, at + HEADER + length)
        at += HEADER + length
    return found


def without_checksums(data: bytes) -> bytes:
    new = bytearray(data)
    for opcode, at, length in records(data):
        where = {CHUNK: at + 24, DATA_END: at, FOOTER: at + 16}.get(opcode)
        if where is not None and length >= 4:
            new[where : where + 4] = bytes(4)
    return bytes(new)


def _record_length(rng: Random, data: bytes) -> bytes:
    new, found = bytearray(data), records(data)
    if found:
        _, at, length = rng.choice(found)
        odd = rng.choice((length - 1, length + 1, length * 2)).to_bytes(8, "little", signed=True)
        new[at - 8 : at] = rng.choice((odd, draw.number(rng)))
    return bytes(new)


def _record_bytes(rng: Random, data: bytes) -> bytes:
    """A number within the fields of a record: channel, sequence, times, counts, lengths of texts and maps."""
    new, found = bytearray(data), [record for record in records(data) if record[2]]
    if found:
        opcode = rng.choice([each for each, _, _ in found])
        _, at, length = rng.choice([record for record in found if record[0] == opcode])
        place = at + rng.randrange(min(length, 40))
        size = min(rng.choice((1, 2, 4, 8)), at + length - place)
        new[place : place + size] = draw.number(rng)[:size]
    return bytes(new)


def _swapped_chunks(rng: Random, data: bytes) -> bytes:
    chunks = [(at - HEADER, at + length) for opcode, at, length in records(data) if opcode == CHUNK]
    if len(chunks) < 2:
        return draw.data(rng, data)
    (a, b), (c, d) = sorted(rng.sample(chunks, 2))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _footer(rng: Random, data: bytes) -> bytes:
    new = bytearray(data)
    place = len(data) - MAGIC - 20 + rng.choice((0, 8))
    if place > 0:
        new[place : place + 8] = draw.number(rng)
    return bytes(new)


# Whole bags that make no sense.


class Recorded(NamedTuple):
    """A topic. messages: log time, publish time and CDR bytes of each."""

    name: str
    type: str
    encoding: str
    schema_encoding: str
    schema: bytes
    qos: str
    messages: list[tuple[int, int, bytes]]


@cache
def _read(file: Path, _size: int) -> tuple[dict[str, str], list[Recorded]]:
    from mcap.reader import make_reader

    with file.open("rb") as stream:
        reader = make_reader(stream)
        metadata = next(record.metadata for record in reader.iter_metadata())
        topics: dict[str, Recorded] = {}
        for schema, channel, message in reader.iter_messages():
            qos = channel.metadata.get("offered_qos_profiles", "")
            made = Recorded(channel.topic, schema.name, "cdr", "ros2msg", schema.data, qos, [])
            kept = topics.setdefault(channel.topic, made)
            kept.messages.append((message.log_time, message.publish_time, message.data))
    return metadata, list(topics.values())


def read(file: Path) -> tuple[dict[str, str], list[Recorded]]:
    metadata, topics = _read(file, 0)
    return dict(metadata), [topic._replace(messages=list(topic.messages)) for topic in topics]


def write(rng: Random, bag: tuple[dict[str, str], list[Recorded]], file: Path) -> None:
    from mcap.writer import CompressionType, Writer

    metadata, topics = bag
    with file.open("wb") as stream:
        compression = CompressionType.NONE if rng.random() < 0.97 else CompressionType.ZSTD
        writer = Writer(stream, chunk_size=rng.choice((1024, 2**15, 2**18)), compression=compression)
        writer.start(profile="ros2", library="fuzz")
        writer.add_metadata("vga", metadata)
        queue = []
        for topic in topics:
            schema = writer.register_schema(topic.type, topic.schema_encoding, topic.schema)
            details = {"offered_qos_profiles": topic.qos}
            channel = writer.register_channel(topic.name, topic.encoding, schema, details)
            queue += [(log, publish, channel, data) for log, publish, data in topic.messages]
        for log, publish, channel, data in sorted(queue, key=lambda each: each[0]):
            writer.add_message(channel, log % 2**64, data, publish % 2**64)
        writer.finish()


def odd_bag(rng: Random, bag: tuple[dict[str, str], list[Recorded]]) -> tuple[dict[str, str], list[Recorded]]:
    """One thing of the bag changed."""
    metadata, topics = bag
    if not topics:
        return bag
    if rng.random() < 0.08:
        cell = draw.tree(rng, yaml.safe_load(metadata["cell"]) if metadata.get("cell") else {})
        return {"cell": yaml.safe_dump(cell)} if rng.random() < 0.8 else {}, topics
    at = rng.randrange(len(topics))
    ways = [
        (4, _log_times), (5, _header_stamps), (6, _fields), (3, _cdr), (1, _definition), (1, _channel), (2, _fewer),
        (1, _qos),
    ]  # fmt: skip
    return metadata, [*topics[:at], choice(rng, ways)(rng, topics[at]), *topics[at + 1 :]]


def _some(rng: Random, count: int) -> range:
    """Which messages: one, a run, those of one end, or all."""
    if not count:
        return range(0)
    start = rng.randrange(count)
    return rng.choice(
        (range(start, start + 1), range(start, min(count, start + 20)), range(start), range(start, count), range(count))
    )


def _log_times(rng: Random, topic: Recorded) -> Recorded:
    odd, shift = rng.choice(ODD_TIMES), rng.choice(SHIFTS)
    for i in _some(rng, len(topic.messages)):
        log, publish, data = topic.messages[i]
        time = odd if rng.random() < 0.5 else log + round(shift * SECOND)
        topic.messages[i] = (max(0, time), publish, data)
    return topic


def _header_stamps(rng: Random, topic: Recorded) -> Recorded:
    fixed = struct.pack("<iI", rng.choice((-1, 0, 1, 2**31 - 1)), rng.choice((0, SECOND - 1, SECOND, 2**32 - 1)))
    shift, absolute = rng.choice(SHIFTS), rng.random() < 0.4
    for i in _some(rng, len(topic.messages)):
        log, publish, data = topic.messages[i]
        seconds, rest = divmod(log + round(shift * SECOND), SECOND)
        stamp = fixed if absolute else struct.pack("<iI", max(-(2**31), min(2**31 - 1, seconds)), rest)
        topic.messages[i] = (log, publish, data[:4] + stamp + data[12:])
    return topic


def _cdr(rng: Random, topic: Recorded) -> Recorded:
    way = rng.randrange(4)
    for i in _some(rng, len(topic.messages)):
        log, publish, data = topic.messages[i]
        new = (draw.data(rng, data), data[: rng.randrange(len(data) + 1)], b"\x00\x00" + data[2:], b"")[way]
        topic.messages[i] = (log, publish, new)
    return topic


def _fields(rng: Random, topic: Recorded) -> Recorded:
    """Messages decoded, changed in a field, and encoded: whole, and senseless."""
    from vga_policy.bags.cdr import codec

    made = codec(topic.type)
    chosen = _some(rng, len(topic.messages))
    seed = rng.random()
    for i in chosen:
        log, publish, data = topic.messages[i]
        own = Random(seed)  # the same fault in each
        try:
            message = made.decode(data)
            odd_field(own, message)
            topic.messages[i] = (log, publish, made.encode(message))
        except Exception:  # not a message of the type any more
            continue
    return topic


def odd_field(rng: Random, message) -> None:
    """Changes a field of a decoded message, or of one inside it."""
    import numpy as np

    names = [name for name in vars(message) if not name.startswith("__")]
    name = rng.choice([each for each in names if each != "header"] or names)
    old = getattr(message, name)
    if hasattr(old, "__msgtype__"):
        odd_field(rng, old)
    elif isinstance(old, np.ndarray) and len(old):
        new = old.copy()
        if old.dtype == np.uint8 and len(old) > 64:
            new = np.frombuffer(draw.data(rng, old.tobytes()), np.uint8)
        elif rng.random() < 0.6:
            edge = rng.choice((0.0, 1e-3, 1.0, -3.0, 100.0, 1e30, np.nan, np.inf, -np.inf))
            with np.errstate(all="ignore"):
                new[rng.randrange(len(new))] = edge if old.dtype.kind == "f" else 0
        else:
            new = rng.choice((new[:-1], new[:0], np.concatenate([new, new]), new[::-1]))
        setattr(message, name, new)
    elif isinstance(old, list):
        setattr(message, name, rng.choice((old[:-1], old + old, [], old[::-1], [f"{each}x" for each in old])))
    else:
        setattr(message, name, draw.value(rng, old))


def _definition(rng: Random, topic: Recorded) -> Recorded:
    schema = rng.choice(
        (draw.text(rng, topic.schema), draw.data(rng, topic.schema), b"", topic.schema.split(b"=" * 80)[0])
    )
    return topic._replace(schema=schema)


def _channel(rng: Random, topic: Recorded) -> Recorded:
    changes = (
        {"encoding": rng.choice(("json", "protobuf", ""))},
        {"schema_encoding": rng.choice(("ros2idl", "jsonschema", ""))},
        {"type": rng.choice(("std_msgs/msg/String", "", "x", "a/b/c/d", "sensor_msgs/msg/JointState"))},
        {"name": rng.choice(("", "/", "joint_states", "/cameras/wrist/color/image_raw/compressed", "/x\ny"))},
    )
    return topic._replace(**rng.choice(changes))


def _qos(rng: Random, topic: Recorded) -> Recorded:
    return topic._replace(qos=draw.text(rng, topic.qos.encode()).decode(errors="replace"))


def _fewer(rng: Random, topic: Recorded) -> Recorded:
    some = set(_some(rng, len(topic.messages)))
    return topic._replace(messages=[message for i, message in enumerate(topic.messages) if i not in some])
