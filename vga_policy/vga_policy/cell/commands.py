"""`vga cell`; heavy imports wait until it runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from vga_policy.cli_options import CELL, add_json

if TYPE_CHECKING:
    from vga_policy.cell.keys import Key

WIDTH = 100  # of explanations


def cell_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga cell` and its actions."""
    what = "the cell file: check it, show its values, explain its keys"
    parser = subparsers.add_parser("cell", help=what, description=f"{what[0].upper()}{what[1:]}.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="whether the nodes would take a cell file, or what is wrong with it")
    check.add_argument("cells", metavar="CELL", nargs="+", help=CELL)
    check.set_defaults(run=_check)
    show = actions.add_parser("show", help="every value of a cell, its unit, and whether it is a default")
    show.add_argument("cell", metavar="CELL", help=CELL)
    add_json(show)
    show.set_defaults(run=_show)
    explain = actions.add_parser("explain", help="what a key means, its unit, type, range and default")
    explain.add_argument(
        "keys", metavar="KEY", nargs="+", help="A key, as in arm.speed_scale; a section explains its keys."
    )
    explain.set_defaults(run=_explain)
    reference = actions.add_parser("reference", help="all keys as a page in Markdown: docs/reference/cell_file.md")
    reference.set_defaults(run=_reference)


def _check(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.doubts import doubts
    from vga_policy.cell.errors import CellError
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path

    valid = True
    for name in arguments.cells:
        try:
            path = cell_path(name)
            cell = load_cell(path)
            print(f"{path}: valid")
            for doubt in doubts(cell):
                print(f"{path}: warning: {doubt}", file=sys.stderr)
        except CellError as error:
            print(error, file=sys.stderr)
            valid = False
    return 0 if valid else 1


def _show(arguments: argparse.Namespace) -> int:
    import json

    from vga_policy.cell.keys import in_words
    from vga_policy.cell.loading import load_cell
    from vga_policy.cell.shipped import cell_path
    from vga_policy.cell.values import values
    from vga_policy.files import parse_yaml

    path = cell_path(arguments.cell)
    found = values(load_cell(path, stored=True), parse_yaml(path.read_text(encoding="utf-8")))
    if arguments.json:
        listed = {key: {"value": value, "unit": unit, "source": source} for key, value, unit, source in found}
        print(json.dumps(listed, indent=2))
        return 0
    width = max(len(item.key) for item in found)
    for key, value, unit, source in found:
        print(f"{key:{width}}  {source:7}  {in_words(value)}{'' if unit in (None, '1') else f' {unit}'}")
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from vga_policy.cell.keys import find_keys, nearest_paths

    status = 0
    for path in arguments.keys:
        for key in find_keys(path):
            print(_explanation(key))
        if not find_keys(path):
            near = ", ".join(nearest_paths(path))
            remedy = f"nearest: {near}" if near else "docs/reference/cell_file.md has all"
            print(f"{path}: no such key of a cell file; {remedy}", file=sys.stderr)
            status = 2
    return status


def _explanation(key: Key) -> str:
    import textwrap

    unit = "" if key.unit in (None, "1") else f" in {key.unit}"
    allowed = f": {key.allowed}" if key.allowed else ""
    default = key.default_words if key.required else f"default: {key.default_words}"
    lines = textwrap.wrap(key.description, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join([key.path, *lines, f"    {key.kind}{unit}{allowed}; {default}"])


def _reference(_: argparse.Namespace) -> int:
    from vga_policy.cell.reference import reference_page

    print(reference_page(), end="")
    return 0
