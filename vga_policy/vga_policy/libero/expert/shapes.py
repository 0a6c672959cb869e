"""Where things are: points on the shapes that collide."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from vga_policy.libero.world import World

Points = NDArray[np.float64]  # [N, 3], m, in the world

SPACING = 0.02  # m between points of a box, at most: a finger fits nowhere in between
RING = np.linspace(0, 2 * np.pi, 16, endpoint=False)


def points_of(world: World, name: str) -> Points:
    """Points of an object or a fixture."""
    return points_below(world, world.body(name))


def speed(world: World, name: str) -> float:
    """Of an object or a fixture, m/s."""
    return float(np.linalg.norm(world.data.cvel[world.body(name)][3:]))


def touching(world: World, name: str) -> set[str]:
    """Names of the bodies that touch an object."""
    model, own = world.model, set(geoms_below(world, world.body(name)))
    pairs = world.data.contact.geom[: world.data.ncon]
    others = {int(pair[1 - side]) for pair in pairs for side in (0, 1) if int(pair[side]) in own}
    return {model.body(model.geom_bodyid[geom]).name for geom in others - own}


def obstacles(world: World, *without: str) -> Points:
    """Points of everything but these, the table and the robot."""
    found = [points_of(world, name) for name in world.things() if name not in without]
    return np.concatenate(found) if found else np.zeros((0, 3))


def geoms_below(world: World, body: int) -> list[int]:
    """The colliding geoms of a body and of those that hang from it."""
    model = world.model
    within = {body}
    for child in range(body + 1, model.nbody):  # children come after their parents
        if model.body_parentid[child] in within:
            within.add(child)
    return [
        geom
        for geom in range(model.ngeom)
        if model.geom_bodyid[geom] in within and (model.geom_contype[geom] or model.geom_conaffinity[geom])
    ]


def points_below(world: World, body: int) -> Points:
    """Points of a body and of those that hang from it; its origin where it has no shape."""
    found = [geom_points(world, geom) for geom in geoms_below(world, body)]
    return np.concatenate(found) if found else world.data.xpos[body][None].copy()


def geom_points(world: World, geom: int) -> Points:
    """Points on one geom, or in it."""
    model, data = world.model, world.data
    kind, size = model.geom_type[geom], model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        local = model.mesh_vert[first : first + model.mesh_vertnum[mesh]]
    elif kind in (mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE):
        ends = [(size[0] * np.cos(RING), size[0] * np.sin(RING), np.full(len(RING), z)) for z in (-size[1], size[1])]
        local = np.concatenate([np.stack(end, 1) for end in ends])
    elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        local = np.concatenate([np.eye(3), -np.eye(3)]) * size[0]
    else:
        axes = [np.linspace(-half, half, max(4, 1 + int(np.ceil(2 * half / SPACING)))) for half in size]
        local = np.stack(np.meshgrid(*axes), -1).reshape(-1, 3)
    return np.asarray(local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
