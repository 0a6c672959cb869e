"""How near the arm's parts come to each other and to the cell's boxes: capsules around its links.

A capsule is all within a radius of a line. These hold the convex hulls of the links' collision meshes, fitted by
`python -m vga_bringup.sim.scene.link_capsules`: links are never nearer to each other than their capsules are.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Box, Cell

from vga_bringup.robot.bounds.kinematics import FINGERTIPS, LINKS, Kinematics, Pose

Array = NDArray[np.float64]


class Capsule(NamedTuple):
    """All within `radius` of the line from `start` to `end`, in the frame of its part, m."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float


class Part(NamedTuple):
    """What moves as one: its name in messages, and its capsules in one of the frames LINKS."""

    name: str
    frame: int
    capsules: tuple[Capsule, ...]


class Capsules(NamedTuple):
    """The arm's capsules in its base frame: their lines' ends [..., C, 3] and radii [C], m."""

    start: Array
    end: Array
    radius: Array


# fmt: off
LINK_PARTS = (
    Part("base", 0, (
        Capsule((-0.014, 0.008, 0.042), (-0.075, 0.0, 0.035), 0.098),
        Capsule((-0.003, 0.0, 0.079), (-0.022, -0.024, 0.041), 0.087))),
    Part("shoulder", 1, (
        Capsule((-0.001, -0.066, -0.004), (0.0, 0.0, -0.157), 0.067),
        Capsule((0.0, -0.03, 0.0), (0.0, -0.008, -0.099), 0.063))),
    Part("upper arm", 2, (
        Capsule((0.0, 0.0, 0.036), (0.001, -0.158, 0.001), 0.068),
        Capsule((0.0, 0.0, 0.072), (-0.001, -0.116, 0.027), 0.063))),
    Part("elbow", 3, (Capsule((0.082, 0.042, -0.002), (0.0, 0.0, -0.081), 0.071),)),
    Part("upper forearm", 4, (Capsule((0.0, 0.0, 0.042), (-0.082, 0.083, 0.0), 0.071),)),
    Part("forearm", 5, (
        Capsule((0.0, 0.002, -0.227), (0.0, 0.057, -0.003), 0.065),
        Capsule((0.001, 0.031, -0.203), (0.001, 0.078, 0.0), 0.060))),
    Part("wrist", 6, (
        Capsule((0.001, 0.0, 0.005), (0.079, 0.032, -0.002), 0.056),
        Capsule((0.02, -0.005, 0.006), (0.089, -0.021, -0.002), 0.055))),
    Part("flange", 7, (Capsule((-0.005, -0.005, 0.073), (0.033, 0.033, 0.079), 0.050),)),
)
HAND = Part("hand", LINKS.index("hand"), (  # however wide its fingers are open
    Capsule((0.0, -0.072, 0.022), (0.0, 0.059, 0.032), 0.051),
    Capsule((0.0, 0.045, 0.095), (0.0, -0.045, 0.095), 0.024),
    Capsule((0.0, 0.056, 0.068), (0.0, -0.055, 0.067), 0.021)))
# fmt: on

# Parts with fewer joints between them touch, or the joints' ranges keep them apart, however near they come: the forearm
# 21 mm from the flange, 33 mm from the hand. These only reach into its hull, which fills its hollow.
APART = 3
LAST_LINK = 7
# What is mounted on the hand may well meet forearm and wrist, but its mount brings it near to them.
MOUNTED_APART, MOUNTED_CLEARANCE = 1, 0.0  # m
TOOL_RADIUS = 0.01  # m, of what reaches from between the fingertips to a tool center point elsewhere
SIDE_BY_SIDE = 4  # at most, of capsules in a flat box
ROUNDING = 1.1  # a box's capsules are thicker than its cross-section asks for, so as to reach less far beyond its ends
LEEWAY = 1e-6  # m that parts which begin too near each other may come nearer: no more than rounding does
HALVINGS = 12  # of a line, in looking for its point nearest to a box: to 0.1 mm


