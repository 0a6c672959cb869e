"""libfranka's network protocol in front of the simulated arm: franky-sim's servers with their faults mended.

- A gripper command that another one supersedes is answered (aborted); franky-sim leaves its client waiting for ever.
- Grasping presses with the commanded force whatever the width; success is judged by the width and epsilon.
- An object missed is reported as unsuccessful, as the real hand does, not as a failed command.
- Setting the guiding mode is acknowledged. It used to end the server, as did any request that could not be read.
- What a client still sent for the motion before is not taken for the one that begins: it would end at once, and
  libfranka wait for ever.
- Steps that make up for a hold-up let a torque controller answer each of them. Blind, they swing the arm.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from typing import Any

from franky_sim.constants import FRANKA_HAND_MAX_WIDTH
from franky_sim.franka_gripper_protocol import GripperCommand, GripperCommandStatus
from franky_sim.franka_gripper_server import FrankaGripperServer, _MotionState
from franky_sim.franka_robot_protocol import MoveCommandControllerMode, RobotCommand
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.franka_server import BaseCommand, FrankaServer

from vga_bringup.sim.franky_sim_patches.account import Message
from vga_bringup.sim.franky_sim_patches.robot import DEFAULT_HAND_FORCE, MAX_HAND_SPEED, CellRobot

MESSAGE_ID = struct.Struct("<Q")  # of the state that a command answers, at its beginning

HAND_EVERY = 10  # steps of 1 ms between two turns of the hand's server: its state needs no 1000 Hz
ANSWER_S = 0.0005  # a torque controller's answer to a state comes within

STILL = 2e-5  # m a turn: fingers slower than this stand
STILL_TURNS = 10  # fingers that stand for so many turns have arrived

logger = logging.getLogger(__name__)


class _TolerantServer(FrankaServer):
    """Disconnects a client whose request it cannot read, instead of dying of it."""

    def process_commands(self) -> None:
        try:
            super().process_commands()
        except (KeyError, ValueError, struct.error) as error:
            logger.warning("disconnecting a client after an unreadable request: %r", error)
            self.reset_state()


class CellGripperServer(_TolerantServer, FrankaGripperServer):
    """The hand, on libfranka's port. Widths are openings in meters."""

    # State of the base class that this one works on.
    _motion_state: _MotionState
    _settling_steps: int
    _prev_width: float
    _pending_command_type: GripperCommand | None
    _pending_command_id: int | None
    _pending_tcp_socket: socket.socket | None

    def start_move(self, width: float, speed: float, command_id: int, tcp_socket: socket.socket) -> None:
        """Opens or closes to a width, clamped to what the hand can do."""
        super().start_move(min(max(width, 0.0), FRANKA_HAND_MAX_WIDTH), speed, command_id, tcp_socket)

    def start_grasp(
        self,
        width: float,
        speed: float,
        force: float,
        epsilon_inner: float,
        epsilon_outer: float,
        command_id: int,
        tcp_socket: socket.socket,
    ) -> None:
        """Closes until something stops the fingers, and presses with `force` (N) from then on."""
        super().start_grasp(width, speed, force, epsilon_inner, epsilon_outer, command_id, tcp_socket)
        self._robot.set_hand_goal(0.0, speed, force)

    def stop(self, command_id: int, tcp_socket: socket.socket) -> None:
        """Stops the fingers where they are."""
        self._finish(GripperCommandStatus.kAborted)
        super().stop(command_id, tcp_socket)

    def _start_motion(
        self, motion_state: _MotionState, command_type: GripperCommand, command_id: int, tcp_socket: socket.socket
    ) -> None:
        self._finish(GripperCommandStatus.kAborted)
        super()._start_motion(motion_state, command_type, command_id, tcp_socket)

    def _check_motion_state(self) -> None:
        width, before = self._robot.hand_width, self._prev_width
        self._prev_width = width
        self._settling_steps = self._settling_steps + 1 if abs(width - before) < STILL else 0
        if self._settling_steps < STILL_TURNS:
            return
        if self._motion_state is _MotionState.HOMING:  # opened as far as it goes; now back to where it was
            self._max_width = width
            self._motion_state, self._settling_steps = _MotionState.HOMING_RETURN, 0
            self._robot.set_hand_goal(self._homing_start_width, MAX_HAND_SPEED, DEFAULT_HAND_FORCE)
        elif self._motion_state is _MotionState.GRASPING:
            short, over = self._goal_width - width, width - self._goal_width
            self._is_grasping = short <= self._goal_epsilon_inner and over <= self._goal_epsilon_outer
            self._finish(GripperCommandStatus.kSuccess if self._is_grasping else GripperCommandStatus.kUnsuccessful)
        else:
            self._finish(GripperCommandStatus.kSuccess)

    def _finish(self, status: GripperCommandStatus) -> None:
        """Answers the command in progress, if there is one."""
        self._motion_state, self._settling_steps = _MotionState.IDLE, 0
        if self._pending_command_id is None:
            return
        BaseCommand.send_response(
            self._pending_tcp_socket,
            self._pending_command_type,
            self._pending_command_id,
            status,
            command_type_struct="H",
            status_type_struct="H",
        )
        self._pending_command_id = self._pending_command_type = self._pending_tcp_socket = None


