"""Writes the generated pages of docs/reference. With --check it writes nothing and fails where one is out of date."""

from __future__ import annotations

import sys

from reference import FOLDER, outdated


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 where `--check` found a page out of date."""
    pages = outdated()
    for name, text in pages.items():
        if arguments == ["--check"]:
            print(f"docs/reference/{name}: out of date: run `make reference`", file=sys.stderr)
        else:
            (FOLDER / name).write_text(text)
            print(f"docs/reference/{name}: written")
    return int(bool(pages) and arguments == ["--check"])


sys.exit(main(sys.argv[1:]))
