"""The simulated leader's bus, spoken to by the Dynamixel SDK; and the person who moves it."""

import os
import termios
import time

import mujoco
import numpy as np
import pytest
from dynamixel_sdk import COMM_RX_CORRUPT, COMM_RX_TIMEOUT, COMM_SUCCESS, GroupSyncRead, PacketHandler, PortHandler
from serial import SerialException
from support.cells import SIM
from support.waiting import eventually
from vga_bringup.sim.expert.scripted_expert import Leader
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.leader.bus import Fault, FaultError, LeaderBus
from vga_bringup.sim.leader.person import Person, servo_ticks
from vga_bringup.sim.leader.protocol import Parser, crc, status
from vga_bringup.sim.physics.state import PUBLIC_STATE, Snapshot
from vga_policy.message_constants import Mode

IDS = [1, 2, 3, 4, 5, 6, 7, 8]
TORQUE, POSITION = 64, 132
SDK = PacketHandler(2.0)
ACCESS_ERROR, LENGTH_ERROR = 7, 5


@pytest.fixture
def link(tmp_path):
    return tmp_path / "leader"


@pytest.fixture
def bus(link):
    with LeaderBus(link, 1_000_000, IDS) as bus:
        yield bus


def opened(link, baudrate=1_000_000):
    port = PortHandler(str(link))
    port.setBaudRate(baudrate)
    port.ser.timeout = 0.001
    return port


@pytest.fixture
def port(bus, link):
    port = opened(link)
    yield port
    port.closePort()


def group(port):
    group = GroupSyncRead(port, SDK, POSITION, 4)
    for identity in IDS:
        group.addParam(identity)
    return group


def test_ping_and_broadcast(port):
    assert SDK.ping(port, 3) == (1200, COMM_SUCCESS, 0)
    assert SDK.ping(port, 42)[1] == COMM_RX_TIMEOUT
    found, result = SDK.broadcastPing(port)
    assert (sorted(found), result) == (IDS, COMM_SUCCESS)


def test_reads_and_writes_the_control_table(bus, port):
    bus.turn_to([100] * 8)
    assert SDK.read4ByteTxRx(port, 5, POSITION) == (100, COMM_SUCCESS, 0)
    assert SDK.write1ByteTxRx(port, 5, TORQUE, 1) == (COMM_SUCCESS, 0)
    assert SDK.read1ByteTxRx(port, 5, TORQUE) == (1, COMM_SUCCESS, 0)


def test_what_a_servo_refuses_it_answers_with_an_error(port):
    assert SDK.write4ByteTxRx(port, 5, POSITION, 0) == (COMM_SUCCESS, ACCESS_ERROR)
    SDK.write1ByteTxRx(port, 5, TORQUE, 1)
    assert SDK.write1ByteTxRx(port, 5, 7, 9) == (COMM_SUCCESS, ACCESS_ERROR)
    assert SDK.readTxRx(port, 5, 250, 20)[1:] == (COMM_SUCCESS, LENGTH_ERROR)


@pytest.mark.parametrize("method", ["txRxPacket", "fastSyncRead"])
@pytest.mark.parametrize("ticks", [range(8), [-5000, 9000, 0xFDFFFF, -1, 2, 3, 4, 5]])
def test_all_servos_are_read_at_once(bus, port, method, ticks):
    bus.turn_to(list(ticks))
    reading = group(port)
    assert getattr(reading, method)() == COMM_SUCCESS
    assert [reading.getData(i, POSITION, 4) for i in IDS] == [tick % 2**32 for tick in ticks]


def test_without_power_a_servo_forgets_its_turns(bus, port):
    bus.turn_to([4096 * 3 + 7] * 8)
    bus.power_cycle()
    assert SDK.read4ByteTxRx(port, 1, POSITION)[0] == 7
    bus.turn_to([4096 * 3 + 10] * 8)
    assert SDK.read4ByteTxRx(port, 1, POSITION)[0] == 10


def test_a_host_at_another_baud_rate_hears_nothing(bus, link):
    port = opened(link, 57600)
    assert SDK.ping(port, 1)[1] == COMM_RX_TIMEOUT
    port.closePort()


