"""Looking at a leader: which servos answer, and what they mean."""

from __future__ import annotations

import time

import numpy as np
from vga_policy.cell.schema import Cell, Leader

from vga_teleop.gello.bus import Bus, ReadError
from vga_teleop.gello.joints import Conversion

BAUDRATES = (57600, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 115_200)
WATCH_S = 0.2


def ping(leader: Leader) -> int:
    """Prints every servo that answers; 0 when the leader's all do at the cell's baud rate, else 1. Raises PortError."""
    for baudrate in (leader.baudrate, *(rate for rate in BAUDRATES if rate != leader.baudrate)):
        with Bus(leader.model_copy(update={"baudrate": baudrate})) as bus:
            servos = bus.servos()
        if servos:
            break
    else:
        print(f"{leader.port}: no servo answers at any of {', '.join(map(str, BAUDRATES))} baud: is it powered?")
        return 1
    print(f"{leader.port} at {baudrate} baud")
    for servo in servos:
        joint = leader.ids.index(servo.identity) + 1 if servo.identity in leader.ids else 0
        what = "trigger" if joint == 8 else f"joint {joint}" if joint else "not in leader.ids"
        print(f"  servo {servo.identity:3}  model {servo.model}  firmware {servo.firmware}  {what}")
    missing = sorted(set(leader.ids) - {servo.identity for servo in servos})
    if missing:
        print(f"no answer from {', '.join(map(str, missing))}: check cables and ids")
    if baudrate != leader.baudrate:
        print(f"the cell file says {leader.baudrate} baud: set leader.baudrate to {baudrate}")
    return int(bool(missing) or baudrate != leader.baudrate)


def watch(cell: Cell, leader: Leader) -> int:
    """Prints the joint angles the leader means, some times a second, until interrupted. Raises PortError."""
    conversion = Conversion(cell, leader)
    print("".join(f"{name:>13}" for name in (*cell.arm.joint_names, "width")))
    with Bus(leader) as bus:
        while True:
            try:
                q, width = conversion(bus.read().ticks)
                print("".join(f"{value:13.3f}" for value in np.append(q, width)))
            except ReadError as error:
                print(f"  {error}")
            time.sleep(WATCH_S)