class SelfCollision:
    """Where a cell's arm is too near itself, by capsules.

    pairs: names of the P monitored pairs, as "shoulder and forearm". clearance: m, that each of them keeps [P].
    of_mounted: whether a mounted box is one of the two [P]. parts: name of the part of each of the C capsules.
    """

    def __init__(self, cell: Cell) -> None:
        mounted = _mounted(cell)
        parts = (*LINK_PARTS, _hand(cell), *mounted)
        self.parts = [part.name for part in parts for _ in part.capsules]
        self._frames = np.array([part.frame for part in parts for _ in part.capsules])
        self._start, self._end = (
            np.array([capsule[end] for part in parts for capsule in part.capsules])[..., None] for end in (0, 1)
        )
        self._radius = np.array([capsule.radius for part in parts for capsule in part.capsules])
        # Of every pair of parts all capsules with all, one pair after the other.
        boxes = range(len(parts) - len(mounted), len(parts))
        numbers = np.split(np.arange(len(self.parts)), np.cumsum([len(part.capsules) for part in parts])[:-1])
        between = {(a, b): _joints_between(parts[a], parts[b]) for a, b in combinations(range(len(parts)), 2)}
        pairs = [(a, b) for (a, b), joints in between.items() if joints >= (MOUNTED_APART if b in boxes else APART)]
        self.pairs = [f"{parts[a].name} and {parts[b].name}" for a, b in pairs]
        self.of_mounted = np.array([b in boxes for _, b in pairs])
        clearance = cell.arm.self_collision.clearance
        self.clearance = np.array([clearance if between[pair] >= APART else MOUNTED_CLEARANCE for pair in pairs])
        meetings = [np.stack(np.meshgrid(numbers[a], numbers[b]), axis=-1).reshape(-1, 2) for a, b in pairs]
        self._begins = np.cumsum([0, *map(len, meetings)])[:-1]
        self._first, self._second = np.concatenate(meetings).T
        self._thickness = self._radius[self._first] + self._radius[self._second]
        halves = np.linalg.norm(self._end - self._start, axis=1)[:, 0] / 2
        self._reach = self._thickness + halves[self._first] + halves[self._second]

    def place(self, links: Pose) -> Capsules:
        """The capsules of an arm whose links (Kinematics.links) are there."""
        rotations, positions = links.rotation[..., self._frames, :, :], links.position[..., self._frames, :]
        start, end = (positions + (rotations @ point)[..., 0] for point in (self._start, self._end))
        return Capsules(start, end, self._radius)

    def distances(self, capsules: Capsules, within: float = np.inf) -> Array:
        """From surface to surface of every monitored pair, m, 0 or less when they meet: [..., P].

        within: m; a distance beyond it is only told to be beyond it, which is quicker.
        """
        shape = capsules.start.shape[:-2]
        start, end = (points.reshape(-1, len(self.parts), 3) for points in capsules[:2])
        middle = ((start + end) / 2).transpose(2, 0, 1)
        x, y, z = middle[..., self._first] - middle[..., self._second]
        surfaces = np.sqrt(x * x + y * y + z * z) - self._reach  # at least
        posture, pair = np.nonzero(surfaces <= within)
        first, second = (posture, self._first[pair]), (posture, self._second[pair])
        exact = between_segments(start[first], end[first], start[second], end[second]) - self._thickness[pair]
        surfaces[posture, pair] = exact
        return np.asarray(np.minimum.reduceat(surfaces, self._begins, axis=-1).reshape(*shape, len(self.pairs)))

    def too_near(self, distances: Array, since: Array | None = None) -> NDArray[np.bool_]:
        """Which `distances` [..., P] (m) are below the clearance, and below those that they may begin with: [..., P].

        since: distances [..., P] (m) where the motion begins, or so far: what is too near there may stay as near.
        """
        allowed = self.clearance if since is None else np.minimum(self.clearance, since - LEEWAY)
        return np.asarray(distances < allowed)

    def describe(self, distances: Array, pair: int | None = None) -> str:
        """One pair in words, by one posture's `distances` [P] (m): the nearest for its clearance, or the one given."""
        pair = int((distances - self.clearance).argmin()) if pair is None else pair
        distance = distances[pair]
        where = f"are {distance:.3f} m apart" if distance > 0 else f"overlap by {-distance:.3f} m"
        return f"{self.pairs[pair]} {where}, clearance {self.clearance[pair]:g} m"

    def touch_box(self, capsules: Capsules, low: Array, high: Array) -> NDArray[np.bool_]:
        """Which capsules reach into the box from `low` to `high` [3] (m): [..., C]. The base never: it stands there."""
        return capsules_touch_box(capsules, low, high) & (self._frames > 0)


def problems(cell: Cell) -> list[str]:
    """Why the arm may not even be at home: key, which parts, how near, what to do. Empty when it may."""
    arm, check = cell.arm, SelfCollision(cell)
    home = check.place(Kinematics(arm).links(np.array(arm.home)))
    distances = check.distances(home)
    found = []
    for pair in np.flatnonzero(check.too_near(distances)):
        key, remedy = "clearance", ""
        if check.of_mounted[pair]:
            key, remedy = "mounted", "correct the box (in the hand's frame) or "
        if 0 < distances[pair] < check.clearance[pair]:
            remedy += f"lower arm.self_collision.clearance below {distances[pair]:.3f} or "
        what = check.describe(distances, int(pair))
        found.append(f"arm.self_collision.{key}: at arm.home {what}: {remedy}move arm.home")
    for number, box in enumerate(cell.keep_out):
        touching = check.touch_box(home, np.array(box.min), np.array(box.max))
        if touching.any():
            part = check.parts[int(touching.argmax())]
            name = f" ('{box.name}')" if box.name else ""
            found.append(f"keep_out.{number}{name}: the {part} is in it at arm.home: move arm.home or shrink the box")
    return found


