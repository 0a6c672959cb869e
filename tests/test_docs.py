"""The pages of docs: generated ones are up to date, pictures are those of their sources."""

import hashlib

import pytest
from reference import FOLDER, PAGES, ROOT

DIAGRAMS = sorted((ROOT / "docs/diagrams").glob("*.mmd"))


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name):
    assert (FOLDER / name).read_text() == PAGES[name]().rstrip("\n") + "\n", "run `make reference`"


@pytest.mark.parametrize("source", DIAGRAMS, ids=lambda path: path.stem)
def test_a_diagram_is_drawn_from_its_source(source):
    drawn_from = source.with_suffix(".svg").read_text().rstrip().rpartition("<!-- ")[2].removesuffix(" -->")
    assert drawn_from == hashlib.sha256(source.read_bytes()).hexdigest(), "run scripts/diagrams.sh"
