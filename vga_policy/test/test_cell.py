"""The cell file: what is refused, with which words, and what counts as a difference in meaning."""

import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from vga_policy.cell.compatibility import differences
from vga_policy.cell.errors import CellError
from vga_policy.cell.keys import all_keys
from vga_policy.cell.loading import dump_cell, load_cell, parse_cell
from vga_policy.cell.reference import reference_page
from vga_policy.cell.schema import Strategy
from vga_policy.cell.values import values

from vga_policy import cli

SIM = Path(__file__).parents[2] / "vga_bringup" / "config" / "cells" / "sim.yaml"


@pytest.fixture
def data():
    return yaml.safe_load(SIM.read_text())


def without_poses(data):
    """Whose parents are frames of the arm that the file was written for."""
    for camera in data["cameras"]:
        del camera["pose"]


def refuse(data):
    with pytest.raises(CellError) as caught:
        parse_cell(yaml.safe_dump(data), "my_cell.yaml")
    lines = str(caught.value).splitlines()
    assert all(line.startswith("my_cell.yaml: ") for line in lines)
    return lines


@pytest.mark.parametrize("path", sorted(SIM.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_cells_load_and_round_trip(path):
    cell = load_cell(path)
    assert parse_cell(dump_cell(cell)) == cell
    assert not differences(cell, parse_cell(dump_cell(cell)))


def test_views_follow_the_slots(data):
    cell = parse_cell(yaml.safe_dump(data))
    assert [camera.name for camera in cell.views] == ["fixed_1", "wrist"]
    assert [camera.name for camera in cell.with_views(["fixed_2", "wrist"]).views] == ["fixed_2", "wrist"]
    with pytest.raises(CellError, match=r"fixed_1.*wrist.*fixed_2"):
        cell.with_views(["fixed_9", "wrist"])
    with pytest.raises(CellError, match="one slot"):
        cell.with_views(["wrist", "wrist"])


def test_unknown_key_names_the_allowed_ones(data):
    data["arm"]["tracking"]["mod"] = "velocity"
    (line,) = refuse(data)
    assert "arm.tracking.mod" in line
    assert "mode, rate_hz, gain" in line


def test_wrong_choice_names_the_allowed_values(data):
    data["execution"] = {"strategy": "fastest"}
    (line,) = refuse(data)
    assert "execution.strategy" in line
    assert all(strategy.value in line for strategy in Strategy)


def test_missing_key_is_named(data):
    del data["cameras"][1]["serial"]
    (line,) = refuse(data)
    assert "cameras.1.serial" in line
    assert "missing" in line


def test_every_fault_is_listed(data):
    data["cameras"][0]["color"]["fps"] = 14
    data["arm"]["speed_scale"] = 2.0
    del data["workspace"]
    assert len(refuse(data)) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda d: d["cameras"][1].update(slot=0), "slots are [0, 0]"),
        (lambda d: d["cameras"][1].update(slot=2), "slots are [0, 2]"),
        (lambda d: d["cameras"][1].update(name="fixed_1"), "name ['fixed_1'] is used more than once"),
        (lambda d: d["cameras"][1].update(serial=d["cameras"][0]["serial"]), "serial"),
        (lambda d: d.update(cameras=[]), "cameras"),
        (lambda d: d["arm"]["home"].__setitem__(3, 0.5), "home of fr3_joint4 (0.5) must lie inside its limits"),
        (lambda d: d["arm"]["home"].append(0.0), "arm.home"),
        (lambda d: d["arm"]["home"].__setitem__(0, float("nan")), "arm.home.0"),
        (lambda d: d["workspace"].update(min=[1.0, 0.0, 0.0]), "must be below"),
        (lambda d: d.update(gripper={"grasp_below": 0.05, "release_above": 0.04}), "grasp_below < release_above"),
    ],
)
def test_contradictions_are_refused(data, fault, words):
    fault(data)
    (line,) = refuse(data)
    assert words in line


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda d: d["workspace"].update(min=[200, -500, 10], max=[750, 500, 800]), "workspace.min: 500 m .* in mm"),
        (lambda d: d.update(execution={"heartbeat_timeout": 200}), "execution.heartbeat_timeout: 200 s .* in ms"),
        (lambda d: d.update(execution={"stop_acceleration": 0.001}), "would hardly brake the arm; 1 at least"),
        (lambda d: d.update(inputs={"max_image_age": 100}), "inputs.max_image_age: 100 s"),
        (lambda d: d["arm"].update(payload={"mass": 120}), "arm.payload.mass: 120 kg .* in g"),
        (lambda d: d["arm"].update(payload={"inertia": [-1e-3, *[0] * 8]}), "arm.payload.inertia: -0.001"),
        (lambda d: d["arm"].update(collision={"joint_torque": [4000] * 7}), "joint_torque: 4000 Nm"),
        (lambda d: d["arm"].update(end_effector_rpy=[0, 0, 45]), "end_effector_rpy: 45 rad .* in degrees"),
        (lambda d: d["arm"].update(ip="172.16.0.999"), "arm.ip: 172.16.0.999 is no address"),
        (lambda d: d.update(gripper={"force": 2000}), "gripper.force: 2000 N"),
        (lambda d: d.update(control_rate_hz=1000), "control_rate_hz: 1000 Hz"),
        (lambda d: d["arm"]["home"].__setitem__(1, -45.0), "angles are in radians, not degrees"),
    ],
)
def test_values_of_another_unit_are_refused_but_in_what_was_recorded(data, tmp_path, fault, words):
    fault(data)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(CellError, match=f"{file}: .*{words}"):
        load_cell(file)
    if "radians" not in words:
        load_cell(file, stored=True)


