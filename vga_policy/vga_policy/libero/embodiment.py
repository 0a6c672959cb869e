"""What a policy of LIBERO acts with: the benchmark's own hand controller, at its own rate."""

from __future__ import annotations

from dataclasses import replace

from vga_policy.embodiment.embodiment import Embodiment, View
from vga_policy.embodiment.space import Channel, ChannelKind, Space

ACTIONS = ("dx", "dy", "dz", "drx", "dry", "drz")
POSITION, ROTATION = ("x", "y", "z"), ("rx", "ry", "rz")
FINGERS = ("finger_1", "finger_2")

# Full deflection is 0.05 m and 0.5 rad in the frame of the robot's base; the hand closes at +1. Proprioception is
# robosuite's: the grip site's position, its orientation as axis times angle (0 to 2 pi), and both fingers' joints.
LIBERO = Embodiment(
    name="libero",
    actions=Space(
        (
            *(Channel(name, ChannelKind.DELTA, "1", bounds=(-1.0, 1.0)) for name in ACTIONS),
            Channel("gripper", ChannelKind.SIGN, "1", normalization="none", bounds=(-1.0, 1.0)),
        )
    ),
    proprioception=Space(
        (
            *(Channel(name, ChannelKind.POSITION, "m") for name in POSITION),
            *(Channel(name, ChannelKind.ROTATION, "rad") for name in ROTATION),
            *(Channel(name, ChannelKind.FINGER, "m") for name in FINGERS),
        )
    ),
    rate_hz=20.0,
    horizon=8,
    views=(View("agentview", "fixed"), View("wrist", "wrist")),
)
MIRRORED = replace(LIBERO, mirrored=True)  # as published policies see it
