"""Topics of an episode, as its bag names them: those of the root namespace, whichever robot it is of."""

from __future__ import annotations

from vga_policy import topics
from vga_policy.topics import CameraTopics, absolute

JOINT_STATES = absolute(topics.JOINT_STATES)
LEADER = absolute(topics.GELLO_JOINT_STATES)
REFERENCE = absolute(topics.DRIVER_REFERENCE)
DRIVER_STATE = absolute(topics.DRIVER_STATE)
GRIPPER_STATE = absolute(topics.DRIVER_GRIPPER_STATE)
CHUNK_VERDICT = absolute(topics.DRIVER_CHUNK_VERDICT)
ACTION_CHUNK = absolute(topics.POLICY_ACTION_CHUNK)
DIAGNOSTICS = absolute(topics.DIAGNOSTICS)
ROBOT_DESCRIPTION = absolute(topics.ROBOT_DESCRIPTION)
TF = absolute(topics.TF)
TF_STATIC = absolute(topics.TF_STATIC)
FRAMES_AHEAD = "frames_ahead_of_arrival"  # what a camera's diagnostics call the frames dropped for their stamps

_CAMERAS = absolute(topics.CAMERAS)


def camera_topics(camera: str) -> CameraTopics:
    """Topics of the camera of this name."""
    return CameraTopics(f"{_CAMERAS}/{camera}")


def image_topic(camera: str) -> str:
    """The topic a camera's JPEG images are recorded on."""
    return camera_topics(camera).compressed


def camera_of(topic: str) -> str:
    """Name of the camera that a topic is of; empty for any other topic."""
    return topic.removeprefix(f"{_CAMERAS}/").partition("/")[0] if topic.startswith(f"{_CAMERAS}/") else ""
