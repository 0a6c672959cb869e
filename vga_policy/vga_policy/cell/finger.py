"""The hand's finger joint, as the URDF has it: the way of one finger, half of the opening between the two."""

from __future__ import annotations


def finger_joint(opening: float) -> float:
    """Position of the finger joint (m) where the hand is open by `opening` (m)."""
    return opening / 2


def hand_opening(finger: float) -> float:
    """Opening of the hand (m) where its finger joint is at `finger` (m)."""
    return 2 * finger
