"""The expert: what it does for each goal of a task, one after another."""

from __future__ import annotations

import numpy as np

from vga_policy.libero.expert.hand import Hand, Movement, Style
from vga_policy.libero.expert.shapes import points_below, points_of
from vga_policy.libero.expert.skills import UP, Hold, Skills, drawer_direction
from vga_policy.libero.world import Vector, World

ORDER = ("turnon", "open", "on", "in", "close")  # of goals: what is to be closed is closed last
DRAWERS = ("top_region", "middle_region", "bottom_region")
OPEN_FAR = 0.1  # m by which a drawer is open enough


def demonstrate(
    world: World, style: Style | None = None, random: np.random.Generator | None = None, *, begun: bool = False
) -> Movement[None]:
    """Actions [7] that do the task, each for the world as it is after the ones before. begun: goes on with it."""
    skills = Skills(Hand(world, style, random))
    if not begun:
        yield from skills.begin()

    def turn(goal: list[str]) -> tuple[bool, int, float]:
        in_hand = len(goal) == 3 and skills.hand.holds(goal[1])
        return not in_hand, ORDER.index(goal[0]), _height(world, goal)

    for goal in sorted(world.goals(), key=turn):
        if not world.holds(goal):
            yield from _reach(skills, goal)


def _height(world: World, goal: list[str]) -> float:
    """Of what is to be put somewhere, m: what is high would be in the way of putting something low beside it."""
    return float(np.ptp(points_of(world, goal[1])[:, 2])) if len(goal) == 3 else 0.0


def _reach(skills: Skills, goal: list[str]) -> Movement[None]:
    world = skills.world
    predicate, name = goal[:2]
    if predicate == "open":
        yield from skills.pull(_part(world, name), way=0.19)
    elif predicate == "turnon":
        yield from skills.turn(world.joint_of(name))
    elif predicate == "close" and _slides(world, name):
        yield from skills.push_in(_part(world, name))
    elif predicate == "close":
        yield from skills.swing_shut(world.joint_of(name))
    else:
        yield from _put(skills, goal)


def _put(skills: Skills, goal: list[str]) -> Movement[None]:
    world = skills.world
    _, name, target = goal
    drawer = _is_drawer(world, target)
    if drawer and abs(_opening(world, target)) < OPEN_FAR:
        yield from skills.pull(_part(world, target), way=0.15)
    how = Hold(_depth(name))
    if target.startswith("microwave"):
        how = Hold(into=(0.0, 1.0, 0.0))
    elif target.startswith("desk_caddy"):
        how = Hold(_depth(name), across=(1.0, 0.0, 0.0))

    def to() -> Vector:
        return _place_for(skills, name, target)

    yield from skills.bring(name, to, lambda: world.holds(goal), how)


def _depth(name: str) -> float:
    """How far below its top a thing is held, m.

    A moka pot by the knob of its lid, all else of it being too wide; a plate where the inner finger clears its floor.
    """
    return {"plate": 0.004, "moka_pot": 0.0}.get(name.rpartition("_")[0], 0.03)


def _place_for(skills: Skills, name: str, target: str) -> Vector:
    """Where the origin of a thing goes to be on or in the target."""
    world = skills.world
    thing, region = points_of(world, name), world.region(target)
    foot = world.region(name)[2] - thing[:, 2].min()
    if target.startswith("basket"):
        basket = points_of(world, "basket_1")
        middle = (basket.max(0) + basket.min(0)) / 2
        held = skills.hand.position[2] - thing[:, 2].min()  # above its foot; fingers go 5 cm into the basket at most
        return np.array([*middle[:2], foot + max(basket[:, 2].min() + 0.012, basket[:, 2].max() - 0.05 - held)])
    if name.startswith("plate"):
        return np.array([*region[:2], world.region(name)[2] + 0.005])
    if _is_drawer(world, target):
        body = _part(world, target)
        walls = points_below(world, body)[:, 2].max()  # above which the fingers stay: the thing drops the rest
        exposed = region + 0.015 * drawer_direction(world, body)
        return np.array([*exposed[:2], walls + foot])
    if target.startswith("microwave"):
        return np.array([region[0], region[1] - 0.015, points_of(world, "microwave_1")[:, 2].min() + foot + 0.04])
    if target.startswith("desk_caddy"):
        return np.asarray(region + 0.01 * UP)
    aside = np.zeros(3)
    if target.endswith("top_side"):
        aside = np.array([0.0, 0.02, 0.0])
    sharing = [goal[1] for goal in world.goals() if goal[-1] == target]
    if len(sharing) > 1:
        aside[0] = 0.045 if sharing.index(name) else -0.045
    return np.asarray(region + aside + (foot + 0.012) * UP)


def _is_drawer(world: World, region: str) -> bool:
    return "cabinet" in region and region.endswith(DRAWERS) and _slides(world, region)


def _slides(world: World, region: str) -> bool:
    return bool(world.model.joint(world.joint_of(region)).type[0] == 2)


def _opening(world: World, region: str) -> float:
    return float(world.data.joint(world.joint_of(region)).qpos[0])


def _part(world: World, region: str) -> int:
    """The body that the joint of a region moves."""
    return int(world.model.jnt_bodyid[world.model.joint(world.joint_of(region)).id])
