"""What lies on the table, as data: what each thing is made of, how it is taken, and where it lies.

`TABLE` is the cell's own: three cubes, a button with a lamp, three vegetables. A task may bring other things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np

CUBE = 0.045  # m, edge
BUTTON = "button"  # the one object that can be pressed
BUTTON_TRAVEL = 0.012  # m
PRESSED = 0.75  # share of the travel at which the button latches

LAMP_OFF = (0.75, 0.62, 0.10)
LAMP_ON = (0.20, 0.95, 1.00)


class Placement(NamedTuple):
    """Where an object lies on the table: meters in the arm's base frame, yaw in radians."""

    x: float
    y: float
    yaw: float = 0.0


@dataclass(frozen=True)
class Object:
    """One thing on the table.

    mjcf: what its <body> holds, <geom> elements above all, in m and kg. assets: what <asset> holds for them.
    height: of its origin above the table where it rests, m. placement: where it lies unless a task says otherwise.
    fixed: screwed to the table; else it moves freely.
    held: fast in the hand, where `mjcf` has it in the hand's frame; height and placement mean nothing then.
    radius: half of what it covers of the table, m, where others keep clear of it; 0: they do not.
    grasp: where fingers close: along its x axis from its origin, and up, m. opening: of the hand on the way there, m;
    None: all the way. turns: in how many yaws of the hand, over a whole turn, it can be taken: 4 as a cube, 2 as a bar.
    nudged: it stays where it is pushed to, so that disturbed demonstrations may push it.
    """

    mjcf: str
    height: float
    placement: Placement
    assets: str = ""
    fixed: bool = False
    held: bool = False
    radius: float = 0.0
    grasp: tuple[float, float] = (0.0, -0.003)
    opening: float | None = None
    turns: int = 4
    nudged: bool = False


Objects = Mapping[str, Object]
"""What is on a table, by name. A name is that of the MuJoCo body, and what a judgement calls the object."""


def box(
    size: tuple[float, float, float],
    color: tuple[float, float, float],
    placement: Placement,
    *,
    mass: float = 0.06,
    fixed: bool = False,
    radius: float | None = None,
) -> Object:
    """A box. size: edges along x, y and z, m. color: red, green, blue, 0..1. mass: kg. The rest: see `Object`."""
    half = _numbers([edge / 2 for edge in size])
    return Object(
        mjcf=f'<geom type="box" size="{half}" rgba="{_rgba(color)}" mass="{mass:g}"/>',
        height=size[2] / 2,
        placement=placement,
        fixed=fixed,
        radius=float(np.hypot(size[0], size[1])) / 2 if radius is None else radius,
        nudged=not fixed,
    )


# The vegetables are turned on a lathe: radius at positions along their axis, m.
_PROFILES: Mapping[str, Sequence[tuple[float, float]]] = {
    "cucumber": (
        (-0.082, 0.0), (-0.080, 0.008), (-0.072, 0.015), (-0.050, 0.017), (0.050, 0.017), (0.072, 0.015),
        (0.080, 0.008), (0.082, 0.0),
    ),
    "carrot": (
        (-0.070, 0.0), (-0.069, 0.010), (-0.062, 0.016), (-0.020, 0.0145), (0.030, 0.011), (0.072, 0.006),
        (0.080, 0.0),
    ),
    "carrot_leaves": ((-0.110, 0.0), (-0.105, 0.009), (-0.085, 0.006), (-0.066, 0.004), (-0.066, 0.0)),
    "eggplant": (
        (-0.070, 0.0), (-0.066, 0.011), (-0.045, 0.0145), (-0.010, 0.0175), (0.025, 0.0225), (0.045, 0.023),
        (0.062, 0.018), (0.072, 0.008), (0.074, 0.0),
    ),
    "eggplant_calyx": (
        (-0.092, 0.0), (-0.092, 0.004), (-0.075, 0.005), (-0.071, 0.011), (-0.052, 0.0155), (-0.052, 0.0),
    ),
}  # fmt: skip


