"""Episodes with one thing wrong: passed over, named, or for review; curate, dataset and export agree."""

import re
import shutil
import time

import numpy as np
import pytest
from support.cells import SIM
from support.episodes import START, MadeEpisode
from test_bag_foreign import DAY, SECOND, rewritten, stamp_of, stamped
from vga_policy.bags import cdr
from vga_policy.bags.playback import Playback
from vga_policy.bags.reader import Bag, BagError
from vga_policy.cli import main
from vga_policy.curation.curate import Measured, measure_episode, review
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.demonstration import Demonstration
from vga_policy.episodes.decisions import Verdict
from vga_policy.episodes.listing import DatasetError, find_episodes
from vga_policy.episodes.metadata import EpisodeError, load_episode
from vga_policy.lerobot.export import ExportError, export
from vga_policy.lerobot.importing import import_dataset
from vga_policy.observation.joint_states import JointStateError, JointStates
from vga_policy.observation.resampler import JpegImage, Resampler, Selection

JOINTS, LEADER, WRIST = "/joint_states", "/gello/joint_states", "/cameras/wrist/color/image_raw/compressed"
SHORT = {"seconds": 1.2, "rest": 0.1, "grasp": 0.6}
FINGER = "fr3_finger_joint1"


@pytest.fixture(scope="module")
def episode(tmp_path_factory):
    return MadeEpisode(**SHORT).write(tmp_path_factory.mktemp("whole") / "episode")


def answers(directory):
    """What curate, the dataset and the export say of the one episode in a directory: None when it is used."""
    found = measure_episode(find_episodes([directory])[0])
    said = [None if isinstance(found, Measured) else found.reason]
    try:
        EpisodeDataset([directory], 56, skip_idle=False)
        said.append(None)
    except DatasetError as error:
        said.append(str(error).split("\n  ")[1])
    out = directory.parent / "exported"
    shutil.rmtree(out, ignore_errors=True)
    try:
        export([directory], out)
        said.append(None)
    except ExportError as error:
        said.append(str(error).split("\n  ")[1])
    return said


def in_short(text, path):
    """A message: one line, at most 200 characters besides the path, which it names."""
    assert str(path) in text
    assert "\n" not in text
    assert len(re.sub(rf"{re.escape(str(path))}\S*", "", text)) <= 200, text
    return text


# Joint states.


def changed_states(numbers, change, topic=JOINTS):
    """Joint states of these numbers with `change` made to the message."""
    codec = cdr.codec("sensor_msgs/msg/JointState")

    def rewrite(name, number, log_time, data):
        if name != topic or number not in numbers:
            return log_time, data
        message = codec.decode(data)
        change(message)
        return log_time, codec.encode(message)

    return rewrite


def without_finger(message):
    message.name, message.position = message.name[:7], message.position[:7]


def without_positions(message):
    message.position = message.position[:5]


def empty(message):
    message.name, message.position = [], message.position[:0]


def not_finite(message):
    message.position = np.full(8, np.nan)


def finger_not_finite(message):
    message.position = np.append(message.position[:7], np.inf)


def far_out(message):
    message.position = message.position + 1e300


ODD = [without_finger, without_positions, empty, not_finite, finger_not_finite, far_out]


def live(path):
    """Observations of a live node to which the bag's messages arrive, at every tick of the control rate."""
    with Bag(path) as bag:
        resampler, seen = Resampler([camera.name for camera in SIM.views], SIM.inputs), {}
        believe = JointStates(SIM).believed
        topics = {f"/cameras/{camera.name}/color/image_raw/compressed": camera.name for camera in SIM.views}
        waiting = [(when, topic, bag.message(topic, index)) for when, topic, index in bag.in_order([*topics, JOINTS])]
        now = bag.start_ns
        while now <= bag.end_ns:
            while waiting and waiting[0][0] <= now:
                _, topic, message = waiting.pop(0)
                stamp = message.header.stamp.sec * SECOND + message.header.stamp.nanosec
                if topic != JOINTS:
                    resampler.push_image(topics[topic], stamp, JpegImage(bytes(message.data)))
                    continue
                try:
                    resampler.push_joints(stamp, believe(message.name, message.position))
                except JointStateError as error:
                    resampler.pass_over_joints(str(error))
            selected = resampler.select(now)
            if isinstance(selected, Selection):
                seen.setdefault(selected.stamp_ns, selected)
            now += SECOND // 10
        return list(seen.values())


