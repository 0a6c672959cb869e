"""Bags as others make them: what does not concern us is passed over, what cannot be used is named in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from support.episodes import START, MadeEpisode
from vga_policy.bags.playback import Playback
from vga_policy.bags.qos import offered_qos
from vga_policy.bags.reader import Bag, BagError
from vga_policy.bags.writer import OfferedQos

IMAGES = "/cameras/wrist/color/image_raw/compressed"
JOINTS = "/joint_states"
SECOND, HOUR, DAY = 10**9, 3600 * 10**9, 86_400 * 10**9
SMALL = {"seconds": 0.6, "rest": 0.1, "grasp": 0.3}


@pytest.fixture(scope="module")
def episode(tmp_path_factory):
    return MadeEpisode(**SMALL).write(tmp_path_factory.mktemp("bags") / "episode")


def rewritten(episode, path, change=None, schema=None, extra=None, compression=CompressionType.NONE, **options):
    """A copy of an episode with every message, time or schema as these functions change it; by the mcap library.

    change: of (topic, number, log time, data), which it returns changed, or None to leave the message out. schema: of
    (name, encoding, data). extra: writes what else shall be in it.
    """
    path.mkdir()
    shutil.copy(episode / "episode.yaml", path)
    numbers, channels, schemas = {}, {}, {}
    with next(episode.glob("*.mcap")).open("rb") as source, (path / f"{path.name}_0.mcap").open("wb") as target:
        writer = Writer(target, chunk_size=64 * 1024, compression=compression, **options)
        writer.start(profile="ros2", library="somebody")
        if extra:
            extra(writer)
        for kind, channel, message in make_reader(source).iter_messages():
            topic = channel.topic
            number = numbers[topic] = numbers.get(topic, -1) + 1
            if topic not in channels:
                said = (kind.name, kind.encoding, kind.data)
                described = schema(*said) if schema and topic == JOINTS else said
                if described not in schemas:
                    schemas[described] = writer.register_schema(*described) if described else 0
                number_of = schemas[described]
                channels[topic] = writer.register_channel(topic, "cdr", number_of, dict(channel.metadata))
            new = (message.log_time, message.data)
            if change is not None and (new := change(topic, number, *new)) is None:
                continue
            log_time, data = new
            writer.add_message(channels[topic], log_time, data, log_time)
        writer.finish()
    return path


def stamped(data, stamp):
    """A message's bytes with another header stamp, ns."""
    seconds, rest = divmod(stamp, SECOND)
    return data[:4] + seconds.to_bytes(4, "little", signed=True) + rest.to_bytes(4, "little") + data[12:]


def stamp_of(data):
    return int.from_bytes(data[4:8], "little") * SECOND + int.from_bytes(data[8:12], "little")


def short(error, path):
    """Whether an error is one line of at most 200 characters besides the path, which it names."""
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text
    assert len(text.replace(str(path), "").replace(str(path.parent), "")) <= 200, text
    return True


# Channels that nobody reads.


def json_channel(writer):
    channel = writer.register_channel("/annotations", "json", writer.register_schema("note", "jsonschema", b"{}"))
    writer.add_message(channel, 0, b'{"note": "good"}', 0)


def bare_json_channel(writer):
    writer.register_channel("/annotations", "json", 0)


def protobuf_channel(writer):
    schema = writer.register_schema("foxglove.Log", "protobuf", b"\x0a\x05\xff\xfe")
    writer.add_message(writer.register_channel("/log", "protobuf", schema), START, b"\x08\x01", START)


def bare_channel(writer):
    writer.add_message(writer.register_channel("/bare", "cdr", 0), START, b"\x00\x01\x00\x00", START)


def undefined_channel(writer):
    schema = writer.register_schema("my_msgs/msg/Thing", "ros2msg", b"Other other")
    writer.add_message(writer.register_channel("/thing", "cdr", schema), 5, b"\x00\x01\x00\x00", 5)  # long ago, too


