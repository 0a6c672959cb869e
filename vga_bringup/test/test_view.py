"""What `vga view` reads, makes of it and says, without the viewer."""

import sys

import numpy as np
import pytest
from vga_bringup.robot.bounds.kinematics import Pose
from vga_bringup.view.fan import ACCEPTED, FAN, REFUSED, UNDECIDED, Fan, PlannedPath
from vga_bringup.view.geometry import depth_cloud
from vga_bringup.view.happenings import Happenings
from vga_bringup.view.plans import image_size
from vga_bringup.view.recorded import Recorded
from vga_bringup.view.sights import DrawnCamera
from vga_policy.bags import cdr
from vga_policy.bags.reader import BagError
from vga_policy.bags.writer import BagWriter
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.cli import main

CELL = load_cell(cell_path("sim"))
START = 1_700_000_000 * 10**9  # ns
STATE, VERDICT, HAND = "/franka_driver/state", "/franka_driver/chunk_verdict", "/franka_driver/gripper_state"


def joints(number):
    return cdr.new(
        "sensor_msgs/msg/JointState",
        header={"stamp": START + number, "frame_id": ""},
        name=CELL.joint_state_names,
        position=[*CELL.arm.home, 0.02],
    )


def bag(directory, metadata):
    writer = BagWriter(directory, metadata)
    writer.add_topic(cdr.topic("/joint_states", "sensor_msgs/msg/JointState"))
    for number in range(3):
        writer.write("/joint_states", cdr.encode(joints(number)), START + number, START + number)
    writer.close()
    return directory


def test_a_bag_is_its_messages_in_order_and_its_cell_s_robot(tmp_path):
    recorded = Recorded(bag(tmp_path / "old", {"cell": dump_cell(CELL)}))
    assert "fr3_hand_tcp" in recorded.urdf
    assert (recorded.topic_names, recorded.fixed, recorded.views) == ({"/joint_states"}, [], ())
    events = list(recorded.events(lambda topic: topic == "/joint_states"))
    assert [event.stamp for event in events] == [START, START + 1, START + 2]
    assert events[0].message.position.tolist() == [*CELL.arm.home, 0.02]
    assert list(recorded.events(lambda topic: False)) == []
    recorded.close()


def test_a_bag_of_no_cell_is_refused(tmp_path):
    with pytest.raises(BagError, match="recorded by another program: it does not say of which cell"):
        Recorded(bag(tmp_path / "foreign", {}))


def test_what_is_new_is_told_once():
    happenings, told = Happenings(), []

    def hear(topic, kind, **fields):
        happened = happenings.of(topic, cdr.new(kind, header={"stamp": 7, "frame_id": ""}, **fields))
        if happened is not None:
            assert happened.stamp == 7
            told.append((happened.level, happened.words))

    hear(STATE, "vga_msgs/msg/DriverState", mode=0, hold_reason="a reflex", needs_recovery=True)
    hear(STATE, "vga_msgs/msg/DriverState", mode=0, hold_reason="a reflex", needs_recovery=True)
    hear(STATE, "vga_msgs/msg/DriverState", mode=2)
    for sequence, accepted in enumerate((True, True, False, False, True)):
        reason = {} if accepted else {"reason": "jump", "message": "0.3 rad"}
        hear(VERDICT, "vga_msgs/msg/ChunkVerdict", sequence=sequence, accepted=accepted, **reason)
    for sequence in (5, 6):
        hear(VERDICT, "vga_msgs/msg/ChunkVerdict", sequence=sequence, reason="taken_over", message="by a person")
    for width, holds in ((0.08, False), (0.05, True), (0.05, True), (0.06, False)):
        hear(HAND, "vga_msgs/msg/GripperState", width=width, is_grasped=holds)
    assert told == [
        ("ERROR", "HOLD: a reflex"),
        ("INFO", "POLICY"),
        ("INFO", "chunk 0 accepted"),
        ("WARN", "chunk 2 refused, jump: 0.3 rad"),
        ("WARN", "chunk 3 refused, jump: 0.3 rad"),
        ("INFO", "chunk 4 accepted"),
        ("INFO", "chunk 5 is not heeded: a person has taken over"),
        ("INFO", "the hand holds something, 50 mm open"),
        ("INFO", "the hand has let go, 60 mm open"),
    ]


def test_a_fan_is_of_the_last_chunks_and_fades():
    fan = Fan()
    chunks = [PlannedPath(b"goal", number, 100 * number, np.zeros((8, 3))) for number in range(FAN + 5)]
    for chunk in chunks:
        fan.add(chunk)
    assert fan.decide(b"goal", FAN + 4, True) is chunks[-1]
    assert fan.decide(b"goal", FAN + 3, False) is chunks[-2]
    assert fan.decide(b"goal", 0, True) is None  # it has left the fan
    drawn = fan.until(chunks[-1])
    assert [chunk for chunk, _, _ in drawn] == chunks[-FAN:]
    assert tuple(drawn[-1][1]) == ACCEPTED
    assert (chunks[-2].color, chunks[-3].color) == (REFUSED, UNDECIDED)
    assert (np.diff([width for _, _, width in drawn]) > 0).all()
    assert [chunk for chunk, _, _ in fan.until(chunks[-3])] == chunks[-FAN:-2]


def test_a_line_is_drawn_where_the_camera_sees_it():
    sight = DrawnCamera("fixed", "camera", "frame", np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]), (100, 80))
    along_x = Pose(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([1.0, 0.0, 0.0]))
    way = np.array([[2.0, 0, 0], [2.0, 0.4, 0], [2.0, 1.2, 0], [0.0, 0, 0], [3.0, 0, 0.2], [3.0, 0, 0.4]])
    pieces, again = sight.project(np.stack([way, way[:2][[0, 1, 1, 1, 1, 1]]]), along_x)
    assert len(again) == 1
    assert len(pieces) == 2  # it leaves the image at the left, goes behind the camera and comes back
    np.testing.assert_allclose(pieces[0][:: len(pieces[0]) - 1], [[50, 40], [10, 40]])
    np.testing.assert_allclose(pieces[1][-1], [50, 20])
    assert all(((piece >= 0) & (piece <= (100, 80))).all() for piece in pieces)
    assert DrawnCamera("other", "camera", "frame").project(way[None], along_x) == [[]]  # its lens is not known yet


def test_depth_is_points_with_the_colors_of_the_image():
    depth = np.zeros((4, 6), np.float32)
    depth[1, 2], depth[3, 5] = 2.0, 0.5
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    cloud = depth_cloud(depth, image, np.array([[2.0, 0, 3], [0, 2, 1], [0, 0, 1]]))
    np.testing.assert_allclose(cloud.points, [[-1, 0, 2], [0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(cloud.colors, [image[1, 2], image[3, 5]])


def test_the_size_of_a_policy_s_squares_is_that_of_its_checkpoint(tmp_path):
    assert image_size("nano") == 112
    assert image_size(str(tmp_path / "on the robot's machine")) is None
    assert image_size("untrained") is None


def test_without_the_viewer_it_names_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert main(["view", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "vga view: Rerun is not installed: make setup PURPOSES=viewers\n"


def test_one_file_holds_one_episode(tmp_path, capsys):
    for name in ("a", "b"):
        bag(tmp_path / name, {"cell": dump_cell(CELL)})
    assert main(["view", str(tmp_path), "--save", str(tmp_path / "all.rrd")]) == 1
    assert capsys.readouterr().err == (
        f"vga view: --save writes one episode, and these are 2: name one, such as {tmp_path}/a\n"
    )