@pytest.mark.parametrize(("baudrate", "least"), [(57600, 0.024), (1_000_000, 0.0013)])
def test_a_reading_takes_the_time_of_its_bytes(link, baudrate, least):
    with LeaderBus(link, baudrate, IDS):
        reading = group(port := opened(link, baudrate))
        started = time.monotonic()
        for _ in range(5):
            assert reading.txRxPacket() == COMM_SUCCESS
        assert (time.monotonic() - started) / 5 > least
        port.closePort()


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ("crc", COMM_RX_CORRUPT),
        ("truncated", COMM_RX_CORRUPT),
        ("silent:1", COMM_RX_TIMEOUT),
        ("slow:0.01", COMM_SUCCESS),
    ],
)
@pytest.mark.parametrize("method", ["txRxPacket", "fastSyncRead"])
def test_faults_and_their_end(bus, port, fault, result, method):
    reading = group(port)
    bus.fault = Fault.parse(fault)
    assert getattr(reading, method)() == result
    bus.fault = Fault()
    port.ser.reset_input_buffer()
    assert getattr(reading, method)() == COMM_SUCCESS


def test_unplugged_the_port_is_gone_and_plugged_in_it_is_back(bus, link, port):
    bus.fault = Fault("unplugged")
    eventually(lambda: not link.exists(), "the port is gone", 5.0)
    with pytest.raises((SerialException, termios.error, OSError)):
        SDK.ping(port, 1)
    bus.fault = Fault()
    eventually(link.exists, "the port is back", 5.0)
    again = opened(link)
    assert SDK.ping(again, 1)[1] == COMM_SUCCESS
    again.closePort()


def test_the_link_goes_with_the_bus(link):
    link.symlink_to("/nowhere")  # left behind by one that was killed
    with LeaderBus(link, 1_000_000, IDS):
        assert os.path.exists(link)
    assert not os.path.lexists(link)


@pytest.mark.parametrize("text", ["loose", "silent:four"])
def test_an_unknown_fault_is_refused(text):
    with pytest.raises(FaultError, match=r"use kind|not a number"):
        Fault.parse(text)


def test_packets_are_found_in_noise():
    packet = bytes.fromhex("fffffd0001030001194e")  # the manual's example of a ping
    assert crc(packet[:-2]) == packet[-2:]
    assert status(1, b"\x06\x04\x26")[:-2].hex() == "fffffd000107005500060426"
    parser, found = Parser(), []
    for byte in b"\xff\xff\xfd\x00" + b"noise" + packet + b"\xff" + packet:
        found += parser.feed(bytes((byte,)))
    assert [(request.servo, request.instruction) for request in found][-2:] == [(1, 1), (1, 1)]


@pytest.fixture(scope="module")
def fast():
    cell = InProcessCell(SIM)
    yield cell
    cell.close()


def seen(cell):
    simulator = cell.simulator
    state = np.empty(mujoco.mj_stateSize(simulator.model, PUBLIC_STATE))
    mujoco.mj_getState(simulator.model, simulator.data, state, PUBLIC_STATE)
    return Snapshot(time.time(), state)


def test_the_person_mirrors_the_arm_rests_and_then_demonstrates(fast):
    arrangement = fast.reset("pick_cube", 3, Mode.TELEOP)
    person = Person(fast.cell, fast.simulator.model)
    trial = "pick_cube", 3
    mirrored = person.act(seen(fast), trial, followed=False, recorded=True)
    np.testing.assert_allclose(mirrored.q, arrangement.arm_start, atol=1e-3)
    assert person.act(seen(fast), trial, followed=True, recorded=False) is mirrored
    while not fast.task_state.success and fast.now < 30.0:
        fast.lead(*person.act(seen(fast), trial, followed=True, recorded=True))
        fast.step(0.01)
    assert fast.task_state.success, fast.task_state


def test_the_servos_stand_as_the_cell_file_says():
    cell = SIM
    q, width = np.linspace(-1, 1, 7), 0.02
    ticks = np.array(servo_ticks(cell, cell.leader, Leader(q, width)))
    angles = ticks * 2 * np.pi / 4096
    np.testing.assert_allclose((angles[:7] - cell.leader.offsets) * cell.leader.signs, q, atol=1e-3)
    share = (angles[7] - cell.leader.gripper_closed) / (cell.leader.gripper_open - cell.leader.gripper_closed)
    assert share == pytest.approx(0.25, abs=2e-3)
