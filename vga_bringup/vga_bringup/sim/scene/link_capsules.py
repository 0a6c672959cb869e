"""Fits the capsules of robot.self_collision to the convex hulls of the arm's collision meshes.

`python -m vga_bringup.sim.scene.link_capsules` prints the table that stands there, and how far it sticks out of the
hulls.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from vga_bringup.robot.bounds.kinematics import LINKS
from vga_bringup.sim.scene.meshes import ASSETS

Array = NDArray[np.float64]

# Which get two capsules, because one would be fat; the others get one.
TWO = ("link0", "link1", "link2", "link5", "link6", "fingers")
COARSE, FINE = 0.016, 0.004  # m between the points that stand for a hull, while fitting and in the end
STARTS, STEPS = 24, 800  # of the search
WORST = 0.1  # weight of the worst excess beside the mean one
MILLIMETER = 1e-3


class Hull(NamedTuple):
    """A convex hull in its link's frame: corners [V, 3] (m) and its triangles [F, 3], indices of corners."""

    corners: Array
    triangles: NDArray[np.int_]

    def surface(self, spacing: float) -> Array:
        """Points [P, 3] (m) on the whole surface, no farther than `spacing` (m) from one another along a triangle."""
        points = [self.corners]
        for a, b, c in self.corners[self.triangles]:
            count = int(np.ceil(max(np.linalg.norm(b - a), np.linalg.norm(c - a), np.linalg.norm(c - b)) / spacing))
            i, j = np.divmod(np.arange((count + 1) ** 2), count + 1)
            inside = i + j <= count
            points.append(a + np.outer(i[inside] / count, b - a) + np.outer(j[inside] / count, c - a))
        every = np.concatenate(points)
        _, distinct = np.unique((every / spacing * 2).round(), axis=0, return_index=True)
        return np.concatenate((self.corners, every[distinct]))


def collision_model(extra: str = "") -> mujoco.MjModel:
    """The arm with its hand and nothing but their collision meshes; `extra`: MJCF of an asset to compile with it."""
    root = ET.parse(ASSETS / "fr3.xml").getroot()
    compiler = root.find("compiler")
    assert compiler is not None, "franky-sim's model sets its mesh directory"
    compiler.set("meshdir", str(ASSETS / "meshes"))
    for body in root.iter("body"):
        for geom in body.findall("geom"):
            if geom.get("class") == "visual":
                body.remove(geom)
    if extra:
        ET.SubElement(root, "asset").append(ET.fromstring(extra))
    return mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"))


def link_hulls() -> dict[str, Hull]:
    """Hulls of "link0" … "link7", "hand" and "fingers", these in the hand's frame, however wide they are open."""
    model = collision_model()
    hulls = {name: _hull(model, _geom(model, name if name == "hand" else f"fr3_{name}")) for name in LINKS}
    finger = _hull(model, _geom(model, "left_finger")).corners + model.body("left_finger").pos
    opened = finger + np.array((0.0, model.joint("finger_joint1").range[1], 0.0))
    both = np.concatenate([side * corners for corners in (finger, opened) for side in ((1, 1, 1), (-1, -1, 1))])
    swept = " ".join(f"{value:.9g}" for value in both.ravel())
    model = collision_model(f'<mesh name="swept" vertex="{swept}"/>')
    return {**hulls, "fingers": _hull_of_mesh(model, model.mesh("swept").id)}


def fit(hull: Hull, count: int) -> Array:
    """`count` capsules [count, 7] (ends and radius, m, in whole millimeters) that together hold the hull."""
    points, support = hull.surface(COARSE), (hull.corners @ DIRECTIONS.T).max(axis=0)
    rng = np.random.default_rng(0)

    def cost(capsules: Array) -> float:
        excess = sticking_out(_grown(capsules, points), support)
        return float(excess.mean() + WORST * excess.max())

    def improved(capsules: Array, steps: int) -> tuple[float, Array]:
        best, step = cost(capsules), 0.015
        for _ in range(steps):
            moved = capsules + step * rng.standard_normal(capsules.shape) * (rng.random(capsules.shape) < 0.35)
            if (value := cost(moved)) < best:
                best, capsules, step = value, moved, min(1.6 * step, 0.05)
            else:
                step = 0.97 * step if step > 1e-4 else 0.01
        return best, capsules

    middle = hull.corners.mean(axis=0)
    axis = np.linalg.svd(hull.corners - middle)[2][0]
    half = np.ptp(hull.corners @ axis) / 3 * axis
    starts = []
    for start in range(STARTS):
        ends = rng.dirichlet(np.full(len(hull.corners), 0.5), (2, count)) @ hull.corners
        if start % 2:  # side by side, along the hull
            lines = ends[0] - np.outer((ends[0] - middle) @ axis, axis)
            ends = np.stack((lines - half, lines + half))
        starts.append(improved(np.concatenate((*ends, rng.uniform(0.03, 0.06, (count, 1))), axis=1), STEPS))
    _, capsules = improved(min(starts, key=lambda found: found[0])[1], 4 * STEPS)
    capsules = _grown((capsules / MILLIMETER).round() * MILLIMETER, hull.surface(FINE))
    capsules[:, 6] = np.ceil(capsules[:, 6] / MILLIMETER + 0.05) * MILLIMETER
    return capsules


