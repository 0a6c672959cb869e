"""Writes a camera's pose into a cell file and changes nothing else in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell, parse_cell
from vga_policy.cell.schema import Camera, Cell
from vga_policy.cell.schema.cameras import CameraPose, PoseCheck
from vga_policy.files import LOADER, write_atomically


def parent_of(camera: Camera, cell: Cell) -> str:
    """The frame that a camera is mounted in: the hand's for the wrist's, else the arm's base."""
    return f"{cell.arm.own.prefix}_hand" if camera.role == "wrist" else cell.arm.base_frame


def as_pose(matrix: NDArray[np.floating], parent: str, check: PoseCheck | None = None) -> CameraPose:
    """A pose [4, 4] as the cell file has it, to a hundredth of a millimeter. check: how well it fits."""
    return CameraPose(
        parent=parent,
        xyz=[round(value, 5) for value in matrix[:3, 3].tolist()],
        quaternion=[round(value, 6) for value in _quaternion(matrix[:3, :3])],
        check=check,
    )


def write_pose(path: Path, name: str, pose: CameraPose) -> None:
    """Sets the pose of the camera of this name, keeping every comment. Raises CellError, the file then unchanged."""
    cell = load_cell(path)
    before = cell.camera(name)
    cameras = [camera.model_copy(update={"pose": pose}) if camera is before else camera for camera in cell.cameras]
    wanted = cell.model_copy(update={"cameras": cameras})
    written = _flow(pose)
    text = _with_pose(path.read_text(encoding="utf-8"), name, written)
    if not _means(text, wanted):
        raise CellError(
            f"{path}: cameras: not written in a form that can be edited; set the pose of {name} by hand: {written}"
        )
    write_atomically(path.resolve(), text)


def _with_pose(text: str, name: str, written: str) -> str:
    """The text with `written` as the camera's pose; unchanged where there is no place for it."""
    camera = _camera_node(text, name)
    if camera is None:
        return text
    found = {key.value: value for key, value in camera.value}
    if (old := found.get("pose")) is not None:
        return f"{text[: old.start_mark.index]}{written}{text[_end(old) :]}"
    if camera.flow_style:
        end = camera.end_mark.index - 1  # of its brace
        return f"{text[:end].rstrip()}, pose: {written}{text[end:]}"
    line = text.find("\n", found["serial"].end_mark.index)
    end = len(text) if line < 0 else line
    return f"{text[:end]}\n{' ' * camera.value[0][0].start_mark.column}pose: {written}{text[end:]}"


def _camera_node(text: str, name: str) -> Any:
    root: Any = yaml.compose(text, Loader=LOADER)
    cameras = next((value for key, value in root.value if key.value == "cameras"), None)
    for camera in [] if cameras is None else cameras.value:
        if any(key.value == "name" and value.value == name for key, value in camera.value):
            return camera
    return None


def _end(node: Any) -> int:
    """Where a node's text ends. PyYAML counts the comments after a section of a key a line as part of it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _flow(pose: CameraPose) -> str:
    """In one line of YAML."""
    written = yaml.safe_dump(
        pose.model_dump(exclude_none=True), default_flow_style=True, sort_keys=False, width=math.inf
    )
    return written.strip()


def _means(text: str, cell: Cell) -> bool:
    try:
        return parse_cell(text) == cell
    except CellError:
        return False


def _quaternion(rotation: NDArray[np.floating]) -> list[float]:
    """Of a rotation matrix [3, 3]: x, y, z, w."""
    values, vectors = np.linalg.eigh(
        np.array(
            [
                [rotation[0, 0] - rotation[1, 1] - rotation[2, 2], 0, 0, 0],
                [rotation[1, 0] + rotation[0, 1], rotation[1, 1] - rotation[0, 0] - rotation[2, 2], 0, 0],
                [rotation[2, 0] + rotation[0, 2], rotation[2, 1] + rotation[1, 2],
                 rotation[2, 2] - rotation[0, 0] - rotation[1, 1], 0],
                [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1],
                 np.trace(rotation)],
            ]
        ),
        UPLO="L",
    )  # fmt: skip
    best = vectors[:, np.argmax(values)]
    return (best if best[3] >= 0 else -best).tolist()
