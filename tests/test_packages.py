"""Every package.xml names the ROS packages that the code imports, for `rosdep install`; a class has its name alone."""

import ast
import re
import xml.etree.ElementTree as ET
from importlib.util import find_spec
from pathlib import Path

import pytest
from vga_bringup.graph.spec import policy_graph, record_graph, sim_graph

ROOT = Path(__file__).parents[1]
ROS = re.compile(r"\w+_(msgs|srvs|interfaces)|rclpy|cv_bridge|ament_index_python|launch|launch_ros|vga_\w+")


def imported(folder: Path) -> set[str]:
    """Top-level packages imported anywhere in a folder's Python files."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", ["vga_policy", "vga_bringup", "vga_teleop"])
def test_ros_packages_that_are_imported_are_declared(package):
    tree = ET.parse(ROOT / package / "package.xml").getroot()
    declared = {element.text for tag in ("depend", "exec_depend") for element in tree.iter(tag)}
    code = imported(ROOT / package / package) | imported(ROOT / package / "launch")
    used = {name for name in code if ROS.fullmatch(name)} - {package}
    assert used - declared == set()
    assert {name for name in declared if ROS.fullmatch(name or "")} - used == set(), "declared, but used nowhere"


def test_packages_whose_nodes_the_graph_starts_are_declared():
    started = {
        node.package
        for graph in (sim_graph(teleop=True, record=True), record_graph(cell="lab"), policy_graph(checkpoint="nano"))
        for node in graph
    }
    tree = ET.parse(ROOT / "vga_bringup" / "package.xml").getroot()
    declared = {element.text for tag in ("depend", "exec_depend") for element in tree.iter(tag)}
    assert started - {"vga_bringup", "robot_state_publisher"} == {"vga_policy", "vga_teleop"}  # the last: apt's
    assert started - {"vga_bringup"} <= declared


def test_what_the_graph_starts_is_there():
    """An executable is a console script of its package: `ros2 run` and the runner find no other."""
    graph = (*sim_graph(teleop=True, record=True), *record_graph(cell="lab"))
    scripts = {
        (package, script)
        for package in ("vga_policy", "vga_teleop", "vga_bringup")
        for script, target in re.findall(r'"(\w+) = ([\w.]+):main"', (ROOT / package / "setup.py").read_text())
        if find_spec(target)
    }
    assert {(node.package, node.executable) for node in graph} <= scripts


@pytest.mark.parametrize("package", ["vga_policy", "vga_bringup", "vga_teleop"])
def test_a_class_name_means_one_class_of_its_package(package):
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / package / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
