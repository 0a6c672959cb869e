"""Random scenes of the simulated cell: arm, objects, colors, light and cameras are drawn anew for each.

The pose of the camera that policies are tested with unseen is kept clear of: see `places`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import cv2
import mujoco
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from vga_policy.cell.finger import finger_joint
from vga_policy.cell.schema import Cell
from vga_policy.dataset.geometry import scale_intrinsics
from vga_policy.dataset.scenes import RenderedScene
from vga_policy.inference.preprocess import resize_views

from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.rendering.renderer import CellRenderer
from vga_bringup.sim.scene import objects, scene, views
from vga_bringup.sim.scene.objects import Placement
from vga_bringup.sim.scene.places import Clearance, around, clearance_of
from vga_bringup.sim.scene.views import VIEWS, View, camera_pose

FIXED, WRIST = "fixed_1", "wrist"
FIXED_VIEWS = 2

TABLE_X, TABLE_Y = (0.28, 0.68), (-0.40, 0.40)  # m, where objects are put
ROOM = 0.07  # m between the middles of two objects
BURIED = -5.0  # m: the height of objects that are not in a scene
HELD_AT = np.array([0.0, 0.0, 0.1034])  # m from the hand's frame
TEXTURES = 12
CLUTTER = 6
FAMILIAR = 0.3  # share of scenes in the cell's own colors
LOWEST = 0.04  # m above the table for hand and forearm
NEAREST = 0.15  # m: a fixed camera nearer to anything is drawn anew
ATTEMPTS = 200
WRIST_MARGIN = 1.2  # by which an arm's pose keeps the wrist camera clear, before that is shifted a little
ARM_REACH = np.array([0.8, 0.5, 0.5, 0.5, 0.5, 0.5, 1.2])  # rad around home, each way


class RandomScenes:
    """Draws scenes; each depends on its seed alone. Belongs to the thread that made it; close it there."""

    def __init__(self, cell: Cell, size: int) -> None:
        """size: side of the images, which are squeezed to squares as a policy's are."""
        self._cell, self._size = cell, size
        self._model = _compile()
        self._cameras = {name: cell.camera(name) for name in (FIXED, WRIST)}
        self._renderer = CellRenderer(list(self._cameras.values()), self._model, noise=0)
        self._data = self._renderer.data
        self._look = _Look(self._model)
        self._first_joint = int(self._model.joint("robot0_fr3_joint1").qposadr[0])
        self._finger = int(self._model.joint("robot0_finger_joint1").qposadr[0])

    def draw(self, *seed: int) -> tuple[RenderedScene, Clearance]:
        """A scene of `FIXED_VIEWS` views from around the cell and one from the wrist."""
        rng = np.random.default_rng(seed)
        self._renderer.noise.reseed(int(rng.integers(1 << 32)))
        self._look.draw(rng)
        self._pose_arm(rng)
        self._place_objects(rng)
        drawn = [self._draw_fixed(rng) for _ in range(FIXED_VIEWS)]
        drawn.append(self._draw_wrist(rng))
        images, depths, intrinsics, extrinsics, clear = zip(*drawn, strict=True)
        rendered = RenderedScene(
            images=resize_views(images, self._size),
            depth=np.stack([cv2.resize(d, (self._size,) * 2, interpolation=cv2.INTER_NEAREST_EXACT) for d in depths]),
            intrinsics=np.stack(intrinsics),
            extrinsics=np.stack(extrinsics),
        )
        return rendered, Clearance(min(c.distance for c in clear), min(c.angle for c in clear))

    def close(self) -> None:
        """Frees the GL context."""
        self._renderer.close()

    def _pose_arm(self, rng: Generator) -> None:
        """The arm anywhere around home, with hand and forearm above the table; the fingers at any opening."""
        mujoco.mj_resetData(self._model, self._data)
        views.move(self._model, WRIST, VIEWS[WRIST])
        limits, home = self._cell.arm.limits, np.array(self._cell.arm.home)
        for _ in range(ATTEMPTS):
            q = np.clip(home + rng.uniform(-ARM_REACH, ARM_REACH), limits.lower, limits.upper)
            self._data.qpos[self._first_joint : self._first_joint + len(q)] = q
            self._find_bodies()
            if self._lowest() > LOWEST and clearance_of(camera_pose(self._data, WRIST)).keeps(WRIST_MARGIN):
                break
        else:
            raise RuntimeError("no pose of the arm was found")
        self._data.qpos[self._finger : self._finger + 2] = rng.uniform(0.0, 0.04)

    def _find_bodies(self) -> None:
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def _lowest(self) -> float:
        """Height of the lowest of wrist, forearm and fingertips above the table, m."""
        hand = self._data.body(views.HAND_BODY)
        tip = hand.xpos + hand.xmat.reshape(3, 3) @ HELD_AT
        return min(tip[2], *(self._data.body(f"robot0_fr3_link{number}").xpos[2] for number in (4, 5, 6)))

    def _place_objects(self, rng: Generator) -> None:
        """Some of the cell's objects, and some clutter, on the table; now and then a cube between the fingers."""
        names = [*objects.DEFAULT_PLACEMENTS, *(f"clutter_{number}" for number in range(CLUTTER))]
        there: list[Placement] = []
        for name in names:
            place = Placement(rng.uniform(*TABLE_X), rng.uniform(*TABLE_Y), rng.uniform(-np.pi, np.pi))
            free = all(np.hypot(place.x - other.x, place.y - other.y) > ROOM for other in there)
            wanted = free and rng.random() < 0.6
            if wanted:
                there.append(place)
            self._put(name, place, visible=wanted)
        if rng.random() < 0.25:
            self._hold(str(rng.choice(["red_cube", "green_cube", "blue_cube"])))

    def _put(self, name: str, place: Placement, *, visible: bool) -> None:
        body = self._model.body(name)
        if name in objects.DEFAULT_PLACEMENTS:
            objects.place(self._model, self._data, {name: place}, objects.TABLE)
        else:
            half = place.yaw / 2
            height = float(self._model.geom(name).size[2])
            self._data.mocap_pos[int(body.mocapid[0])] = place.x, place.y, height
            self._data.mocap_quat[int(body.mocapid[0])] = np.cos(half), 0.0, 0.0, np.sin(half)
        if not visible:
            self._position(name)[2] = BURIED

    def _position(self, name: str) -> NDArray[np.float64]:
        """Where a body's position is kept."""
        body = self._model.body(name)
        if (mocap := int(body.mocapid[0])) >= 0:
            return self._data.mocap_pos[mocap]
        return self._data.joint(int(body.jntadr[0])).qpos[:3]

    def _hold(self, name: str) -> None:
        hand = self._data.body(views.HAND_BODY)
        joint = self._data.joint(int(self._model.body(name).jntadr[0]))
        joint.qpos[:3] = hand.xpos + hand.xmat.reshape(3, 3) @ HELD_AT
        joint.qpos[3:] = hand.xquat
        self._data.qpos[self._finger : self._finger + 2] = finger_joint(objects.CUBE)

    def _draw_fixed(self, rng: Generator) -> Drawn:
        for _ in range(ATTEMPTS):
            drawn = self._draw_view(FIXED, around(rng), rng.uniform(0.8, 1.2))
            if drawn is not None and drawn[1][drawn[1] > 0].min(initial=10_000) > 1000 * NEAREST:
                return drawn
        raise RuntimeError("no place for a fixed camera was found")

    def _draw_wrist(self, rng: Generator) -> Drawn:
        own = VIEWS[WRIST]
        for _ in range(ATTEMPTS):
            position, target = (np.array(p) + rng.normal(0.0, 0.006, 3) for p in (own.position, own.target))
            view = View(own.body, tuple(position), tuple(target), own.up)
            if (drawn := self._draw_view(WRIST, view, rng.uniform(0.95, 1.05))) is not None:
                return drawn
        raise RuntimeError("the arm's pose leaves the wrist camera none that is clear of the unseen view")

    def _draw_view(self, name: str, view: View, zoom: float) -> Drawn | None:
        """One view, `zoom` times as wide as a D415's; None if it is too near the unseen one."""
        views.move(self._model, name, view)
        camera = self._cameras[name]
        fovy = 2 * np.arctan(zoom * np.tan(views.FOVY / 2))
        self._model.camera(name).fovy[:] = np.degrees(fovy)
        self._find_bodies()
        pose = camera_pose(self._data, name)
        clearance = clearance_of(pose)
        if not clearance.keeps():
            return None
        height, width = camera.color.height, camera.color.width
        color, depth = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint16)
        self._renderer.draw(camera, color, depth)
        matrix = views.intrinsics(width, height)
        matrix[[0, 1], [0, 1]] /= zoom
        extrinsics = np.linalg.inv(pose).astype(np.float32)
        return color, depth, scale_intrinsics(matrix, width, height, self._size), extrinsics, clearance