def sticking_out(capsules: Array, support: Array) -> Array:
    """How far capsules [C, 7] reach beyond a hull in each of DIRECTIONS, m; support: how far the hull does, m."""
    reach = np.maximum(capsules[:, :3] @ DIRECTIONS.T, capsules[:, 3:6] @ DIRECTIONS.T) + capsules[:, 6:]
    return np.asarray(reach.max(axis=0) - support)


def uncovered(capsules: Array, points: Array) -> Array:
    """How far each of the points [P, 3] is outside every one of the capsules [C, 7], m; negative when inside: [P]."""
    return np.asarray((_from_axes(capsules, points) - capsules[:, 6]).min(axis=1))


def _grown(capsules: Array, points: Array) -> Array:
    """Capsules with the radii they need for every point to be in the one it is deepest in, or nearest to."""
    distances = _from_axes(capsules, points)
    nearest = (distances - capsules[:, 6]).argmin(axis=1)
    radii = np.zeros(len(capsules))
    np.maximum.at(radii, nearest, distances[np.arange(len(points)), nearest])
    return np.concatenate((capsules[:, :6], radii[:, None]), axis=1)


def _from_axes(capsules: Array, points: Array) -> Array:
    """Distance of every point [P, 3] from the axis of every capsule [C, 7], m: [P, C]."""
    start, along = capsules[:, :3], capsules[:, 3:6] - capsules[:, :3]
    share = ((points[:, None] - start) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-12)
    return np.linalg.norm(points[:, None] - start - share.clip(0.0, 1.0)[..., None] * along, axis=-1)


def _geom(model: mujoco.MjModel, body: str) -> int:
    """The mesh among a body's geoms."""
    first, count = model.body(body).geomadr[0], model.body(body).geomnum[0]
    meshes = [geom for geom in range(first, first + count) if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH]
    return meshes[0]


def _hull(model: mujoco.MjModel, geom: int) -> Hull:
    """A geom's hull, in the frame of its body."""
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    corners, triangles = _mesh_hull(model, model.geom_dataid[geom])
    return Hull(corners @ turn.reshape(3, 3).T + model.geom_pos[geom], triangles)


def _hull_of_mesh(model: mujoco.MjModel, mesh: int) -> Hull:
    """A mesh's hull, in the frame its vertices were given in: MuJoCo moves them to its axes of inertia."""
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[mesh])
    corners, triangles = _mesh_hull(model, mesh)
    return Hull(corners @ turn.reshape(3, 3).T + model.mesh_pos[mesh], triangles)


def _mesh_hull(model: mujoco.MjModel, mesh: int) -> Hull:
    """The hull as MuJoCo keeps it: counts, then offsets, vertices, edges (vertices + 3 faces) and faces."""
    graph = model.mesh_graph[model.mesh_graphadr[mesh] :]
    vertices, faces = graph[:2]
    triangles = graph[2 + 3 * vertices + 3 * faces :][: 3 * faces].reshape(-1, 3)
    used, renumbered = np.unique(triangles, return_inverse=True)
    corners = model.mesh_vert[model.mesh_vertadr[mesh] :][used].astype(float)
    return Hull(corners, renumbered.reshape(-1, 3))


def _directions(count: int) -> Array:
    """Directions [count, 3], evenly over the sphere (Fibonacci's)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (1 + 5**0.5) * np.arange(count)
    across = np.sqrt(1 - height**2)
    return np.stack((across * np.cos(angle), across * np.sin(angle), height), axis=1)


DIRECTIONS = _directions(256)


def _text(point: Array) -> str:
    return str(tuple((point.round(3) + 0.0).tolist()))  # no -0.0


def main() -> None:
    """Prints the table."""
    for name, hull in link_hulls().items():
        capsules = fit(hull, 2 if name in TWO else 1)
        excess = sticking_out(capsules, (hull.corners @ DIRECTIONS.T).max(axis=0))
        print(f"# {name}: sticks out {excess.mean() * 1e3:.0f} mm in the mean, {excess.max() * 1e3:.0f} mm at most")
        for start, end, radius in zip(capsules[:, :3], capsules[:, 3:6], capsules[:, 6], strict=True):
            print(f"    Capsule({_text(start)}, {_text(end)}, {radius:.3f}),")


if __name__ == "__main__":
    main()
