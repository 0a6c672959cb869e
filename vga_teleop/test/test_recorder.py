"""When an episode may start, what it holds, and how it ends."""

import shutil
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from vga_policy.bags.definitions import definition
from vga_policy.bags.writer import OfferedQos, Topic
from vga_policy.cell.loading import load_cell, parse_cell
from vga_policy.episodes.metadata import load_episode
from vga_teleop.recording import recorder as recorder_module
from vga_teleop.recording.gaps import Gaps
from vga_teleop.recording.recorder import Recorder, RecordingError, recorded_topics, required_topics

CELL = load_cell(Path(__file__).parents[2] / "vga_bringup" / "config" / "cells" / "sim.yaml")
JAZZY = get_typestore(Stores.ROS2_JAZZY)
STRING = definition("std_msgs/msg/String")


def string(text):
    return bytes(JAZZY.serialize_cdr(JAZZY.types["std_msgs/msg/String"](text), "std_msgs/msg/String"))


class Bench:
    """A recorder with a clock that only we move, and one String topic in place of each of the cell's."""

    def __init__(self, directory, **options):
        self.now = 1_700_000_000_000_000_000
        self.recorder = Recorder(CELL, directory, clock=lambda: self.now, **options)
        for name in recorded_topics(CELL):
            durability = "transient_local" if name == "/franka_driver/state" else "volatile"
            self.recorder.add_topic(
                Topic(name, "std_msgs/msg/String", STRING.text, STRING.type_hash, OfferedQos(durability=durability))
            )

    def speak(self, *names):
        for name in names:
            self.recorder.message(name, string(name), self.now, self.now - 5)


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "episodes", min_free=0)
    bench.speak("/franka_driver/state", *required_topics(CELL))
    return bench


def texts(path):
    with AnyReader([path]) as reader:
        return [reader.deserialize(raw, link.msgtype).data for link, _, raw in reader.messages()]


def test_an_episode_holds_its_messages_and_its_label(bench):
    episode = bench.recorder.start("pick", "pick up the red cube", "Ada")
    assert load_episode(bench.recorder.path) == episode
    bench.now += 1_000_000
    bench.speak("/joint_states", "/diagnostics")
    bench.recorder.lost(3)
    bench.now += 2 * 10**9
    ended = bench.recorder.stop("success", "neat")
    bench.speak("/joint_states")

    # The latched state was there before the episode and is in it; messages before and after it are not.
    assert texts(bench.recorder.path) == ["/franka_driver/state", "/joint_states", "/diagnostics"]
    assert load_episode(bench.recorder.path) == ended
    assert (ended.instruction, ended.operator, ended.outcome, ended.note) == (
        "pick up the red cube", "Ada", "success", "neat",
    )  # fmt: skip
    assert ended.messages["/joint_states"] == 1
    assert ended.messages_lost == bench.recorder.messages_lost == 3
    assert bench.recorder.duration == pytest.approx(2.001)
    assert parse_cell(ended.cell) == CELL


def test_silent_required_topics_are_named(bench):
    bench.now += 2 * 10**9
    bench.speak(*[name for name in required_topics(CELL) if "wrist" not in name])
    with pytest.raises(RecordingError, match=r"on /cameras/wrist/color/image_raw/compressed: is its node running"):
        bench.recorder.start("pick", "", "")
    assert not bench.recorder.recording


def test_a_topic_that_never_appeared_is_silent(tmp_path):
    assert Recorder(CELL, tmp_path).silent_topics() == required_topics(CELL)


@pytest.mark.parametrize("task", ["", "../elsewhere", "pick the cube"])
def test_task_names_are_safe_as_directory_names(bench, task):
    with pytest.raises(RecordingError, match="letters, digits"):
        bench.recorder.start(task, "", "")


def test_start_and_stop_out_of_turn(bench):
    with pytest.raises(RecordingError, match="no episode"):
        bench.recorder.stop("success")
    bench.recorder.start("pick", "", "")
    with pytest.raises(RecordingError, match="stop it first"):
        bench.recorder.start("pick", "", "")
    with pytest.raises(RecordingError, match="one of success, failure, discarded"):
        bench.recorder.stop("fine")
    bench.recorder.stop("discarded")


def test_two_episodes_in_one_second_are_two_directories(bench):
    paths = set()
    for _ in range(2):
        bench.recorder.start("pick", "", "")
        paths.add(bench.recorder.path)
        bench.recorder.stop("failure")
    assert len(paths) == 2
    assert all(texts(path) for path in paths)


def test_a_topic_that_appears_in_mid_episode_is_recorded(bench):
    bench.recorder.start("pick", "", "")
    bench.recorder.add_topic(Topic("/new", "std_msgs/msg/String", STRING.text, STRING.type_hash))
    bench.speak("/new")
    bench.recorder.stop("success")
    assert "/new" in texts(bench.recorder.path)