def box_capsules(box: Box) -> tuple[Capsule, ...]:
    """Capsules that together hold a box, along its longest edge; several side by side in a flat one."""
    low, high = np.array(box.min), np.array(box.max)
    thin, wide, long = np.argsort(high - low)
    size = (high - low)[[thin, wide, long]]
    count = min(SIDE_BY_SIDE, int(np.ceil(size[1] / size[0] - 0.5)))
    across = float(np.hypot(size[0], size[1] / count)) / 2  # from a capsule's axis to the edges of its share
    radius = ROUNDING * across
    half = max(0.0, size[2] / 2 - float(np.sqrt(radius**2 - across**2)))
    capsules = []
    for number in range(count):
        ends = np.tile((low + high) / 2, (2, 1))
        ends[:, wide] = low[wide] + (number + 0.5) * size[1] / count
        ends[:, long] += -half, half
        (x0, y0, z0), (x1, y1, z1) = ends.tolist()
        capsules.append(Capsule((x0, y0, z0), (x1, y1, z1), radius))
    return tuple(capsules)


def between_segments(start: Array, end: Array, other_start: Array, other_end: Array) -> Array:
    """Shortest distance between line segments, their ends [..., 3] (m): [...]."""
    along, other, apart = end - start, other_end - other_start, start - other_start
    a, e, b = _dot(along, along) + 1e-12, _dot(other, other) + 1e-12, _dot(along, other)
    c, f = _dot(along, apart), _dot(other, apart)
    # The nearest point of the first line to the second one, of this to that, and back where an end was in the way.
    s = ((b * f - c * e) / np.maximum(a * e - b * b, 1e-12)).clip(0.0, 1.0)
    t = ((b * s + f) / e).clip(0.0, 1.0)
    s = ((b * t - c) / a).clip(0.0, 1.0)
    between = apart + s[..., None] * along - t[..., None] * other
    return np.asarray(np.sqrt(_dot(between, between)))


def capsules_touch_box(capsules: Capsules, low: Array, high: Array) -> NDArray[np.bool_]:
    """Which capsules have a point in the axis-aligned box from `low` to `high` [3] (m): [..., C]; to 0.1 mm."""
    middle, half = (capsules.start + capsules.end) / 2, (capsules.end - capsules.start) / 2
    radius = np.broadcast_to(capsules.radius, middle.shape[:-1])
    length = np.sqrt(_dot(half, half))
    touching = _beyond(middle, low, high) <= length + radius
    middle, half, radius = middle[touching], half[touching], radius[touching]
    # The distance from the box is convex along the line: halve the stretch where its slope changes sign.
    where, step = np.zeros(len(middle)), 0.5
    for _ in range(HALVINGS):
        point = middle + where[:, None] * half
        where -= step * np.sign(_dot(point - point.clip(low, high), half))
        step /= 2
    distance = _beyond(middle + where[:, None] * half, low, high)
    touching[touching] = distance <= radius + 2 * step * length[touching]
    return np.asarray(touching)


def _joints_between(part: Part, other: Part) -> int:
    """How many joints are between two parts, the first not after the other; the hand is rigid with the last link."""
    return min(other.frame, LAST_LINK) - min(part.frame, LAST_LINK)


def _hand(cell: Cell) -> Part:
    """The hand, with the tool when the cell's tool center point is not between its fingertips."""
    x, y, z = cell.arm.end_effector_xyz
    if not any((x, y, z)):
        return HAND
    tool = Capsule((0.0, 0.0, FINGERTIPS), (x, y, FINGERTIPS + z), TOOL_RADIUS)
    return HAND._replace(capsules=(*HAND.capsules, tool))


def _mounted(cell: Cell) -> list[Part]:
    boxes = enumerate(cell.arm.self_collision.mounted, 1)
    return [Part(box.name or f"mounted box {number}", HAND.frame, box_capsules(box)) for number, box in boxes]


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("...i,...i->...", a, b))


def _beyond(point: Array, low: Array, high: Array) -> Array:
    """Distance of points [..., 3] from a box, m: [...]."""
    beyond = point - point.clip(low, high)
    return np.sqrt(_dot(beyond, beyond))
