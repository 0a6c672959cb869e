"""The clock of a replay, in time that only the test lets pass."""

import pytest
from support.episodes import START
from vga_policy.bags import cdr
from vga_policy.bags.playback import Playback
from vga_policy.bags.reader import BagError
from vga_policy.bags.writer import BagWriter

SECOND = 10**9


def bag(path, begin, count=11, topic="/words", type_name="std_msgs/msg/String"):
    """A bag with a message every 0.1 s from `begin` (s after START) on."""
    writer = BagWriter(path, {})
    writer.add_topic(cdr.topic(topic, type_name))
    codec = cdr.codec(type_name)
    for i in range(count):
        time = START + round((begin + i / 10) * SECOND)
        writer.write(topic, codec.encode(codec.new()), time, time)
    writer.close()
    return path


def times(due):
    return [round((message.log_time - START) / SECOND, 3) for message in due]


def test_messages_fall_due_in_real_time(tmp_path):
    playback = Playback([bag(tmp_path / "a", 0.0)])
    assert times(playback.advance(0.0)[1]) == [0.0]
    now, due = playback.advance(0.35)
    assert now == START + round(0.35 * SECOND)
    assert times(due) == [0.1, 0.2, 0.3]
    assert times(playback.advance(10.0)[1]) == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert playback.finished
    assert playback.advance(1.0) == (START + SECOND, [])


def test_rate_and_pause(tmp_path):
    playback = Playback([bag(tmp_path / "a", 0.0)], rate=2.0, paused=True)
    assert playback.advance(5.0) == (START, [])
    playback.paused = False
    assert times(playback.advance(0.1)[1]) == [0.0, 0.1, 0.2]


def test_bags_follow_each_other_and_start_over(tmp_path):
    bags = [bag(tmp_path / "later", 100.0, count=2), bag(tmp_path / "earlier", 3.0, count=2)]
    playback = Playback(bags, loop=True)
    seen = []
    for _ in range(6):
        now, due = playback.advance(0.2)
        seen.append((round((now - START) / SECOND, 3), times(due)))
    assert seen == [(100.1, [100.0, 100.1]), (3.1, [3.0, 3.1])] * 3
    assert playback.rounds == 3
    assert not playback.finished


def test_topics_may_be_left_out(tmp_path):
    path = bag(tmp_path / "a", 0.0)
    with pytest.raises(BagError, match=r"a_0\.mcap: none of the topics to replay has a message"):
        Playback([path], wanted=lambda topic: topic == "/other")


def test_every_bag_is_looked_at_before_the_first_is_played(tmp_path):
    good = bag(tmp_path / "good", 0.0)
    with pytest.raises(BagError, match="nowhere: no such bag"):
        Playback([good, tmp_path / "nowhere"])
    with pytest.raises(BagError, match="/words is std_msgs/msg/Header, in the bags before it std_msgs/msg/String"):
        Playback([good, bag(tmp_path / "other", 0.0, type_name="std_msgs/msg/Header")])
    with pytest.raises(BagError, match="no bag to replay"):
        Playback([])
    with pytest.raises(ValueError, match="rate must be above 0"):
        Playback([good], rate=0.0)
