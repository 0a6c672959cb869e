"""What `vga view` draws, as Rerun's own reader finds it in the file."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from rerun.chunk import RrdReader
from vga_bringup.collect.in_process import Collector, CollectRequest
from vga_bringup.robot.bounds.kinematics import Kinematics
from vga_bringup.view.drawing import Drawing
from vga_bringup.view.events import BagMessage
from vga_bringup.view.fan import ACCEPTED, FAN, REFUSED
from vga_bringup.view.recorded import Recorded
from vga_bringup.view.sheet import Sheet
from vga_bringup.view.sights import BETWEEN
from vga_policy.bags import cdr
from vga_policy.bags.reader import Bag
from vga_policy.bags.writer import BagWriter
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.cli import main
from vga_policy.units import nanoseconds

CELL = load_cell(cell_path("sim"))
VIEWS = [camera.name for camera in CELL.views]
CHUNKS, STEP = 15, 100_000_000  # ns
REFUSED_ONE = 11
LATE = 60_000_000  # ns from an image to the chunk made of it
BASE = "/robot/fr3_link0"
OF_ROBOT = ("/robot_description", "/tf", "/tf_static")


def copied(source, directory, cell, drop=(), extra=()):
    """A bag with the topics of another but these, and more messages: (log time, topic, type, fields)."""
    writer = BagWriter(directory, {"cell": dump_cell(cell)})
    with Bag(source) as bag:
        kept = [name for name in bag.topics if name not in drop]
        for name in kept:
            writer.add_topic(cdr.topic(name, bag.topics[name].type))
        for name, kind in {(name, kind) for _, name, kind, _ in extra if name not in kept}:
            writer.add_topic(cdr.topic(name, kind))
        messages = [(time, name, bytes(bag.raw(name, index))) for time, name, index in bag.in_order(kept)]
    messages += [(time, name, cdr.encode(cdr.new(kind, **fields))) for time, name, kind, fields in extra]
    for time, name, data in sorted(messages, key=lambda message: message[0]):
        writer.write(name, data, time, time)
    writer.close()
    return directory


def chunks_of(bag):
    """Chunks such as a policy would make that means to do what was done, one of them refused, and what it says."""
    joints = list(bag.messages("/joint_states"))
    stamps = np.array([nanoseconds(message.header.stamp) for message in joints])
    taken = bag.stamps(f"/cameras/{VIEWS[0]}/color/image_raw/compressed")[:CHUNKS]
    for number, stamp in enumerate(taken.tolist()):
        due = [joints[min(np.searchsorted(stamps, stamp + k * STEP), len(joints) - 1)] for k in range(1, 9)]
        points = [{"positions": message.position[:7], "time_from_start": k * STEP} for k, message in enumerate(due, 1)]
        chunk = {
            "header": {"stamp": stamp, "frame_id": "fr3_link0"},
            "sequence": number,
            "trajectory": {"joint_names": CELL.arm.joint_names, "points": points},
            "cameras": VIEWS,
            "image_stamps": [stamp] * len(VIEWS),
            "inference_end": stamp + LATE,
        }
        yield stamp + LATE, "/policy/action_chunk", "vga_msgs/msg/ActionChunk", chunk
        verdict = {
            "header": {"stamp": stamp + LATE, "frame_id": ""},
            "sequence": number,
            "accepted": number != REFUSED_ONE,
            "reason": "" if number != REFUSED_ONE else "jump",
            "message": "" if number != REFUSED_ONE else "0.3 rad",
        }
        yield stamp + LATE + 1, "/franka_driver/chunk_verdict", "vga_msgs/msg/ChunkVerdict", verdict


@pytest.fixture(scope="module")
def episode(tmp_path_factory):
    """Some seconds of a demonstration with depth, as if a policy had done it."""
    request = CollectRequest(
        CELL, "press_button", 1, tmp_path_factory.mktemp("collected"), depth=True, images_for=CHUNKS / 15
    )
    collector = Collector(request)
    path = collector.episode(3).path
    collector.close()
    said = {"status": [{"name": "/policy: inference", "values": [{"key": "checkpoint", "value": "nano"}]}]}
    with Bag(path) as bag:
        began = (bag.start_ns, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", said)
        extra = [began, *chunks_of(bag)]
    return copied(path, tmp_path_factory.mktemp("episodes") / "acted", CELL, ("/diagnostics",), extra)


@pytest.fixture(scope="module")
def drawn(episode, tmp_path_factory):
    return save(episode, tmp_path_factory.mktemp("drawn") / "acted.rrd")


@pytest.fixture
def uncalibrated(episode, tmp_path):
    """The same episode as recorded before there was tf, in a cell that does not know where its cameras are."""
    cell = CELL.model_copy(update={"cameras": [camera.model_copy(update={"pose": None}) for camera in CELL.cameras]})
    poses = [f"/cameras/{camera.name}/pose" for camera in CELL.cameras]
    return copied(episode, tmp_path / "older", cell, [*OF_ROBOT, *poses])


def save(episode, file, *more):
    assert main(["view", str(episode), "--save", str(file), *more]) == 0
    return Rows(file)


class Rows:
    """What a recording says: `entity, component` to a list of stamp (ns; None: always) and value."""

    def __init__(self, file):
        self._rows = {}
        for chunk in RrdReader(file).stream():
            batch = chunk.to_record_batch()
            names = batch.schema.names
            stamps = batch.column("time").cast("int64").to_pylist() if "time" in names else [None] * chunk.num_rows
            for name in names:
                if ":" in name:
                    pairs = zip(stamps, batch.column(name).to_pylist(), strict=True)
                    self._rows.setdefault((chunk.entity_path, name), []).extend(pairs)

    @property
    def entities(self):
        return {entity for entity, _ in self._rows}

    def of(self, entity, component):
        return sorted(self._rows[entity, component], key=lambda row: (row[0] is not None, row[0]))


def camera_entity(drawn, name):
    (entity,) = {each for each in drawn.entities if each.endswith(f"/{name}_color_optical_frame/image")}
    return entity


def test_the_newest_chunk_is_the_last_strip_of_a_fan(episode, drawn):
    strips = drawn.of(f"{BASE}/chunks", "LineStrips3D:strips")
    colors = drawn.of(f"{BASE}/chunks", "LineStrips3D:colors")
    widths = drawn.of(f"{BASE}/chunks", "LineStrips3D:radii")
    kinematics = Kinematics(CELL.arm)
    with Bag(episode) as bag:
        chunks = list(bag.messages("/policy/action_chunk"))
    assert [stamp for stamp, _ in strips] == [nanoseconds(chunk.header.stamp) for chunk in chunks]
    for number, chunk in enumerate(chunks):
        way = kinematics.tcp(np.array([point.positions for point in chunk.trajectory.points])).position
        assert len(strips[number][1]) == min(number + 1, FAN)
        np.testing.assert_allclose(strips[number][1][-1], way, atol=1e-6)
        assert rgb(colors[number][1][-1]) == (REFUSED if number == REFUSED_ONE else ACCEPTED)
        told = np.abs(widths[number][1])  # points on the screen are negative
        assert (np.diff(told) > 0).all()  # the newest is the widest


def rgb(color):
    return tuple(color >> shift & 255 for shift in (24, 16, 8))


@pytest.mark.parametrize("name", [camera.name for camera in CELL.cameras])
def test_the_fan_is_in_an_image_where_opencv_puts_it(episode, drawn, name):
    """By the true pose of the simulated camera, at the moment that the policy looked."""
    strips = drawn.of(f"{camera_entity(drawn, name)}/chunks", "LineStrips2D:strips")
    kinematics, seen = Kinematics(CELL.arm), 0
    with Bag(episode) as bag:
        poses = dict(
            zip(bag.stamps(f"/cameras/{name}/pose").tolist(), bag.messages(f"/cameras/{name}/pose"), strict=True)
        )
        matrix = bag.message(f"/cameras/{name}/color/camera_info", 0).k.reshape(3, 3)
        for (stamp, drawn_strips), chunk in zip(strips, bag.messages("/policy/action_chunk"), strict=True):
            way = kinematics.tcp(np.array([point.positions for point in chunk.trajectory.points])).position
            pose = poses[stamp].pose
            turn = quaternion_matrix([getattr(pose.orientation, axis) for axis in "xyzw"])
            place = np.array([getattr(pose.position, axis) for axis in "xyz"])
            pixels = cv2.projectPoints(way, cv2.Rodrigues(turn.T)[0], -turn.T @ place, matrix, None)[0][:, 0]
            before = (((way - place) @ turn)[:, 2] > 0.05).all()
            if before and ((pixels > 1) & (pixels < (319, 239))).all():
                np.testing.assert_allclose(drawn_strips[-1][::BETWEEN], pixels, atol=0.5)
                seen += 1
    assert seen > 0


def quaternion_matrix(quaternion):
    x, y, z, w = quaternion
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * (w * cross + cross @ cross)


def test_the_policy_s_inputs_are_its_squares_with_their_age(drawn):
    for name in VIEWS:
        images = drawn.of(f"/inputs/{name}", "EncodedImage:blob")
        assert len(images) == CHUNKS
        image = cv2.imdecode(np.array(images[0][1][0], np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (112, 112, 3)  # what nano's checkpoint says
        labels = drawn.of(f"/inputs/{name}/age", "Points2D:labels")
        assert labels[0][1][0].endswith(", 60 ms old")
        assert [age for _, (age,) in drawn.of(f"/policy/{name}", "Scalars:scalars")] == pytest.approx([60.0] * CHUNKS)


def test_curves_are_what_the_messages_say(episode, drawn):
    with Bag(episode) as bag:
        last = bag.message("/joint_states", bag.count("/joint_states") - 1)
        told = bag.message("/franka_driver/reference", 10)
        hand = bag.message("/franka_driver/gripper_state", 5)
    for name, position in zip(last.name[:7], last.position, strict=False):
        assert drawn.of(f"/joints/{name}/measured", "Scalars:scalars")[-1][1] == [position]
    for name, position in zip(told.joint_names, told.position, strict=True):
        assert drawn.of(f"/joints/{name}/reference", "Scalars:scalars")[10][1] == [position]
    assert drawn.of("/hand/measured", "Scalars:scalars")[5][1] == [hand.width]
    assert drawn.of("/hand/commanded", "Scalars:scalars")[5][1] == [hand.commanded_width]


def test_what_follows_too_soon_is_left_out_live(episode, drawn, tmp_path):
    """Frames and curves; every chunk is drawn all the same."""
    recorded, sheet = Recorded(episode), Sheet("live")
    sheet.save(tmp_path / "live.rrd")
    drawing = Drawing(sheet, recorded.urdf, recorded.fixed, recorded.topic_names, apart_ns=STEP)
    for event in recorded.events(drawing.wants):
        drawing.take(event)
    drawing.close()
    live = Rows(tmp_path / "live.rrd")
    (link,) = {entity for entity in live.entities if entity.endswith("/fr3_link7")}
    for row in (link, "Transform3D:translation"), ("/joints/fr3_joint1/measured", "Scalars:scalars"):
        kept, every = ([stamp for stamp, _ in rows.of(*row)] for rows in (live, drawn))
        assert len(kept) < len(every)
        assert STEP <= min(np.diff(kept)) <= max(np.diff(kept)) < 2 * STEP
    assert len(live.of(f"{BASE}/chunks", "LineStrips3D:strips")) == CHUNKS


def test_modes_and_verdicts_are_a_log(drawn):
    words = [text for _, (text,) in drawn.of("/log", "TextLog:text")]
    assert words[0] == "TELEOP"
    assert [each for each in words if each.startswith("chunk")] == [
        "chunk 0 accepted",
        f"chunk {REFUSED_ONE} refused, jump: 0.3 rad",
        f"chunk {REFUSED_ONE + 1} accepted",
    ]


def test_an_old_episode_without_calibration_is_in_3d_without_frustums(drawn, uncalibrated, tmp_path, capsys):
    older = save(uncalibrated, tmp_path / "older.rrd")
    assert capsys.readouterr().err.splitlines() == [
        f"older: camera {name}: its place is not known (cameras[].pose): shown without a frustum"
        for name in sorted(camera.name for camera in CELL.cameras)
    ]
    assert {f"/cameras/{camera.name}" for camera in CELL.cameras} <= older.entities
    assert not [entity for entity in older.entities if "optical_frame" in entity]
    moving = [
        entity for entity in drawn.entities if entity.rpartition("/")[2] in ("fr3_link3", "fr3_link7", "fr3_leftfinger")
    ]
    assert len(moving) == 3
    for entity in moving:
        recorded = dict(drawn.of(entity, "Transform3D:translation"))
        computed = dict(older.of(entity, "Transform3D:translation"))
        assert len(computed.keys() & recorded.keys()) > 50
        for stamp in computed.keys() & recorded.keys():
            np.testing.assert_allclose(computed[stamp], recorded[stamp], atol=1e-6)


def test_where_a_camera_is_may_be_known_later(uncalibrated, tmp_path):
    """Its place by a topic that is found after its images, or by a fixed frame of another publisher."""
    recorded, sheet = Recorded(uncalibrated), Sheet("live")
    sheet.save(tmp_path / "late.rrd")
    drawing = Drawing(sheet, recorded.urdf, (), recorded.topic_names)
    assert len(drawing.notes) == len(CELL.cameras)
    drawing.find_cameras([*recorded.topic_names, "/cameras/fixed_2/pose"])
    assert len(drawing.notes) == len(CELL.cameras) - 1
    frames = [
        {"header": {"frame_id": "fr3_link0"}, "child_frame_id": f"{camera.name}_color_optical_frame"}
        for camera in CELL.cameras
    ]
    kind = "tf2_msgs/msg/TFMessage"
    fixed = cdr.encode(cdr.new(kind, transforms=frames))
    assert drawing.wants("/tf_static")
    drawing.take(BagMessage("/tf_static", fixed, cdr.codec(kind)))
    drawing.find_cameras(recorded.topic_names)
    assert drawing.notes == []
    for event in recorded.events(drawing.wants):
        drawing.take(event)
    drawing.close()
    late = Rows(tmp_path / "late.rrd")
    for camera in CELL.cameras:
        assert {name for entity, name in late._rows if entity == camera_entity(late, camera.name)} >= {
            "Pinhole:image_from_camera",
            "EncodedImage:blob",
        }


def test_a_message_that_makes_no_sense_is_left_out_and_noted(episode, tmp_path, capsys):
    with Bag(episode) as bag:
        lame = {"trajectory": {"joint_names": ["fr3_joint1"], "points": [{"positions": [0.1, 0.2]}]}}
        extra = [(bag.end_ns, "/policy/action_chunk", "vga_msgs/msg/ActionChunk", lame)]
    drawn = save(copied(episode, tmp_path / "lame", CELL, (), extra), tmp_path / "lame.rrd")
    assert capsys.readouterr().err.startswith("lame: /policy/action_chunk: some messages are left out: ")
    assert len(drawn.of(f"{BASE}/chunks", "LineStrips3D:strips")) == CHUNKS


@pytest.mark.long
def test_depth_is_measured_and_predicted_twice_a_second(episode, tmp_path):
    """Measured where the renderer says that the table is; predicted by nano, nearly so."""
    drawn = save(episode, tmp_path / "deep.rrd", "--geometry")
    frame = camera_entity(drawn, VIEWS[0]).removesuffix("/image")
    measured = drawn.of(f"{frame}/measured/{VIEWS[0]}", "Points3D:positions")
    predicted = drawn.of(f"{frame}/predicted/{VIEWS[0]}", "Points3D:positions")
    assert len(measured) == len(predicted) == 2  # images come for a second
    far, near = (np.median(np.array(points)[:, 2]) for points in (measured[0][1], predicted[0][1]))
    assert near == pytest.approx(far, rel=0.3)
    assert f"{frame}/predicted/{VIEWS[1]}" in drawn.entities


def test_without_3d_heads_it_says_so(episode, tmp_path, capsys):
    from vga_policy.checkpoints.checkpoint import save as save_checkpoint
    from vga_policy.inference.untrained import untrained_checkpoint

    save_checkpoint(untrained_checkpoint(CELL), tmp_path / "blind")
    arguments = ["view", str(episode), "--save", str(tmp_path / "a.rrd"), "--geometry"]
    assert main([*arguments, "--checkpoint", str(tmp_path / "blind")]) == 1
    assert capsys.readouterr().err == (
        f"vga view: {tmp_path}/blind: built without camera and depth heads: it predicts actions only\n"
    )


def test_the_shipped_blueprint_is_what_the_command_makes(tmp_path, capsys):
    assert main(["view", "--blueprint", str(tmp_path / "own.rbl")]) == 0
    shipped = Path(__file__).parents[1] / "config/viewers/rerun.rbl"
    assert origins(tmp_path / "own.rbl") == origins(shipped)
    assert {f"inputs/{name}" for name in VIEWS} <= origins(shipped)


def origins(file):
    """Where the views of a blueprint look."""
    reader = RrdReader(file)
    (entry,) = reader.blueprints()
    assert entry.application_id == "vga view"
    found = set()
    for chunk in reader.stream(store=entry):
        batch = chunk.to_record_batch()
        for name in batch.schema.names:
            if name == "ViewBlueprint:space_origin":
                found |= {value[0] for value in batch.column(name).to_pylist()}
    return found
