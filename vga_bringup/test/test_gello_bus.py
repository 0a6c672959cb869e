"""The leader's bus and its reader, through the real SDK, on a simulated bus with every fault."""

import fcntl
import os
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import serial
from support.cells import SIM
from support.waiting import eventually
from vga_bringup.sim.leader.bus import Fault, LeaderBus
from vga_bringup.sim.leader.protocol import status
from vga_teleop.gello.bus import Bus, ReadError
from vga_teleop.gello.port import PortError, holders
from vga_teleop.gello.reader import LeaderReader

TICKS = [-5000, 9000, 0, 1, 2, 3, 4, 5]
HOLD = "import sys, time; port = open(sys.argv[1], 'r+b', buffering=0); print('open', flush=True); time.sleep(60)"


@pytest.fixture(params=[1_000_000, 57600])
def leader(request, tmp_path):
    return SIM.leader.model_copy(update={"port": str(tmp_path / "leader"), "baudrate": request.param})


@pytest.fixture
def fast(tmp_path):
    return SIM.leader.model_copy(update={"port": str(tmp_path / "leader")})


def simulated(leader):
    return LeaderBus(Path(leader.port), leader.baudrate, leader.ids)


def test_reads_signed_positions_and_when(leader):
    with simulated(leader) as servos, Bus(leader) as bus:
        servos.turn_to(TICKS)
        before = time.time_ns(), time.monotonic()
        reading = bus.read()
        assert reading.ticks.tolist() == TICKS
        assert before[0] <= reading.began_ns < time.time_ns()
        assert before[1] <= reading.began < time.monotonic()


def test_lists_who_answers(fast):
    with simulated(fast) as servos, Bus(fast) as bus:
        servos.fault = Fault("silent", 3)
        assert [servo.identity for servo in bus.servos()] == [1, 2, 4, 5, 6, 7, 8]
        assert bus.silent() == [3]


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (Fault("crc"), {"corrupt"}),
        (Fault("truncated"), {"corrupt"}),
        (Fault("silent", 1), {"timeout"}),
        (Fault("silent", 5), {"timeout", "corrupt"}),
    ],
)
def test_a_damaged_reading_is_an_error_and_the_next_one_is_right(leader, fault, kinds):
    with simulated(leader) as servos, Bus(leader) as bus:
        servos.fault = fault
        with pytest.raises(ReadError) as caught:
            bus.read()
        assert caught.value.kind in kinds
        servos.fault = Fault()
        servos.turn_to(TICKS)
        assert bus.read().ticks.tolist() == TICKS


def test_a_stray_packet_is_a_damaged_answer(fast, monkeypatch):
    monkeypatch.setattr(LeaderBus, "_answer", lambda *_: status(3, b"\x00" * 40))  # sound, but no fast sync read's
    with simulated(fast), Bus(fast) as bus, pytest.raises(ReadError, match="damaged"):
        bus.read()


def test_a_belated_answer_is_not_taken_for_the_next_one(fast):
    with simulated(fast) as servos, Bus(fast) as bus:
        servos.turn_to([0] * 8)
        servos.fault = Fault("slow", 0.04)  # longer than the SDK waits
        with pytest.raises(ReadError):
            bus.read()
        servos.fault = Fault()
        servos.turn_to(TICKS)
        assert bus.read().ticks.tolist() == TICKS


def test_a_pulled_plug_is_a_lost_port(fast):
    with simulated(fast) as servos, Bus(fast) as bus:
        servos.fault = Fault("unplugged")
        eventually(lambda: not Path(fast.port).exists())
        with pytest.raises(PortError, match="was lost"):
            bus.read()


def test_a_missing_port_says_what_to_do(fast):
    with pytest.raises(PortError, match="does not exist: plug the leader in"):
        Bus(fast)


def test_a_port_that_is_unplugged_while_it_is_opened_is_a_port_error(fast, monkeypatch):
    def gone(_):
        raise termios.error(5, "Input/output error")

    monkeypatch.setattr(serial.Serial, "_reset_input_buffer", gone)
    with simulated(fast), pytest.raises(PortError, match=r"cannot be opened: .*Input/output error"):
        Bus(fast)


def test_an_odd_baud_rate_is_refused(fast):
    with simulated(fast), pytest.raises(PortError, match="baudrate 12345 is not one"):
        Bus(fast.model_copy(update={"baudrate": 12345}))


def test_a_port_in_use_is_refused_by_its_holders_id_and_nobody_is_killed(fast):
    with simulated(fast):
        holder = subprocess.Popen([sys.executable, "-c", HOLD, fast.port], stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout.readline() == "open\n"
            with pytest.raises(PortError, match=rf"in use by python.* \(process {holder.pid}\): stop that first"):
                Bus(fast)
            assert holder.poll() is None
        finally:
            holder.kill()
            holder.wait()
        Bus(fast).close()


def test_a_locked_port_is_refused(fast):
    with simulated(fast):
        descriptor = os.open(fast.port, os.O_RDWR | os.O_NOCTTY)  # by this very process: no other one is named
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert list(holders(fast.port)) == []
        with pytest.raises(PortError, match="is in use by"):
            Bus(fast)
        os.close(descriptor)
        with Bus(fast), pytest.raises(PortError, match="is in use by"):
            Bus(fast)


class Listener:
    """A reader with a memory."""

    def __init__(self, leader):
        self.samples, self.problems = [], []
        self.reader = LeaderReader(SIM, leader, self.samples.append, self.problems.append)

    def __enter__(self):
        self.reader.start()
        return self

    def __exit__(self, *_):
        self.reader.close()

    def wait_for_samples(self, count=5):
        seen = len(self.samples)
        eventually(lambda: len(self.samples) >= seen + count)


def test_the_reader_reads_on(fast):
    with simulated(fast), Listener(fast) as listener:
        listener.wait_for_samples(50)
        report = listener.reader.report()
    assert listener.problems == [""]
    stamps = [sample.read_ns for sample in listener.samples]
    assert (np.diff(stamps) > 0).all()
    assert report.samples <= len(stamps)
    assert report.problem == ""
    assert report.errors == {}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("crc"), "damaged"),
        (Fault("truncated"), "damaged|no servo answers"),
        (Fault("silent", 4), "servo 4 does not answer"),
        (Fault("unplugged"), "was lost|does not exist"),
    ],
)
def test_under_a_fault_there_are_no_samples_and_after_it_there_are(fast, fault, words):
    with simulated(fast) as servos, Listener(fast) as listener:
        listener.wait_for_samples()
        servos.fault = fault
        eventually(lambda: listener.problems[-1])
        faulty = len(listener.samples)
        until = time.monotonic() + 0.3
        eventually(lambda: time.monotonic() > until)
        assert len(listener.samples) == faulty
        servos.fault = Fault()
        listener.wait_for_samples()
        report = listener.reader.report()
    assert any(mentions(problem, words) for problem in listener.problems)
    assert sum(report.errors.values()) >= 1
    assert report.reconnects == (fault.kind == "unplugged")
    assert np.diff([sample.read_ns for sample in listener.samples]).max() > 0.2e9


def mentions(text, words):
    return any(part in text for part in words.split("|"))


def test_single_damaged_readings_are_counted_and_skipped(fast):
    with simulated(fast) as servos, Listener(fast) as listener:
        servos.fault = Fault("crc", 0.2)
        listener.wait_for_samples(60)
        assert listener.reader.report().errors["corrupt"] > 0
