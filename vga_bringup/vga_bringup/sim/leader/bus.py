"""The leader's serial port without hardware: servos behind a pseudo-terminal, with a wire's timing and its faults.

Whoever opens the port speaks to them as to real ones, over the Dynamixel protocol, at the baud rate the port is set to.
"""

from __future__ import annotations

import os
import random
import select
import termios
import threading
import time
import tty
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vga_bringup.sim.leader.protocol import (
    BROADCAST,
    Error,
    Instruction,
    InstructionPacket,
    Parser,
    fast_status,
    status,
)
from vga_bringup.sim.leader.servo import FIRMWARE_VERSION, MODEL_NUMBER, Servo

BITS_A_BYTE = 10  # start, 8 data, stop
LOOK_S = 0.05  # how often the thread looks whether it shall end
NOBODY_S = 0.005  # between looks for somebody who opens the port
READ_SIZE = 4096

_SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}


FAULTS = {
    "": "nothing",
    "crc": "share of the answers that arrive with a wrong byte, 0..1",
    "truncated": "share of the answers that break off, 0..1",
    "silent": "id of a servo that does not answer",
    "slow": "seconds that every answer comes late",
    "unplugged": "the cable is out",
}


class FaultError(ValueError):
    """A fault that this bus does not know. The message names those it knows."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the bus. kind: a key of FAULTS; value: its number, where it has one."""

    kind: str = ""
    value: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Reads "kind" or "kind:value". Raises FaultError."""
        kind, _, value = text.strip().partition(":")
        if kind not in FAULTS:
            known = ", ".join(f"{name} ({meaning})" for name, meaning in FAULTS.items() if name)
            raise FaultError(f"fault {text!r}: use kind or kind:value, one of {known}; empty for none")
        try:
            return cls(kind, float(value) if value else 1.0)
        except ValueError:
            raise FaultError(f"fault {text!r}: {value!r} is not a number") from None


class LeaderBus:
    """A chain of servos at `port`, a symbolic link to the pseudo-terminal. Use it as a context manager.

    ids: of the servos, in the order in which they are wired. baudrate: the one they are set to.
    """

    def __init__(self, port: Path, baudrate: int, ids: Sequence[int]) -> None:
        self._port = port
        self._baudrate = baudrate
        self._servos = {identity: Servo(identity) for identity in ids}
        self._lock = threading.Lock()  # guards servos and fault
        self._fault = Fault()
        self._random = random.Random(0)
        self._master: int | None = None
        self._answered = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader-bus", daemon=True)

    def __enter__(self) -> LeaderBus:
        self._plug_in()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._pull_out()

    @property
    def fault(self) -> Fault:
        """What is wrong with the bus."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        with self._lock:
            self._fault = fault

    @property
    def answered(self) -> int:
        """How many requests were answered since the start: whether somebody reads the servos."""
        return self._answered

    def turn_to(self, ticks: Sequence[int]) -> None:
        """Turns the servos, in the order of their ids, to absolute positions (4096 a turn)."""
        with self._lock:
            for servo, position in zip(self._servos.values(), ticks, strict=True):
                servo.turn_to(position)

    def power_cycle(self) -> None:
        """Takes the servos' power away and gives it back: they forget on which turn they are."""
        with self._lock:
            for servo in self._servos.values():
                servo.power_up()

    # The bus's thread.

    def _run(self) -> None:
        parser = Parser()
        while not self._closing.is_set():
            if (self.fault.kind == "unplugged") != (self._master is None):
                (self._plug_in if self._master is None else self._pull_out)()
                parser = Parser()
            if self._master is None:
                self._closing.wait(NOBODY_S)
                continue
            for request in parser.feed(self._received(self._master)):
                self._serve(request, self._master)

    def _received(self, master: int) -> bytes:
        poll = select.poll()
        poll.register(master, select.POLLIN)
        events = poll.poll(1e3 * LOOK_S)
        if events and events[0][1] & select.POLLIN:
            with suppress(OSError):  # nobody has the port open any more
                return os.read(master, READ_SIZE)
        if events:
            self._closing.wait(NOBODY_S)
        return b""

    def _serve(self, request: InstructionPacket, master: int) -> None:
        began = time.monotonic()
        with self._lock:
            fault = self._fault
            answer = self._spoil(self._answer(request, fault), fault)
        spoken = _SPEEDS.get(termios.tcgetattr(master)[5])
        if not answer or spoken != self._baudrate:  # at another rate, requests are noise
            return
        wire = (request.length + len(answer)) * BITS_A_BYTE / self._baudrate
        late = fault.value if fault.kind == "slow" else 0.0
        time.sleep(max(0.0, began + wire + late - time.monotonic()))
        with suppress(OSError):
            os.write(master, answer)
            self._answered += 1

    def _answer(self, request: InstructionPacket, fault: Fault) -> bytes:
        ids, parameters = self._reachable(fault), request.parameters
        if request.instruction in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
            return self._sync_read(request, ids)
        if request.instruction == Instruction.SYNC_WRITE:
            return self._sync_write(parameters, ids)
        if request.servo == BROADCAST and request.instruction == Instruction.PING:
            return b"".join(self._one(identity, request) for identity in ids)
        return self._one(request.servo, request) if request.servo in ids else b""

    def _reachable(self, fault: Fault) -> list[int]:
        return [identity for identity in self._servos if not (fault.kind == "silent" and identity == fault.value)]

    def _one(self, identity: int, request: InstructionPacket) -> bytes:
        servo, parameters = self._servos[identity], request.parameters
        if not request.intact:
            return status(identity, error=Error.CRC)
        if request.instruction == Instruction.PING:
            return status(identity, (servo.read(MODEL_NUMBER, 2) or b"") + (servo.read(FIRMWARE_VERSION, 1) or b""))
        if request.instruction == Instruction.READ and len(parameters) == 4:
            data = servo.read(_word(parameters, 0), _word(parameters, 2))
            return status(identity, error=Error.DATA_LENGTH) if data is None else status(identity, data)
        if request.instruction == Instruction.WRITE and len(parameters) > 2:
            return status(identity, error=servo.write(_word(parameters, 0), parameters[2:]))
        if request.instruction == Instruction.REBOOT:
            servo.power_up()
            return status(identity)
        return status(identity, error=Error.INSTRUCTION)

    def _sync_read(self, request: InstructionPacket, reachable: list[int]) -> bytes:
        """The answers up to the first servo that does not answer: those after it wait for it."""
        if not request.intact or len(request.parameters) < 5:
            return b""
        address, length, asked = _word(request.parameters, 0), _word(request.parameters, 2), request.parameters[4:]
        answers = []
        for identity in asked:
            data = self._servos[identity].read(address, length) if identity in reachable else None
            if data is None:
                break
            answers.append((identity, data))
        if request.instruction == Instruction.FAST_SYNC_READ:
            return fast_status(answers, len(asked))
        return b"".join(status(identity, data) for identity, data in answers)

    def _sync_write(self, parameters: bytes, reachable: list[int]) -> bytes:
        """Nobody answers a sync write."""
        address, length = _word(parameters, 0), _word(parameters, 2)
        for start in range(4, len(parameters), length + 1):
            if parameters[start] in reachable:
                self._servos[parameters[start]].write(address, parameters[start + 1 : start + 1 + length])
        return b""

    def _spoil(self, answer: bytes, fault: Fault) -> bytes:
        if not answer or fault.kind not in ("crc", "truncated") or self._random.random() >= fault.value:
            return answer
        if fault.kind == "truncated":
            return answer[: len(answer) // 2 + 3]  # in the middle of a packet
        return answer[:-3] + bytes((answer[-3] ^ 0x40,)) + answer[-2:]

    def _plug_in(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        link = self._port.with_name(f".{self._port.name}.{os.getpid()}")
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(slave))
        link.replace(self._port)
        os.close(slave)

    def _pull_out(self) -> None:
        if self._master is not None:
            self._port.unlink(missing_ok=True)
            os.close(self._master)
            self._master = None


def _word(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 2], "little")
