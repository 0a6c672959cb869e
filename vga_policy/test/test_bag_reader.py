"""The bag reader: what it finds, and what it says of a bag that it cannot use."""

import numpy as np
import pytest
from episode_fixtures import START, MadeEpisode
from mcap.writer import CompressionType, Writer
from rosbags.highlevel import AnyReader
from vga_policy.bags import cdr
from vga_policy.bags.reader import Bag, BagError
from vga_policy.bags.writer import BagWriter
from vga_policy.units import nanoseconds

IMAGES = "/cameras/wrist/color/image_raw/compressed"


@pytest.fixture(scope="module")
def episode(tmp_path_factory):
    return MadeEpisode(seconds=1.5).write(tmp_path_factory.mktemp("bags") / "episode")


def words(path, stamps, type_name="std_msgs/msg/Header", topic="/words"):
    """A bag of messages with these stamps, arriving 1 s after START and every ms."""
    bag = BagWriter(path, {})
    bag.add_topic(cdr.topic(topic, type_name))
    for i, stamp in enumerate(stamps):
        message = cdr.new("std_msgs/msg/Header", stamp=stamp, frame_id=str(i))
        bag.write(topic, cdr.encode(message), START + 10**9 + i * 10**6, START + i)
    bag.close()
    return path


def test_it_agrees_with_rosbags(episode):
    with Bag(episode) as bag, AnyReader([episode]) as reader:
        expected = {link.topic: [] for link in reader.connections}
        for link, log_time, raw in reader.messages():
            expected[link.topic].append((log_time, bytes(raw)))
        assert bag.topics.keys() == expected.keys()
        for topic, messages in expected.items():
            assert bag.count(topic) == len(messages)
            assert bag.log_times(topic).tolist() == [log_time for log_time, _ in messages]
            assert [bytes(bag.raw(topic, i)) for i in range(len(messages))] == [raw for _, raw in messages]
        assert [(time, topic) for time, topic, _ in bag.in_order([IMAGES, "/joint_states"])] == [
            (log_time, link.topic)
            for link, log_time, _ in reader.messages(
                [link for link in reader.connections if link.topic in (IMAGES, "/joint_states")]
            )
        ]


def test_stamps_and_times(episode):
    with Bag(episode) as bag:
        stamps = bag.stamps("/joint_states")
        assert stamps.tolist() == [START + i * 10_000_000 for i in range(151)]
        assert (bag.log_times("/joint_states") - stamps == 2_000_000).all()
        assert np.array_equal(bag.publish_times("/joint_states"), bag.log_times("/joint_states"))
        assert bag.ordered_stamps(IMAGES)[0] == START + 21_000_000
        assert [nanoseconds(m.header.stamp) for m in bag.messages("/joint_states")] == stamps.tolist()
        assert bag.start_ns == START + 2_000_000
        assert bag.end_ns == bag.log_times("/joint_states")[-1]
        assert bag.metadata["cell"].startswith("version: 1")


def test_messages_are_read_one_by_one(episode):
    with Bag(episode) as bag:
        image = bag.message(IMAGES, 3)
        start, length = bag.span(IMAGES, 3)
        assert bag.file.read_bytes()[start : start + length] == bytes(bag.raw(IMAGES, 3))
    assert bytes(image.data[:2]) == b"\xff\xd8"  # stays valid after closing


def test_times_of_publishing_are_their_own(tmp_path):
    with Bag(words(tmp_path / "bag", [5, 6, 7])) as bag:
        assert bag.publish_times("/words").tolist() == [START, START + 1, START + 2]


def test_a_bag_without_messages_is_a_bag(tmp_path):
    with Bag(words(tmp_path / "bag", [])) as bag:
        assert list(bag.in_order()) == []
        assert bag.log_times("/words").tolist() == []
        with pytest.raises(BagError, match="no message on /words"):
            bag.require("/words", "std_msgs/msg/Header")


