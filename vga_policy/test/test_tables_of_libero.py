"""Results of LIBERO as the paper's Table 1; without the benchmark itself."""

import json

import pytest
from vga_policy.cli import main
from vga_policy.evaluate.tables.table import AVERAGE
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.tables import PAPER, SET, compare

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


def results(directory, policy="three", suites=SUITES, done=2, trials=4, **conditions):
    """A directory of results: `trials` of each of ten tasks, of which the first `done` succeed."""
    cases = [(suite, task, state) for suite in suites for task in range(10) for state in range(trials)]
    written = {
        "format": 1,
        "suites": {suite: {} for suite in suites},
        "missing": 0,
        "conditions": {"policy": "trained", "checkpoint": policy, "weights": f"of {policy}", "execute": 8, "seed": 0}
        | conditions,
        "trials": [
            {"task": f"{suite}/{task}", "case": {"state": state, "seed": None, "camera": ""}, "success": state < done}
            for suite, task, state in cases
        ],
    }
    directory.mkdir()
    (directory / "results.json").write_text(json.dumps(written))
    return directory


def cells(table, row):
    """Successes of trials by column."""
    return {column: f"{rate.successes}/{rate.trials}" for (_, column), rate in table.rows[row].items()}


def test_a_policy_is_a_row_and_a_suite_a_column(tmp_path):
    table = compare([results(tmp_path / "a"), results(tmp_path / "b", "object", ["libero_object"], done=3)])
    assert [column for _, column in table.columns] == ["spatial", "object", "goal", "long", AVERAGE]
    assert {column for column, _ in table.columns} == {SET}
    assert cells(table, "three") == dict.fromkeys(("spatial", "object", "goal", "long"), "20/40") | {AVERAGE: "80/160"}
    assert cells(table, "object") == {"object": "30/40"}
    assert cells(table, PAPER)["long"] == "475/500"
    [compared] = table.comparisons
    assert (compared.first, compared.second, compared.column) == ("object", "three", "object")
    assert (compared.difference.trials, compared.difference.gained, compared.difference.lost) == (40, 10, 0)


def test_suites_of_one_policy_are_put_together(tmp_path):
    parts = [results(tmp_path / suite, suites=[suite]) for suite in SUITES]
    assert cells(compare(parts), "three")[AVERAGE] == "80/160"
    assert AVERAGE not in cells(compare(parts[:3]), "three")


def test_conditions_have_rows_of_their_own(tmp_path):
    other = [{"control": "no-wrist"}, {"execute": 4}, {"seed": 7}]
    paths = [results(tmp_path / str(number), **each) for number, each in enumerate([{}, *other])]
    rows = ["three", "three, no-wrist", "three, execute 4", "three, seed 7", PAPER]
    assert list(compare(paths).rows) == rows
    assert compare(paths, "three, seed 7").comparisons[0].second == "three, seed 7"


def test_what_was_left_out_is_told(tmp_path):
    path = results(tmp_path / "a", suites=["libero_goal"]) / "results.json"
    data = json.loads(path.read_text())
    data["trials"] = [trial for trial in data["trials"] if trial["task"] in ("libero_goal/0", "libero_goal/3")][:6]
    path.write_text(json.dumps(data | {"missing": 34}))
    notes = compare([path]).notes
    assert "three, goal: not all tasks alike, but trials of tasks 0 (4), 3 (2)." in notes
    assert "three: 34 trials not reached." in notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("suites"), "no results of `vga eval libero`"),
        (lambda data: data["conditions"].update(plus="camera"), "LIBERO-Plus"),
        (lambda data: data["conditions"].pop("weights"), "not what `vga eval libero` writes: KeyError: 'weights'"),
        (lambda data: data["trials"][0].update(success="yes"), "success 'yes'"),
        (lambda data: data["trials"][0].update(task="other/1"), "a trial of other/1"),
        (lambda data: data["trials"].append(data["trials"][0]), "trial 0 of libero_spatial/0 twice"),
        (lambda data: data.update(trials=None), "TypeError"),
    ],
)
def test_what_are_no_such_results_is_refused_in_a_line(tmp_path, change, said):
    path = results(tmp_path / "a") / "results.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(LiberoError, match=said) as refused:
        compare([path])
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_other_weights_are_no_part_of_a_row(tmp_path):
    paths = [results(tmp_path / "a", suites=SUITES[:1]), results(tmp_path / "b", suites=SUITES[1:], weights="other")]
    with pytest.raises(LiberoError, match="three has other weights"):
        compare(paths)


def test_the_command_leaves_table_and_picture(tmp_path, capsys):
    assert main(["libero", "table", str(results(tmp_path / "a")), "--out", str(tmp_path / "table")]) == 0
    printed = capsys.readouterr().out
    assert "| three | 50 [35.2, 64.8] 20/40 |" in printed
    assert "| the paper's VGA | 99 [97.7, 99.6] 495/500 | 99.6 [98.6, 99.9] 498/500 | 98.6" in printed
    assert "98.1 [97.3, 98.6] 1961/2000 |" in printed
    assert (tmp_path / "table" / "table.md").read_text() == printed
    assert (tmp_path / "table" / "table.png").is_file()
    assert main(["libero", "table", str(tmp_path / "none"), "--out", str(tmp_path / "table")]) == 1
    assert main(["libero", "table", str(tmp_path / "a"), "--reference", "x", "--out", str(tmp_path / "table")]) == 1
    assert capsys.readouterr().err.count("\n") == 2
