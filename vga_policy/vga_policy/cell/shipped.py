"""The cell files that come with vga_bringup, by their names."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from vga_policy.cell.errors import CellError


def cell_path(cell: str) -> Path:
    """The file meant by the path of a cell file or the name of a shipped one. Raises CellError."""
    path = Path(cell)
    if path.suffix in (".yaml", ".yml"):
        return path.absolute()
    shipped = Path(get_package_share_directory("vga_bringup"), "config", "cells")
    path = shipped / f"{cell}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        raise CellError(f"cell {cell!r}: give the path of a .yaml file, or one of {names}")
    return path
