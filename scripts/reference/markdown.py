"""Small pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MADE = "This page is made by `make reference` from {source}: change the words there."


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, empty where there are no rows."""
    lines = [_row([cell.replace("|", "\\|") for cell in row]) for row in rows]
    return "\n".join([_row(header), "|" + "---|" * len(header), *lines]) + "\n" if lines else ""


def code(text: str) -> str:
    """The text as code, empty where it is empty."""
    return f"`{text}`" if text else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
