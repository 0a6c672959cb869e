"""Section `cameras`: the RealSense cameras, and which of them the policy sees."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from vga_policy.cell.schema.section import Named, Positive, Section, Vector3, described

NOT_UNIT = 1e-3  # that a quaternion's length may be from 1


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


class PoseCheck(Section):
    """How well a calibration fits, written beside its pose by `vga calibrate camera`."""

    error_px: Annotated[float, described("How far the board's corners are from where they should be, rms.", "px")]
    poses: Annotated[int, described("Poses of the arm that it comes from.", "1")]
    spread_m: Annotated[float, described("How far the answer without one of the poses is from it, at most.", "m")]
    spread_deg: Annotated[float, described("How far such an answer is turned against it, at most.", "°")]
    focal: Annotated[
        float,
        described("Focal length that the pictures tell by themselves, in shares of the one that the camera says.", "1"),
    ]


class CameraPose(Section):
    """Where a camera's optical frame is: x to the right of its images, y down, z the way it looks."""

    parent: Annotated[
        Named,
        described(
            "Frame that the camera is mounted in: arm.base_frame for one that stands, the hand's (fr3_hand) for one "
            "on the wrist, or another link of the arm."
        ),
    ]
    xyz: Annotated[Vector3, described("The optical center in that frame.", "m")]
    quaternion: Annotated[
        Annotated[list[float], Field(min_length=4, max_length=4)],
        described(
            "How the optical frame is turned in that frame: a unit quaternion x, y, z, w, as ROS writes it.", "1"
        ),
    ]
    check: Annotated[
        PoseCheck | None, described("How well the calibration fits that the pose comes from. It changes nothing.")
    ] = None

    @model_validator(mode="after")
    def _unit(self) -> CameraPose:
        length = float(np.linalg.norm(self.quaternion))
        if abs(length - 1) > NOT_UNIT:
            raise ValueError(f"quaternion must be of length 1, and is of {length:.4g}")
        return self

    @property
    def rotation(self) -> NDArray[np.float64]:
        """The same as a rotation matrix [3, 3]."""
        x, y, z, w = np.array(self.quaternion) / np.linalg.norm(self.quaternion)
        cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
        return np.asarray(np.eye(3) + 2 * (w * cross + cross @ cross))


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
            "Whether depth aligned to color is published (16 bit, mm) and recorded too. With the camera's pose, "
            "training learns depth and cameras from it beside the actions."
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
    pose: Annotated[
        CameraPose | None,
        described(
            "Where the camera is, for tf, viewers and depth. Without it, it has no frame in tf, and 3D views show its "
            "images alone."
        ),
    ] = None

    @property
    def optical_frame(self) -> str:
        """Name of the frame that its images are in."""
        return f"{self.name}_color_optical_frame"