@pytest.mark.parametrize("change", ODD)
@pytest.mark.parametrize("numbers", [[60], range(21), range(50, 70), [120]], ids=["one", "first", "middle", "last"])
def test_a_joint_state_that_says_too_little_is_passed_over_as_live(episode, tmp_path, change, numbers):
    path = rewritten(episode, tmp_path / "set", changed_states(numbers, change))
    offline = Demonstration(path)
    recorded, seen = list(offline.observations(10.0)), live(path)
    assert [each.stamp_ns for each in recorded] == [each.stamp_ns for each in seen]
    assert len(recorded) >= 8
    for here, there in zip(recorded, seen, strict=True):
        assert np.array_equal(here.proprioception, there.proprioception)
    assert len(offline.measured.stamps) == 121 - len(numbers)
    offline.close()


@pytest.mark.parametrize(
    ("numbers", "change", "said"),
    [
        (range(50, 70), without_finger, "hand away 0.2 s"),
        (range(21), without_finger, "hand away 0.21 s"),
        ([60], without_finger, "hand away 0.01 s"),
        ([120], without_finger, "hand away 0.01 s"),
        (range(50, 70), not_finite, "joint states not believed for 0.2 s, the first: fr3_joint1 at nan rad"),
        ([60], empty, "joint states not believed for 0.01 s, the first: joint 'fr3_joint1' is missing"),
    ],
)
def test_curate_says_for_how_long(episode, tmp_path, numbers, change, said):
    rewritten(episode, tmp_path / "set", changed_states(numbers, change))
    (assessment,) = review(tmp_path).assessments
    (finding,) = [each for each in assessment.findings if each.rule == "hand_away"]
    assert finding.reason.startswith(said)
    assert finding.verdict is Verdict.REVIEW
    assert assessment.verdict is Verdict.REVIEW


def test_a_leader_that_says_too_little_for_an_instant_is_passed_over(episode, tmp_path):
    path = rewritten(episode, tmp_path / "set", changed_states([60, 61], without_finger, LEADER))
    demonstration = Demonstration(path)
    assert len(demonstration.leader.stamps) == 119
    rewritten(episode, tmp_path / "none", changed_states(range(200), not_finite, LEADER))
    with pytest.raises(BagError, match=f"{LEADER}: none is complete"):
        _ = Demonstration(tmp_path / "none").leader


# Stamps and log times.


@pytest.mark.parametrize("numbers", [{8}, {4, 12}])
@pytest.mark.parametrize("by", [0.3, 0.9, 1.2, -1.2, -START / SECOND])
def test_an_episode_with_an_odd_picture_is_used_without_it(episode, tmp_path, numbers, by):
    def change(topic, number, log_time, data):
        odd = topic == WRIST and number in numbers
        return log_time, stamped(data, stamp_of(data) + round(by * SECOND)) if odd else data

    directory = tmp_path / "set"
    directory.mkdir()
    rewritten(episode, directory / "odd", change)
    assert answers(directory) == [None] * 3
    (assessment,) = review(directory).assessments
    (finding,) = [each for each in assessment.findings if each.rule == "odd_stamps"]
    assert finding.reason.startswith(
        f"stamps that cannot be: wrist: {len(numbers)} passed over, the first: message {min(numbers)}: stamp "
    )
    data = EpisodeDataset([directory], 56, skip_idle=False)
    with Bag(episode) as bag:
        true = np.delete(bag.stamps(WRIST), list(numbers))
    slot = [camera.name for camera in data.cell.views].index("wrist")
    assert set(data.samples.image_stamps[:, slot]) <= set(true.tolist())


class Diagnosed(MadeEpisode):
    """The wrist camera's node drops 3 frames that are stamped ahead of their arrival."""

    def _messages(self):
        yield from super()._messages()
        for since, dropped in ((0.1, 2), (0.6, 4), (1.1, 5)):
            values = [{"key": "frames", "value": "9"}, {"key": "frames_ahead_of_arrival", "value": str(dropped)}]
            status = [{"name": "/cameras/wrist/camera: stream", "values": values}, {"name": "/other: arm"}]
            yield since, "/diagnostics", cdr.new("diagnostic_msgs/msg/DiagnosticArray", status=status)