Drawn = tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32], NDArray[np.float32], Clearance]


class _Look:
    """Colors, textures, light and clutter of a model, drawn anew or as they were."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._arrays = (
            model.geom_rgba, model.geom_matid, model.geom_size, model.mat_rgba, model.light_diffuse, model.light_dir,
            model.vis.headlight.ambient, model.vis.headlight.diffuse,
        )  # fmt: skip
        self._own = [array.copy() for array in self._arrays]
        self._textured = [model.material(f"random_{number}").id for number in range(TEXTURES)]
        bodies = [model.body(name).id for name in objects.DEFAULT_PLACEMENTS]
        self._objects = [np.flatnonzero(model.geom_bodyid == body) for body in bodies]
        self._clutter = [model.geom(f"clutter_{number}").id for number in range(CLUTTER)]
        self._room = [model.geom(name).id for name in ("floor", "table")]

    def draw(self, rng: Generator) -> None:
        """A new look; in a share of scenes the cell's own, in another light."""
        for array, own in zip(self._arrays, self._own, strict=True):
            array[:] = own
        model = self._model
        model.light_diffuse *= rng.uniform(0.5, 1.4)
        model.light_dir[0] = (*rng.uniform(-0.8, 0.8, 2), -1.0)
        model.vis.headlight.ambient[:] *= rng.uniform(0.7, 1.3)
        model.vis.headlight.diffuse[:] *= rng.uniform(0.5, 1.3)
        for geom in self._clutter:
            model.geom_size[geom] = rng.uniform(0.012, 0.05, 3)
            self._paint(geom, rng)
        if rng.random() < FAMILIAR:
            return
        for geom in self._room:
            self._paint(geom, rng)
        for geoms in self._objects:
            if rng.random() < 0.5:
                model.geom_rgba[geoms, :3] = rng.uniform(0.0, 1.0, 3)

    def _paint(self, geom: int, rng: Generator) -> None:
        self._model.geom_matid[geom] = rng.choice(self._textured)
        self._model.geom_rgba[geom, :3] = rng.uniform(0.2, 1.0, 3)


