"""The FR3 that the judge simulates, made of what franky-sim brings along: nothing is downloaded.

Links, their inertia and their collision meshes are franky-sim's; looks, hand and motors are left out (franka-sim drives
the joints itself). Friction is that of the FR3's second version, which franka-sim's own servos are tuned for.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from vga_policy.cell.arm_models import FR3

from vga_bringup.sim.scene.meshes import ASSETS

LINKS = range(8)
FRICTION = {"damping": "0.003", "armature": "0.195", "frictionloss": "0.2"}
STOP_BEHIND = 0.1  # rad: the mechanical stops lie behind the range that the robot's own limits leave


def write_model(path: Path) -> None:
    """Writes the arm as an MJCF file, which refers to its meshes where they are."""
    source = ET.parse(ASSETS / "fr3.xml").getroot()
    model = ET.Element("mujoco", model="fr3")
    ET.SubElement(model, "compiler", angle="radian", meshdir=str(ASSETS / "meshes"))
    assets = ET.SubElement(model, "asset")
    body = ET.SubElement(model, "worldbody")
    for link in LINKS:
        ET.SubElement(assets, "mesh", name=f"link{link}", file=f"link{link}_coll.stl")
        original = source.find(f".//body[@name='fr3_link{link}']")
        if original is None:
            raise ValueError(f"{ASSETS / 'fr3.xml'} has no link {link}: is franky-sim another version?")
        body = ET.SubElement(body, "body", original.attrib)
        if (inertial := original.find("inertial")) is not None:
            body.append(inertial)
        if (joint := original.find("joint")) is not None:
            low, high = FR3.lower[link - 1] - STOP_BEHIND, FR3.upper[link - 1] + STOP_BEHIND
            ET.SubElement(body, "joint", FRICTION, name=joint.attrib["name"], axis="0 0 1", range=f"{low:g} {high:g}")
        ET.SubElement(body, "geom", name=f"fr3_link{link}_collision", type="mesh", mesh=f"link{link}", mass="0")
    path.write_text(ET.tostring(model, encoding="unicode"))
