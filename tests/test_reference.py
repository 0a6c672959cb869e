"""The generated pages of docs/reference say what the sources say."""

import pytest
from reference import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name):
    assert (FOLDER / name).read_text() == PAGES[name]().rstrip("\n") + "\n", "run `make reference`"
