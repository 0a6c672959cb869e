"""`ros2 launch` and our own runner start the same processes: both run, for real, against recording executables."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory
from support.nodes import program
from support.waiting import eventually
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph

EXECUTABLE = f"#!{sys.executable}\n{Path(program('records_its_call')).read_text()}"


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """An installation whose every executable only records how it was called."""
    graph = sim_graph(record=True)
    for spec in graph:
        index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / spec.package).touch()
        executable = tmp_path / "lib" / spec.package / spec.executable
        executable.parent.mkdir(parents=True, exist_ok=True)
        executable.write_text(EXECUTABLE)
        executable.chmod(0o755)
        share = tmp_path / "share" / spec.package
        if not share.exists():
            share.symlink_to(get_package_share_directory(spec.package))
    (tmp_path / "records").mkdir()
    monkeypatch.setenv("RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}:{os.environ['AMENT_PREFIX_PATH']}")
    return tmp_path


@pytest.fixture(autouse=True)
def two_machines(monkeypatch):
    """As in a shell whose nodes those of another machine may find."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")


def started(prefix, environment):
    """What the recorded processes were told, by fully qualified node name."""
    nodes = {}
    for file in (prefix / "records").glob("*.json"):
        record = json.loads(file.read_text())
        parameters, remappings = {}, {}
        for flag, text in zip(record["arguments"], [*record["arguments"][1:], ""], strict=True):
            if flag == "-p":
                name, value = text.split(":=", 1)
                parameters[name] = yaml.safe_load(value)
            elif flag == "-r":
                source, target = text.split(":=", 1)
                remappings[source] = target
            elif flag.startswith("--params="):
                (node,) = yaml.full_load(flag.removeprefix("--params=")).values()  # launch tags lists as tuples
                parameters |= node["ros__parameters"]
        name = f"{remappings.pop('__ns').rstrip('/')}/{remappings.pop('__node')}"
        executable = Path(record["executable"])
        nodes[name] = {
            "executable": f"{executable.parent.name}/{executable.name}",
            "parameters": {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()},
            "remappings": remappings,
            "environment": {key: record["environment"].get(key) for key in environment},
        }
        file.unlink()
    return nodes


def expected(graph):
    return {
        f"{spec.namespace.rstrip('/')}/{spec.name}": {
            "executable": f"{spec.package}/{spec.executable}",
            "parameters": dict(spec.parameters),
            "remappings": dict(spec.remappings),
            "environment": dict(spec.environment),
        }
        for spec in graph
    }


def run_with_runner(graph):
    with Runner(graph, sys.stderr) as runner:
        eventually(lambda: runner.ended() is not None and not runner.running, "every executable has ended")


def test_runner_starts_what_the_graph_says(prefix):
    graph = sim_graph(record=True, episodes="here", views=("fixed_2", "wrist"))
    run_with_runner(graph)
    assert started(prefix, graph[0].environment) == expected(graph)
    assert graph[0].environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"


@pytest.mark.skipif(shutil.which("ros2") is None, reason="needs `ros2 launch` (apt: ros-jazzy-ros-base), not on PyPI")
def test_ros2_launch_starts_the_same(prefix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = sim_graph(record=True, episodes="here", views=("fixed_2", "wrist"))
    arguments = ["record:=true", "episodes:=here", "views:=fixed_2,wrist"]
    subprocess.run(["ros2", "launch", "vga_bringup", "sim.launch.py", *arguments], check=True, timeout=120)
    launched = started(prefix, graph[0].environment)
    run_with_runner(graph)
    assert launched == started(prefix, graph[0].environment) == expected(graph)
