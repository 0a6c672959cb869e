"""The fuzz target: a few of its cases at every entrance, and whether it finds what it is for."""

import json
from collections import Counter

import numpy as np
import pytest
from fuzz import draw, valid
from fuzz.entrances import ENTRANCES
from fuzz.run import run
from fuzz.worker import HANG, MEMORY, OK, TRACEBACK, attempt
from vga_policy.bags.reader import Bag
from vga_policy.cell import loading
from vga_policy.lerobot.reader import LeRobotReader

BY_NAME = {entrance.name: entrance for entrance in ENTRANCES}
SEED = 1
CASES = 4

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fuzz") / "valid"
    valid.make(directory)
    return directory


@pytest.mark.parametrize("name", BY_NAME)
def test_damaged_input_is_refused_in_words_or_taken(name, made, tmp_path):
    for number in range(CASES):
        outcome = attempt(BY_NAME[name], SEED, number, made, tmp_path / "case")
        assert outcome.result == OK, f"case {number}: {outcome.words}"


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_damaged_was_valid(name, made, tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "count", lambda rng: 0)
    outcome = attempt(BY_NAME[name], SEED, 1, made, tmp_path / "case")
    assert (outcome.result, outcome.accepted) == (OK, True), outcome.words


def plant_faults():
    """Three faults in readers: an error nobody catches, a loop without end, and a large allocation."""
    parse_cell = loading.parse_cell

    def unexpected(*_):
        raise KeyError("nobody expects this")

    def endless(text, source="cell"):
        while source.endswith("cell.yaml"):
            pass
        return parse_cell(text, source)

    Bag.message = unexpected
    loading.parse_cell = endless
    LeRobotReader._json = lambda *_: np.ones(2**33)


def test_faults_put_into_readers_are_found(made, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "valid").symlink_to(made)
    entrances = [BY_NAME[name] for name in ("bag", "LeRobot dataset", "cell file")]
    report = run(entrances, out, seed=SEED, inputs=1, workers=1, cpu_limit=3.0, prepare=plant_faults)
    assert report == json.loads((out / "report.json").read_text())
    found = {
        name: Counter(failure["result"] for failure in about["failures"]) for name, about in report["entrances"].items()
    }
    assert found == {"bag": {TRACEBACK: 1}, "LeRobot dataset": {MEMORY: 1}, "cell file": {HANG: 1}}
    assert "nobody expects this" in " ".join(report["entrances"]["bag"]["failures"][0]["words"])
    assert sorted(kept.name for kept in (out / "failing").iterdir()) == ["LeRobot_dataset-0", "bag-0", "cell_file-0"]
    again = attempt(BY_NAME["cell file"], SEED, 0, made, tmp_path / "case")  # the same input, without the fault
    assert again.result == OK
    same, kept = (directory / "cell.yaml" for directory in (tmp_path / "case", out / "failing" / "cell_file-0"))
    assert same.read_bytes() == kept.read_bytes()
