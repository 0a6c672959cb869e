"""The bag on disk, as other people's readers see it."""

import struct
import time

import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from vga_policy.bags import writer as bag_module
from vga_policy.bags.definitions import UnknownTypeError, definition
from vga_policy.bags.writer import CHUNK_SIZE, BagWriter, OfferedQos, Topic, bag_file

JAZZY = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000_000_000_000


def topic(name, type_name, **qos):
    described = definition(type_name)
    return Topic(name, type_name, described.text, described.type_hash, OfferedQos(**qos))


def string(text):
    return bytes(JAZZY.serialize_cdr(JAZZY.types["std_msgs/msg/String"](text), "std_msgs/msg/String"))


@pytest.fixture
def written(tmp_path):
    """A bag of 3 strings and of images larger than a chunk."""
    writer = BagWriter(tmp_path / "episode", {"cell": "name: test"})
    writer.add_topic(topic("/words", "std_msgs/msg/String", durability="transient_local", depth=1))
    for i in range(3):
        writer.write("/words", string(f"word {i}"), START + i * 1000, START + i * 1000 - 7)
    writer.add_topic(topic("/late", "vga_msgs/msg/ChunkVerdict"))
    for i in range(4):
        writer.write("/words", string("x" * CHUNK_SIZE), START + 10_000 + i, START)
    writer.close()
    return writer


def test_rosbags_reads_it_with_the_schemas_inside(written):
    with AnyReader([written.path]) as reader:
        messages = [reader.deserialize(raw, link.msgtype).data for link, _, raw in reader.messages()]
        assert messages[:3] == ["word 0", "word 1", "word 2"]
        assert len(messages) == 7
        assert reader.start_time == START
        verdict = reader.typestore.types["vga_msgs/msg/ChunkVerdict"]
        assert "steps_dropped" in verdict.__dataclass_fields__


def test_mcap_reads_both_times_and_the_cell(written):
    with (written.path / "episode_0.mcap").open("rb") as stream:
        reader = make_reader(stream)
        times = [(m.log_time, m.publish_time, m.sequence) for _, _, m in reader.iter_messages()]
        assert times[1] == (START + 1000, START + 993, 2)
        (record,) = reader.iter_metadata()
        assert record.metadata == {"cell": "name: test"}
        summary = reader.get_summary()
        assert summary.statistics.chunk_count == 4
        assert {index.compression for index in summary.chunk_indexes} == {""}
        schemas = {schema.name: schema for schema in summary.schemas.values()}
        assert schemas["vga_msgs/msg/ChunkVerdict"].encoding == "ros2msg"
        assert b"MSG: builtin_interfaces/Time\n" in schemas["vga_msgs/msg/ChunkVerdict"].data


def test_metadata_is_what_rosbag2_writes(written):
    text = (written.path / "metadata.yaml").read_text()
    assert "&" not in text  # no YAML anchors: not every reader follows them
    info = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert info["version"] == 9
    assert info["storage_identifier"] == "mcap"
    assert info["message_count"] == 7
    assert info["starting_time"]["nanoseconds_since_epoch"] == START
    assert info["duration"]["nanoseconds"] == 10_003
    assert info["relative_file_paths"] == ["episode_0.mcap"]
    words, late = info["topics_with_message_count"]
    assert (words["message_count"], late["message_count"]) == (7, 0)
    metadata = words["topic_metadata"]
    assert metadata["type_description_hash"] == JAZZY.hash_rihs01("std_msgs/msg/String")
    (qos,) = metadata["offered_qos_profiles"]
    assert (qos["durability"], qos["reliability"], qos["depth"]) == ("transient_local", "reliable", 1)


def test_unknown_types_are_named():
    with pytest.raises(UnknownTypeError, match="'nowhere' is not installed"):
        definition("nowhere/msg/Nothing")
    with pytest.raises(UnknownTypeError, match=r"Nothing\.json does not exist"):
        definition("std_msgs/msg/Nothing")


def test_a_slow_disk_drops_and_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(bag_module, "QUEUE_LENGTH", 0)
    writer = BagWriter(tmp_path / "episode", {})
    writer.add_topic(topic("/words", "std_msgs/msg/String"))
    writer.write("/words", string("late"), START, START)
    writer.close()
    assert (writer.messages, writer.dropped) == (0, 1)


def test_a_message_from_before_1970_is_dropped_and_counted_and_the_bag_goes_on(tmp_path):
    writer = BagWriter(tmp_path / "episode", {})
    writer.add_topic(topic("/words", "std_msgs/msg/String"))
    for word, stamp in (("before", START), ("odd", -1), ("after", START)):
        writer.write("/words", string(word), START, stamp)
    writer.close()
    assert (writer.problem, writer.messages, writer.dropped) == ("", 2, 1)
    with AnyReader([writer.path]) as reader:
        assert [reader.deserialize(raw, link.msgtype).data for link, _, raw in reader.messages()] == ["before", "after"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), struct.error("No space left in a byte")])
def test_a_failing_write_is_a_problem_not_a_crash(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(bag_module.Writer, "add_message", refuse)
    writer = BagWriter(tmp_path / "episode", {})
    writer.add_topic(topic("/words", "std_msgs/msg/String"))
    writer.write("/words", string("a"), START, START)
    deadline = time.monotonic() + 10
    while not writer.problem and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.write("/words", string("b"), START, START)
    writer.close()
    assert writer.problem.startswith(f"{bag_file(writer.path)}: ")
    assert "No space left" in writer.problem
    assert writer.dropped >= 1