def test_a_full_disk_ends_the_episode_whole(bench):
    bench.recorder.start("pick", "", "")
    bench.speak("/joint_states")
    assert bench.recorder.check() == ""
    bench.recorder.min_free = 10**18
    assert "make room" in bench.recorder.check()
    assert not bench.recorder.recording
    assert "make room" in load_episode(bench.recorder.path).problem
    assert load_episode(bench.recorder.path).outcome is None
    assert "/joint_states" in texts(bench.recorder.path)
    with pytest.raises(RecordingError, match="make room"):
        bench.recorder.start("pick", "", "")


def test_an_episode_may_take_its_label_after_its_end(bench):
    bench.recorder.start("pick", "", "")
    assert bench.recorder.stop(None).outcome is None
    ended = bench.recorder.episode.ended_ns
    bench.now += 10**9
    labeled = bench.recorder.stop("success", "neat")
    assert load_episode(bench.recorder.path) == labeled
    assert (labeled.outcome, labeled.note, labeled.ended_ns) == ("success", "neat", ended)


def test_a_start_that_fails_leaves_the_label_to_the_last_episode_and_no_directory(bench, monkeypatch):
    bench.recorder.start("pick", "", "")
    bench.recorder.stop(None)
    first = bench.recorder.path

    def refuse(*_):
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(recorder_module, "BagWriter", refuse)
    with pytest.raises(RecordingError, match="quota"):
        bench.recorder.start("pick", "", "")
    assert bench.recorder.stop("success").id == first.name
    assert bench.recorder.path == first
    assert load_episode(first).outcome == "success"
    assert list(bench.recorder.directory.iterdir()) == [first]


def test_an_episode_that_ended_by_itself_may_too(bench):
    bench.recorder.start("pick", "", "")
    bench.recorder.min_free = 10**18
    bench.recorder.check()
    assert bench.recorder.stop("failure", "half done").outcome == "failure"
    assert "make room" in load_episode(bench.recorder.path).problem
    with pytest.raises(RecordingError, match="no episode"):
        bench.recorder.stop("success")


def test_a_directory_that_vanishes_is_a_problem_not_a_crash(bench):
    bench.recorder.start("pick", "", "")
    shutil.rmtree(bench.recorder.directory)
    assert "No such file" in bench.recorder.check()
    assert not bench.recorder.recording


def test_a_label_that_cannot_be_written_is_refused_and_may_be_given_again(bench):
    bench.recorder.start("pick", "", "")
    obstacle = bench.recorder.path / ".episode.yaml.tmp"
    obstacle.mkdir()
    for label in (lambda: bench.recorder.stop("success"), bench.recorder.discard):
        with pytest.raises(RecordingError, match="the label could not be written"):
            label()
        assert not bench.recorder.recording
        assert "Is a directory" in bench.recorder.problem
        assert load_episode(bench.recorder.path).outcome is None
    obstacle.rmdir()
    assert bench.recorder.stop("failure").ended_ns
    assert load_episode(bench.recorder.path).outcome == "failure"


def test_a_demonstration_needs_the_leader(bench):
    bench.recorder.demonstrating = True
    bench.now += 2 * 10**9
    bench.speak(*required_topics(CELL))
    with pytest.raises(RecordingError, match=r"on /gello/joint_states: is its node running"):
        bench.recorder.start("pick", "", "")
    bench.speak("/gello/joint_states")
    bench.recorder.start("pick", "", "")


def test_a_topic_that_falls_silent_in_mid_episode_is_a_problem_but_no_end(bench):
    bench.recorder.start("pick", "", "")
    assert bench.recorder.problem == ""
    bench.now += 2 * 10**9
    bench.speak(*[name for name in required_topics(CELL) if "wrist" not in name])
    assert "wrist" in bench.recorder.problem
    assert bench.recorder.check() == ""
    assert bench.recorder.recording


def test_discarding_keeps_the_bag_and_its_label(bench):
    with pytest.raises(RecordingError, match="no episode"):
        bench.recorder.discard()
    for end in (bench.recorder.discard, lambda: bench.recorder.stop("success") and bench.recorder.discard()):
        bench.recorder.start("pick", "", "", seed=7)
        bench.speak("/joint_states")
        end()
        assert load_episode(bench.recorder.path).outcome == "discarded"
        assert load_episode(bench.recorder.path).seed == 7
        assert "/joint_states" in texts(bench.recorder.path)


def test_gaps_in_the_numbers_of_one_publisher_are_losses():
    publishers = 1
    gaps = Gaps(lambda: publishers)
    assert [gaps.missed(number) for number in (5, 6, 9, 10)] == [0, 0, 2, 0]
    assert [gaps.missed(number) for number in (1, 2)] == [0, 0]  # started anew
    publishers = 2  # another one counts for itself
    assert [gaps.missed(number) for number in (100, 3, 101, 4)] == [0, 0, 0, 0]
    publishers = 1
    assert [gaps.missed(number) for number in (102, 103, 105)] == [0, 0, 1]
    assert [gaps.missed(number) for number in (None, None, 7)] == [0, 0, 0]


def test_an_unwritable_directory_is_one_line(bench, tmp_path):
    (tmp_path / "file").write_text("")
    bench.recorder.directory = tmp_path / "file"
    with pytest.raises(RecordingError, match="file: "):
        bench.recorder.start("pick", "", "")
