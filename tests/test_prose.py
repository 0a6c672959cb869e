"""Sentences are counted as a reader meets them, and the pages on a reader's way have few long ones."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts/prose.py"
PROSE = runpy.run_path(str(SCRIPT))
LONG = "This sentence " + "goes on " * 20 + "and ends."


def counts(markdown):
    return [PROSE["words"](sentence) for sentence in PROSE["sentences"](markdown)]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("One two three. Four five.", [3, 2]),
        ("One two\nthree. Four\nfive.", [3, 2]),
        ("One two.\n\n```\ncode is no prose at all\n```\n\nThree.", [2, 1]),
        ("# A heading\n\nOne two.\n\n| a table | of words |\n", [2]),
        ("- one two\n- three four five\n\n1. six", [2, 3, 1]),
        ("See [the long page](a/b.md#c) for `code with spaces` now.", [7]),
        ("![a picture of words](p.png)\n\n**Bold one.** Two three.", [2, 2]),
        ("It is 3.5 mm, e.g. Here no new sentence.", [9]),
        ("What follows: one. Then 2 more.", [3, 3]),
        ("---\ntitle: front matter here\n---\nOne.", [1]),
    ],
)
def test_only_prose_is_counted(markdown, expected):
    assert counts(markdown) == expected


def test_a_page_with_too_many_long_sentences_is_named(tmp_path):
    (page := tmp_path / "page.md").write_text(f"{LONG} {LONG} Short.")
    finished = subprocess.run([sys.executable, SCRIPT, page], capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert finished.stdout == f"   3 sentences, median 44, p90 44  {page}  above 30\n"


def test_one_long_sentence_in_ten_is_borne(tmp_path):
    (page := tmp_path / "page.md").write_text(" ".join([LONG] + ["Short."] * 9))
    assert subprocess.run([sys.executable, SCRIPT, page], capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("page", PROSE["pages"](), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_pages_on_a_readers_way_have_few_long_sentences(page):
    found = counts(page.read_text())
    longest = sorted(PROSE["sentences"](page.read_text()), key=PROSE["words"])[-5:]
    assert PROSE["percentile"](found, 0.9) <= PROSE["LIMIT"], longest
