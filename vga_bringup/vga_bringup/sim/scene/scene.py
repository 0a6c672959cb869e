"""The MuJoCo scene of the cell: franky-sim's FR3 on a table, with the objects and the cameras. Data, no behavior."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from vga_bringup.sim.scene import meshes, objects, views

# The arm stands on the table: the table's top is z = 0 of the arm's base frame.
_ROOM = """
<mujoco>
  <statistic center="0.4 0 0.2" extent="1.5"/>
  <visual>
    <global offwidth="1920" offheight="1080"/>
    <map znear="0.02" zfar="10"/>
    <quality shadowsize="0" offsamples="0"/>
    <headlight ambient="0.42 0.42 0.42" diffuse="0.28 0.28 0.28" specular="0 0 0"/>
  </visual>
  <asset>
    <texture name="wall" type="skybox" builtin="gradient" rgb1="0.78 0.80 0.82" rgb2="0.62 0.63 0.65"
             width="64" height="64"/>
    <texture name="wood" type="2d" builtin="flat" rgb1="0.66 0.55 0.42" mark="random" random="0.1"
             markrgb="0.62 0.51 0.385" width="128" height="128"/>
    <material name="wood" texture="wood" texrepeat="4 4" texuniform="true" specular="0" shininess="0"/>
  </asset>
  <worldbody>
    <light directional="true" dir="-0.45 0.35 -1" diffuse="0.45 0.44 0.42" specular="0.1 0.1 0.1" castshadow="false"/>
    <geom name="floor" type="box" size="3 3 0.01" pos="0.4 0 -0.76" rgba="0.45 0.46 0.47 1"/>
    <geom name="table" type="box" size="0.65 0.70 0.02" pos="0.35 0 -0.02" material="wood"/>
    <geom type="box" size="0.03 0.60 0.355" pos="-0.20 0 -0.395" rgba="0.30 0.30 0.32 1"/>
    <geom type="box" size="0.03 0.60 0.355" pos="0.90 0 -0.395" rgba="0.30 0.30 0.32 1"/>
  </worldbody>
</mujoco>
"""

_STOCK_GROUND = ("ground", "key_light", "fill_light", "rim_light", "ground_checker")


def furnish(scene: ET.Element, cameras: Iterable[str], things: objects.Objects = objects.TABLE) -> None:
    """Turns franky-sim's stock scene, which holds the arm on a plane, into the cell with `things` on its table.

    `cameras` are names of `VIEWS`.
    """
    _remove(scene, _STOCK_GROUND)
    _merge(scene, ET.fromstring(_ROOM))
    _merge(scene, ET.fromstring(objects.mjcf(things)))
    _body(scene, views.HAND_BODY).extend(ET.fromstring(objects.held(things)))
    for name in cameras:
        view = views.VIEWS[name]
        _body(scene, view.body).extend(ET.fromstring(f"<camera>{views.mjcf(name, view)}</camera>"))
    compiler = scene.find("compiler")
    assert compiler is not None
    compiler.set("meshdir", str(meshes.light_meshes()))


def _body(scene: ET.Element, name: str) -> ET.Element:
    found = scene.find(".//worldbody" if name == "world" else f".//body[@name='{name}']")
    assert found is not None, name
    return found


def _merge(scene: ET.Element, part: ET.Element) -> None:
    """Adds the sections of `part` to those of `scene`; of the options under <visual>, the last word counts."""
    for section in part:
        existing = scene.find(section.tag)
        if existing is None:
            scene.append(section)
            continue
        for item in section:
            if section.tag == "visual" and (stock := existing.find(item.tag)) is not None:
                existing.remove(stock)
            existing.append(item)


def _remove(scene: ET.Element, names: Iterable[str]) -> None:
    doomed = set(names)
    for parent in list(scene.iter()):
        for child in list(parent):
            if child.get("name") in doomed:
                parent.remove(child)


def text(scene: ET.Element) -> str:
    """The scene as MJCF text."""
    return ET.tostring(scene, encoding="unicode")
