"""Cell files read and written; what is wrong with one is said a line a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vga_policy.cell.errors import CellError
from vga_policy.cell.keys import section_of
from vga_policy.cell.limits import exposure_problems, limit_problems
from vga_policy.cell.plausible import implausible
from vga_policy.cell.schema import Cell
from vga_policy.cell.written import WrittenYaml, impossible, misread, not_a_text
from vga_policy.files import parse_yaml, yaml_fault

_ROOM = 100  # characters of a message for the value found


def parse_cell(text: str, source: str = "cell") -> Cell:
    """Parses the YAML text of a cell file; `source` names it in errors.

    Raises CellError naming source, key and allowed values.
    """
    try:
        data = parse_yaml(text)
    except yaml.YAMLError as error:
        # A value that looks like a date or number and is none, in a file that can be taken apart all the same.
        fault = next(impossible(WrittenYaml(text)), None) if error.__context__ is not None else None
        raise CellError(f"{source}: {fault or f'not valid YAML: {yaml_fault(error)}'}") from None
    if not isinstance(data, dict):
        raise CellError(f"{source}: expected a mapping of keys, found {type(data).__name__}")
    written = WrittenYaml(text)
    faults = dict(misread(written))
    lines = list(faults.values())
    try:
        cell = Cell.model_validate(data)
    except ValidationError as error:
        lines += [_explain(item, written) for item in error.errors() if item["loc"] not in faults]
    if lines:
        raise CellError("\n".join(f"{source}: {line}" for line in lines))
    return cell


def load_cell(path: str | Path, *, stored: bool = False) -> Cell:
    """Reads a cell file. Raises CellError when it is missing or wrong.

    stored: the file of a checkpoint or an episode, which moves no arm: one whose limits are wider than the arm's,
        its exposures longer than the time between images, or other values beyond what can be meant, as they could be
        once, is read all the same.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CellError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CellError(f"{path}: not a text in UTF-8: {error.reason} at byte {error.start}") from None
    cell = parse_cell(text, str(path))
    if not stored:
        problems = [*implausible(cell)] or [*limit_problems(cell), *exposure_problems(cell).values()]
        if problems:
            raise CellError("\n".join(f"{path}: {problem}" for problem in problems))
    return cell


def dump_cell(cell: Cell) -> str:
    """YAML text of the cell that :func:`parse_cell` reads back to an equal cell."""
    return yaml.safe_dump(cell.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _explain(item: Any, written: WrittenYaml) -> str:
    """One validation error as 'key: what is wrong; allowed: …'."""
    location = [part for part in item["loc"] if not (isinstance(part, str) and "[" in part)]
    key = ".".join(str(part) for part in location) or "cell"
    if item["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(location[:-1]))
        hand = "; only the Franka Hand is driven" if location[0] == "gripper" else ""
        return f"{key}: unknown key; allowed keys here: {known}{hand}"
    if item["type"] == "missing":
        return f"{key}: required and missing"
    as_written = written.plain(location)
    if item["type"] == "string_type" and as_written is not None:
        return f"{key}: {not_a_text(as_written, item['input'])}"
    message = item["msg"].removeprefix("Value error, ")
    if isinstance(item["input"], dict):
        return f"{key}: {message}"
    found = repr(item["input"]) if as_written is None or isinstance(item["input"], str) else as_written
    return f"{key}: {message} (found {found if len(found) <= _ROOM else found[: _ROOM - 1] + '…'})"


def _fields_at(location: list[Any]) -> list[str]:
    """Names of the keys allowed at a location of the cell file."""
    section: Any = Cell
    for part in location:
        if isinstance(part, int):
            continue
        section = section_of(section.model_fields[part].annotation)
    return list(section.model_fields)
