"""Sections `action`, `execution` and `inputs`: what a policy is given, what it answers, how that becomes motion."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from vga_policy.cell.schema.section import Positive, Section, described


class ActionDefinition(Section):
    """What a step of an action chunk means. A checkpoint depends on it."""

    horizon: Annotated[
        int,
        Field(ge=2, le=64),
        described(
            "Steps of an action chunk, one each 1/control_rate_hz. At least two, for the last two say how fast the "
            "arm is to move at the end. A longer chunk bridges a slower policy and looks further ahead. A policy runs "
            "only where this is what it was trained with.",
            "1",
        ),
    ] = 8
    joints: Annotated[
        Literal["accepted_reference", "next_joint_state", "leader"],
        described(
            "What the joint angles of a training label are made of: `accepted_reference`, what the driver asked of "
            "the arm; `next_joint_state`, what the arm then measured; `leader`, what the leader arm showed. The "
            "gripper's label is always the command. A policy runs only where this is what it was trained with."
        ),
    ] = "accepted_reference"


class Strategy(StrEnum):
    """How chunks become motion."""

    OPEN_LOOP_SYNC = "open_loop_sync"
    OPEN_LOOP = "open_loop"
    RECEDING = "receding"
    TEMPORAL_ENSEMBLE = "temporal_ensemble"


class Execution(Section):
    """Chunk execution and its safety limits. Times in seconds."""

    strategy: Annotated[
        Strategy,
        described(
            "When a chunk takes over. `receding`: the newest chunk at once. `open_loop`: the running chunk ends "
            "first. `open_loop_sync`: the arm also comes to rest before the next observation. `temporal_ensemble`: "
            "the weighted mean of all chunks that have not ended."
        ),
    ] = Strategy.RECEDING
    max_chunk_age: Annotated[
        Positive,
        described(
            "Oldest observation that a chunk may be made from, when the chunk arrives; an older one is rejected. It "
            "must leave room for the policy's own time; larger lets a slow policy act on an older world.",
            "s",
        ),
    ] = 0.5
    max_chunk_lead: Annotated[
        float,
        Field(ge=0),
        described(
            "Furthest that a chunk's observation may lie in the future; a chunk beyond is rejected. It allows for the "
            "clocks of two PCs, which must agree within this.",
            "s",
        ),
    ] = 0.01
    max_jump: Annotated[
        Positive,
        described(
            "Largest distance of any joint between the present motion and a chunk that takes over; a chunk further "
            "away is rejected. Larger accepts a policy that contradicts itself, and the arm swings more.",
            "rad",
        ),
    ] = 0.15
    blend_time: Annotated[
        Positive,
        described(
            "Shortest time over which the arm goes over from the present motion to a new chunk. It takes longer, up "
            "to the length of a chunk, where a joint would need more than half its acceleration limit. Longer is "
            "smoother and follows the new chunk later.",
            "s",
        ),
    ] = 0.2
    heartbeat_timeout: Annotated[
        Positive,
        described(
            "Time without a healthy heartbeat of the policy after which the driver brakes the arm and holds it. "
            "Longer bears a worse network and stops later when the policy is gone.",
            "s",
        ),
    ] = 0.2
    stop_acceleration: Annotated[
        Positive,
        described(
            "Deceleration with which the arm comes to rest, as far as it can without lagging behind: about 8, and 6 "
            "for joint 2. Larger values than that change nothing; lower ones stop later.",
            "rad/s^2",
        ),
    ] = 8.0
    ensemble_decay: Annotated[
        float,
        Field(ge=0),
        described(
            "m in the weights exp(-m i) of `temporal_ensemble`, where i = 0 is the oldest chunk. 0 weighs all chunks "
            "alike; larger trusts the older ones more. The other strategies do not use it.",
            "1",
        ),
    ] = 0.1


class PolicyInputs(Section):
    """How recent the policy's inputs must be, seconds, and what a view is worth that is not the one trained on."""

    max_image_age: Annotated[
        Positive,
        described(
            "Oldest that the newest image of any view may be. Beyond it the policy reports itself unhealthy, and the "
            "arm stops. At least a few periods of the cameras.",
            "s",
        ),
    ] = 0.2
    max_joint_age: Annotated[
        Positive,
        described(
            "Oldest that the newest joint state may be, and the widest gap between two that joint angles are "
            "interpolated over, live and in making training labels.",
            "s",
        ),
    ] = 0.1
    max_image_skew: Annotated[
        Positive,
        described(
            "Longest time between the images of one observation. Larger accepts views of different instants, which "
            "contradict each other while the arm moves. At least a period of the slowest camera.",
            "s",
        ),
    ] = 0.15
    changed_view: Annotated[
        Literal["warn", "refuse"],
        described(
            "What a policy does where a camera does not show what it showed in the training data: moved, turned, "
            "darker, of another white balance, or in another's slot. `warn`: says so on /diagnostics and runs. "
            "`refuse`: takes no task. A checkpoint without reference pictures can only be run."
        ),
    ] = "warn"
