"""One Dynamixel X servo: its control table, and a position that a hand moves."""

from __future__ import annotations

from vga_bringup.sim.leader.protocol import Error

MODEL, FIRMWARE = 1200, 52  # an XL330-M288
MODEL_NUMBER, FIRMWARE_VERSION, ID, TORQUE_ENABLE, PRESENT_POSITION = 0, 6, 7, 64, 132  # addresses
RAM = 64  # the first address that may be written while the torque is on
SIZE = 256
TURN = 4096  # ticks


class Servo:
    """A servo with torque off. `turn_to` is the hand; the rest is what the bus does."""

    def __init__(self, identity: int) -> None:
        self.identity = identity
        self._memory = bytearray(SIZE)
        self._put(MODEL_NUMBER, 2, MODEL)
        self._put(FIRMWARE_VERSION, 1, FIRMWARE)
        self._put(ID, 1, identity)
        self._ticks = TURN // 2
        self._turns_forgotten = 0
        self.turn_to(self._ticks)

    def turn_to(self, ticks: int) -> None:
        """Turns the horn to an absolute position, over any number of turns."""
        self._ticks = ticks
        self._put(PRESENT_POSITION, 4, ticks - TURN * self._turns_forgotten)

    def power_up(self) -> None:
        """Starts as after a loss of power: the number of turns is forgotten."""
        self._turns_forgotten = self._ticks // TURN
        self._memory[TORQUE_ENABLE] = 0
        self.turn_to(self._ticks)

    def read(self, address: int, length: int) -> bytes | None:
        """What the control table holds there; None beyond its end."""
        return bytes(self._memory[address : address + length]) if 0 < length <= SIZE - address else None

    def write(self, address: int, data: bytes) -> Error:
        """Writes into the control table."""
        if not data or address + len(data) > SIZE:
            return Error.DATA_LENGTH
        if PRESENT_POSITION <= address < PRESENT_POSITION + 4 or (address < RAM and self._memory[TORQUE_ENABLE]):
            return Error.ACCESS
        self._memory[address : address + len(data)] = data
        return Error.NONE

    def _put(self, address: int, length: int, value: int) -> None:
        self._memory[address : address + length] = value.to_bytes(length, "little", signed=value < 0)
