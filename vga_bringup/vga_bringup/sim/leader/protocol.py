"""Dynamixel protocol 2.0 as servos speak it: packets in, packets out (emanual.robotis.com/docs/en/dxl/protocol2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

HEADER = b"\xff\xff\xfd\x00"
BROADCAST = 0xFE
STATUS = 0x55
SHORTEST = 3  # of a packet's length field: instruction and CRC
LONGEST = 1024


class Instruction(IntEnum):
    """What a host asks for."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REBOOT = 0x08
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A


class Error(IntEnum):
    """The error number of a status packet."""

    NONE = 0
    INSTRUCTION = 2
    CRC = 3
    DATA_LENGTH = 5
    ACCESS = 7


@dataclass(frozen=True)
class InstructionPacket:
    """An instruction packet. length: bytes on the wire. intact: whether its CRC was right."""

    servo: int
    instruction: int
    parameters: bytes
    length: int
    intact: bool


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ (0x8005 if crc & 0x8000 else 0)
        table.append(crc & 0xFFFF)
    return tuple(table)


_TABLE = _crc_table()


def crc(data: bytes) -> bytes:
    """CRC-16 (polynomial 0x8005) of `data`, low byte first."""
    value = 0
    for byte in data:
        value = (value << 8) & 0xFFFF ^ _TABLE[(value >> 8) ^ byte]
    return value.to_bytes(2, "little")


def status(servo: int, parameters: bytes = b"", error: int = Error.NONE) -> bytes:
    """The status packet of one servo."""
    body = bytes((STATUS, error)) + parameters
    body = body.replace(HEADER[:3], HEADER[:3] + HEADER[2:3])  # so that nothing in it looks like a header
    packet = HEADER + bytes((servo,)) + (len(body) + 2).to_bytes(2, "little") + body
    return packet + crc(packet)


def fast_status(answers: list[tuple[int, bytes]], expected: int) -> bytes:
    """The one packet with which `expected` servos answer a fast sync read, each adding its part and the CRC so far.

    answers: id and data of those that do, the first ones of the chain. Data are not stuffed.
    """
    size = len(answers[0][1]) + 4 if answers else 0
    packet = HEADER + bytes((BROADCAST,)) + (size * expected + 1).to_bytes(2, "little") + bytes((STATUS,))
    for servo, data in answers:
        packet += bytes((Error.NONE, servo)) + data
        packet += crc(packet)
    return packet if answers else b""


class Parser:
    """Finds instruction packets in a stream of bytes."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[InstructionPacket]:
        """The packets that `data` completes."""
        self._buffer += data
        found = []
        while (request := self._next()) is not None:
            found.append(request)
        return found

    def _next(self) -> InstructionPacket | None:
        while True:
            start = self._buffer.find(HEADER)
            self._buffer = self._buffer[start:] if start >= 0 else self._buffer[-len(HEADER) + 1 :]
            if start < 0 or len(self._buffer) < 7:
                return None
            length = int.from_bytes(self._buffer[5:7], "little")
            if SHORTEST <= length <= LONGEST:
                break
            self._buffer = self._buffer[1:]
        if len(self._buffer) < 7 + length:
            return None
        packet, self._buffer = self._buffer[: 7 + length], self._buffer[7 + length :]
        parameters = packet[8:-2].replace(HEADER[:3] + HEADER[2:3], HEADER[:3])
        return InstructionPacket(packet[4], packet[7], parameters, len(packet), crc(packet[:-2]) == packet[-2:])
