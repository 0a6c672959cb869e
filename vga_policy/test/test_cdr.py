"""Messages without rclpy: the bytes are those of rclpy, and a type is what its definition says."""

import subprocess
import sys

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message, serialize_message
from vga_policy.bags import cdr
from vga_policy.bags.definitions import definition
from vga_policy.units import nanoseconds

from vga_msgs.msg import RobotReference

STAMP = 1_790_000_000_123_456_789


def reference():
    return cdr.new(
        "vga_msgs/msg/RobotReference",
        header={"stamp": STAMP, "frame_id": "fr3_link0"},
        joint_names=["a", "b"],
        position=range(7),
        gripper_width=0.04,
        mode=1,
    )


def test_rclpy_reads_what_is_written():
    made = reference()
    read = deserialize_message(cdr.encode(made), RobotReference)
    assert (read.header.stamp.sec, read.header.stamp.nanosec) == divmod(STAMP, 10**9)
    assert read.joint_names == ["a", "b"]
    assert read.position.tolist() == list(range(7))
    assert read.velocity.tolist() == [0.0] * 7
    assert (read.gripper_width, read.mode) == (0.04, RobotReference.TELEOP)


def test_what_rclpy_writes_is_read():
    codec = cdr.codec("vga_msgs/msg/RobotReference")
    read = codec.decode(serialize_message(deserialize_message(cdr.encode(reference()), RobotReference)))
    assert nanoseconds(read.header.stamp) == STAMP
    assert np.array_equal(read.position, np.arange(7.0))
    assert codec.message_class.POLICY == RobotReference.POLICY


def test_nested_messages_and_bytes():
    status = {"level": 2, "name": "arm", "values": [{"key": "rate", "value": "100"}]}
    made = cdr.new("diagnostic_msgs/msg/DiagnosticArray", status=[status])
    (read,) = deserialize_message(cdr.encode(made), DiagnosticArray).status
    assert (read.level, read.name, read.values[0].value) == (b"\x02", "arm", "100")
    image = cdr.new("sensor_msgs/msg/CompressedImage", format="jpeg", data=b"\xff\xd8")
    assert bytes(cdr.codec(image.__msgtype__).decode(cdr.encode(image)).data) == b"\xff\xd8"


def test_an_unknown_field_is_named():
    with pytest.raises(TypeError, match="String has no field text; it has data"):
        cdr.new("std_msgs/msg/String", text="")


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x00\x00\x40", b"\x00\x07\x00\x00" + bytes(64)])
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(cdr.CdrError):
        cdr.codec("sensor_msgs/msg/JointState").decode(data)


def test_a_definition_that_is_none_is_refused():
    with pytest.raises(cdr.CdrError, match="cannot be parsed"):
        cdr.Codec("std_msgs/msg/String", "float64 [] [] x")


def test_a_type_is_what_the_given_definition_says():
    older = cdr.codec("vga_msgs/msg/RobotReference", "float64 angle\n")
    assert older.decode(older.encode(older.new(angle=1.5))).angle == 1.5
    assert not older.has_header
    assert cdr.codec("vga_msgs/msg/RobotReference").has_header


def test_the_topic_describes_its_type():
    topic = cdr.topic("/joint_states", "sensor_msgs/msg/JointState")
    described = definition("sensor_msgs/msg/JointState")
    assert (topic.definition, topic.type_hash, topic.qos.depth) == (described.text, described.type_hash, 10)


def test_reading_needs_no_ros():
    code = (
        "import sys; sys.modules['rclpy'] = sys.modules['ament_index_python'] = sys.modules['torch'] = None\n"
        "from vga_policy.bags import cdr, reader\n"
        "codec = cdr.codec('x_msgs/msg/X', 'float64 a'); assert codec.decode(codec.encode(codec.new(a=2))).a == 2\n"
        "from vga_policy.bags.definitions import UnknownTypeError\n"
        "try: cdr.codec('std_msgs/msg/String')\n"
        "except UnknownTypeError as error: assert 'ROS is not installed' in str(error)\n"
        "else: raise SystemExit('it found ROS')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
