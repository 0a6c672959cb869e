"""What `vga view` reads of an episode, and what it says where it cannot show it."""

import sys

import numpy as np
import pytest
from vga_bringup.collect.in_process import Collector, CollectRequest
from vga_bringup.view.recorded import Recorded
from vga_policy.bags import cdr
from vga_policy.bags.reader import Bag
from vga_policy.bags.writer import BagWriter
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.cli import main

CELL = load_cell(cell_path("sim"))


@pytest.fixture(scope="module")
def episode(tmp_path_factory):
    collector = Collector(
        CollectRequest(CELL, "press_button", 1, tmp_path_factory.mktemp("episodes"), depth=False, images_for=0.3)
    )
    yield collector.episode(3).path
    collector.close()


@pytest.fixture
def older(episode, tmp_path):
    """The same episode as recorded before there was tf, and before cell files knew where cameras are."""
    cameras = [camera.model_copy(update={"pose": None}) for camera in CELL.cameras]
    writer = BagWriter(tmp_path, {"cell": dump_cell(CELL.model_copy(update={"cameras": cameras}))})
    with Bag(episode) as bag:
        kept = [name for name in bag.topics if name not in ("/robot_description", "/tf", "/tf_static")]
        for name in kept:
            writer.add_topic(cdr.topic(name, bag.topics[name].type))
        for log_time, name, index in bag.in_order(kept):
            writer.write(name, bytes(bag.raw(name, index)), log_time, log_time)
    writer.close()
    return tmp_path


def test_an_older_episode_has_the_frames_that_its_joints_say(episode, older):
    new, old = Recorded(episode), Recorded(older)
    assert {pose.child for pose in new.fixed} - {pose.child for pose in old.fixed} == {
        camera.optical_frame for camera in CELL.cameras
    }
    of_old = {motion.child: motion for motion in old.moving}
    assert of_old.keys() == {motion.child for motion in new.moving} != set()
    for motion in new.moving:
        np.testing.assert_array_equal(motion.stamps, of_old[motion.child].stamps)
        np.testing.assert_allclose(motion.positions, of_old[motion.child].positions, atol=1e-9)
    new.close()
    old.close()


def test_curves_and_events_are_those_of_the_messages(episode):
    recorded = Recorded(episode)
    curves = {curve.name: curve for curve in recorded.curves}
    assert set(curves) == {
        *(f"joints/{name}/{kind}" for name in CELL.arm.joint_names for kind in ("measured", "reference")),
        "hand/measured",
        "hand/commanded",
    }
    with Bag(episode) as bag:
        last = bag.message("/joint_states", bag.count("/joint_states") - 1)
    assert [curves[f"joints/{name}/measured"].values[-1] for name in CELL.arm.joint_names] == last.position[:7].tolist()
    assert recorded.events[0].words == "TELEOP"
    assert [event.stamp for event in recorded.events] == sorted(event.stamp for event in recorded.events)
    recorded.close()


def test_without_the_viewer_it_names_the_remedy(episode, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert main(["view", str(episode)]) == 1
    assert capsys.readouterr().err == "vga view: Rerun is not installed: make setup PURPOSES=viewers\n"
