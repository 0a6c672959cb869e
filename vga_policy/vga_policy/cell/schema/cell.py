"""The whole cell, and the sections that are a key or two."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vga_policy import topics
from vga_policy.cell.errors import CellError
from vga_policy.cell.schema.arm import Arm
from vga_policy.cell.schema.cameras import Camera
from vga_policy.cell.schema.execution import ActionDefinition, Execution, PolicyInputs
from vga_policy.cell.schema.gripper import Gripper
from vga_policy.cell.schema.leader import Leader
from vga_policy.cell.schema.section import Box, Named, Positive, Section, described
from vga_policy.embodiment.embodiment import Embodiment, View
from vga_policy.embodiment.space import Channel, ChannelKind, Space
from vga_policy.topics import absolute

RECORDED_TOPICS = [
    absolute(name)
    for name in (
        topics.JOINT_STATES,
        topics.GELLO_JOINT_STATES,
        topics.DRIVER_REFERENCE,
        topics.DRIVER_GRIPPER_STATE,
        topics.DRIVER_STATE,
        topics.DRIVER_CHUNK_VERDICT,
        topics.POLICY_ACTION_CHUNK,
        topics.POLICY_HEARTBEAT,
        topics.DIAGNOSTICS,
        topics.ROBOT_DESCRIPTION,
        topics.TF,
        topics.TF_STATIC,
    )
]


class Recording(Section):
    """What an episode's bag holds besides the cameras."""

    topics: Annotated[
        list[str],
        described(
            "Topics that an episode's bag holds. Those of the cameras are added by themselves. Training needs "
            "/joint_states and /franka_driver/reference."
        ),
    ] = RECORDED_TOPICS


class Cell(Section):
    """The whole cell. Load it with :func:`vga_policy.cell.loading.load_cell`."""

    version: Annotated[Literal[1], described("Version of the file's format, which is always 1 so far.", "1")] = 1
    name: Annotated[
        Named,
        described("The cell's own name. It is stored in every bag and checkpoint, and messages call the cell by it."),
    ]
    control_rate_hz: Annotated[
        Positive,
        described(
            "How often the policy observes, and the rate of the steps of a chunk and of the samples it is trained "
            "with. A policy runs only where this is what it was trained with.",
            "Hz",
        ),
    ] = 10.0
    action: Annotated[ActionDefinition, described("What a policy answers: how many steps, and what a step means.")] = (
        ActionDefinition()
    )
    arm: Annotated[Arm, described("The robot arm: its address, model, limits, and how it is controlled.")]
    gripper: Annotated[
        Gripper,
        described(
            "The Franka Hand, its range, and when it closes with force. Widths are total openings. No other gripper is "
            "driven."
        ),
    ] = Gripper()
    execution: Annotated[
        Execution, described("How the driver turns a policy's chunks into motion, and when it rejects one.")
    ] = Execution()
    workspace: Annotated[
        Box,
        described(
            "Where the tool center point may go: a box in the arm's base frame. z = 0 is the height of the robot's "
            "foot, so measure the table. Start small."
        ),
    ]
    keep_out: Annotated[
        list[Box],
        described(
            "Boxes in the arm's base frame that every link and the tool center point stay out of, such as a camera "
            "stand. An empty list: none."
        ),
    ] = []
    cameras: Annotated[
        list[Camera],
        Field(min_length=1),
        described("The RealSense cameras. At least one has a slot, by which the policy sees it."),
    ]
    inputs: Annotated[
        PolicyInputs,
        described(
            "How recent images and joint states must be for the policy to act on them, and what it does where a camera "
            "shows something else than in the training data."
        ),
    ] = PolicyInputs()
    leader: Annotated[
        Leader | None,
        described(
            "The GELLO arm that a person guides to teleoperate the robot. Leave the section out where there is none."
        ),
    ] = None
    recording: Annotated[Recording, described("What the recorder stores in an episode.")] = Recording()
    success_topic: Annotated[
        str,
        Field(pattern=r"^$|^/?[A-Za-z]\w*(/[A-Za-z]\w*)*$"),
        described(
            "Topic of type std_msgs/Bool by which something in the cell tells that the task is done, such as a light "
            "barrier. `vga run --cell` and `vga eval robot` end a task by it. It must have been false since the "
            "task began. Leave it empty where a person judges."
        ),
    ] = ""

    @model_validator(mode="after")
    def _cameras_consistent(self) -> Cell:
        for key in ("name", "serial"):
            values = [getattr(camera, key) for camera in self.cameras]
            if duplicates := {value for value in values if values.count(value) > 1}:
                raise ValueError(f"cameras: {key} {sorted(duplicates)} is used more than once")
        slots = sorted(camera.slot for camera in self.cameras if camera.slot is not None)
        if slots != list(range(len(slots))) or not slots:
            raise ValueError(
                f"cameras: slots are {slots}; they must be 0, 1, … without gaps or duplicates, at least one"
            )
        return self

    @model_validator(mode="after")
    def _cameras_on_the_arm(self) -> Cell:
        for camera in self.cameras:
            if camera.pose is not None and camera.pose.parent not in self.arm.frames:
                raise ValueError(
                    f"cameras: {camera.name}: pose.parent {camera.pose.parent!r} is no frame of this arm; it has "
                    f"{', '.join(self.arm.frames)}"
                )
        return self

    @property
    def dt(self) -> float:
        """Duration of one control step, seconds."""
        return 1.0 / self.control_rate_hz

    @property
    def joint_state_names(self) -> list[str]:
        """Joints of a JointState of this robot: the arm's, then the hand's finger joint."""
        return [*self.arm.joint_names, self.gripper.joint_name]

    @property
    def views(self) -> list[Camera]:
        """The cameras the policy sees, in slot order."""
        return sorted(
            (camera for camera in self.cameras if camera.slot is not None),
            key=lambda camera: camera.slot or 0,
        )

    @property
    def embodiment(self) -> Embodiment:
        """What a policy acts with here: the joints' angles and the hand's width, told and measured."""
        names, width = self.arm.joint_names, (0.0, self.gripper.max_width)
        return Embodiment(
            name=self.arm.model,
            actions=Space(
                (
                    *(Channel(name, ChannelKind.JOINT, "rad", relative_to=name) for name in names),
                    Channel("gripper", ChannelKind.WIDTH, "m", bounds=width),
                )
            ),
            proprioception=Space(
                (
                    *(Channel(name, ChannelKind.JOINT, "rad") for name in names),
                    Channel("gripper", ChannelKind.WIDTH, "m"),
                )
            ),
            rate_hz=self.control_rate_hz,
            horizon=self.action.horizon,
            views=tuple(View(camera.name, camera.role) for camera in self.views),
            labels=self.action.joints,
        )

    def camera(self, name: str) -> Camera:
        """The camera called `name`; CellError naming the cell's cameras if there is none."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise CellError(f"no camera '{name}' in cell '{self.name}'; it has {[c.name for c in self.cameras]}")

    def with_views(self, names: list[str]) -> Cell:
        """The same cell with these cameras in slots 0, 1, … (an unseen-view evaluation swaps slot 0)."""
        if len(set(names)) != len(names):
            raise CellError(f"views {names}: a camera can fill one slot only")
        slots = {self.camera(name).name: slot for slot, name in enumerate(names)}
        cameras = [camera.model_copy(update={"slot": slots.get(camera.name)}) for camera in self.cameras]
        return self.model_copy(update={"cameras": cameras})