def test_a_key_that_is_given_twice_is_refused(data, tmp_path):
    file = tmp_path / "mine.yaml"
    data["arm"]["speed_scale"] = 0.1
    text = yaml.safe_dump(data, sort_keys=False)
    file.write_text(text.replace("  speed_scale: 0.1\n", "  speed_scale: 0.1\n  speed_scale: 1.0\n"))
    line = text[: text.index("speed_scale")].count("\n") + 1
    with pytest.raises(CellError, match=rf"'speed_scale' is given twice, first in line {line} \(line {line + 1}, "):
        load_cell(file)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list", "a: [1, 2", "a: {b: }}", "a: 2026-13-45"])
def test_not_a_cell_at_all(text):
    with pytest.raises(CellError, match=r"my\.yaml: "):
        parse_cell(text, "my.yaml")


def test_missing_file():
    with pytest.raises(CellError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_cell("nowhere.yaml")


def test_meaning_ignores_addresses_and_names_the_rest(data):
    cell = parse_cell(yaml.safe_dump(data))
    data["arm"]["ip"] = "172.16.0.2"
    data["cameras"][0]["serial"] = "other"
    data["execution"] = {"strategy": "open_loop_sync"}
    assert not differences(cell, parse_cell(yaml.safe_dump(data)))
    data["control_rate_hz"] = 20.0
    data["arm"]["joint_names"].reverse()
    data["cameras"][1]["role"] = "fixed"
    data["action"]["joints"] = "leader"
    found = differences(cell, parse_cell(yaml.safe_dump(data)))
    assert {difference.key for difference in found} == {
        "control_rate_hz",
        "arm.joint_names",
        "slot roles",
        "action.joints",
    }
    assert "control_rate_hz: 10.0 here, 20.0 there" in [str(difference) for difference in found]


def test_unseen_view_keeps_the_meaning(data):
    cell = parse_cell(yaml.safe_dump(data))
    assert not differences(cell, cell.with_views(["fixed_2", "wrist"]))


def test_cell_needs_neither_torch_nor_rclpy():
    code = """
import importlib, pkgutil, sys
sys.modules["torch"] = sys.modules["rclpy"] = None
import vga_policy.cell as cell
for module in pkgutil.iter_modules(cell.__path__):
    importlib.import_module(f"vga_policy.cell.{module.name}")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("key", "joint", "value", "bound"),
    [
        ("lower", 3, -3.1, "-3.0481"),
        ("upper", 1, 1.8, "1.7918"),
        ("velocity", 0, 2.7, "2.62"),
        ("acceleration", 6, 12, "10"),
    ],
)
def test_limits_wider_than_the_arms_own_are_refused_where_an_arm_is_moved(tmp_path, data, key, joint, value, bound):
    data["arm"]["limits"][key][joint] = value
    path = tmp_path / "my_cell.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(CellError, match=rf"my_cell.yaml: arm.limits.{key}: .*fr3_joint{joint + 1} is .* {bound},"):
        load_cell(path)
    assert getattr(load_cell(path, stored=True).arm.limits, key)[joint] == value


def test_the_model_of_the_arm_is_part_of_the_meaning(tmp_path, data):
    without_poses(data)
    fr3 = parse_cell(yaml.safe_dump(data))
    data["arm"]["model"] = "panda"
    panda = parse_cell(yaml.safe_dump(data))
    assert [item.key for item in differences(panda, fr3)] == ["arm.model"]
    path = tmp_path / "my_cell.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(CellError, match=r"fr3_joint1 is a fr3's, arm.model is panda; set arm.model: fr3, or name"):
        load_cell(path)
    data["arm"]["model"] = "kuka"
    assert "arm.model" in refuse(data)[0]


def test_a_file_of_before_the_model_was_a_key_names_its_arm_by_its_joints(data):
    del data["arm"]["model"]
    without_poses(data)
    assert parse_cell(yaml.safe_dump(data)).arm.model == "fr3"
    data["arm"]["joint_names"] = [f"panda_joint{k}" for k in range(1, 8)]
    assert parse_cell(yaml.safe_dump(data)).arm.model == "panda"


@pytest.fixture
def vga(monkeypatch, capsys):
    """Runs `vga` as if it had the command `cell` alone: exit status, what it printed, and what it complained."""
    command = EntryPoint("cell", "vga_policy.cell.commands:cell_command", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [command] if group == cli.GROUP else [])

    def run(*arguments):
        status = cli.main(list(map(str, arguments)))
        return status, *capsys.readouterr()

    return run


def test_every_key_is_described_in_a_sentence_and_every_number_has_a_unit():
    keys = list(all_keys())
    assert len(keys) > 80
    assert [key.path for key in keys if len(key.description.split()) < 5 or not key.description.endswith(".")] == []
    assert [key.path for key in keys if (key.unit is not None) != ("number" in key.kind)] == []


def test_the_reference_page_is_what_the_schema_says():
    page = Path(__file__).parents[2] / "docs" / "reference" / "cell_file.md"
    assert page.read_text(encoding="utf-8") == reference_page(), (
        "run `vga cell reference > docs/reference/cell_file.md`"
    )


def test_a_key_is_explained_by_meaning_unit_range_and_default(vga):
    status, printed, _ = vga("cell", "explain", "arm.limits.velocity", "cameras.0.slot", "execution.max_jump")
    assert status == 0
    assert "list of 7 numbers in rad/s: each above 0; required" in printed
    assert "cameras.slot\n" in printed
    assert "whole number or null: at least 0; default: null" in printed
    assert "number in rad: above 0; default: 0.15" in printed
    assert "Largest distance of any joint" in printed


def test_a_section_explains_its_keys(vga):
    _, printed, _ = vga("cell", "explain", "inputs")
    headings = [line for line in printed.splitlines() if not line.startswith(" ")]
    assert headings == [
        "inputs",
        "inputs.max_image_age",
        "inputs.max_joint_age",
        "inputs.max_image_skew",
        "inputs.changed_view",
    ]


def test_a_misspelled_key_gets_the_nearest_names(vga):
    status, printed, complaint = vga("cell", "explain", "arm.speed_scle", "max_jmup", "qqqqq", "arm.ip")
    assert status == 2
    assert printed.startswith("arm.ip\n")
    scale, jump, nothing = complaint.splitlines()
    assert scale.startswith("arm.speed_scle: no such key of a cell file; nearest: arm.speed_scale")
    assert "execution.max_jump" in jump
    assert "nearest" not in nothing


def test_show_tells_what_the_file_says_from_defaults(tmp_path, data, vga):
    data["arm"]["joint_names"] = [f"panda_joint{k}" for k in range(1, 8)]
    del data["arm"]["model"]
    data["keep_out"] = []
    del data["leader"]
    without_poses(data)
    path = tmp_path / "my_cell.yaml"
    path.write_text(yaml.safe_dump(data))
    status, printed, _ = vga("cell", "show", path, "--json")
    shown = json.loads(printed)
    assert status == 0
    assert shown["control_rate_hz"] == {"value": 10.0, "unit": "Hz", "source": "file"}
    assert shown["execution.strategy"] == {"value": "receding", "unit": None, "source": "default"}
    assert shown["arm.model"] == {"value": "panda", "unit": None, "source": "derived"}
    assert shown["cameras.2.slot"]["source"] == "default"
    assert shown["keep_out"] == {"value": [], "unit": None, "source": "file"}
    assert shown["leader"]["value"] is None
    _, printed, _ = vga("cell", "show", path)
    lines = [line.split(maxsplit=2) for line in printed.splitlines()]
    assert [line[0] for line in lines] == list(shown)
    assert ["arm.limits.share", "default", "0.9"] in lines
    assert ["gripper.force", "default", "20.0 N"] in lines


def test_every_value_of_a_cell_is_shown(data):
    cell = parse_cell(yaml.safe_dump(data))
    rebuilt = {}
    for key, value, *_ in values(cell, data):
        *parents, name = key.split(".")
        place = rebuilt
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    rebuilt["cameras"] = list(rebuilt["cameras"].values())
    collision = rebuilt["arm"]["self_collision"]
    collision["mounted"] = list(collision["mounted"].values())
    assert rebuilt == cell.model_dump()


def test_check_goes_through_all_files_and_says_what_the_nodes_would(tmp_path, data, vga):
    good, wrong, wide, binary = (tmp_path / f"{name}.yaml" for name in ("good", "wrong", "wide", "binary"))
    good.write_text(yaml.safe_dump(data))
    binary.write_bytes(b"name: \xff")
    wrong.write_text(yaml.safe_dump(data | {"speed": 1}))
    data["arm"]["limits"]["velocity"][0] = 2.7
    wide.write_text(yaml.safe_dump(data))
    status, printed, complaint = vga("cell", "check", wrong, binary, wide, tmp_path / "none.yaml", good, "sim")
    assert status == 1
    valid = printed.splitlines()
    assert valid[0] == f"{good}: valid"
    assert valid[1].endswith("cells/sim.yaml: valid")
    complaints = complaint.splitlines()
    assert [line.partition(": ")[0] for line in complaints] == [
        *map(str, (wrong, binary, wide)),
        f"{tmp_path}/none.yaml",
    ]
    for line, path in zip(complaints, (wrong, binary, wide), strict=False):
        with pytest.raises(CellError) as caught:
            load_cell(path)
        assert str(caught.value) == line
    assert vga("cell", "check", good)[0] == 0


def test_what_suits_another_arm_or_hand_is_doubted(tmp_path, data, vga):
    path = tmp_path / "cell.yaml"

    def complaint():
        path.write_text(yaml.safe_dump(data))
        return vga("cell", "check", path)[2].splitlines()

    assert complaint() == []
    without_poses(data)
    data["arm"]["base_frame"], data["gripper"] = "panda_link0", {"joint_name": "panda_finger_joint1"}
    first, second = complaint()
    assert first == (
        f"{path}: warning: arm.base_frame: panda_link0 is another arm's, arm.model is fr3; fr3_link0 is meant, "
        "most likely"
    )
    assert "gripper.joint_name: panda_finger_joint1" in second
    data["arm"]["base_frame"] = "lab/base"  # anybody's own name
    data["gripper"] = {"max_width": 0.085}
    assert complaint() == [
        f"{path}: warning: gripper.max_width: 0.085 m is wider than the Franka Hand opens (0.08 m); no other gripper "
        "is driven"
    ]
    data["gripper"] = {"model": "robotiq_2f85"}
    assert complaint()[0].endswith("min_change; only the Franka Hand is driven")


SERIAL, EXPOSURE = "cameras.0.serial", "cameras.0.exposure_us"


def written(key, text):
    """The simulated cell's file with this text as the value of a key of its first camera, or of the arm's address."""
    lines = SIM.read_text()
    name = key.rpartition(".")[2]
    return re.sub(rf"(\b{name}: )(\"[^\"]*\"|[^,\s}}]+)", lambda found: found[1] + text, lines, count=1)


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        (SERIAL, "012345670123", "a number"),
        (SERIAL, "12:30:45", "a number"),
        (SERIAL, "1_000", "a number"),
        (SERIAL, "0x12", "a number"),
        (SERIAL, "840412060001", "a number"),
        (SERIAL, "1.50", "a number"),
        (SERIAL, "2024-01-02", "a date"),
        (SERIAL, "2024-01-02 10:00:00", "a date"),
        ("arm.ip", "172.16", "a number"),
        *((SERIAL, word, "true or false") for word in ("yes", "no", "on", "Off", "TRUE")),
    ],
)
def test_a_text_that_yaml_takes_for_something_else_is_quoted_as_written(key, text, kind):
    with pytest.raises(CellError) as caught:
        parse_cell(written(key, text), "my.yaml")
    assert (
        str(caught.value) == f'my.yaml: {key}: YAML reads {text} as {kind}, not as a text: put it in quotes, "{text}"'
    )


@pytest.mark.parametrize("text", ["012345678901", "123e10", '"012345670123"', "'yes'"])
def test_a_text_that_yaml_takes_for_one_is_welcome(text):
    assert parse_cell(written(SERIAL, text)).cameras[0].serial == text.strip("\"'")


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        (SERIAL, '""', "must not be empty (found '')"),
        (SERIAL, "'  '", "must not be empty (found '  ')"),
        (SERIAL, "null", "must be a text; found null: write it in quotes"),
        (SERIAL, "~", "must be a text; found ~: write it in quotes"),
        (EXPOSURE, "010000", "YAML reads 010000 as 4096; write the number without a leading 0 and without colons"),
        (EXPOSURE, "2:13:20", "YAML reads 2:13:20 as 8000; write the number without a leading 0 and without colons"),
        (EXPOSURE, "on", "must be a number; YAML reads on as true or false"),
        (EXPOSURE, "-0x10", "Input should be greater than 0 (found -0x10)"),
        ("cameras.0.role", "no", "Input should be 'fixed' or 'wrist' (found no)"),
    ],
)
def test_a_value_is_shown_as_it_is_written(key, text, said):
    with pytest.raises(CellError) as caught:
        parse_cell(written(key, text), "my.yaml")
    assert str(caught.value) == f"my.yaml: {key}: {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            written(SERIAL, "2024-13-45"),
            r"my.yaml: cameras.0.serial: month .* \(found 2024-13-45\); if it is a text, put it in quotes$",
        ),
        (written(SERIAL, "9" * 5000), r"cameras.0.serial: .*9…\); if it is a text, put it in quotes$"),
        ('serial: "0123', r"found unexpected end of stream \(line 1, column 14\)"),
        ("a: &x [*x]\nversion: 7", "a: unknown key"),
        ("[" * 200_000, "not valid YAML: nested more than 50 deep$"),
        ("{a: " * 200_000, "not valid YAML: nested more than 50 deep$"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(text, said):
    with pytest.raises(CellError, match=said) as caught:
        parse_cell(text, "my.yaml")
    assert all(line.startswith("my.yaml: ") for line in str(caught.value).splitlines())
    assert len(str(caught.value).splitlines()[0]) <= 210


def test_an_exposure_longer_than_the_time_between_images_is_refused(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text(written(EXPOSURE, "70000"))
    with pytest.raises(CellError) as caught:
        load_cell(file)
    assert str(caught.value) == (
        f"{file}: cameras.0.exposure_us: 70000 us of fixed_1 are longer than the 66667 us between images at 15 fps; "
        "lower it, or color.fps"
    )
    assert load_cell(file, stored=True).cameras[0].exposure_us == 70000
    file.write_text(written(EXPOSURE, "66000"))
    load_cell(file)
