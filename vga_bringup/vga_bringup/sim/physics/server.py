"""Physics and network of the simulated arm together."""

from __future__ import annotations

import errno
import socket

from vga_bringup.robot.libfranka import HAND_PORT, ROBOT_PORT
from vga_bringup.sim.franky_sim_patches.server import CellRobotServer
from vga_bringup.sim.physics.simulator import CellSimulator


class AddressUnavailable(Exception):  # noqa: N818 - a state of affairs, not a fault of the program
    """The arm cannot be served at its address. The message says which port or address, and why."""


class CellServer:
    """Physics and network together, one millisecond at a time.

    Raises AddressUnavailable when the ports of `address` cannot be had.
    """

    def __init__(self, simulator: CellSimulator, address: str) -> None:
        for port in (ROBOT_PORT, HAND_PORT):
            _check_free(address, port)
        self._simulator = simulator
        self._server = CellRobotServer(simulator.robot, address)
        self._server.init()

    def step(self) -> None:
        """Advances 1 ms: commands in, physics, state out."""
        self._server.process_commands()
        self._simulator.step()
        self._server.send_state()

    def close(self) -> None:
        """Disconnects the clients and frees the ports."""
        self._server.gripper_server.reset_state()
        self._server.reset_state()
        self._server.cleanup()


def _check_free(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except socket.gaierror:
            raise AddressUnavailable(f"arm.ip {address} is not an address") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                reason = f"port {port} of {address} is taken, perhaps by another simulated cell; stop that one"
            else:
                reason = (
                    f"arm.ip {address} cannot be served here ({error.strerror}): "
                    "a simulated arm needs an address of this computer, such as 127.0.0.1"
                )
            raise AddressUnavailable(reason) from None
