"""Where to take hold of a thing: across a narrow side from above, or by the rim of what is wide; tilted if need be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vga_policy.libero.expert.hand import Rotation, aim
from vga_policy.libero.expert.shapes import Points
from vga_policy.libero.world import Vector

ROOM = 0.072  # m that still fits between the open fingers, which are 0.08 apart
RIM = 0.016  # m from the top down that counts as rim
STRIP = 0.012  # m, half the breadth of what is looked at of it
SLANT = 0.02  # m by which a wall may reach further out below its rim
TURNS = np.deg2rad(np.arange(-90, 90, 5))
TILTS, TILTED = (0.0, 0.35, 0.6), 3.0  # rad by which the hand may lean, and what a radian costs
SHIFTS = (0.0, -0.25, 0.25)  # of its length, by which a narrow thing may be held off its middle
FINGERTIP = 0.015  # m that the fingers reach below the grip
REACH = 0.35  # m from a thing, beyond which the hand that takes it touches nothing
SHALLOW = 0.6  # of the depth
NEAR = 0.03  # m between two places to take hold of that are much the same
CLEARANCE = 0.008  # m around the hand that had better be free


@dataclass(frozen=True)
class Grasp:
    """Where the grip goes, and how the hand is held there."""

    position: Vector
    rotation: Rotation
    cost: float

    @property
    def out(self) -> Vector:
        """Where the hand points."""
        return np.asarray(self.rotation[:, 2])


def choose(
    thing: Points, here: Points, there: Points, now: Rotation, deep: float, in_vain: Sequence[Vector] = ()
) -> Grasp:
    """The grasp with least turning and fewest collisions, and rather none where one was tried in vain.

    here, there: what the open hand might hit where it takes the thing, and where it will put it (moved to here).
    deep: m below the top.
    """
    best: Grasp | None = None
    here, there = (points[np.linalg.norm(points - thing.mean(0), axis=1) < REACH] for points in (here, there))
    for turn in TURNS:
        angle = np.arctan2(now[1, 0], now[0, 0]) + turn
        across = np.array([np.cos(angle), np.sin(angle), 0.0])
        along = np.array([-across[1], across[0], 0.0])
        depths = (deep, SHALLOW * deep) if in_vain else (deep,)  # the palm may have been what was in the way
        for position, dear in (spot for depth in depths for spot in _spots(thing, across, along, depth)):
            dear += 4.0 * any(np.linalg.norm(position - tried) < NEAR for tried in in_vain)
            for tilt in TILTS:
                for lean in (along, -along) if tilt else (along,):
                    rotation = aim(across, np.sin(tilt) * lean - np.cos(tilt) * np.array([0, 0, 1.0]))
                    cost = 0.5 * abs(turn) + dear + TILTED * tilt + _awkwardness(rotation[:, 2])
                    for points, weight in ((here, 1.5), (there, 1.0)):
                        if best is None or cost < best.cost:
                            cost += weight * _collisions((points - position) @ rotation)
                    if best is None or cost < best.cost:
                        best = Grasp(position, rotation, float(cost))
    assert best is not None
    return best


def by_handle(bar: Points, towards: Vector, tilt: float = 1.05) -> Grasp:
    """The grasp of an upright handle with the hand pointing `towards` (horizontal, of unit length), and down a bit."""
    up = np.array([0.0, 0.0, 1.0])
    rotation = aim(np.cross(up, towards), np.sin(tilt) * towards - np.cos(tilt) * up)
    return Grasp((bar.max(0) + bar.min(0)) / 2, rotation, 0.0)


def _awkwardness(out: Vector) -> float:
    """Cost of pointing back to the robot, which its wrist hardly can."""
    return 3.0 * max(0.0, -float(out[0]))


def _spots(thing: Points, across: Vector, along: Vector, deep: float) -> list[tuple[Vector, float]]:
    """Where the grip could be for the fingers to close along `across`, with the cost of it."""
    bottom, top = thing[:, 2].min() + 0.006, thing[:, 2].max()
    held = thing[thing[:, 2] > max(top - deep, bottom) - FINGERTIP]
    u, v = held @ across, held @ along
    width = float(np.ptp(u))
    if width < ROOM:
        middle = (u.max() + u.min()) / 2 * across + (v.max() + v.min()) / 2 * along
        tight, places = 4 * max(0.0, width - 0.06), [middle + shift * np.ptp(v) * along for shift in SHIFTS]
        return [
            (np.array([*place[:2], max(top - deep, bottom)]), tight + abs(shift))
            for place, shift in zip(places, SHIFTS, strict=True)
        ]
    center = (thing.max(0) + thing.min(0)) / 2
    core = thing[np.linalg.norm((thing - center)[:, :2], axis=1) < 2 * STRIP]
    solid = 8.0 * bool(core[:, 2].max(initial=bottom) > top - RIM)  # has no rim
    strip = thing[np.abs((thing - center) @ along) < STRIP]
    rim = strip[strip[:, 2] > top - RIM]
    spots = []
    for side in (1, -1):  # one wall between the fingers
        edge, end = (float((side * ((part - center) @ across)).max(initial=-0.1)) for part in (rim, strip))
        spot = center + side * (edge - 0.006) * across
        dear = solid + (1.0 if end - edge < SLANT else 4.0)  # else it leans away there, or has a handle
        spots.append((np.array([*spot[:2], max(top - deep, bottom)]), dear))
    return spots


def _collisions(points: Points) -> float:
    """Cost of what would be hit by the open hand, and half as much of what would nearly be.

    points: in its frame, whose origin is between the fingertips.
    """
    x, y, back = points[:, 0], np.abs(points[:, 1]), -points[:, 2]
    cost = 0.0
    for room in (0.0, CLEARANCE):
        for finger in (0.052, -0.052):
            hit = (np.abs(x - finger) < 0.013 + room) & (y < 0.01 + room) & (back > -0.01 - room) & (back < 0.1)
            cost += bool(hit.any())
        palm = (np.abs(x) < 0.104 + room) & (y < 0.032 + room) & (back > 0.031 - room) & (back < 0.3)
        cost += bool(palm.any())  # what it passes before counts as well
    return cost
