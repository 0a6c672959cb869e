"""How a study is made, locked, and held to what was locked."""

import json
import shutil
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import yaml
from vga_bringup.study import errors
from vga_bringup.study.design import read_starts
from vga_bringup.study.ledger import open_ledger
from vga_policy.checkpoints import locate
from vga_policy.cli import main


def create(folder, *words, policies=("nano", "raw=untrained"), trials=3):
    return main(
        [
            *("eval", "robot", str(folder), "--create", "--cell", "sim", "--task", "pick_cube"),
            *("--trials", str(trials), "--policies", *map(str, policies), *words),
        ]
    )


@pytest.fixture
def study(tmp_path, capsys):
    assert create(tmp_path / "study") == 0
    assert "locked, 12 trials of at most 1200 steps" in capsys.readouterr().out
    return tmp_path / "study"


def turns(folder):
    with open_ledger(folder) as ledger:
        return ledger.missing()


def go_on(folder, capsys):
    """What the command says that cannot go on with the study."""
    assert main(["eval", "robot", str(folder)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_arms_are_policies_under_views(study):
    with open_ledger(study) as ledger:
        arms = ledger.arms
    assert list(arms) == ["nano-id", "nano-ood", "raw-id", "raw-ood"]
    assert arms["nano-id"].cameras == ("fixed_1", "wrist")
    assert arms["nano-ood"].cameras == ("fixed_2", "wrist")
    assert arms["raw-ood"].checkpoint == "untrained"
    assert {arm.max_steps for arm in arms.values()} == {1200}


def test_every_arm_meets_every_start_once_interleaved_and_in_an_order_that_is_drawn(study, tmp_path):
    order = turns(study)
    assert Counter((turn.arm.id, turn.seed) for turn in order) == Counter(
        (arm, seed) for arm in {turn.arm.id for turn in order} for seed in (1000000, 1000001, 1000002)
    )
    starts = [turn.seed for turn in order]
    assert sum(a != b for a, b in pairwise(starts)) == 2  # the arms of one start follow each other
    others = []
    for i in range(3):
        create(tmp_path / str(i))
        others.append([(turn.arm.id, turn.seed) for turn in turns(tmp_path / str(i))])
    assert [(turn.arm.id, turn.seed) for turn in order] not in others


def test_the_operator_sees_codes(study):
    for turn in turns(study):
        assert turn.code in turn.in_words()
        assert "nano" not in turn.in_words()
        assert "ood" not in turn.in_words()
    assert len({turn.code for turn in turns(study)}) == 4


def test_position_rotation_and_arm_pose_are_drawn(study):
    starts = list(read_starts(study).values())
    cubes = [next(thing for thing in start.things if thing.name == "red cube") for start in starts]
    for values in ([c.x for c in cubes], [c.y for c in cubes], [c.turned for c in cubes]):
        assert len(set(values)) == 3
    assert np.ptp([start.arm for start in starts], axis=0).min() > 0
    assert "red cube at x 0." in starts[0].in_words()


def test_a_study_that_was_changed_is_refused_with_the_remedy(study, capsys):
    text = (study / "study.yaml").read_text()
    (study / "study.yaml").write_text(text.replace("max_steps: 1200", "max_steps: 300", 1))
    said = go_on(study, capsys)
    assert "changed after locking: put it back, or have the change logged and named in the report: fieldtrial" in said
    assert f"fieldtrial amend {study} --reason" in said
    (study / "study.yaml").write_text(text.replace("title: ", "title: my "))  # words may change
    (study / "cell.yaml").write_text((study / "cell.yaml").read_text().replace("speed_scale", "speed_scale "))
    assert "cell.yaml or starts.json was changed after locking" in go_on(study, capsys)
    (study / "study.yaml").write_text("fieldtrial: 1")
    assert "study.yaml: " in go_on(study, capsys)


def test_other_weights_than_those_locked_are_refused(tmp_path, capsys):
    policy = shutil.copytree(locate("nano"), tmp_path / "mine")
    create(tmp_path / "study", policies=[policy])
    data = bytearray((policy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (policy / "model.safetensors").write_bytes(data)
    assert "has other weights than when the study was locked" in go_on(tmp_path / "study", capsys)
    shutil.rmtree(policy)
    assert "no such" in go_on(tmp_path / "study", capsys)


def test_a_policy_of_another_cell_is_refused(tmp_path, capsys):
    policy = shutil.copytree(locate("nano"), tmp_path / "mine")
    cell = yaml.safe_load((policy / "cell.yaml").read_text())
    (policy / "cell.yaml").write_text(yaml.safe_dump({**cell, "control_rate_hz": 20.0}))
    capsys.readouterr()
    assert create(tmp_path / "study", policies=[policy]) == 1
    said = capsys.readouterr().err
    assert "policy mine: " in said
    assert "is for another cell than 'sim': control_rate_hz: 10.0 here, 20.0 there" in said
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        (["nowhere"], "nowhere: no such directory"),
        (["operator"], "nothing that the policy's node runs"),
        (["nano", "nano"], "two policies called nano"),
        ([], "--policies"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, capsys, policies, said):
    words = ["--policies", *policies] if policies else []
    assert main(["eval", "robot", str(tmp_path / "study"), "--create", "--cell", "sim", *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_an_unknown_task_or_view_is_refused(tmp_path, capsys):
    for words in (["--task", "fold_towel"], ["--view", "above"]):
        with pytest.raises(SystemExit):
            create(tmp_path / "study", *words)
    assert "no task 'fold_towel'" in capsys.readouterr().err


def test_one_policy_under_one_view_is_a_study_too(tmp_path):
    assert create(tmp_path / "study", "--view", "id", policies=["nano"]) == 0
    assert {turn.arm.id for turn in turns(tmp_path / "study")} == {"nano-id"}


def test_a_study_is_not_made_over_another(study, capsys):
    before = (study / "study.yaml").read_text()
    assert create(study) == 1
    assert "is there already" in capsys.readouterr().err
    assert (study / "study.yaml").read_text() == before


def test_one_process_at_a_time_has_it(study, capsys):
    with open_ledger(study):
        assert "another vga eval robot has this study" in go_on(study, capsys)


def test_without_fieldtrial_it_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(errors, "find_spec", lambda _: None)
    assert create(tmp_path / "study") == 1
    assert capsys.readouterr().err == "vga eval robot: fieldtrial is not installed: make setup PURPOSES=trials\n"


def test_where_no_study_is_it_says_how_to_make_one(tmp_path, capsys):
    assert "no study is here: --create" in go_on(tmp_path, capsys)


def test_starts_are_plain_data(study):
    plain = json.loads((study / "starts.json").read_text())
    assert [one["seed"] for one in plain] == [1000000, 1000001, 1000002]
