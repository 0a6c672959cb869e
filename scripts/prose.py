#!/usr/bin/env python3
"""Counts the words of the sentences that a reader meets, and fails where a page has too many long ones.

    scripts/prose.py [--longest N] [PAGE ...]

Without PAGE: README.md, CONTRIBUTING.md, SECURITY.md and docs/{tutorials,how-to,explanation}. Code, tables, headings,
pictures and links' targets are not counted. One line a page: sentences, their median and 90th percentile in words.
Exit status 1 when a 90th percentile is above 30 words. --longest 5 shows a page's longest sentences.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tutorials", "how-to", "explanation")
LIMIT = 30  # words that at most one sentence in ten may exceed
SHORT = ("e.g", "i.e", "etc", "cf", "vs", "Fig", "No")  # followed by a period within a sentence


def pages() -> list[Path]:
    """The pages on a reader's way; reference pages are looked up, not read."""
    front = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return front + [page for folder in FOLDERS for page in sorted((ROOT / "docs" / folder).rglob("*.md"))]


def sentences(markdown: str) -> list[str]:
    """The sentences of a page's paragraphs and list items. Each item and paragraph ends its last sentence."""
    text = re.sub(r"\A---\n.*?^---\n", "", markdown, flags=re.DOTALL | re.MULTILINE)  # front matter
    text = re.sub(r"^ *```.*?^ *```$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^ *(\|.*|#.*|<.*>|!\[.*)$", "\n", text, flags=re.MULTILINE)  # tables, headings, HTML, pictures
    text = re.sub(r"`[^`]*`", "CODE", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^ *([-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        line = re.sub(r"[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}", "", " ".join(paragraph.split()))
        line = re.sub(rf"\b({'|'.join(SHORT)})\.", r"\1", line)
        found += [part for part in re.split(r"(?<=[.!?:])[)\"”]?\s+(?=[\"“(]?[A-Z0-9])", line) if words(part)]
    return found


def words(sentence: str) -> int:
    """How many words: whatever has a letter or a digit between spaces. A piece of code is one."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def percentile(counts: list[int], share: float) -> int:
    """The least count that `share` of them do not exceed; 0 of none."""
    return sorted(counts)[max(0, math.ceil(len(counts) * share) - 1)] if counts else 0


def main() -> int:
    """Prints one line a page; 1 when one has too many long sentences."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE")
    parser.add_argument("--longest", type=int, default=0, metavar="N", help="shows so many sentences of each page")
    arguments = parser.parse_args()
    failed = False
    for page in arguments.pages or pages():
        found = sentences(page.read_text(encoding="utf-8"))
        counts = [words(sentence) for sentence in found]
        high = percentile(counts, 0.9)
        failed |= high > LIMIT
        mark = f"  above {LIMIT}" if high > LIMIT else ""
        print(f"{len(counts):4} sentences, median {percentile(counts, 0.5):2}, p90 {high:2}  {page}{mark}")
        for sentence in sorted(found, key=words, reverse=True)[: arguments.longest]:
            print(f"     {words(sentence)}: {sentence}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
