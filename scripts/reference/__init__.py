"""The pages of docs/reference that the sources write: each by a function, the page's text its result.

`python -m reference` writes them, `make docs` and a test hold them to be up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from vga_policy.cell.reference import reference_page

from reference.commands import commands_page
from reference.files import checkpoint_page, episode_page
from reference.graph import topics_page
from reference.interfaces import interfaces_page
from reference.launch import launch_page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "cell_file.md": reference_page,
    "checkpoint.md": checkpoint_page,
    "commands.md": commands_page,
    "episode.md": episode_page,
    "launch_files.md": launch_page,
    "messages.md": interfaces_page,
    "topics.md": topics_page,
}


def outdated() -> dict[str, str]:
    """The text of every page that is not on disk as the sources have it, by file name."""
    texts = {name: page().rstrip("\n") + "\n" for name, page in PAGES.items()}
    return {name: text for name, text in texts.items() if _on_disk(name) != text}


def _on_disk(name: str) -> str:
    path = FOLDER / name
    return path.read_text() if path.exists() else ""
