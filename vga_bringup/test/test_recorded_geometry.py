"""Depth and camera poses of an episode as a calibrated real cell records them: depth by stereo, poses by tf."""

import numpy as np
import pytest
from vga_bringup.collect.in_process import Collector, CollectRequest
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.dataset.demonstration import Demonstration
from vga_policy.dataset.frames import RecordedFrames
from vga_policy.dataset.index import geometry_of
from vga_policy.episodes.topics import camera_topics, image_topic
from vga_teleop.recording.recorder import recorded_topics, required_topics

CELL = load_cell(cell_path("sim"))


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    """One with the exact poses of its cameras, and the first second's pictures."""
    collector = Collector(CollectRequest(CELL, "press_button", 1, tmp_path_factory.mktemp("episodes"), images_for=1.0))
    opened = Demonstration(collector.episode(40).path)
    collector.close()
    yield opened
    opened.close()


def stamps_of(demonstration):
    return np.stack([demonstration.bag.stamps(image_topic(c.name)) for c in demonstration.cell.views], axis=1)


def without_poses(demonstration, monkeypatch):
    """The bag as a real cell's, which has no topic of poses."""
    count, poses = demonstration.bag.count, {camera_topics(camera.name).pose for camera in CELL.cameras}
    monkeypatch.setattr(demonstration.bag, "count", lambda topic: 0 if topic in poses else count(topic))


def test_tf_tells_where_the_cameras_were_as_exactly_as_the_simulation(demonstration, monkeypatch):
    stamps = stamps_of(demonstration)
    exact = geometry_of(demonstration, stamps)
    without_poses(demonstration, monkeypatch)
    found = geometry_of(demonstration, stamps)
    assert found.present.all()
    assert np.abs(found.extrinsics - exact.extrinsics).max() < 2e-4  # m, rad: the wrist camera moves meanwhile
    assert (found.depth == exact.depth).all()
    assert (found.intrinsics == exact.intrinsics).all()


def test_a_camera_without_a_frame_or_beyond_the_recording_has_no_pose(demonstration):
    frames, stamps = RecordedFrames(demonstration.bag), stamps_of(demonstration)[:, 1]
    assert not frames.poses("nowhere", "fr3_link0", stamps)[1].any()
    _, known = frames.poses("wrist_color_optical_frame", "fr3_link0", stamps + 10**11)
    assert not known.any()


def test_an_uncalibrated_camera_brings_no_geometry(demonstration, monkeypatch):
    without_poses(demonstration, monkeypatch)
    monkeypatch.setattr(RecordedFrames, "_read", lambda self, bag, topic: None)
    assert not geometry_of(demonstration, stamps_of(demonstration)).present.any()


def test_depth_is_recorded_where_the_cell_has_it_and_never_required():
    cameras = [camera.model_copy(update={"depth": camera.role == "wrist"}) for camera in CELL.cameras]
    cell = CELL.model_copy(update={"cameras": cameras})
    added = set(recorded_topics(cell)) - set(recorded_topics(CELL))
    assert added == {camera_topics("wrist").compressed_depth}
    assert required_topics(cell) == required_topics(CELL)
