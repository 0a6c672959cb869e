"""The process runner with real nodes: what it reports, what it leaves running, and that it leaves nothing behind."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from support.nodes import program
from support.waiting import eventually
from vga_bringup.cli import sim
from vga_bringup.graph import runner as runner_module
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.shared_memory import MEMORY, SETTLING, remove_leftovers
from vga_bringup.graph.spec import NodeSpec
from vga_bringup.sim.tasks.registry import arrange
from vga_policy.cell.shipped import cell_path
from vga_policy.ros.environment import node_environment
from vga_policy.ros.errors import GraphError

pytestmark = pytest.mark.usefixtures("ros_domain")


def recorder(name):
    """A node that runs on its own, under any name."""
    environment = node_environment()
    return NodeSpec(
        "vga_teleop", "recorder_node", name, parameters={"cell": str(cell_path("sim"))}, environment=environment
    )


def segments(pid):
    """Shared memory of Fast DDS that a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {line.rpartition("/")[2] for line in maps.splitlines() if f"{MEMORY}/fastrtps_" in line}


def settled(names):
    """Whether none of these files in shared memory is so young that it is left alone for that."""
    ages = [time.time() - file.stat().st_ctime for file in map(MEMORY.joinpath, names) if file.exists()]
    return min(ages, default=SETTLING) >= SETTLING


def test_a_killed_node_is_reported_and_the_rest_lives_on():
    output = io.StringIO()
    with Runner((recorder("left"), recorder("right")), output) as runner:
        used = {name for node in runner.running for name in eventually(lambda node=node: segments(runner.pid(node)))}
        survivor = runner.pid("right")
        os.kill(runner.pid("left"), signal.SIGKILL)
        assert eventually(runner.ended) == {"left": -signal.SIGKILL}
        assert "left ended: killed by SIGKILL; the other nodes keep running" in output.getvalue()
        assert runner.running == ["right"]
        assert not runner.ended()

        runner.start("left")
        used |= eventually(lambda: segments(runner.pid("left")))
        assert runner.pid("right") == survivor
        pids = [runner.pid(name) for name in runner.running]
        eventually(lambda: settled(used), "the shared memory is old enough")
    assert not any(map(psutil.pid_exists, pids))
    assert not used & set(os.listdir(MEMORY))


def test_output_carries_the_node_s_name(tmp_path):
    (tmp_path / "cell.yaml").write_text("nmae: sim")
    spec = NodeSpec("vga_teleop", "recorder_node", "recorder", parameters={"cell": str(tmp_path / "cell.yaml")})
    output = io.StringIO()
    with Runner((spec,), output) as runner:
        assert eventually(runner.ended) == {"recorder": 2}
    line = next(line for line in output.getvalue().splitlines() if "nmae" in line)
    assert " recorder | " in line
    assert "recorder ended: exit code 2\n" in output.getvalue()
    why = f"{tmp_path / 'cell.yaml'}: "
    assert runner.last_words("recorder").startswith(why)
    assert runner.ends["recorder"].startswith(f"exit code 2: {why}")


def test_a_node_that_refuses_its_input_ends_the_simulation_with_its_reason(tmp_path):
    (tmp_path / "cell.yaml").write_text("nmae: sim")
    spec = NodeSpec("vga_teleop", "recorder_node", "recorder", parameters={"cell": str(tmp_path / "cell.yaml")})
    with Runner((spec, recorder("other")), io.StringIO()) as runner:
        simulation = sim.Simulation(runner, threading.Event(), arrange("pick_cube", 0))
        with pytest.raises(sim.InputRefused, match=rf"(?s)^recorder cannot run: {tmp_path}/cell\.yaml: .*nmae"):
            eventually(simulation.look)


@pytest.mark.parametrize(
    ("nodes", "namespace", "expected"),
    [
        ("sim_cell franka_driver policy", "", 'vga run "pick up the red cube", and for another scene: vga arrange'),
        (
            "policy recorder",
            "left",
            'vga run "pick up the red cube" --namespace left, and for another scene: vga arrange',
        ),
        ("gello recorder", "", 'vga record --task pick_cube --instruction "pick up the red cube" --episodes 5'),
        ("policy gello recorder", "", "vga record --task pick_cube .*; or: vga run"),
        ("sim_cell franka_driver", "", "vga home"),
        ("gello", "", "vga home"),
    ],
)
def test_what_to_do_next_is_what_the_graph_can_do(nodes, namespace, expected):
    assert re.match(expected, sim.what_next(nodes.split(), namespace))


def test_a_node_that_does_not_stop_is_killed_with_its_helpers(monkeypatch, tmp_path):
    monkeypatch.setattr(runner_module, "command", lambda spec: [sys.executable, program("stubborn"), tmp_path / "pid"])
    monkeypatch.setattr(runner_module, "GRACE", 0.5)
    output = io.StringIO()
    with Runner((NodeSpec("package", "executable", "mule"),), output):
        helper = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    assert "mule did not stop within 0.5 s: killed" in output.getvalue()
    eventually(lambda: not psutil.pid_exists(helper))


def test_nodes_end_when_the_runner_is_killed():
    process = subprocess.Popen([sys.executable, program("runner")], stdout=subprocess.PIPE, text=True)
    node = int(process.stdout.readline())
    eventually(lambda: segments(node))
    process.kill()
    process.communicate()
    eventually(lambda: not psutil.pid_exists(node))


def test_what_is_not_installed_is_named():
    with pytest.raises(GraphError, match="package nowhere is not installed"):
        Runner((NodeSpec("nowhere", "node", "node"),), io.StringIO()).__enter__()
    with pytest.raises(GraphError, match="nothing_node does not exist"):
        Runner((NodeSpec("vga_bringup", "nothing_node", "node"),), io.StringIO()).__enter__()


def test_memory_of_the_living_is_left_alone():
    with Runner((recorder("alive"),), io.StringIO()) as runner:
        used = eventually(lambda: segments(runner.pid("alive")))
        eventually(lambda: settled(used), "the shared memory is old enough")
        remove_leftovers()
        assert used <= set(os.listdir(MEMORY))