def mjcf(objects: Objects) -> str:
    """The objects as MJCF: free bodies, and fixed ones on mocap bodies, so that each of them can be placed."""
    return f"""
    <mujoco>
      <size nuserdata="1"/>
      <default>
        <default class="object">
          <geom friction="1.2 0.02 0.0006" condim="4" priority="1" solref="0.006 1"/>
          <default class="felt"><geom type="capsule" group="3" condim="6"/></default>
          <default class="seen"><geom type="mesh" group="2" contype="0" conaffinity="0" mass="0"/></default>
        </default>
      </default>
      <asset>
        {"".join(thing.assets for thing in objects.values())}
        <material name="lamp" rgba="{_rgba(LAMP_OFF)}" specular="0" shininess="0"/>
      </asset>
      <worldbody>
        {"".join(_body(name, thing) for name, thing in objects.items() if not thing.held)}
      </worldbody>
    </mujoco>
    """


def held(objects: Objects) -> str:
    """Those in the hand, as MJCF bodies of it."""
    bodies = (f'<body name="{name}">{thing.mjcf}</body>' for name, thing in objects.items() if thing.held)
    return f"<hand>{''.join(bodies)}</hand>"


def _body(name: str, thing: Object) -> str:
    position, quaternion = _resting(thing, thing.placement)
    kind = 'mocap="true"' if thing.fixed else 'childclass="object"'
    return f"""
        <body name="{name}" pos="{_numbers(position)}" quat="{_numbers(quaternion)}" {kind}>
          {"" if thing.fixed else "<freejoint/>"}
          {thing.mjcf}
        </body>"""


def placements_of(objects: Objects) -> dict[str, Placement]:
    """Where each of them lies unless a task says otherwise."""
    return {name: thing.placement for name, thing in objects.items()}


def place(model: mujoco.MjModel, data: mujoco.MjData, placements: Mapping[str, Placement], objects: Objects) -> None:
    """Puts objects at rest on the table, and the button's lamp out. Run `mj_forward` afterwards."""
    for name, placement in placements.items():
        if objects[name].held:
            continue
        body = model.body(name)
        position, quaternion = _resting(objects[name], placement)
        if (mocap := int(body.mocapid[0])) >= 0:
            data.mocap_pos[mocap], data.mocap_quat[mocap] = position, quaternion
        else:
            joint = data.joint(int(body.jntadr[0]))
            joint.qpos[:3], joint.qpos[3:], joint.qvel[:] = position, quaternion, 0.0
    if BUTTON in objects:
        button = data.joint(BUTTON)
        button.qpos[0] = button.qvel[0] = 0.0
    data.userdata[0] = 0.0


def latch_button(data: mujoco.MjData, button_address: int) -> None:
    """Lights the lamp, until objects are placed anew, once the button is pressed far enough.

    button_address: where the button's joint is in `qpos`.
    """
    if data.qpos[button_address] > PRESSED * BUTTON_TRAVEL:
        data.userdata[0] = 1.0


def button_latched(data: mujoco.MjData) -> bool:
    """Whether the button was pressed since objects were last placed. Kept in `userdata`, as part of the state."""
    return bool(data.userdata[0])


