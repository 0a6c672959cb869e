"""The cell file as data: one YAML file that says what a robot cell is and what it may do.

Live nodes, recorder, dataset and policy read this one file; it is stored in every bag and checkpoint. Units are SI,
angles are radians, boxes are in the arm's base frame (REP-103). One module a part of the cell; every key is described
where it is defined: `vga cell explain` and docs/reference/cell_file.md show the same words.
"""

from vga_policy.cell.schema.arm import Arm, Collision, JointLimits, Payload, SelfCollision, Tracking
from vga_policy.cell.schema.cameras import Camera, ColorProfile
from vga_policy.cell.schema.cell import Cell, Recording
from vga_policy.cell.schema.execution import ActionDefinition, Execution, PolicyInputs, Strategy
from vga_policy.cell.schema.gripper import Gripper
from vga_policy.cell.schema.leader import Leader
from vga_policy.cell.schema.section import ARM_JOINTS, Box, Section

__all__ = [
    "ARM_JOINTS",
    "ActionDefinition",
    "Arm",
    "Box",
    "Camera",
    "Cell",
    "Collision",
    "ColorProfile",
    "Execution",
    "Gripper",
    "JointLimits",
    "Leader",
    "Payload",
    "PolicyInputs",
    "Recording",
    "Section",
    "SelfCollision",
    "Strategy",
    "Tracking",
]