@pytest.mark.parametrize("extra", [json_channel, bare_json_channel, protobuf_channel, bare_channel, undefined_channel])
def test_a_channel_that_nobody_reads_is_of_no_concern(episode, tmp_path, extra):
    path = rewritten(episode, tmp_path / "foreign", extra=extra)
    with Bag(path) as bag, Bag(episode) as original:
        bag.verify()
        assert (bag.start_ns, bag.end_ns) == (original.start_ns, original.end_ns)
        assert np.array_equal(bag.stamps(IMAGES), original.stamps(IMAGES))
    playback = Playback([path])
    replayed = 0
    while not playback.finished:
        replayed += len(playback.advance(0.5)[1])
    assert replayed >= 60 * 3


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (("sensor_msgs/msg/JointState", "ros2msg", b""), "has no definition of its type"),
        (("sensor_msgs/msg/JointState", "ros2msg", b" \n"), "has no definition of its type"),
        (None, "has no definition of its type|is of no type, expected"),
        (("sensor_msgs/msg/JointState", "ros2idl", b"module a {};\n" * 50), "defined in 'ros2idl', expected ros2msg"),
        (
            ("sensor_msgs/msg/JointState", "ros2msg", b"std_msgs/Header header\nfloat64[] position"),
            "std_msgs/msg/Header",
        ),
        (("sensor_msgs/msg/JointState", "ros2msg", b"these are words\n" * 100), "cannot be parsed"),
        (("sensor_msgs/msg/JointState", "ros2msg", b"\xff\xfe\x00"), "cannot be parsed"),
        (("sensor_msgs/msg/JointState", "ros2msg", b"JointState me"), "contains itself"),
        (("sensor_msgs/msg/JointState", "ros2msg", b"float64[] position"), "lacks name"),
        (
            ("sensor_msgs/msg/Other", "ros2msg", b"float64 x"),
            "is sensor_msgs/msg/Other, expected sensor_msgs/msg/Joint",
        ),
    ],
)
def test_a_definition_that_cannot_be_used_is_named_where_it_is(episode, tmp_path, described, said):
    path = rewritten(episode, tmp_path / "foreign", schema=lambda *_: described)
    with Bag(path) as bag:
        bag.require(IMAGES, "sensor_msgs/msg/CompressedImage", "data")
        with pytest.raises(BagError, match=said) as error:
            bag.require(JOINTS, "sensor_msgs/msg/JointState", "name", "position")
        assert short(error, bag.file)
        assert JOINTS in str(error.value)


@pytest.mark.parametrize("used", ["json", "protobuf"])
def test_a_used_topic_of_another_encoding_is_named(episode, tmp_path, used):
    def extra(writer):
        channel = writer.register_channel("/joint_states", used, 0)
        writer.add_message(channel, START + 1, b"{}", START + 1)

    path = rewritten(
        episode, tmp_path / "foreign", extra=extra, change=lambda t, n, *rest: rest if t != JOINTS else None
    )
    with Bag(path) as bag, pytest.raises(BagError, match=f"{JOINTS}: encoded as '{used}', expected cdr") as error:
        bag.require(JOINTS, "sensor_msgs/msg/JointState")
    assert short(error, bag.file)


# Compression.


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
def test_a_compressed_bag_comes_with_the_command_that_makes_it_readable(episode, tmp_path, compression):
    path = rewritten(episode, tmp_path / "packed", compression=compression)
    with pytest.raises(
        BagError, match=r"compressed .* random access needs an uncompressed bag: `rosbags-convert "
    ) as error:
        Bag(path)
    assert short(error, path)


def test_the_command_works(episode, tmp_path):
    """rosbags reads what the mcap library compressed, and its copy is read."""
    path = rewritten(episode, tmp_path / "packed", compression=CompressionType.ZSTD)
    shutil.copy(episode / "metadata.yaml", path)
    metadata = (path / "metadata.yaml").read_text().replace("episode_0.mcap", "packed_0.mcap")
    (path / "metadata.yaml").write_text(metadata)
    with pytest.raises(BagError) as error:
        Bag(path)
    command = str(error.value).split("`")[1].replace("DIR", str(tmp_path / "plain")).split()
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True)
    with Bag(tmp_path / "plain") as bag, Bag(episode) as original:
        bag.verify()
        assert np.array_equal(bag.stamps(JOINTS), original.stamps(JOINTS))


def test_a_bag_compressed_as_a_file_is_called_so(tmp_path):
    (tmp_path / "bag_0.mcap.zstd").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(50))
    with pytest.raises(BagError, match=r"compressed \(zstd\); decompress it: `rosbags-convert"):
        Bag(tmp_path)


# Quality of service.

