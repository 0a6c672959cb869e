"""What the expert can do: take, put and insert things; pull, push and swing what moves; turn a knob."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vga_policy.libero.expert.grasps import by_handle, choose
from vga_policy.libero.expert.hand import CLOSE, OPEN, Hand, Movement, Rotation, aim
from vga_policy.libero.expert.shapes import Points, geom_points, geoms_below, obstacles, points_below, points_of, speed
from vga_policy.libero.world import STILL, Vector, World

UP = np.array([0.0, 0.0, 1.0])
LIFT = 0.10
FALLING, AT_REST = 30, 0.1  # steps for which falling things are waited for; m/s below which one lies
LOST = 0.05  # m by which what is held comes nearer to the hand, or leaves it, when it drops
BLOCKED = 0.03  # m from a thing at which closing the fingers is of no use
BESIDE, ABOVE = 0.08, 0.04  # m that what is carried needs around and below it


@dataclass(frozen=True)
class Hold:
    """How a thing is to be held. deep: m below its top.

    across: what is between the fingers, once placed, is thin along this direction; None: as it comes. into: horizontal
    unit vector along which it is inserted, held by its handle; None: it is put down from above.
    """

    deep: float = 0.03
    across: tuple[float, float, float] | None = None
    into: tuple[float, float, float] | None = None


class Skills:
    """Movements of one hand in one world."""

    def __init__(self, hand: Hand) -> None:
        self.hand, self.world = hand, hand.world

    def begin(self) -> Movement[None]:
        """The way to where this demonstration begins to be about its task, once nothing falls any more."""
        first = np.array(self.hand.style.first)
        if first.any():
            yield from self.hand.go(self.hand.position + first, self.hand.rotation, OPEN, near=0.02)
        for _ in range(FALLING):
            if all(speed(self.world, name) < AT_REST for name in self.world.things()):
                break
            yield STILL

    # --- Things ---

    def bring(
        self, name: str, to: Callable[[], Vector], holds: Callable[[], bool], how: Hold, tries: int = 3
    ) -> Movement[bool]:
        """Takes a thing, unless it is in the hand, and puts its origin to a place; again, and held elsewhere, if that
        was in vain."""
        in_vain: list[Vector] = []
        for _ in range(tries):
            rotation: Rotation | None = self.hand.rotation
            if not self.hand.holds(name):
                rotation = yield from self.pick(name, how, to() - self.world.region(name), in_vain)
            if rotation is None:
                yield from self.hand.grip(OPEN, self.hand.rotation)
                yield from self.hand.go(self.hand.position + 0.08 * UP, self.hand.rotation, OPEN, near=0.03)
                continue
            if how.across is not None:
                rotation = self._square(name, np.array(how.across))
            if how.into is None:
                yield from self.place(name, to(), rotation, snug=how.across is not None)
            else:
                yield from self.insert(name, to(), np.array(how.into), rotation)
            if holds():
                return True
        return False

    def pick(self, name: str, how: Hold, way: Vector, in_vain: list[Vector]) -> Movement[Rotation | None]:
        """Takes hold and lifts; how the hand is held then, None when the thing was not reached, or lost.

        way: to where it will be put, where the hand must find room as well. in_vain: where it was not to be had, to
        which this place is added if need be.
        """
        hand, world = self.hand, self.world
        thing, others = points_of(world, name), obstacles(world, name)
        room = hand.style.height
        if how.into is None:
            grasp = choose(thing, others, others - way, hand.rotation, how.deep, in_vain)
            room += max(0.0, thing[:, 2].max() - grasp.position[2])
        else:
            grasp = by_handle(self._nearest(name, np.array(how.into)), np.array(how.into))
        ready = grasp.position - room * grasp.out
        over = np.array([*ready[:2], max(ready[2], hand.position[2])])
        yield from hand.go(hand.stray(over), grasp.rotation, OPEN, near=0.04, aligned=0.3)
        yield from hand.go(ready, grasp.rotation, OPEN, near=0.02, limit=50)
        yield from hand.go(grasp.position, grasp.rotation, OPEN, near=0.007, limit=45)
        if np.linalg.norm(grasp.position - hand.position) > BLOCKED:
            in_vain.append(grasp.position)
            return None
        before = world.region(name)[2]
        yield from hand.grip(CLOSE, grasp.rotation, at=grasp.position)
        away = -grasp.out if how.into is None else UP  # the way it came
        yield from hand.go(hand.position + LIFT * away, grasp.rotation, CLOSE, near=0.02)
        if world.region(name)[2] > before + 0.03:
            return grasp.rotation
        in_vain.append(grasp.position)
        return None

    def place(self, name: str, to: Vector, rotation: Rotation, snug: bool = False) -> Movement[None]:
        """Carries what is held until its origin is at `to`, lets go and moves up; stops when it loses it on the way.

        snug: there is little room, which its middle goes to the middle of, and which it must not enter askew.
        """
        hand = self.hand
        held = self._middle if snug else self.world.region
        near, aligned = (0.004, 0.02) if snug else (0.015, 0.1)
        target = to + self._offset(held(name), rotation)
        high = max(hand.position[2], target[2] + 0.04, self._height_above(name, to))
        apart = np.linalg.norm(hand.position - held(name))

        def lost() -> bool:
            return bool(abs(np.linalg.norm(hand.position - held(name)) - apart) > LOST)

        yield from hand.go(hand.stray([*hand.position[:2], high]), rotation, CLOSE, near=0.02, aligned=9.0, vain=lost)
        yield from hand.go([*target[:2], high], rotation, CLOSE, near=near, aligned=aligned, vain=lost)
        if lost():
            return
        yield from hand.go(to + self._offset(held(name), rotation), rotation, CLOSE, near=0.008, limit=40)
        yield from hand.grip(OPEN, rotation)
        yield from hand.go(hand.position + 0.08 * UP, rotation, OPEN, near=0.03, limit=20)

    def insert(self, name: str, to: Vector, along: Vector, rotation: Rotation) -> Movement[None]:
        """Carries what is held in front of an opening and in, along a horizontal unit vector; lets go, comes out."""
        hand = self.hand
        target = to + self._offset(self.world.region(name), rotation)
        before = target - 0.2 * along
        yield from hand.go([*before[:2], max(hand.position[2], before[2])], rotation, CLOSE, near=0.03)
        yield from hand.go(before, rotation, CLOSE, near=0.012)
        inside = to + self._offset(self.world.region(name), rotation)
        yield from hand.go(inside, rotation, CLOSE, near=0.01, limit=50, fast=0.6)
        yield from hand.grip(OPEN, rotation)
        yield from hand.go(hand.position - 0.2 * along, rotation, OPEN, near=0.03, limit=40)

    def _nearest(self, name: str, towards: Vector) -> Points:
        """What of a thing whoever comes along `towards` meets first: its handle."""
        bars = [geom_points(self.world, geom) for geom in geoms_below(self.world, self.world.body(name))]
        return min(bars, key=lambda bar: float((bar @ towards).min()) - float(np.ptp(bar[:, 2])))

    def _square(self, name: str, across: Vector) -> Rotation:
        """How the hand points down so that what it holds, be it askew, is thin along a horizontal direction."""
        seen = points_of(self.world, name)[:, :2]
        thin = np.linalg.svd(seen - seen.mean(0), full_matrices=False)[2][1]
        thin *= 1.0 if thin @ across[:2] > 0 else -1.0
        angle = np.arctan2(across[1], across[0]) - np.arctan2(thin[1], thin[0])
        return aim(_about_up(float(angle)) @ self.hand.rotation[:, 0])

    def _middle(self, name: str) -> Vector:
        """Of a thing seen from above, at the height of its origin."""
        thing = points_of(self.world, name)
        return np.array([*(thing.max(0) + thing.min(0))[:2] / 2, self.world.region(name)[2]])

    def _offset(self, held: Vector, rotation: Rotation) -> Vector:
        """From a point of what is held to the hand, once the hand is held like this."""
        offset, turn = self.hand.position - held, self.hand.turn_left(rotation)
        angle = float(np.linalg.norm(turn))
        axis = turn / max(angle, 1e-9)  # Rodrigues' formula
        along = axis * (axis @ offset)
        return np.asarray(along + (offset - along) * np.cos(angle) + np.cross(axis, offset) * np.sin(angle))

    def _height_above(self, name: str, to: Vector) -> float:
        """Of the hand, at which what it holds passes over everything between here and there."""
        here, others = self.world.region(name), obstacles(self.world, name)
        way = to[:2] - here[:2]
        share = np.clip((others[:, :2] - here[:2]) @ way / max(float(way @ way), 1e-9), 0.2, 1.0)
        aside = np.linalg.norm(others[:, :2] - here[:2] - share[:, None] * way, axis=1)
        tops = others[aside < BESIDE, 2]
        foot = self.hand.position[2] - points_of(self.world, name)[:, 2].min()
        return float(tops.max(initial=0.0) + ABOVE + foot)

    # --- What moves in its place ---

    def pull(self, body: int, way: float, tilt: float = 1.4) -> Movement[None]:
        """Takes the handle of a drawer (its body) with the hand tilted towards it, and pulls it out by `way` m."""
        hand, data = self.hand, self.world.data
        outwards = drawer_direction(self.world, body)
        bar = max(geoms_below(self.world, body), key=lambda geom: data.geom_xpos[geom] @ outwards)  # the foremost
        at = np.array(data.geom_xpos[bar])
        rotation = aim(UP, -np.sin(tilt) * outwards - np.cos(tilt) * UP)
        out = rotation[:, 2]
        above = at - 0.12 * out + 0.05 * outwards + 0.05 * UP
        yield from hand.go(hand.stray(above), rotation, OPEN, near=0.03, aligned=0.2)
        yield from hand.go(at - 0.08 * out, rotation, OPEN, near=0.015)
        yield from hand.go(at, rotation, OPEN, near=0.008, limit=40)
        yield from hand.grip(CLOSE, rotation)
        yield from hand.go(hand.position + way * outwards, rotation, CLOSE, near=0.02, limit=60)
        yield from hand.grip(OPEN, rotation, limit=6)  # off the bar is enough
        yield from hand.go(hand.position - 0.1 * out, rotation, OPEN, near=0.02, limit=30)
        yield from hand.go(hand.position + 0.12 * UP, rotation, OPEN, near=0.03, limit=30)

    def push_in(self, body: int, tilt: float = 0.55) -> Movement[None]:
        """Pushes a drawer (its body) home, with closed fingers against its front."""
        hand, model = self.hand, self.world.model
        outwards = drawer_direction(self.world, body)
        drawer = points_below(self.world, body)
        middle = (drawer.max(0) + drawer.min(0)) / 2
        at = middle + (float((drawer @ outwards).max()) - middle @ outwards) * outwards
        left = abs(float(self.world.data.qpos[model.jnt_qposadr[model.body_jntadr[body]]]))
        rotation = aim(np.cross(UP, outwards), -np.sin(tilt) * outwards - np.cos(tilt) * UP)
        before = at + 0.08 * outwards
        above = np.array([*before[:2], max(hand.position[2], before[2] + 0.15)])
        yield from hand.go(above, rotation, CLOSE, near=0.02, aligned=0.2)
        yield from hand.go(before, rotation, CLOSE, near=0.015, limit=40)
        yield from hand.go(at - (left + 0.05) * outwards, rotation, CLOSE, near=0.01, limit=60)
        yield from hand.go(hand.position + 0.08 * outwards, rotation, CLOSE, near=0.03, limit=20)

    def swing_shut(self, joint: str) -> Movement[None]:
        """Pushes a door on a vertical hinge shut, with closed fingers against its outside."""
        hand, model, data = self.hand, self.world.model, self.world.data
        number = model.joint(joint).id
        hinge, sense = np.array(data.xanchor[number]), float(np.sign(data.xaxis[number][2]))
        left = -float(data.qpos[model.jnt_qposadr[number]])
        door = points_below(self.world, int(model.jnt_bodyid[number])) - hinge
        leaf = door.mean(0) * [1, 1, 0]
        leaf /= np.linalg.norm(leaf)
        outside = np.cross(leaf, UP) * sense
        at = (float((door @ leaf).max()) - 0.05) * leaf + float((door @ outside).max()) * outside
        level, high = (hinge[2] + door[:, 2].max() + above for above in (-0.07, 0.10))

        def pose(angle: float, away: float = 0.0) -> tuple[Vector, Rotation]:
            turned = _about_up(sense * angle)
            return hinge * [1, 1, 0] + turned @ (at * [1, 1, 0] + away * outside), aim(turned @ leaf)

        start, rotation = pose(0.0, away=0.03)
        yield from hand.go([*hand.position[:2], high], hand.rotation, CLOSE, near=0.03, aligned=9.0)
        yield from hand.go(hand.stray(start + high * UP), rotation, CLOSE, near=0.03, aligned=0.3)
        yield from hand.go(start + level * UP, rotation, CLOSE, near=0.02, limit=40)
        for angle in np.linspace(0.0, left, 8):
            at_angle, rotation = pose(float(angle))
            yield from hand.go(at_angle + level * UP, rotation, CLOSE, near=0.02, limit=25)
        at_angle, rotation = pose(left, away=-0.06)
        yield from hand.go(at_angle + level * UP, rotation, CLOSE, near=0.005, limit=25)
        at_angle, rotation = pose(left, away=0.1)
        yield from hand.go(at_angle + level * UP, rotation, CLOSE, near=0.03, limit=20)

    def turn(self, joint: str) -> Movement[None]:
        """Takes a knob by its fin and turns the hand with it."""
        hand, model, data = self.hand, self.world.model, self.world.data
        number = model.joint(joint).id
        axis, sense = np.array(data.xanchor[number]), np.sign(data.xaxis[number][2])
        knob = points_below(self.world, int(model.jnt_bodyid[number]))
        fin = knob[knob[:, 2] > knob[:, 2].max() - 0.008]
        middle = np.array([*fin[:, :2].mean(0), fin[:, 2].max() - 0.018])
        along = np.linalg.svd(fin[:, :2] - fin[:, :2].mean(0))[2][0]
        across = np.array([-along[1], along[0], 0.0])
        yield from hand.go(hand.stray(middle + 0.1 * UP), aim(across), OPEN, near=0.03, aligned=0.3)
        yield from hand.go(middle + 0.05 * UP, aim(across), OPEN, near=0.015)
        yield from hand.go(middle, aim(across), OPEN, near=0.008, limit=40)
        yield from hand.grip(CLOSE, aim(across))
        turned = np.eye(3)
        for angle in sense * np.arange(0.3, 1.6, 0.3):
            turned = _about_up(angle)
            yield from hand.go(axis + turned @ (middle - axis), aim(turned @ across), CLOSE, near=0.012, limit=15)
        yield from hand.grip(OPEN, aim(turned @ across))
        yield from hand.go(hand.position + 0.1 * UP, aim(turned @ across), OPEN, near=0.03, limit=30)


def drawer_direction(world: World, body: int) -> Vector:
    """Horizontal unit vector along which a drawer comes out."""
    joint = int(world.model.body_jntadr[body])
    low, high = world.model.jnt_range[joint]
    return np.asarray(world.data.xaxis[joint] * (1.0 if abs(high) > abs(low) else -1.0))


def _about_up(angle: float) -> Rotation:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
