"""Rerun's blueprint as a file, for the robot of a cell file."""

from __future__ import annotations

from pathlib import Path

from vga_policy.cell.schema import Cell
from vga_policy.episodes import topics

from vga_bringup.description.urdf import robot_description
from vga_bringup.view.cameras import Cameras
from vga_bringup.view.layout import blueprint
from vga_bringup.view.robot import DrawnRobot
from vga_bringup.view.sheet import APPLICATION, Sheet


def save_blueprint(file: Path, cell: Cell) -> None:
    """Writes the blueprint of a cell's robot, for any recording of `vga view`. Raises ViewError as `load_rerun`."""
    sheet = Sheet(cell.name)
    robot = DrawnRobot(sheet, robot_description(cell), with_tf=True)
    cameras = Cameras(sheet, robot)
    cameras.find([topics.image_topic(camera.name) for camera in cell.cameras])
    views = [camera.name for camera in cell.views]
    blueprint(sheet.rerun, cameras.entities, views, cell.arm.joint_names).save(APPLICATION, str(file))