INTEGERS = "- history: 3\n  depth: {}\n  reliability: {}\n  durability: {}\n  avoid_ros_namespace_conventions: false\n"
WORDS = "- {{history: keep_last, depth: {}, reliability: {}, durability: {}}}\n"


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([INTEGERS.format(1, 2, 1)], ("best_effort", "transient_local", 1)),
        ([INTEGERS.format(10, 1, 1)], ("reliable", "transient_local", 10)),
        ([INTEGERS.format(0, 1, 2)], ("reliable", "volatile", 100)),
        ([WORDS.format(10, "reliable", "transient_local")], ("reliable", "transient_local", 10)),
        ([WORDS.format(5, "best_effort", "volatile")], ("best_effort", "volatile", 5)),
        ([WORDS.format(5, "reliable", "transient_local") + WORDS.format(7, "best_effort", "volatile")],
         ("best_effort", "volatile", 7)),
        ([INTEGERS.format(3, 1, 2) + INTEGERS.format(1, 1, 1)], ("reliable", "volatile", 3)),
        ([WORDS.format(2, "reliable", "transient_local"), INTEGERS.format(9, 2, 1)],
         ("best_effort", "transient_local", 9)),
        ([INTEGERS.format(1, 0, 0)], ("reliable", "volatile", 1)),
        (["- {history: keep_all, depth: 1, reliability: 1, durability: 1}"], ("reliable", "transient_local", 100)),
        (["- {depth: 9999999999, reliability: 1, durability: 2}"], ("reliable", "volatile", 10_000)),
        ([], ("reliable", "volatile", 100)),
        ([""], ("reliable", "volatile", 100)),
        (["{"], ("reliable", "volatile", 100)),
        (["- 3\n- [1]\n- {reliability: {a: b}, depth: -4, durability: null}"], ("reliable", "volatile", 100)),
    ],
)  # fmt: skip
def test_a_replay_offers_the_weakest_of_what_was_offered(recorded, expected):
    assert offered_qos(*recorded) == OfferedQos(*expected)


def test_the_profiles_of_a_bag_written_in_numbers_are_found(episode, tmp_path):
    def extra(writer):
        schema = writer.register_schema("tf2_msgs/msg/TFMessage", "ros2msg", b"int32 x")
        for _ in range(2):
            qos = {"offered_qos_profiles": INTEGERS.format(10, 1, 1)}
            channel = writer.register_channel("/tf_static", "cdr", schema, qos)
            writer.add_message(channel, START, b"\x00\x01\x00\x00\x00\x00\x00\x00", START)

    with Bag(rewritten(episode, tmp_path / "foreign", extra=extra)) as bag:
        assert bag.count("/tf_static") == 2
        assert offered_qos(*bag.topics["/tf_static"].qos) == OfferedQos("reliable", "transient_local", 10)


# Times.


def first_joint_state(time):
    return lambda topic, number, log_time, data: (time if (topic, number) == (JOINTS, 0) else log_time, data)


def from_the_middle(topic, number, log_time, data):
    return log_time + DAY * (log_time > START + 3 * 10**8), data


def first_part_in_1970(topic, number, log_time, data):
    return log_time - START * (log_time < START + 2 * 10**8), data


def all_in_1970(topic, number, log_time, data):
    return log_time - START, data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (first_joint_state(0), "/joint_states: message 0: log time 0.000 s, not of the years"),
        (first_joint_state(1), "/joint_states: message 0: log time 0.000 s, not of the years"),
        (first_joint_state(2**62), "/joint_states: message 60: log time 4611686018.427 s, not of the years"),
        (first_joint_state(2**64 - 1), "/joint_states: message 0: log time -0.000 s, not of the years"),
        (first_joint_state(START - DAY), "/joint_states: message 0: log time .* before the next message"),
        (first_joint_state(START + 2 * HOUR), "/joint_states: message 60: log time .* after the one before"),
        (from_the_middle, "message .* after the one before|message .* before the next"),
        (first_part_in_1970, "message 0: log time 0.0"),
        (all_in_1970, "message 0: log time 0.0"),
    ],
)
def test_log_times_that_make_no_sense_are_named(episode, tmp_path, change, said):
    path = rewritten(episode, tmp_path / "foreign", change=change)
    with pytest.raises(BagError, match=said) as error:
        Bag(path)
    assert short(error, path)
    with pytest.raises(BagError, match=said):
        Playback([path])


@pytest.mark.parametrize("by", [-10, 600])
def test_log_times_off_by_less_than_an_hour_are_read(episode, tmp_path, by):
    def change(topic, number, log_time, data):
        return log_time + by * SECOND * (log_time > START + 3 * 10**8), data

    with Bag(rewritten(episode, tmp_path / "foreign", change=change)) as bag:
        assert bag.end_ns - bag.start_ns > abs(by) * SECOND * 0.9