def _compile() -> mujoco.MjModel:
    """The cell's model with more to see: clutter, and textures to choose from."""
    simulator = CellSimulator(home=(0.0,) * 7, cameras=(FIXED, WRIST))
    simulator.init()
    for section in ET.fromstring(_more()):
        existing = simulator.scene.find(section.tag)
        assert existing is not None, section.tag
        existing.extend(section)
    return mujoco.MjModel.from_xml_string(scene.text(simulator.scene))


def _more() -> str:
    rng = np.random.default_rng(0)

    def rgb() -> str:
        return " ".join(f"{value:.2f}" for value in rng.uniform(0.1, 1.0, 3))

    kinds = [
        lambda: f'builtin="flat" rgb1="{rgb()}" mark="random" random="{rng.uniform(0.02, 0.4):.2f}" markrgb="{rgb()}"',
        lambda: f'builtin="checker" rgb1="{rgb()}" rgb2="{rgb()}"',
        lambda: f'builtin="gradient" rgb1="{rgb()}" rgb2="{rgb()}"',
        lambda: f'builtin="flat" rgb1="{rgb()}"',
    ]
    textures = "".join(
        f'<texture name="random_{number}" type="2d" width="128" height="128" {kinds[number % len(kinds)]()}/>'
        f'<material name="random_{number}" texture="random_{number}" texuniform="true" '
        f'texrepeat="{rng.uniform(1, 8):.1f} {rng.uniform(1, 8):.1f}" specular="0.1"/>'
        for number in range(TEXTURES)
    )
    shapes = ("box", "cylinder", "ellipsoid")
    clutter = "".join(
        f'<body name="clutter_{number}" mocap="true"><geom name="clutter_{number}" type="{shapes[number % 3]}" '
        f'size="0.02 0.02 0.02" contype="0" conaffinity="0"/></body>'
        for number in range(CLUTTER)
    )
    return f"<mujoco><asset>{textures}</asset><worldbody>{clutter}</worldbody></mujoco>"
