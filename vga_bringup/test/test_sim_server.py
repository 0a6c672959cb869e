"""The arm's network protocol, millisecond by millisecond: a client whose messages arrive just so."""

import select
import socket
import struct

import pytest
from franky_sim.franka_robot_protocol import (
    MoveCommand,
    MoveCommandControllerMode,
    MoveCommandMotionGeneratorMode,
    MoveStatus,
    RobotCommand,
    UDPCommand,
)
from support.owned import own_address
from vga_bringup.robot.libfranka import ROBOT_PORT
from vga_bringup.sim.physics.server import CellServer
from vga_bringup.sim.physics.simulator import CellSimulator

ADDRESS = own_address()
HOME = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)
HEADER = struct.Struct("<III")
CONNECT = 0


class Client:
    """Speaks to the robot's port; `server` steps when told to."""

    def __init__(self, server):
        self._server = server
        self._tcp = socket.create_connection((ADDRESS, ROBOT_PORT), timeout=10)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("", 0))
        self._udp.settimeout(10)
        self.send(CONNECT, 0, struct.pack("<HH", 10, self._udp.getsockname()[1]))
        self.newest_state()
        self._receive()

    def send(self, command, number, payload=b""):
        self._tcp.sendall(HEADER.pack(command, number, HEADER.size + len(payload)) + payload)

    def move(self, number):
        """Asks for a motion by joint positions."""
        modes = MoveCommandControllerMode.kJointImpedance, MoveCommandMotionGeneratorMode.kJointPosition
        self.send(RobotCommand.kMove, number, MoveCommand.STRUCT.pack(*modes, *[0.0] * 6))

    def newest_state(self):
        """Lets a millisecond pass; the number of the state sent at its end."""
        self._server.step()
        data, self._states_from = self._udp.recvfrom(65536)
        return struct.unpack_from("<Q", data)[0]

    def finish(self, state):
        """Ends the motion, in answer to a state."""
        self._udp.sendto(
            UDPCommand.STRUCT.pack(state, *HOME, *[0.0] * 31, False, True, *[0.0] * 7, False), self._states_from
        )

    def has_answer(self):
        return bool(select.select([self._tcp], [], [], 0.0)[0])

    def answer(self):
        """The next answer: command, its number, status."""
        command, number, payload = self._receive()
        return command, number, payload[0]

    def close(self):
        self._tcp.close()
        self._udp.close()

    def _receive(self):
        command, number, size = HEADER.unpack(self._tcp.recv(HEADER.size, socket.MSG_WAITALL))
        return command, number, self._tcp.recv(size - HEADER.size, socket.MSG_WAITALL)


@pytest.fixture
def client():
    simulator = CellSimulator(HOME)
    with simulator:
        simulator.start()
        server = CellServer(simulator, ADDRESS)
        client = Client(server)
        yield client
        client.close()
        server.close()


def test_a_late_command_for_the_last_motion_does_not_end_the_next_one(client):
    client.move(1)
    moving = client.newest_state()
    assert client.answer() == (RobotCommand.kMove, 1, MoveStatus.kMotionStarted)
    client.finish(moving)
    client.newest_state()
    assert client.answer() == (RobotCommand.kMove, 1, MoveStatus.kSuccess)

    # libfranka repeats it until it sees the motion ended; a server held up finds it together with the next request.
    client.finish(moving)
    client.move(2)
    client.newest_state()
    assert client.answer() == (RobotCommand.kMove, 2, MoveStatus.kMotionStarted)
    moving = client.newest_state()
    assert not client.has_answer()
    client.finish(moving)
    client.newest_state()
    assert client.answer() == (RobotCommand.kMove, 2, MoveStatus.kSuccess)
