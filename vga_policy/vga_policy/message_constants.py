"""Constants of vga_msgs, for code that runs without ROS. A test holds each against its message."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Mode(IntEnum):
    """Who commands the arm: DriverState, RobotReference, SetMode."""

    HOLD = 0
    TELEOP = 1
    POLICY = 2


MODE_NAMES = {mode.value: mode.name for mode in Mode}


class TaskOutcome(IntEnum):
    """How a task of the policy ended: RunTask."""

    STEP_LIMIT = 0
    CANCELED = 1
    ABORTED = 2


# How an episode ended: StopEpisode.
SUCCESS, FAILURE, DISCARDED = OUTCOMES = ("success", "failure", "discarded")


class Refusal(StrEnum):
    """Why a chunk is not executed: the keys of ChunkVerdict's `reason`, which refers to this list."""

    MODE = "mode"
    TAKEN_OVER = "taken_over"
    GOAL = "goal"
    SEQUENCE = "sequence"
    JOINT_NAMES = "joint_names"
    LENGTH = "length"
    DT = "dt"
    NONFINITE = "nonfinite"
    STAMP_FUTURE = "stamp_future"
    STAMP_STALE = "stamp_stale"
    JOINT_LIMIT = "joint_limit"
    GRIPPER_LIMIT = "gripper_limit"
    VELOCITY_LIMIT = "velocity_limit"
    ACCELERATION_LIMIT = "acceleration_limit"
    JUMP = "jump"
    WORKSPACE = "workspace"
    KEEP_OUT = "keep_out"
    SELF_COLLISION = "self_collision"