def test_missing_topics_and_wrong_types_are_named(episode, tmp_path):
    with Bag(episode) as bag:
        bag.require("/joint_states", "sensor_msgs/msg/JointState")
        with pytest.raises(BagError, match=r"episode_0\.mcap: no message on /nowhere"):
            bag.require("/nowhere", "sensor_msgs/msg/JointState")
        with pytest.raises(BagError, match="is sensor_msgs/msg/JointState, expected std_msgs/msg/String"):
            bag.require("/joint_states", "std_msgs/msg/String")
        with pytest.raises(BagError, match="no message on /nowhere"):
            bag.log_times("/nowhere")
    mislabeled = Bag(words(tmp_path / "mislabeled", [1], type_name="sensor_msgs/msg/JointState"))
    with pytest.raises(BagError, match=r"mislabeled_0\.mcap: /words: message 0: "):
        mislabeled.message("/words", 0)
    plain = Bag(words(tmp_path / "plain", [1], type_name="std_msgs/msg/String"))
    with pytest.raises(BagError, match="std_msgs/msg/String has no header"):
        plain.stamps("/words")


def test_a_stamp_that_goes_back_is_found(tmp_path):
    stamps = [START, START + 10**9, START + 10**9, START + 5 * 10**8]
    path = tmp_path / "bag"
    bag = BagWriter(path, {})
    bag.add_topic(cdr.topic("/joint_states", "sensor_msgs/msg/JointState"))
    for i, stamp in enumerate(stamps):
        state = cdr.new("sensor_msgs/msg/JointState", header={"stamp": stamp})
        bag.write("/joint_states", cdr.encode(state), START + i, START + i)
    bag.close()
    with Bag(path) as opened:
        assert opened.stamps("/joint_states").tolist() == stamps
        with pytest.raises(BagError, match=r"/joint_states: the stamp of message 3 is 0\.500 s before"):
            opened.ordered_stamps("/joint_states")


@pytest.mark.parametrize("kept", [0, 10, 5000, -1])
def test_a_cut_off_bag_says_who_repairs_it(episode, tmp_path, kept):
    data = (episode / "episode_0.mcap").read_bytes()[: kept if kept >= 0 else None]
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[:-3] if kept < 0 else data)
    with pytest.raises(BagError, match=r"cut\.mcap: (incomplete|empty); .* the recorder repairs it"):
        Bag(cut)


def test_damage_is_found_not_followed(episode, tmp_path):
    data = bytearray((episode / "episode_0.mcap").read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data)
        start = len(data) - rng.integers(100, 20_000)
        damaged[start : start + 64] = rng.bytes(64)
        file = tmp_path / "damaged.mcap"
        file.write_bytes(damaged)
        try:
            with Bag(file) as bag:
                for _, topic, index in bag.in_order():
                    bag.message(topic, index)
        except BagError as error:
            assert str(error).startswith(str(file))  # noqa: PT017 - most, not all, of the damage is found
        file.unlink()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("bag.db3", b"SQLite format 3\0" + bytes(100), "an SQLite bag; convert it with `rosbags-convert"),
        ("run.bag", b"#ROSBAG V2.0\n" + bytes(100), "a ROS 1 bag; convert it"),
        ("notes.mcap", b"these are my notes" * 10, "not an MCAP file"),
        ("readme.txt", b"", "no .mcap file in it"),
    ],
)
def test_foreign_bags_are_called_by_their_name(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError, match=said):
        Bag(tmp_path)


def test_split_compressed_and_missing_bags(tmp_path):
    with pytest.raises(BagError, match="nowhere: no such bag"):
        Bag(tmp_path / "nowhere")
    file = tmp_path / "a.mcap"
    with file.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.ZSTD)
        writer.start()
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        channel = writer.register_channel("/words", "cdr", schema)
        writer.add_message(channel, START, b"\x00\x01\x00\x00\x01\x00\x00\x00\x00", START)
        writer.finish()
    with pytest.raises(BagError, match=r"compressed \(zstd\)"):
        Bag(file)
    (tmp_path / "b.mcap").write_bytes(file.read_bytes())
    with pytest.raises(BagError, match="split into 2 files"):
        Bag(tmp_path)