class _SetGuidingMode(BaseCommand):
    """Which axes a hand may guide: acknowledged, nobody guides a simulated arm."""

    command_type = RobotCommand.kSetGuidingMode

    @classmethod
    def from_bytes(cls, data: bytes, command_id: int, client_socket: socket.socket) -> _SetGuidingMode:  # noqa: ARG003
        return cls(command_id, client_socket)

    def handle(self, server: FrankaServer) -> None:  # noqa: ARG002
        self.reply(0)


class _MoreCommands(FrankaServer):
    """Adds to the commands its sibling class knows, on their way to the common base class."""

    def __init__(self, hostnames: Any, port: int, commands: dict[Any, Any], *args: Any, **kwargs: Any) -> None:
        commands = {**commands, RobotCommand.kSetGuidingMode: _SetGuidingMode}
        noted = {kind: _noted(command) for kind, command in commands.items()}
        super().__init__(hostnames, port, noted, *args, **kwargs)


def _noted(command: type[Any]) -> type[Any]:
    """A command after which the state is composed anew: it may have changed anything."""

    class Noted(command):
        def handle(self, server: CellRobotServer) -> None:
            super().handle(server)
            server.recompose()

    return Noted


class CellRobotServer(_TolerantServer, FrankaRobotServer, _MoreCommands):
    """The arm, on libfranka's port, and its hand."""

    def __init__(self, robot: CellRobot, address: str) -> None:
        self._account = robot.account
        self._message: Message | None = None  # the last state, as sent; None: to be composed anew
        self._turn = 0
        self._states = 0  # sent to this client: the number of the next one, by which its commands answer it
        self._first_answer = 0  # what a command for the motion in progress answers, at the earliest
        self._answered = 0  # how many states had been sent when the one was that the last command answered
        self._torques = False  # whether the motion in progress sends torques
        FrankaRobotServer.__init__(self, robot, [address])
        self._gripper = CellGripperServer(robot, address)

    @property
    def gripper_server(self) -> CellGripperServer:
        """The hand's server."""
        return self._gripper

    def process_commands(self) -> None:
        """Takes what the clients sent since the last step."""
        super().process_commands()
        self._turn = (self._turn + 1) % HAND_EVERY
        if self._turn == 0:
            self._gripper.process_commands()

    def send_state(self) -> None:
        """Sends the clients the state after a step."""
        super().send_state()
        if self._turn == 0:
            self._gripper.send_state()

    def cleanup(self) -> None:
        """Stops listening."""
        self._gripper.cleanup()
        super().cleanup()

    def recompose(self) -> None:
        """Has the next state composed anew, not just brought up to date: what the account does not cover changed."""
        self._message = None

    def start_motion(self, controller: MoveCommandControllerMode, *args: Any) -> None:
        """Begins what a Move command asks for."""
        self._first_answer = self._states
        self._torques = controller == MoveCommandControllerMode.kExternalController
        super().start_motion(controller, *args)

    def stop_motion(self, *args: Any, **kwargs: Any) -> None:
        """Ends a motion; the arm stays where it is."""
        self.recompose()
        self._torques = False
        super().stop_motion(*args, **kwargs)

    def _reset_state(self) -> None:
        self.recompose()
        self._states = self._first_answer = self._answered = 0
        self._torques = False
        super()._reset_state()

    def _process_udp_commands(self) -> bool:
        took = super()._process_udp_commands()
        deadline = time.perf_counter() + ANSWER_S
        while self._torques and self._answered < self._states and time.perf_counter() < deadline:
            time.sleep(1e-5)
            took = super()._process_udp_commands()
        return took

    def _handle_udp_command(self, command_data: bytes) -> None:
        answers = MESSAGE_ID.unpack_from(command_data)[0]
        if answers >= self._first_answer:
            self._answered = answers + 1
            super()._handle_udp_command(command_data)

    def _get_state_bytes(self) -> bytes:
        self._states += 1
        if self._message is None:
            self._message = Message(super()._get_state_bytes())
        self._account.write(self._message, self.robot.inner_state)
        return bytes(self._message.bytes)

    def _bind_children(self, hostname: str) -> None:  # noqa: ARG002 - the hand listens at the arm's only address
        self._gripper.init()
