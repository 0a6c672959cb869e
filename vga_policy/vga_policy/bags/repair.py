"""Makes the bag of a killed recorder whole: an index, a metadata.yaml, and an episode.yaml that says so.

The messages are copied from the damaged file into a new one, which takes the damaged one's place once it is complete
and on the disk. An episode that ended in order, or that is being recorded, is not touched.
"""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

import yaml
from mcap.exceptions import McapError
from mcap.records import Channel, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader

from vga_policy.bags.writer import BagFile, OfferedQos, Topic, bag_file
from vga_policy.episodes.metadata import FILE, EpisodeError, load_episode

PROBLEM = "the recorder was killed; the bag was repaired"


class Repair(NamedTuple):
    """What became of one damaged episode. problem: why it could not be repaired; empty when it was."""

    path: Path
    messages: int = 0
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return f"{self.path}: cannot be repaired: {self.problem}"
        return f"{self.path}: its recorder was killed; repaired, {self.messages} messages"


def repair_directory(directory: Path) -> list[Repair]:
    """Repairs every damaged episode in `directory`; the rest of the directory stays as it is."""
    if not directory.is_dir():
        return []
    repairs = [repair_episode(path.parent) for path in sorted(directory.glob(f"*/{FILE}"))]
    return [repair for repair in repairs if repair is not None]


def repair_episode(path: Path) -> Repair | None:
    """Repairs the episode in the bag directory `path`. None when it is whole, or when its recorder lives."""
    try:
        if _is_whole(path):
            return None
        damaged, *others = sorted(path.glob("*.mcap")) or [bag_file(path)]
        if others:
            return Repair(path, problem=f"it holds {1 + len(others)} .mcap files")
        with damaged.open("ab") as lock:  # creates the file, should its recorder not have come that far
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            return None if _is_whole(path) else _repair(damaged)
    except (EpisodeError, OSError, KeyError, ValueError, yaml.YAMLError) as error:
        return Repair(path, problem=f"{type(error).__name__}: {error}")


def _is_whole(path: Path) -> bool:
    return load_episode(path).ended_ns is not None and (path / "metadata.yaml").is_file()


def _repair(damaged: Path) -> Repair:
    path = damaged.parent
    episode = load_episode(path)
    draft = path / f".{damaged.name}.draft"
    draft.unlink(missing_ok=True)
    file = BagFile(draft, {"cell": episode.cell})
    try:
        with damaged.open("rb") as stream:
            _copy(stream, file)
        file.close()
    except BaseException:
        file.abandon()
        draft.unlink()
        raise
    draft.replace(damaged)
    file.describe(damaged)
    ended = episode.ended_ns or file.last or episode.started_ns
    counts = file.counts
    replace(episode, ended_ns=ended, messages=counts, problem=episode.problem or PROBLEM, repaired=True).save(path)
    return Repair(path, sum(counts.values()))


def _copy(stream: IO[bytes], file: BagFile) -> None:
    """Copies every whole message."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, str] = {}
    for record in _whole_records(stream):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.id not in topics:
            topics[record.id] = record.topic
            file.add_topic(_topic(record, schemas[record.schema_id]))
        elif isinstance(record, Message):
            file.write(topics[record.channel_id], record.data, record.log_time, record.publish_time)


def _whole_records(stream: IO[bytes]) -> Iterator[McapRecord]:
    """Records up to where the file breaks off, or where a power cut left something else in it."""
    with suppress(McapError, struct.error, ValueError):
        yield from StreamReader(stream, validate_crcs=True).records


def _topic(channel: Channel, schema: Schema) -> Topic:
    (offered,) = yaml.safe_load(channel.metadata["offered_qos_profiles"])
    qos = OfferedQos(offered["reliability"], offered["durability"], offered["depth"])
    return Topic(channel.topic, schema.name, schema.data.decode(), channel.metadata["topic_type_hash"], qos)
