"""The node graph as data, and its options as text."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from vga_bringup.cli.sim import first_task
from vga_bringup.graph.spec import (
    from_text,
    lab_graph,
    options,
    policy_graph,
    record_graph,
    sim_graph,
    teleop_graph,
    to_text,
)
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import locate
from vga_policy.cli import main


def names(graph):
    return [(spec.executable, spec.namespace.rstrip("/") + "/" + spec.name) for spec in graph]


CAMERAS = ("/cameras/fixed_1", "/cameras/wrist", "/cameras/fixed_2")
FRAMES = ("robot_state_publisher", "/robot_state_publisher")


def test_simulation_runs_everything():
    assert names(sim_graph()) == [
        ("sim_cell", "/sim_cell"),
        *[("sim_camera", name) for name in CAMERAS],
        ("franka_driver_node", "/franka_driver"),
        FRAMES,
        ("policy_node", "/policy"),
    ]


def test_lab_and_policy_share_the_work(tmp_path):
    cell = str(cell_path("sim"))
    robot, gpu = lab_graph(cell=cell), policy_graph(cell=cell, checkpoint="untrained")
    cameras = [("camera_node", name) for name in CAMERAS]
    assert names(robot) == [*cameras, ("franka_driver_node", "/franka_driver"), FRAMES]
    assert names(gpu) == [("policy_node", "/policy")]


@pytest.mark.parametrize("graph", [sim_graph, lab_graph, record_graph, partial(policy_graph, checkpoint="untrained")])
def test_a_namespace_holds_every_node(graph):
    root = names(graph(cell="sim"))
    below = [(executable, f"/left{name}") for executable, name in root]
    assert names(graph(cell="sim", namespace="left")) == names(graph(cell="sim", namespace="/left/")) == below


def test_frames_of_a_namespace_have_its_name():
    graph = sim_graph(namespace="left")
    (frames,) = (spec for spec in graph if spec.executable == "robot_state_publisher")
    assert '"left/fr3_link0"' in frames.parameters["robot_description"]
    assert '"left/wrist_color_optical_frame"' in frames.parameters["robot_description"]
    assert all(spec.parameters["frame_prefix"] == "left/" for spec in graph if spec is not frames)
    assert not any("frame_prefix" in spec.parameters for spec in sim_graph())


@pytest.mark.parametrize(("apt", "package"), [(True, "robot_state_publisher"), (False, "vga_bringup")])
def test_the_robot_state_publisher_is_apt_s_where_there_is_one(apt, package, tmp_path, monkeypatch):
    if apt:
        index = tmp_path / "share/ament_index/resource_index/packages"
        index.mkdir(parents=True)
        (index / "robot_state_publisher").touch()
        monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}:{os.environ['AMENT_PREFIX_PATH']}")
    (frames,) = (spec for spec in lab_graph(cell="sim") if spec.executable == "robot_state_publisher")
    assert frames.package == package
    assert frames.remappings == (("/tf", "tf"), ("/tf_static", "tf_static"))  # tf2's names are of the root


@pytest.mark.parametrize("rate", [50.0, 100.0, 200.0])
def test_tf_comes_at_30_hz_at_the_least(rate, tmp_path):
    data = load_cell(cell_path("sim")).model_dump(mode="json")
    data["arm"]["tracking"]["rate_hz"] = rate
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(data))
    (frames,) = (spec for spec in lab_graph(cell=str(path)) if spec.executable == "robot_state_publisher")
    interval = int(1000 / frames.parameters["publish_frequency"])  # ms, as robot_state_publisher has it
    every = -(-interval // (1000 / rate))  # the first message that is late enough
    assert 30 <= rate / every <= 50


def test_recorder_on_request():
    *rest, recorder = sim_graph(record=True, episodes="somewhere")
    assert tuple(rest) == sim_graph()
    assert recorder.executable == "recorder_node"
    assert recorder.parameters["directory"] == str(Path("somewhere").absolute())


def test_teleoperation_runs_the_leader_and_no_policy():
    cell = str(cell_path("sim"))
    assert names(teleop_graph(cell=cell)) == [*names(lab_graph(cell=cell)), ("gello_node", "/gello")]
    simulated = names(teleop_graph(simulated=True))
    assert simulated == [*names(sim_graph(policy=False)), ("sim_leader", "/sim_leader"), ("gello_node", "/gello")]
    assert ("policy_node", "/policy") not in simulated
    assert names(record_graph(simulated=True)) == [*simulated, ("recorder_node", "/recorder")]


def test_teleoperation_needs_a_leader(tmp_path):
    cell = load_cell(cell_path("sim")).model_copy(update={"leader": None})
    path = tmp_path / "handless.yaml"
    path.write_text(dump_cell(cell))
    with pytest.raises(CellError, match="teleop needs this section"):
        teleop_graph(cell=str(path))


def test_simulation_runs_the_shipped_policy_unless_told_otherwise():
    assert sim_graph()[-1].parameters["checkpoint"] == str(locate("nano"))
    assert sim_graph(checkpoint="untrained")[-1].parameters["checkpoint"] == ""


def test_a_lab_gets_an_untrained_policy_only_when_it_asks_for_it():
    expected = "checkpoint: give the directory of a trained policy, or one of 'nano', 'untrained'"
    with pytest.raises(CellError, match=expected):
        policy_graph(cell="sim")
    (untrained,) = policy_graph(cell="sim", checkpoint="untrained")
    assert untrained.parameters["checkpoint"] == ""
    (trained,) = policy_graph(cell="sim", checkpoint="weights")
    assert trained.parameters["checkpoint"] == str(Path("weights").absolute())


def test_a_policy_for_a_replay_goes_by_its_clock():
    (live,) = policy_graph(cell="sim", checkpoint="nano")
    (replayed,) = policy_graph(cell="sim", checkpoint="nano", use_sim_time=True)
    assert (live.parameters["use_sim_time"], replayed.parameters["use_sim_time"]) == (False, True)


@pytest.mark.parametrize("graph", [sim_graph, lab_graph, record_graph, partial(policy_graph, checkpoint="untrained")])
def test_every_node_has_the_transports_and_stays_on_this_host_unless_the_shell_says_more(graph, monkeypatch):
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    for spec in graph(cell="sim"):
        assert Path(spec.environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
        assert spec.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
        if spec.name != "robot_state_publisher":  # which is told what it is to publish
            assert load_cell(spec.parameters["cell"]).name == "sim"
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    for spec in graph(cell="sim"):
        assert spec.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"


def test_options_as_text_mean_the_same():
    given = {"cell": "sim", "checkpoint": "untrained", "views": ("fixed_2", "wrist"), "record": True}
    values = {**options(sim_graph), **given, "device": "cuda"}
    graph = from_text(sim_graph, {name: to_text(value) for name, value in values.items()})
    assert graph == sim_graph(**values)
    assert graph[-2].parameters["views"] == ("fixed_2", "wrist")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cell": "moon"}, "cell 'moon': give the path of a .yaml file, or one of .*sim"),
        ({"cell": "moon.yaml"}, r"moon\.yaml: cannot be read"),
        ({"views": "fixed_1,rear"}, "no camera 'rear'"),
        ({"namespace": "left arm"}, "namespace 'left arm': use letters"),
        ({"record": "perhaps"}, "record 'perhaps': use true or false"),
    ],
)
def test_wrong_options_are_explained(wrong, message):
    values = {name: to_text(value) for name, value in options(sim_graph).items()}
    with pytest.raises(CellError, match=message):
        from_text(sim_graph, values | wrong)


def test_a_wrong_option_ends_the_command_with_one_line(capsys):
    assert main(["sim", "--cell", "moon"]) == 2
    assert capsys.readouterr().err.startswith("cell 'moon': give the path")


def test_the_graph_needs_neither_ros_nor_torch():
    code = "import sys, vga_bringup.cli.commands; sys.exit(bool({'rclpy', 'torch', 'launch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_simulation_begins_with_what_the_policy_has_learned(tmp_path):
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    save_file({text: np.zeros(4, np.float32) for text in ("", "press the button")}, best / "instructions.safetensors")
    assert first_task(str(tmp_path / "run")) == "press_button"
    assert first_task("nano") == first_task("untrained") == first_task(str(tmp_path)) == "pick_cube"