def _resting(thing: Object, placement: Placement) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Position and quaternion (w x y z) of an object at rest."""
    half = placement.yaw / 2
    return (placement.x, placement.y, thing.height), (float(np.cos(half)), 0.0, 0.0, float(np.sin(half)))


def _rgba(rgb: Sequence[float]) -> str:
    return _numbers((*rgb, 1.0))


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _lathe(name: str, profile: Sequence[tuple[float, float]], sides: int = 12) -> str:
    """A mesh asset: `profile` turned about the x axis. It begins and ends on the axis."""
    angles = np.linspace(0.0, 2 * np.pi, sides, endpoint=False)
    rings = [(np.full(sides, x), r * np.cos(angles), r * np.sin(angles)) for x, r in profile[1:-1]]
    first, last = [profile[0][0], 0.0, 0.0], [profile[-1][0], 0.0, 0.0]
    vertices = np.vstack([first, *(np.stack(ring, axis=1) for ring in rings), last])
    faces: list[tuple[int, int, int]] = []
    for side in range(sides):
        a, b = 1 + side, 1 + (side + 1) % sides
        faces.append((0, b, a))
        for _ in rings[1:]:
            faces += [(a, b, b + sides), (a, b + sides, a + sides)]
            a, b = a + sides, b + sides
        faces.append((len(vertices) - 1, a, b))
    indices = " ".join(str(index) for face in faces for index in face)
    return f'<mesh name="{name}" vertex="{_numbers(vertices.ravel().tolist())}" face="{indices}"/>'


def _meshes(*names: str) -> str:
    return "".join(_lathe(name, _PROFILES[name]) for name in names)


def _cube(red: float, green: float, blue: float, placement: Placement) -> Object:
    return box((CUBE, CUBE, CUBE), (red, green, blue), placement, radius=0.034)


# Vegetables are seen as meshes and felt as capsules, which roll and rest more steadily. Each has neighbors, so that the
# hand comes with its fingers half closed.
TABLE: Objects = {
    "red_cube": _cube(0.85, 0.08, 0.08, Placement(0.50, 0.06)),
    "green_cube": _cube(0.10, 0.62, 0.16, Placement(0.58, -0.07, 0.4)),
    "blue_cube": _cube(0.08, 0.22, 0.80, Placement(0.42, -0.10, -0.3)),
    BUTTON: Object(
        f"""
        <geom type="box" size="0.045 0.045 0.012" pos="0 0 0.012" rgba="0.25 0.25 0.28 1"/>
        <geom type="box" size="0.012 0.030 0.006" pos="0.060 0 0.006" rgba="0.25 0.25 0.28 1"/>
        <geom type="cylinder" size="0.008 0.008" pos="0.060 0 0.010" material="lamp" contype="0" conaffinity="0"/>
        <body name="button_cap" pos="0 0 0.034">
          <joint name="{BUTTON}" type="slide" axis="0 0 -1" range="0 {BUTTON_TRAVEL}" stiffness="300" damping="4"/>
          <geom type="cylinder" size="0.026 0.010" mass="0.03" material="lamp"/>
        </body>
        """,
        height=0.0,
        placement=Placement(0.50, 0.22),
        fixed=True,
        radius=0.080,
    ),
    "cucumber": Object(
        """
        <geom class="felt" size="0.017" fromto="-0.063 0 0 0.063 0 0" mass="0.14"/>
        <geom class="seen" mesh="cucumber" rgba="0.13 0.36 0.10 1"/>
        """,
        height=0.017,
        placement=Placement(0.40, -0.27, 1.5),
        assets=_meshes("cucumber"),
        grasp=(0.0, 0.0),
        opening=0.065,
        turns=2,
    ),
    "carrot": Object(
        """
        <geom class="felt" size="0.015" fromto="-0.053 0 0 -0.02 0 0" mass="0.04"/>
        <geom class="felt" size="0.0105" fromto="-0.02 0 0 0.035 0 0" mass="0.03"/>
        <geom class="felt" size="0.0065" fromto="0.035 0 0 0.070 0 0" mass="0.01"/>
        <geom class="seen" mesh="carrot" rgba="0.95 0.42 0.06 1"/>
        <geom class="seen" mesh="carrot_leaves" rgba="0.30 0.58 0.15 1"/>
        """,
        height=0.015,
        placement=Placement(0.50, -0.27, 1.7),
        assets=_meshes("carrot", "carrot_leaves"),
        grasp=(-0.028, 0.0),
        opening=0.065,
        turns=2,
    ),
    "eggplant": Object(
        """
        <geom class="felt" size="0.015" fromto="-0.055 0 0 0.01 0 0" mass="0.05"/>
        <geom class="felt" size="0.0225" fromto="0.025 0 0 0.049 0 0" mass="0.09"/>
        <geom class="seen" mesh="eggplant" rgba="0.24 0.07 0.30 1"/>
        <geom class="seen" mesh="eggplant_calyx" rgba="0.27 0.45 0.14 1"/>
        """,
        height=0.0225,
        placement=Placement(0.60, -0.27, 1.4),
        assets=_meshes("eggplant", "eggplant_calyx"),
        grasp=(0.032, 0.002),
        opening=0.07,
        turns=2,
    ),
}
"""The cell's own objects."""

DEFAULT_PLACEMENTS: Mapping[str, Placement] = placements_of(TABLE)
