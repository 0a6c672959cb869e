"""Section `gripper`: the Franka hand."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from vga_policy.cell.schema.section import Positive, Section, described


class Gripper(Section):
    """The Franka hand. Widths are total openings in meters."""

    joint_name: Annotated[
        str,
        described("Name of the finger's joint in joint states. A Panda's is panda_finger_joint1."),
    ] = "fr3_finger_joint1"
    max_width: Annotated[
        Positive,
        described(
            "Widest opening between the fingers. Commands beyond it are refused or clipped; a hand that reports less "
            "than 0.9 of it is taken for one that was not homed. A policy runs only where this is what it was trained "
            "with.",
            "m",
        ),
    ] = 0.08
    speed: Annotated[Positive, described("Speed at which the fingers open and close.", "m/s")] = 0.1
    force: Annotated[
        Positive,
        described("Force with which the fingers grasp. More holds heavier things and may crush soft ones.", "N"),
    ] = 20.0
    grasp_below: Annotated[
        Positive,
        described(
            "A command at or below this width closes the fingers with force on whatever is there; above it they move "
            "to the width commanded. Must be below release_above.",
            "m",
        ),
    ] = 0.03
    release_above: Annotated[
        Positive,
        described(
            "Fingers that were closed with force open again only for a command of at least this width. The further it "
            "is above grasp_below, the less a noisy command drops what is held. At most max_width.",
            "m",
        ),
    ] = 0.045
    min_change: Annotated[
        Positive,
        described(
            "Changes of the commanded width smaller than this are not sent to the hand, so that noise does not "
            "chatter the fingers. A larger value makes the fingers follow in coarser steps.",
            "m",
        ),
    ] = 0.005

    @model_validator(mode="after")
    def _hysteresis(self) -> Gripper:
        if not self.grasp_below < self.release_above <= self.max_width:
            found = f"{self.grasp_below:g}, {self.release_above:g}, {self.max_width:g} m"
            raise ValueError(f"need grasp_below < release_above <= max_width (found {found})")
        return self
