"""Results as files, and the tables and comparisons made of them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from vga_policy.evaluate import results
from vga_policy.evaluate.intervals import paired_difference, wilson
from vga_policy.evaluate.results import Conditions, Evaluation, ResultsError
from vga_policy.evaluate.tables import table
from vga_policy.evaluate.tables import text as table_text
from vga_policy.evaluate.tables.plot import draw_table
from vga_policy.evaluate.trials import Outcome, Trial


def evaluation(
    method="VGA", camera_set="id", run="", control="", tasks=("pick_cube",), successes=4, n=5, strategy="receding"
):
    trials = []
    for task in tasks:
        for seed in range(n):
            outcome = Outcome.SUCCESS if seed < successes else Outcome.STEP_LIMIT
            trials.append(Trial(task, seed, "do it", outcome, 50 + seed, 5.0 + seed, "why", refused={"jump": seed}))
    cameras = ("fixed_1" if camera_set == "id" else "fixed_2", "wrist")
    conditions = Conditions(
        method, camera_set, cameras, strategy, 1200, "fast", 0, latency=0.13, control=control, run=run
    )
    return Evaluation(conditions, tuple(trials))


def test_results_read_back_as_written(tmp_path):
    written = evaluation(tasks=("pick_cube", "stack_cube"))
    written.save(tmp_path)
    assert results.load(tmp_path) == results.load(tmp_path / "results.json") == written
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [row["outcome"] for row in rows] == ["success"] * 4 + ["step limit"] + ["success"] * 4 + ["step limit"]
    assert rows[3]["refused"] == "jump:3"


def test_trials_not_reached_are_named_and_leave_their_cells_empty(tmp_path):
    cut = replace(evaluation(n=2, successes=2), missing=(("pick_cube", 2), ("stack_cube", 0)))
    cut.save(tmp_path)
    assert results.load(tmp_path) == cut
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [(row["task"], row["seed"], row["outcome"]) for row in rows[2:]] == [
        ("pick_cube", "2", ""),
        ("stack_cube", "0", ""),
    ]
    assert cut.to_json()["tasks"]["stack_cube"]["n"] == 0
    text = table_text.markdown(table.compare([cut]))
    assert "| 100 [34.2, 100] 2/2 |  |" in text
    assert "Trials not reached: pick cube 1, stack cube 1." in text
    assert "missing" not in evaluation().to_json()


def test_results_hold_rates_and_every_trial():
    report = json.loads(json.dumps(evaluation(tasks=("pick_cube", "stack_cube")).to_json()))
    assert report["success_rate"] == 0.8
    assert report["interval"] == pytest.approx(wilson(8, 10), abs=1e-4)
    assert report["tasks"]["stack_cube"]["interval"] == pytest.approx(wilson(4, 5), abs=1e-4)
    assert report["tasks"]["stack_cube"]["outcomes"] == {"success": 4, "failed": 0, "step limit": 1, "fault": 0}
    assert report["median_seconds"] == 6.5
    assert len(report["trials"]) == 10
    assert report["conditions"]["max_steps"] == 1200


def test_chunks_a_second_are_those_of_the_median_trial_in_real_time():
    trials = [Trial("pick_cube", i, "", Outcome.SUCCESS, 1, 0.1, chunk_rate=rate) for i, rate in enumerate((9, 10, 4))]
    assert results.figures(trials)["chunk_rate"] == 9
    assert "chunk_rate" not in results.figures(evaluation().trials)


def test_right_and_wrong_objects_are_counted():
    held_but_not_lifted = (Outcome.STEP_LIMIT, "carrot")
    ends = [(Outcome.SUCCESS, "carrot"), (Outcome.FAILED, "eggplant"), (Outcome.STEP_LIMIT, ""), held_but_not_lifted]
    trials = [Trial("grasp_vegetable", i, "", end, 1, 0.1, grasped=grasped) for i, (end, grasped) in enumerate(ends)]
    assert results.figures(trials)["grasped"] == {"right": 2, "wrong": 1, "none": 1}
    assert results.figures(trials[2:3])["grasped"] == {"right": 0, "wrong": 0, "none": 1}
    assert "grasped" not in results.figures(evaluation().trials)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("{}", "no results of trials"),
        ('{"format": 1, "conditions": {}, "trials": []}', "method: Field required"),
        ('{"format": 1, "conditions": null, "trials": []}', "not what this version writes"),
        ('{"format": 1, "suites": {}, "trials": []}', "of which `vga libero table` makes a table"),
    ],
)
def test_what_is_no_results_file_is_refused_in_words(tmp_path, text, says):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(ResultsError, match=says):
        results.load(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("conditions", "view", ["id"]),
        ("conditions", "cameras", "front"),
        ("conditions", "method", 3),
        ("trials", "task", ["pick_cube"]),
        ("trials", "success_rate", 0.5),
    ],
)
def test_an_edited_results_file_is_refused_by_the_key(tmp_path, place, key, value):
    evaluation().save(tmp_path)
    data = json.loads((tmp_path / "results.json").read_text())
    (data["conditions"] if place == "conditions" else data["trials"][0])[key] = value
    (tmp_path / "results.json").write_text(json.dumps(data))
    with pytest.raises(ResultsError, match="camera_set" if key == "view" else key) as refused:
        results.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_what_was_tried_otherwise_is_told():
    longer = evaluation("A")
    longer = replace(longer, conditions=replace(longer.conditions, max_steps=800))
    notes = table.compare([evaluation(), longer]).notes
    assert notes[-1] == "A was tried otherwise than VGA: max_steps 800, not 1200."
    assert not any("otherwise" in note for note in table.compare([evaluation(), evaluation("B")]).notes)


def test_a_table_has_views_tasks_and_averages():
    made = table.compare(
        [
            evaluation(tasks=("pick_cube", "press_button"), successes=4),
            evaluation(camera_set="ood", tasks=("pick_cube",), successes=1),
            evaluation("ACT", tasks=("pick_cube",), successes=2),
        ]
    )
    assert made.columns == (
        ("id", "pick_cube"), ("id", "press_button"), ("id", "average"), ("ood", "pick_cube"), ("ood", "average"),
    )  # fmt: skip
    assert made.rows["VGA"]["id", "average"].successes == 8
    assert made.rows["VGA"]["ood", "pick_cube"].value == 0.2
    assert set(made.rows["ACT"]) == {("id", "pick_cube")}, "an average of other tasks than VGA's is none beside it"


def test_there_is_no_average_over_tasks_tried_unequally_often():
    made = table.compare(
        [
            evaluation(),
            evaluation(tasks=("press_button",), n=8),
            *(evaluation(camera_set="ood", tasks=(task,), successes=1) for task in ("pick_cube", "press_button")),
        ]
    )
    assert ("id", "average") not in made.rows["VGA"]
    assert made.rows["VGA"]["ood", "average"].trials == 10
    compared = {comparison.column: comparison.difference.trials for comparison in made.comparisons}
    assert compared == {"pick cube": 5, "press button": 5}


def test_the_unseen_view_is_compared_on_the_same_trials():
    made = table.compare([evaluation(successes=4), evaluation(camera_set="ood", successes=1)])
    drop = next(c for c in made.comparisons if c.column == "pick cube")
    assert (drop.first, drop.second) == ("VGA, unseen view", "seen view")
    assert drop.difference == paired_difference([True] + [False] * 4, [True] * 4 + [False])
    assert drop.across_runs is None


def test_methods_are_compared_over_the_trials_both_have():
    made = table.compare([evaluation(successes=4), evaluation("ACT", successes=2, n=3)])
    found = next(c for c in made.comparisons if c.first == "ACT" and "pick" in c.column)
    assert found.second == "VGA"
    assert found.difference.trials == 3
    assert (found.difference.gained, found.difference.lost) == (0, 1)


def test_trainings_of_one_method_are_pooled_and_their_spread_is_shown():
    made = table.compare(
        [
            *(evaluation("full", run=str(run), successes=4) for run in range(3)),
            *(evaluation("no PVM", run=str(run), successes=run) for run in range(3)),
        ]
    )
    rate = made.rows["full"]["id", "pick_cube"]
    assert (rate.successes, rate.trials, rate.runs) == (12, 15, 3)
    found = made.comparisons[0]
    assert found.difference.value == pytest.approx((0 + 1 + 2 - 12) / 15)
    assert found.across_runs == pytest.approx((-0.6 - 4.3027 * 0.2 / 3**0.5, -0.6 + 4.3027 * 0.2 / 3**0.5), rel=1e-4)
    assert "Over trainings" in table_text.markdown(made)


def test_controls_and_strategies_have_rows_of_their_own():
    made = table.compare(
        [evaluation(), evaluation(control="shuffled", successes=0), evaluation(strategy="open_loop_sync")]
    )
    assert list(made.rows) == ["VGA, receding", "VGA, shuffled, receding", "VGA, open_loop_sync"]


def test_the_same_trial_twice_is_refused():
    with pytest.raises(ValueError, match="VGA, id: pick_cube with seed 0 is there twice"):
        table.compare([evaluation(), evaluation()])
    with pytest.raises(ValueError, match="no evaluations"):
        table.compare([])
    with pytest.raises(ValueError, match="reference 'ACT': there is 'VGA'"):
        table.compare([evaluation()], "ACT")


@pytest.mark.parametrize(
    ("condition", "value", "run"),
    [("weights", "b1", "0"), ("max_steps", 300, "0"), ("latency", 0.3, "1"), ("cell", "lab", "1")],
)
def test_a_row_is_of_trials_run_alike(tmp_path, condition, value, run):
    seen, unseen = evaluation(run="0"), evaluation(camera_set="ood", run=run)
    seen.save(tmp_path / "seen")
    replace(unseen, conditions=replace(unseen.conditions, **{condition: value})).save(tmp_path / "unseen")
    pair = [results.load(tmp_path / name) for name in ("seen", "unseen")]
    with pytest.raises(ValueError, match=f"/seen/.* and .*/unseen/.* differ in {condition} .*{value}.*another method"):
        table.compare(pair)
    other = replace(pair[1], conditions=replace(pair[1].conditions, method="another"))
    assert list(table.compare([pair[0], other]).rows) == ["VGA", "another"]


def test_a_method_that_is_called_as_another_ones_control_is_no_part_of_its_row():
    with pytest.raises(ValueError, match=r"VGA, no-wrist: .*differ in method \(VGA, VGA, no-wrist\)"):
        table.compare([evaluation(control="no-wrist"), evaluation(method="VGA, no-wrist", camera_set="ood")])


def test_trainings_of_one_method_have_weights_of_their_own():
    first, second = evaluation(run="0"), evaluation(run="1")
    second = replace(second, conditions=replace(second.conditions, weights="b1"))
    assert table.compare([first, second]).rows["VGA"]["id", "pick_cube"].runs == 2


def test_markdown_is_a_table_that_states_its_conditions():
    text = table_text.markdown(table.compare([evaluation(), evaluation(camera_set="ood", successes=0)]))
    lines = text.splitlines()
    assert lines[0].startswith("| Method | Seen view: pick cube | Seen view: average | Unseen view: pick cube |")
    assert lines[2].startswith("| VGA | 80 [37.6, 96.4] 4/5 |")
    assert "Step limit: 1200. Execution: receding." in text
    assert "id = fixed_1 + wrist, ood = fixed_2 + wrist" in text
    assert "| VGA, unseen view less seen view, pick cube | 5 | -80.0 [" in text
    assert {line.count("|") for line in lines[:3]} == {6}


def test_csv_has_a_line_a_cell():
    rows = list(csv.DictReader(io.StringIO(table_text.to_csv(table.compare([evaluation()])))))
    assert [row["task"] for row in rows] == ["pick_cube", "average"]
    assert float(rows[0]["success_rate"]) == 0.8
    assert float(rows[0]["low"]) == pytest.approx(wilson(4, 5).low, abs=1e-4)


def test_the_picture_is_drawn(tmp_path):
    made = table.compare([evaluation(), evaluation(camera_set="ood"), evaluation("ACT, a longer name of a method")])
    draw_table(made, tmp_path / "table.png")
    picture = Image.open(tmp_path / "table.png").convert("L")
    assert picture.width > picture.height > 200
    dark = (np.asarray(picture) < 100).sum()
    assert dark > 2000, "text and rules"
