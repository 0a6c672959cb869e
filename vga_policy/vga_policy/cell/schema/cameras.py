"""Section `cameras`: the RealSense cameras, and which of them the policy sees."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vga_policy.cell.schema.section import Named, Positive, Section, described


class ColorProfile(Section):
    """Color stream of a camera."""

    width: Annotated[
        int,
        Field(gt=0),
        described(
            "Width of the color images. The camera must offer this width, height and fps together; where it does not, "
            "the camera node lists what it offers.",
            "px",
        ),
    ] = 640
    height: Annotated[int, Field(gt=0), described("Height of the color images.", "px")] = 480
    fps: Annotated[
        Literal[6, 15, 30, 60],
        described(
            "Images a second, of color and of depth. More makes observations fresher and recordings larger; it should "
            "be above control_rate_hz.",
            "Hz",
        ),
    ] = 30


class Camera(Section):
    """One RealSense camera, found by serial number."""

    name: Annotated[
        str,
        Field(pattern=r"^[a-z][a-z0-9_]*$"),
        described(
            "The camera's own name in this cell: small letters, digits and underscores. Its topics are below "
            "/cameras/NAME, and commands that choose a camera choose it by this name."
        ),
    ]
    serial: Annotated[
        Named,
        described(
            "Serial number by which the camera is found, printed on it and listed by `vga doctor`. Quote it, or YAML "
            "takes it for a number."
        ),
    ]
    role: Annotated[
        Literal["fixed", "wrist"],
        described(
            "What the camera looks from: `fixed` stands beside the arm, `wrist` rides on the hand. A policy runs only "
            "where every slot has the role that it was trained with."
        ),
    ]
    slot: Annotated[
        Annotated[int, Field(ge=0)] | None,
        described(
            "Position of the camera's image in the policy's input, counted from 0 without gaps. Slot 0 is the view "
            "that the model is anchored to and should be a fixed camera. Without a slot the camera is recorded but "
            "not shown to the policy.",
            "1",
        ),
    ] = None
    color: Annotated[ColorProfile, described("Size and rate of the camera's color images.")] = ColorProfile()
    depth: Annotated[
        bool,
        described(
            "Whether depth aligned to color is published too (16 bit, mm), for whoever subscribes. Episodes do not "
            "hold it."
        ),
    ] = False
    exposure_us: Annotated[
        Positive | None,
        described(
            "Locked exposure time. Longer is brighter and blurs motion; on most cameras it counts in steps of 100. "
            "Lock it, for automatic values drift between training and deployment. With neither exposure nor gain "
            "locked, both are automatic. Typical: 8000.",
            "us",
        ),
    ] = None
    gain: Annotated[
        Positive | None,
        described(
            "Locked gain of the color sensor, in the camera's own numbers. More is brighter and noisier. Without a "
            "value it is automatic while exposure_us is too, else what the camera had. Typical: 64.",
            "1",
        ),
    ] = None
    white_balance_k: Annotated[
        Positive | None,
        described(
            "Locked white balance, as the color temperature of the light. Without a value it is automatic. Typical: "
            "4600.",
            "K",
        ),
    ] = None
    jpeg_quality: Annotated[
        int,
        Field(ge=1, le=100),
        described(
            "Quality at which color images are compressed. The policy sees and the recorder keeps the compressed "
            "images; higher is sharper and needs more network and disk.",
            "1",
        ),
    ] = 90
