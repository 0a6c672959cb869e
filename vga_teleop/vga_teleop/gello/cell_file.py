"""Writes a calibration into a cell file and changes nothing else in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell, parse_cell
from vga_policy.cell.schema import Cell
from vga_policy.files import write_atomically

Value = float | list[float] | list[int]


def write_leader(path: Path, values: Mapping[str, Value]) -> None:
    """Sets keys of the section `leader`, keeping every comment. Raises CellError, the file then unchanged.

    The section's keys must stand on lines of their own, as in the cell files that vga_bringup ships.
    """
    cell = load_cell(path)
    if cell.leader is None:
        raise CellError(f"{path}: leader: this cell has none; add the section first, with port and baudrate")
    wanted = cell.model_copy(update={"leader": cell.leader.model_copy(update=dict(values))})
    lines = path.read_text(encoding="utf-8").split("\n")
    for key, value in values.items():
        _set(lines, key, value)
    text = "\n".join(lines)
    if not _means(text, wanted):
        settings = "; ".join(f"{key}: {_yaml(value)}" for key, value in values.items())
        raise CellError(f"{path}: leader: not written in a form that can be edited; set it by hand: {settings}")
    write_atomically(path.resolve(), text)


def _set(lines: list[str], key: str, value: Value) -> None:
    """Replaces the value of a key in the section, up to a comment behind it."""
    inside = False
    for number, line in enumerate(lines):
        if re.match(r"\S", line) and not line.startswith("#"):
            inside = line.startswith("leader:")
        elif inside and (found := re.match(rf"(\s+{key}:\s*)(\[[^\]#]*\]|[^\s#\[]+)(\s*(?:#.*)?)$", line)):
            lines[number] = found[1] + _yaml(value) + found[3]


def _means(text: str, cell: Cell) -> bool:
    try:
        return parse_cell(text) == cell
    except CellError:
        return False


def _yaml(value: Value) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
