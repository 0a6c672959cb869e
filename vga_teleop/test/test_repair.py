"""What a killed recorder leaves behind, and what becomes of it."""

import fcntl
import hashlib
import random
import shutil
import statistics

import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from support.cells import SIM as CELL
from support.killed_recorder import record_and_kill
from vga_policy.bags import repair as repair_module
from vga_policy.bags.repair import repair_directory, repair_episode
from vga_policy.bags.writer import bag_file
from vga_policy.cell.loading import parse_cell
from vga_policy.episodes.metadata import load_episode

KILLS = 20
LOST = 0.5e9  # ns, from flush to flush with room to spare


def digests(directory):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in directory.rglob("*") if path.is_file()}


def joint_states(path):
    """(counter, log time) of every joint state in a bag, by the index that the repair wrote."""
    with bag_file(path).open("rb") as stream:
        messages = make_reader(stream).iter_messages(topics="/joint_states")
        return [(int.from_bytes(message.data, "little"), message.log_time) for _, _, message in messages]


def test_twenty_kills_lose_nothing_flushed_and_touch_no_other_episode(tmp_path):
    moments = [0.0, 0.002, 0.02, *random.Random(4).sample([k / 1000 for k in range(30, 700)], KILLS - 3)]
    whole = {}
    lost = []
    for after in moments:
        killed = record_and_kill(tmp_path, after)
        damaged = {file.parent for file in tmp_path.glob("*/episode.yaml") if file not in whole}
        repairs = repair_directory(tmp_path)
        assert {repair.path for repair in repairs} == damaged
        assert not [repair for repair in repairs if repair.problem]
        assert whole.items() <= digests(tmp_path).items()
        whole = digests(tmp_path)
        for path in damaged:
            recovered = assert_repaired(path)
            assert recovered >= killed.flushed
            lost.append(killed.given - recovered)
    assert statistics.median(lost) <= LOST  # a disk that is busy elsewhere may hold one of them up
    assert len(list(tmp_path.glob("*/metadata.yaml"))) >= KILLS - 3  # the first kills may come before there is a bag
    assert repair_directory(tmp_path) == []


def assert_repaired(path):
    """Log time of the last joint state that the repair recovered, or else of the episode's start."""
    episode = load_episode(path)
    assert episode.repaired
    assert episode.outcome is None
    assert "killed" in episode.problem
    assert parse_cell(episode.cell) == CELL
    states = joint_states(path)
    assert [count for count, _ in states] == list(range(len(states)))
    recovered = states[-1][1] if states else episode.started_ns
    with AnyReader([path]) as reader:
        counts = {link.topic: link.msgcount for link in reader.connections}
        assert sum(1 for _ in reader.messages()) == sum(counts.values())
    assert counts == dict(episode.messages)
    assert counts.get("/joint_states", 0) == len(states)
    if states:
        assert episode.ended_ns == recovered
    return recovered


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("killed")
    record_and_kill(directory, 0.6)
    (path,) = directory.iterdir()
    return path


@pytest.fixture
def damaged(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / killed.name)


def test_a_repair_that_fails_leaves_the_original(damaged, monkeypatch):
    before = digests(damaged)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(repair_module.BagFile, "flush", full)
        patch.setattr(repair_module.BagFile, "close", full)
        repair = repair_episode(damaged)
    assert "No space left" in repair.problem
    assert digests(damaged) == before
    assert not repair_episode(damaged).problem


@pytest.mark.parametrize("step", ["describe", "replace"])
def test_a_repair_that_is_killed_is_repeated(damaged, monkeypatch, step):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*{"describe": (repair_module.BagFile, step), "replace": (repair_module, step)}[step], kill)
        with pytest.raises(Killed):
            repair_episode(damaged)
    repaired = repair_episode(damaged)
    assert repaired.messages > 0
    assert repaired.messages == sum(load_episode(damaged).messages.values())
    assert sorted(file.name for file in damaged.iterdir()) == sorted(
        [bag_file(damaged).name, "episode.yaml", "metadata.yaml"]
    )


def test_what_follows_the_last_whole_chunk_is_dropped(damaged):
    """Half a chunk, and the zeros that a power cut leaves."""
    whole = shutil.copytree(damaged, damaged.parent / "whole" / damaged.name)
    messages = repair_episode(whole).messages
    with bag_file(damaged).open("ab") as file:
        file.write(b"\x06" + (10**6).to_bytes(8, "little") + b"\x01" * 1000 + b"\x00" * 4096)
    assert repair_episode(damaged).messages == messages


def test_an_episode_that_is_being_recorded_is_left_alone(damaged):
    before = digests(damaged)
    with bag_file(damaged).open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert repair_directory(damaged.parent) == []
    assert digests(damaged) == before


def test_foreign_directories_are_left_alone(damaged, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "bag.mcap").write_bytes(b"mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "episode.yaml").write_text("id: [")
    (damaged / "second.mcap").write_bytes(b"")
    before = digests(tmp_path)
    broken, two = sorted(repair_directory(tmp_path), key=lambda repair: repair.path.name != "broken")
    assert "cannot be repaired" in str(broken)
    assert "2 .mcap files" in two.problem
    assert digests(tmp_path) == before
    assert repair_directory(tmp_path / "nowhere") == []