def test_curate_tells_of_the_frames_that_the_camera_dropped(tmp_path):
    Diagnosed(**SHORT).write(tmp_path / "episode")
    (assessment,) = review(tmp_path).assessments
    (finding,) = [each for each in assessment.findings if each.rule == "odd_stamps"]
    said = "wrist: 3 frames dropped when they came, stamped ahead of their arrival"
    assert finding.reason == f"stamps that cannot be: {said}"


def first_log_time(time):
    return lambda topic, number, log_time, data: (time if (topic, number) == (JOINTS, 0) else log_time, data)


def all_of(topics, by, when=lambda log_time: True, stamps=False):
    """Messages of these topics moved by so many ns, while `when` says so of their log time; with their stamps."""

    def change(topic, number, log_time, data):
        if topic not in topics or not when(log_time):
            return log_time, data
        header = topic in (JOINTS, WRIST, "/franka_driver/reference")
        return log_time + by, stamped(data, stamp_of(data) + by) if stamps and header else data

    return change


EVERY = [JOINTS, LEADER, WRIST, "/franka_driver/reference", "/franka_driver/gripper_state"]
EVERY += [f"/cameras/{name}/color/image_raw/compressed" for name in ("fixed_1", "fixed_2")]
EVERY += [f"/cameras/{name}/color/camera_info" for name in ("fixed_1", "fixed_2", "wrist")]
SENSELESS = {
    "first log time 0": first_log_time(0),
    "first log time 2^62": first_log_time(2**62),
    "first second in 1970": all_of(EVERY, -START, lambda time: time < START + SECOND // 2),
    "first second in 1970, stamps too": all_of(EVERY, -START, lambda time: time < START + SECOND // 2, stamps=True),
    "a day in the middle": all_of(EVERY, DAY, lambda time: time > START + SECOND // 2),
    "a day in the middle, stamps too": all_of(EVERY, DAY, lambda time: time > START + SECOND // 2, stamps=True),
    "one camera a year ahead": all_of([WRIST], 365 * DAY),
    "one camera's stamps a year ahead": lambda topic, number, log_time, data: (
        log_time,
        stamped(data, stamp_of(data) + 365 * DAY) if topic == WRIST else data,
    ),
    "leader in 1970": all_of([LEADER], -START),
    "all in 1970": all_of(EVERY, -START, stamps=True),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_times_that_make_no_sense_get_one_answer_in_an_instant(episode, tmp_path, name):
    directory = tmp_path / "set"
    directory.mkdir()
    path = rewritten(episode, directory / "odd", SENSELESS[name])
    begun = time.monotonic()
    said = answers(directory)
    assert time.monotonic() - begun < 5
    with pytest.raises(BagError) as error:
        Playback([path])
    assert said == [str(error.value)] * 3
    assert re.search(r": /[\w/]+: message \d+: (log time|stamp) -?\d+\.\d{3} s", in_short(said[0], path))


@pytest.mark.parametrize("topic", ["/franka_driver/gripper_state", "/cameras/wrist/color/camera_info"])
def test_times_of_a_topic_that_makes_no_episode_do_not_matter(episode, tmp_path, topic):
    directory = tmp_path / "set"
    directory.mkdir()
    path = rewritten(episode, directory / "odd", all_of([topic], -START, lambda time: time < START + SECOND // 2))
    assert answers(directory) == [None] * 3
    playback = Playback([path])
    assert playback.now_ns >= START
    playback.advance(2.0)
    assert playback.finished
    index, whole = (EpisodeDataset([each], 56, skip_idle=False).samples for each in (directory, episode))
    assert np.array_equal(index.stamps, whole.stamps)


# episode.yaml and curation.yaml.


@pytest.mark.parametrize("written", ["null", '""', '"  \\t"', "'...'", "~", ""])
def test_an_episode_without_instruction_is_for_review_and_not_trained_on(episode, tmp_path, written):
    directory = tmp_path / "set"
    shutil.copytree(episode, directory / "silent")
    file = directory / "silent" / "episode.yaml"
    file.write_text(file.read_text().replace("instruction: pick up the red cube", f"instruction: {written}"))
    (assessment,) = review(directory).assessments
    assert assessment.findings[0].reason.startswith("no instruction: write into its episode.yaml")
    assert assessment.verdict is Verdict.REVIEW
    _, trained, exported = answers(directory)
    assert trained == exported
    assert "no instruction" in in_short(trained, directory / "silent")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("task: pick_cube", "task: 7", r"task: Input should be a valid string \(found 7\): put it in quotes"),
        ("task: pick_cube", "task: [pick, cube]", r"task: .* \(found \['pick', 'cube'\]\)"),
        ("instruction: pick up the red cube", "instruction: 12:30:45", r"instruction: .* put it in quotes"),
        ("outcome: success", "outcome: maybe", "outcome 'maybe': use one of"),
        ("outcome: success", "outcome: yes", "outcome: .* put it in quotes"),
        ("operator: fixture", "operator: 2024-13-45", "cannot be read: month must be in 1..12"),
        ("operator: fixture", "operator: &a [*a]", "operator: "),
        ("operator: fixture", "operator: " + "[" * 100_000, "nested more than 50 deep"),
        ("operator: fixture", f"operator: {'9' * 5000}", "cannot be read: Exceeds the limit"),
        ("operator: fixture\n", "", "operator: required and missing"),
        ("operator: fixture", "operater: fixture", "unknown key 'operater': did you mean operator?"),
        ("messages_lost: 0", "messages_lost: -3", r"messages_lost: .* \(found -3\)"),
        ("messages_lost: 0", "messages_lost: 1.5", r"messages_lost: .* \(found 1.5\)"),
        ("messages_lost: 0", "messages_lost: .nan", r"messages_lost: .* \(found nan\)"),
        ("repaired: false", "repaired: 3", r"repaired: .* \(found 3\)"),
        ("seed: 0", "seed: first", r"seed: .* \(found 'first'\)"),
        (f"started_ns: {START}", "started_ns: 1e30", "started_ns: "),
        (f"started_ns: {START}", f"started_ns: {2**70}", "started_ns: "),
        ("cell: ", "cell: 3\nignored: ", "unknown key|cell: "),
    ],
)
def test_a_wrong_episode_yaml_is_told_in_a_line(episode, tmp_path, old, new, said):
    directory = tmp_path / "set"
    shutil.copytree(episode, directory / "wrong")
    file = directory / "wrong" / "episode.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(EpisodeError, match=said) as error:
        load_episode(directory / "wrong")
    told = measure_episode(directory / "wrong").reason
    assert told == str(error.value)
    in_short(told, file)


@pytest.mark.parametrize("name", ["episode.yaml", "curation.yaml"])
def test_a_file_that_is_not_utf8_is_named(episode, tmp_path, name):
    directory = tmp_path / "set"
    shutil.copytree(episode, directory / "wrong")
    (directory / "wrong" / name).write_bytes(b"id: caf\xe9\n")
    for said in answers(directory):
        assert "not a text in UTF-8: " in in_short(said, directory / "wrong" / name)


# Links.


def test_links_to_episodes_are_followed_once(episode, tmp_path):
    disk, here = tmp_path / "disk", tmp_path / "here"
    shutil.copytree(episode, disk / "a")
    shutil.copytree(episode, disk / "deep" / "b")
    here.mkdir()
    shutil.copytree(episode, here / "own")
    (here / "an_alias").symlink_to("own")
    (here / "linked").symlink_to(disk / "a")
    (here / "more").symlink_to(disk / "deep")
    (here / "round").symlink_to(here)
    (disk / "deep" / "back").symlink_to(here)
    (here / "broken").symlink_to(tmp_path / "nowhere")
    assert find_episodes([here]) == [here / "linked", here / "more" / "b", here / "own"]
    assert len(EpisodeDataset([here], 56).episodes) == 3
    assert main(["curate", str(here), "--jobs", "1"]) == 0
    assert (disk / "a" / "curation.yaml").is_file()


# A batch.


def _cut(path):
    bag = next(path.glob("*.mcap"))
    bag.write_bytes(bag.read_bytes()[: bag.stat().st_size // 2])


def _flip(path):
    bag = next(path.glob("*.mcap"))
    with Bag(path) as opened:
        place, _ = opened.payload(WRIST, 5, "data")
    data = bytearray(bag.read_bytes())
    data[place + 300] ^= 8
    bag.write_bytes(data)


def _rewrite(**changes):
    def damage(path):
        whole = path.rename(path.with_name(f".{path.name}"))
        rewritten(whole, path, **changes)
        shutil.rmtree(whole)

    return damage


def _write(name, data):
    return lambda path: (path / name).write_bytes(data)


DAMAGE = {
    "cut": (_cut, "incomplete"),
    "flipped": (_flip, "another checksum"),
    "day": (_rewrite(change=SENSELESS["a day in the middle"]), "86400"),
    "no_type": (_rewrite(schema=lambda name, *_: (name, "ros2msg", b"std_msgs/Header header")), "std_msgs/msg/Header"),
    "nested": (_write("episode.yaml", b"[" * 100_000), "nested more than 50 deep"),
    "latin": (_write("curation.yaml", b"decision_reason: caf\xe9\n"), "not a text in UTF-8"),
    "nan": (_rewrite(change=changed_states(range(10**6), not_finite)), "none is believed"),
    "unforeseen": (
        _rewrite(schema=lambda name, *_: (name, "ros2msg", b"string name\nstring[] position")),
        "lacks header",
    ),
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """20 episodes, 8 of them damaged in 8 ways."""
    directory = tmp_path_factory.mktemp("batch") / "set"
    for number in range(12):
        MadeEpisode(**SHORT, seed=number, start_ns=START + number * 60 * SECOND).write(directory / f"good_{number:02}")
    for name, (damage, _) in DAMAGE.items():
        shutil.copytree(directory / "good_00", directory / name)
        damage(directory / name)
    return directory


def test_twelve_of_twenty_are_used_by_all_and_eight_named_once_each(batch, tmp_path, capsys):
    good = [f"good_{number:02}" for number in range(12)]
    for _ in range(2):  # a second call goes as the first
        assert main(["curate", str(batch), "--jobs", "1"]) == 0
        out, err = capsys.readouterr()
        assert "unusable 8" in out
        told = dict(line.split(": unusable: ", 1) for line in err.splitlines())
        assert told.keys() == DAMAGE.keys()
        assert all((batch / name / "curation.yaml").is_file() for name in good)
    for name in good:
        assert main(["curate", str(batch), "--accept", name]) == 0
    data = EpisodeDataset([batch], 56, skip_idle=False)
    assert [each.path.name for each in data.episodes] == good
    exported = export([batch], tmp_path / "exported")
    assert exported.episodes == 12
    for skipped in (data.skipped, exported.skipped):
        assert {each.path.name: each.reason for each in skipped}.keys() == DAMAGE.keys()
        assert len(skipped) == 8
        for each in skipped:
            assert DAMAGE[each.path.name][1] in in_short(str(each), each.path)
    for name, reason in told.items():
        assert DAMAGE[name][1] in in_short(reason, batch / name)
    written, problems = import_dataset(tmp_path / "exported", tmp_path / "back", data.cell)
    assert (len(written), problems) == (12, [])


def test_an_error_that_nobody_foresaw_is_named_and_the_others_go_on(batch, tmp_path, monkeypatch):
    def fail(self, *_):
        raise {"good_03": KeyError("x\ny"), "good_04": MemoryError(), "good_05": RecursionError("deep " * 100)}.get(
            self.path.name, BagError(f"{self.path}: as foreseen")
        )

    for name in ("good_03", "good_04", "good_05"):
        shutil.copytree(batch / name, tmp_path / "set" / name)
        (tmp_path / "set" / name / "curation.yaml").unlink(missing_ok=True)
    shutil.copytree(batch / "good_06", tmp_path / "set" / "good_06")
    whole = Demonstration.keyframes
    monkeypatch.setattr(
        Demonstration, "keyframes", lambda self, *a: whole(self, *a) if self.path.name == "good_06" else fail(self)
    )
    data = EpisodeDataset([tmp_path / "set"], 56, skip_idle=False, usable_only=False)
    assert [each.path.name for each in data.episodes] == ["good_06"]
    for skipped, said in zip(
        data.skipped, ("KeyError: 'x", "MemoryError: no more is known", "RecursionError: deep"), strict=True
    ):
        assert said in in_short(str(skipped), skipped.path)
