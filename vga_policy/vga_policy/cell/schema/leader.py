"""Section `leader`: the arm that a person guides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vga_policy.cell.schema.section import ARM_JOINTS, Joints, Named, Section, described


class Leader(Section):
    """A GELLO leader arm on a Dynamixel bus. Joint = sign (servo angle - offset)."""

    port: Annotated[
        Named,
        described("Serial port of the leader. Use the name that `ls /dev/serial/by-id` shows: it stays the same."),
    ]
    baudrate: Annotated[
        int,
        Field(gt=0),
        described(
            "Speed of the servo bus, which the servos must be set to as well. The 57600 that a GELLO comes with give "
            "39 readings a second; set both to 1000000 or more. `vga gello ping` finds what the servos use.",
            "baud",
        ),
    ] = 57600
    ids: Annotated[
        list[Annotated[int, Field(ge=0, le=252)]],
        Field(min_length=8, max_length=8),
        described("Servo numbers of the seven joints, in the arm's order, and then of the trigger.", "1"),
    ] = [*range(1, 9)]
    rate_hz: Annotated[
        float,
        Field(ge=10, le=500),
        described(
            "How often the servos are read, as far as the baud rate allows. More makes the arm follow the hand sooner.",
            "Hz",
        ),
    ] = 125.0
    offsets: Annotated[
        Joints,
        described(
            "Angle of each joint's servo where the arm's joint is at zero: joint = sign (servo angle - offset). It "
            "changes when a servo is remounted; `vga gello calibrate` finds it.",
            "rad",
        ),
    ]
    signs: Annotated[
        list[Literal[-1, 1]],
        Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS),
        described(
            "Whether each servo turns with the arm's joint (1) or against it (-1). `vga gello calibrate` finds it.", "1"
        ),
    ]
    gripper_closed: Annotated[
        float,
        described(
            "Angle of the trigger's servo when the trigger is pulled, which closes the fingers. `vga gello calibrate` "
            "finds it.",
            "rad",
        ),
    ]
    gripper_open: Annotated[
        float,
        described(
            "Angle of the trigger's servo when the trigger is let go, which opens the fingers to gripper.max_width. "
            "It may be above or below gripper_closed.",
            "rad",
        ),
    ]
    offset_fade: Annotated[
        float,
        Field(ge=0),
        described(
            "Time constant with which the offset between leader and arm fades after a take-over, while a person moves "
            "the leader: the arm then comes to stand as the leader does. 0 keeps the offset.",
            "s",
        ),
    ] = 0.0

    @model_validator(mode="after")
    def _usable(self) -> Leader:
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("ids must differ from each other")
        if self.gripper_closed == self.gripper_open:
            raise ValueError("gripper_closed and gripper_open must differ")
        return self
