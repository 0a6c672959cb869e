"""A table of evaluations as files."""

from __future__ import annotations

from pathlib import Path

from vga_policy.evaluate.tables.plot import draw_table
from vga_policy.evaluate.tables.table import Table
from vga_policy.evaluate.tables.text import markdown, to_csv
from vga_policy.files import write_atomically


def save(table: Table, directory: Path) -> None:
    """Writes table.md, table.csv and table.png into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "table.md", markdown(table))
    write_atomically(directory / "table.csv", to_csv(table))
    draw_table(table, directory / "table.png")
