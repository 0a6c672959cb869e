"""The leader's servos, through the Dynamixel SDK: where they are, and who does not answer."""

from __future__ import annotations

import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar

import numpy as np
import serial
from dynamixel_sdk import COMM_RX_CORRUPT, COMM_RX_TIMEOUT, COMM_SUCCESS, GroupSyncRead, PacketHandler
from numpy.typing import NDArray
from vga_policy.cell.schema import Leader

from vga_teleop.gello.port import PortError, open_port

PRESENT_POSITION, LENGTH = 132, 4
FAST_FROM = (
    1_000_000  # baud; below, the wire is so slow that a fast sync read gains little over one that shows who failed
)
# An answer that comes after the SDK has given up must not be taken for that to the next question.
GIVEN_UP = 0.03  # s after which a question that failed was given up; sooner, it was answered wrongly
BELATED = 0.06  # s after a question until its answer may still come
QUIET = 0.005  # s without a byte after which an answer has ended
BITS_A_BYTE = 10  # start, 8 data, stop
SHORTEST_ANSWER = 8 * LENGTH  # bytes

DAMAGED = "the answer was damaged or broke off: check cable and plugs"

T = TypeVar("T")


class ReadError(Exception):
    """One reading failed; the next one may not. `kind` is "corrupt", "timeout" or "refused"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Reading(NamedTuple):
    """Where the servos were. ticks: int64 [N], 4096 a turn, over many turns and below zero as well.

    began_ns, began: system and monotonic time (s) when the question was sent: no position is older than that.
    """

    began_ns: int
    began: float
    ticks: NDArray[np.int64]


@dataclass(frozen=True)
class ServoInfo:
    """What a servo says of itself."""

    identity: int
    model: int
    firmware: int


class Bus:
    """The servos of one leader. A context manager that opens the port.

    Every method raises ReadError when the answer is of no use, and PortError when the port has gone; the object is then
    dead.
    """

    def __init__(self, leader: Leader) -> None:
        self._port = open_port(leader.port, leader.baudrate)
        self._path = leader.port
        self._ids = list(leader.ids)
        self._protocol = PacketHandler(2.0)
        self._group = GroupSyncRead(self._port, self._protocol, PRESENT_POSITION, LENGTH)
        for identity in self._ids:
            self._group.addParam(identity)
        self._shortest = BITS_A_BYTE * SHORTEST_ANSWER / leader.baudrate
        self._ask = self._group.fastSyncRead if leader.baudrate >= FAST_FROM else self._group.txRxPacket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the port."""
        self._port.closePort()

    def read(self) -> Reading:
        """Asks all servos at once where they are."""
        began_ns, began = time.time_ns(), time.monotonic()
        try:
            self._check(self._talk(self._ask), time.monotonic() - began)
        except ReadError:
            gave_up = time.monotonic() - began > GIVEN_UP
            self._talk(lambda: self._drain(began + BELATED if gave_up else began))
            raise
        data = [self._group.getData(identity, PRESENT_POSITION, LENGTH) for identity in self._ids]
        return Reading(began_ns, began, np.array(data, np.uint32).astype(np.int32).astype(np.int64))

    def silent(self) -> list[int]:
        """The ids of the leader's servos that do not answer a ping."""
        return self._talk(lambda: [identity for identity in self._ids if self._is_silent(identity)])

    def servos(self) -> list[ServoInfo]:
        """All servos that answer, whatever their ids. Takes about a second."""
        found, _ = self._talk(lambda: self._protocol.broadcastPing(self._port))
        return [ServoInfo(identity, model, firmware) for identity, (model, firmware) in sorted(found.items())]

    def _check(self, result: int, elapsed: float) -> None:
        if result == COMM_RX_TIMEOUT:
            raise ReadError("timeout", "no answer")
        if result == COMM_RX_CORRUPT:
            raise ReadError("corrupt", DAMAGED)
        if result != COMM_SUCCESS:
            raise ReadError("refused", f"the SDK could not ask ({self._protocol.getTxRxResult(result)})")
        if elapsed < self._shortest:
            raise ReadError("corrupt", "an answer to an older question came")

    def _is_silent(self, identity: int) -> bool:
        _, result, _ = self._protocol.ping(self._port, identity)
        return bool(result == COMM_RX_TIMEOUT)

    def _drain(self, until: float) -> None:
        """Throws away what arrives until then (s), and as long as something does."""
        until = max(until, time.monotonic() + QUIET)
        while time.monotonic() < until:
            if self._port.ser.read(self._port.ser.in_waiting or 1):
                until = max(until, time.monotonic() + QUIET)

    def _talk(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (serial.SerialException, termios.error, OSError) as error:
            raise PortError(f"{self._path} was lost: {error}") from None
        except IndexError:  # the SDK takes any sound packet for the one it waits for, also a shorter one
            raise ReadError("corrupt", DAMAGED) from None
