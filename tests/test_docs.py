"""The pages of docs: generated ones are up to date, pictures are of their sources, make docs-run runs commands."""

import hashlib
import tomllib

import pytest
import run_docs
from reference import FOLDER, PAGES, ROOT

DOCS = ROOT / "docs"
DIAGRAMS = sorted(DOCS.glob("diagrams/*.mmd"))

PAGE = """
<!-- prepare: echo one >seen -->

```
cat seen; echo two >>seen
```

<!-- skip: needs a robot -->
```
exit 1
```

<!-- background: up -->
```
bash -c 'trap "echo three >>seen; exit 0" INT; echo up; while :; do sleep 0.05; done'
```

```text
$ exit 1
```

```sh
exit 3
```

```
echo never
```
"""


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name):
    assert (FOLDER / name).read_text() == PAGES[name]().rstrip("\n") + "\n", "run `make reference`"


@pytest.mark.parametrize("source", DIAGRAMS, ids=lambda path: path.stem)
def test_a_diagram_is_drawn_from_its_source(source):
    drawn_from = source.with_suffix(".svg").read_text().rstrip().rpartition("<!-- ")[2].removesuffix(" -->")
    assert drawn_from == hashlib.sha256(source.read_bytes()).hexdigest(), "run scripts/diagrams.sh"


def test_the_site_leads_to_every_page():
    def named(entry):
        if isinstance(entry, str):
            return [entry]
        return [page for inner in (entry.values() if isinstance(entry, dict) else entry) for page in named(inner)]

    nav = named(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])
    assert sorted(nav) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")), "see nav in zensical.toml"


def test_a_pages_commands_run_in_its_order(tmp_path, monkeypatch):
    monkeypatch.setattr(run_docs, "DOCS", tmp_path)
    monkeypatch.setattr(run_docs, "ROOT", tmp_path)
    monkeypatch.setattr(run_docs, "SCRATCH", tmp_path / "out")
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    outcomes = [outcome.split(",")[0] for _, outcome in run_docs.run_page(page)]
    assert [outcome for outcome in outcomes if not outcome.endswith(" s")] == [
        "skipped: needs a robot",
        "FAILED: exit status 3",
    ]
    assert len(outcomes) == 5  # what follows a failure is not run
    assert (tmp_path / "out/page/seen").read_text().split() == ["one", "two", "three"]
    assert (tmp_path / "out/page/1.log").read_text() == "one\n"


def test_every_block_of_a_page_is_a_step_with_its_own_comment():
    text = "<!-- prepare: make it -->\nWords.\n```\nfirst\n```\n<!-- skip: needs a robot -->\n```\nsecond\n```\n"
    found = [(step.commands.strip(), step.word, step.value) for step in run_docs.steps(text)]
    assert found == [("make it", "", ""), ("first", "", ""), ("second", "skip", "needs a robot")]
    for page in run_docs.pages([]):
        fences = [line for line in page.read_text().splitlines() if line.startswith(("```", "<!-- prepare:"))]
        prepared = [line for line in fences if line.startswith("<!--")]
        opening = [line for line in fences if line not in prepared][::2]
        shown = [line for line in opening if line in ("```", "```sh", "```bash")]
        assert len(run_docs.steps(page.read_text())) == len(shown) + len(prepared), page


def test_what_is_not_run_says_why():
    steps = [step for page in run_docs.pages([]) for step in run_docs.steps(page.read_text())]
    assert sum(step.word != "skip" for step in steps) > 15
    assert [step.title for step in steps if step.word and len(step.value) < 4] == []