@pytest.mark.parametrize("stamp", [0, START // 2, START + DAY, 2**31 * SECOND - 100])
def test_stamps_that_make_no_sense_are_named(episode, tmp_path, stamp):
    def change(topic, number, log_time, data):
        return log_time, stamped(data, stamp + number) if topic == JOINTS and number > 30 else data

    path = rewritten(episode, tmp_path / "foreign", change=change)
    with pytest.raises(BagError, match=r"/joint_states: message 31: stamp .* arrived at 1790000000\.") as error:
        Bag(path)
    assert short(error, path)


@pytest.mark.parametrize(
    ("by", "numbers"),
    [
        *((by, {20}) for by in (9 * 10**8, 3 * 10**8, 12 * 10**8, -12 * 10**8, DAY, -START)),
        *((by, {20, 21, 22, 23, 24}) for by in (9 * 10**8, -12 * 10**8, DAY)),
        *((by, {number}) for by in (9 * 10**8, DAY, -START) for number in (0, 60)),
    ],
)
def test_a_few_odd_stamps_are_passed_over_and_counted(episode, tmp_path, by, numbers):
    def change(topic, number, log_time, data):
        return log_time, stamped(data, stamp_of(data) + by) if topic == JOINTS and number in numbers else data

    with Bag(rewritten(episode, tmp_path / "foreign", change=change)) as bag, Bag(episode) as original:
        left = np.delete(original.stamps(JOINTS), list(numbers))
        assert bag.ordered_stamps(JOINTS).tolist() == left.tolist()
        assert bag.count(JOINTS) == len(left) == len(bag.log_times(JOINTS))
        count, words = bag.passed_over[JOINTS]
        assert count == len(numbers)
        assert words.startswith(f"message {min(numbers)}: stamp ")
        assert not original.passed_over


# Checksums.


def test_a_flipped_bit_in_any_chunk_is_named_by_its_place(episode, tmp_path):
    path = tmp_path / "flipped"
    shutil.copytree(episode, path)
    file = path / "episode_0.mcap"
    data = file.read_bytes()
    with Bag(path) as bag:
        bag.verify()
        starts = [chunk.chunk_start_offset for chunk in bag._chunks]
        image, _ = bag.payload(IMAGES, 3, "data")
    for offset in (image + 200, starts[0] + 60, starts[-1] + 5000):
        damaged = bytearray(data)
        damaged[offset] ^= 4
        file.write_bytes(damaged)
        chunk = max(start for start in starts if start < offset)
        with pytest.raises(BagError, match=f"damaged: the chunk at byte {chunk} ") as error, Bag(path) as bag:
            bag.verify()
        assert short(error, file)
        with file.open("rb") as stream, pytest.raises(ValueError, match="crc validation failed in Chunk"):
            list(make_reader(stream, validate_crcs=True).iter_messages())


def test_every_flipped_bit_of_the_index_is_found(episode, tmp_path):
    path = tmp_path / "flipped"
    shutil.copytree(episode, path)
    file = path / "episode_0.mcap"
    data = file.read_bytes()
    with Bag(path) as bag:
        summary, index = bag._summary_start, bag._chunks[-1].message_index_offsets
    rng = np.random.default_rng(3)
    places = [*rng.integers(summary, len(data) - 8, 20), *(offset + 20 for offset in index.values())]
    for offset in places:
        damaged = bytearray(data)
        damaged[offset] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(BagError, match=r"damaged|no message|incomplete") as error, Bag(path) as bag:
            list(bag.in_order())
        assert short(error, file)


def test_a_checksum_of_all_data_is_looked_at(episode, tmp_path):
    """As rosbag2's fast profile writes it: none of the chunks, or as the mcap library can: one of everything."""
    for options in ({"enable_crcs": False, "enable_data_crcs": True}, {"enable_data_crcs": True}):
        path = rewritten(episode, tmp_path / f"data{len(options)}", **options)
        file = path / f"{path.name}_0.mcap"
        with Bag(path) as bag:
            bag.verify()
            image, _ = bag.payload(IMAGES, 3, "data")
        data = bytearray(file.read_bytes())
        data[image + 100] ^= 1
        file.write_bytes(data)
        with pytest.raises(BagError, match="has another checksum"), Bag(path) as bag:
            bag.verify()


def test_a_bag_without_checksums_is_read(episode, tmp_path):
    with Bag(rewritten(episode, tmp_path / "plain", enable_crcs=False)) as bag:
        bag.verify()
