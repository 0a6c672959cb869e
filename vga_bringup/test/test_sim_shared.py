"""What the processes of the simulated cell share: segments, state, frames; and how they keep time."""

import os
import threading
import time

import mujoco
import numpy as np
import pytest
from vga_bringup.sim.physics.pacing import Pacer
from vga_bringup.sim.physics.shared import DIRECTORY, Segment, remove_segments, segment_path
from vga_bringup.sim.physics.state import StateReader, StateWriter
from vga_bringup.sim.rendering.frame_ring import SLOTS, FrameReader, FrameWriter
from vga_policy.cell.schema import Camera, ColorProfile

ADDRESS = f"test-{os.getpid()}"
CAMERA = Camera(name="eye", serial="1", role="fixed", color=ColorProfile(width=4, height=3, fps=15))


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    left = list(DIRECTORY.glob(f"*{ADDRESS}*"))
    for path in left:
        path.unlink()
    assert not left


def test_segment_of_a_killed_process_is_replaced_at_once():
    path = segment_path(ADDRESS, "x")
    left_over = Segment.create(path, 9)
    left_over.memory[:] = b"left over"
    old = Segment.attach(path)
    new = Segment.create(path, 100)
    assert old.replaced
    assert bytes(old.memory) == b"left over"
    assert not new.replaced
    assert bytes(Segment.attach(path).memory) == bytes(100)
    new.close()
    assert new.replaced


def test_only_the_segments_of_ended_processes_are_removed():
    mine, another = segment_path(ADDRESS, "mine"), segment_path(f"{ADDRESS}0", "mine")
    segments = [Segment.create(mine, 8), Segment.create(another, 8)]
    assert segments[0].writer == os.getpid()
    remove_segments(ADDRESS, [os.getpid() + 1])
    assert mine.exists()
    remove_segments(ADDRESS, [os.getpid()])
    assert not mine.exists()
    assert another.exists()
    segments[1].close()


def test_closing_leaves_the_segment_of_a_successor_alone():
    path = segment_path(ADDRESS, "x")
    first, second = Segment.create(path, 8), Segment.create(path, 8)
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


def test_a_reader_leaves_the_segment_alone():
    path = segment_path(ADDRESS, "x")
    segment = Segment.create(path, 8)
    Segment.attach(path).close()
    assert path.exists()
    segment.close()


def test_state_is_never_read_half_written():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody>" + "<body><freejoint/><geom size='1'/></body>" * 20 + "</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    writer = StateWriter(ADDRESS, model)
    writer.write(model, data)
    reader = StateReader(ADDRESS)
    stopping = threading.Event()

    def write():
        value = 0.0
        while not stopping.is_set():
            value += 1.0
            data.time, data.qpos[:] = value, value
            writer.write(model, data)
            time.sleep(0.0002)

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    deadline = time.monotonic() + 20
    while len(seen) < 50 and time.monotonic() < deadline:
        snapshot = reader.read()
        assert snapshot.sim_time == 0 or np.all(snapshot.state[1 : 1 + model.nq] == snapshot.sim_time)
        seen.add(snapshot.sim_time)
    stopping.set()
    thread.join()
    assert len(seen) >= 50
    assert not reader.withdrawn
    writer.close()
    assert reader.withdrawn


def publish(writer, number, due=1.0, finished=0.0):
    writer.color[:] = number
    writer.publish(captured=number / 15, sim_time=number / 10, due=due, finished=finished)


def test_frames_arrive_whole_and_in_order():
    writer = FrameWriter(ADDRESS, CAMERA)
    reader = FrameReader(ADDRESS, CAMERA)
    assert reader.written == 0
    assert reader.read(0) is None
    for number in range(3):
        publish(writer, number)
    assert reader.written == 3
    for number in range(3):
        frame = reader.read(number)
        assert (frame.number, frame.captured, frame.sim_time) == (number, number / 15, number / 10)
        assert frame.depth is None
        assert frame.color.shape == (3, 4, 3)
        assert np.all(frame.color == number)
    writer.close()


def test_a_frame_finished_during_the_copy_is_not_read(monkeypatch):
    writer = FrameWriter(ADDRESS, CAMERA)
    reader = FrameReader(ADDRESS, CAMERA)
    slot_of = reader._slot

    def slow_slot(number):
        slot = slot_of(number).copy()  # as yet empty
        publish(writer, 7)
        return slot

    monkeypatch.setattr(reader, "_slot", slow_slot)
    assert reader.read(0) is None
    monkeypatch.undo()
    publish(writer, 7)
    assert np.all(reader.read(0).color == 7)
    writer.close()


def test_a_frame_drawn_over_is_not_read():
    writer = FrameWriter(ADDRESS, CAMERA)
    reader = FrameReader(ADDRESS, CAMERA)
    for number in range(SLOTS):
        publish(writer, number)
    # The writer may be filling the slot of frame 0 by now.
    assert reader.read(0) is None
    assert reader.read(1) is not None
    writer.close()


def test_late_frames_are_counted():
    writer = FrameWriter(ADDRESS, CAMERA)
    publish(writer, 0, due=5.0, finished=4.9)
    publish(writer, 1, due=5.0, finished=5.1)
    assert (writer.written, writer.late) == (2, 1)
    writer.close()


def test_another_profile_is_refused():
    writer = FrameWriter(ADDRESS, CAMERA)
    with pytest.raises(ValueError, match=r"camera 'eye'.*profile"):
        FrameReader(ADDRESS, CAMERA.model_copy(update={"depth": True}))
    writer.close()


class FakeTime:
    def __init__(self):
        self.now = 100.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def test_pacer_makes_up_for_a_short_delay():
    fake = FakeTime()
    pacer = Pacer(0.001, give_up=0.05, clock=fake.clock, sleep=fake.sleep)
    for turn in range(1000):
        fake.now += 0.03 if turn == 500 else 0.0002
        pacer.wait()
    assert fake.now == pytest.approx(101.0, abs=1e-6)


def test_pacer_starts_anew_after_a_long_delay():
    fake = FakeTime()
    pacer = Pacer(0.001, give_up=0.05, clock=fake.clock, sleep=fake.sleep)
    pacer.wait()
    fake.now += 3.0
    pacer.wait()
    before = fake.now
    for _ in range(100):
        pacer.wait()
    assert fake.now == pytest.approx(before + 0.1, abs=1e-6)
