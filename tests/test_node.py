"""What every node of the project does alike: parameters, steps, endings, severities."""

import logging
import signal
import subprocess
import sys

import pytest
import rclpy
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import DescribeParameters
from rclpy.clock import ClockType
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from support.cells import SIM_FILE
from support.nodes import program
from support.waiting import eventually
from vga_policy.ros.client.session import Session
from vga_policy.ros.clocks import each_step
from vga_policy.ros.log import RosLogHandler

DEADLINE = 30.0

pytestmark = pytest.mark.usefixtures("ros_domain")

WHOLE_LIFE = ["configured for sim", "runs", "stopped", "let go"]


def tool(left, cell=SIM_FILE, **parameters):
    given = [f"{name}:={value}" for name, value in {"cell": cell, **parameters}.items() if value]
    return subprocess.Popen(
        [sys.executable, program("tool"), left, "--ros-args", *(word for each in given for word in ("-p", each))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Exit code, lines of stdout, stderr."""
    output, errors = process.communicate(timeout=DEADLINE)
    return process.returncode, output.splitlines(), errors


@pytest.mark.parametrize("left", ["here", "apart"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(left, number):
    process = tool(left)
    assert [process.stdout.readline(), process.stdout.readline()] == ["configured for sim\n", "runs\n"]
    process.send_signal(number)
    process.send_signal(number)  # Ctrl-C under a launcher comes twice
    code, lines, errors = ended(process)
    assert (code, lines, errors) == (0, WHOLE_LIFE[2:], "")


@pytest.mark.parametrize("waits", ["start_ros()", "request.__enter__().is_set()"])
def test_under_nohup_a_terminal_may_close(waits):
    code = f"""
import os, signal, time
from vga_policy.ros.client.session import stop_request
from vga_policy.ros.lifetime import start_ros
request = stop_request()
asked = {waits}
os.kill(os.getpid(), signal.SIGHUP)
time.sleep(0.1)
print(bool(asked))
os.kill(os.getpid(), signal.SIGTERM)
"""
    told = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE)
    assert told.stdout == "False\n"


def test_a_signal_interrupts_what_it_loads():
    process = tool("here", end="slow")
    assert process.stdout.readline() == "configured for sim\n"
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, ["let go"], "")


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"cell": ""}, "parameter 'cell' is missing: give the path of the cell file with -p cell:=PATH"),
        ({"cell": "/nowhere.yaml"}, "/nowhere.yaml"),
        ({"end": "refused"}, "no such tool"),
        ({"speed": "fast"}, "speed"),
    ],
)
def test_what_it_refuses_is_a_line_and_exit_code_2(parameters, why):
    code, lines, errors = ended(tool("here", **parameters))
    assert code == 2
    assert "runs" not in lines
    assert errors.startswith("tool: ")
    assert why in errors
    assert "Traceback" not in errors


def test_what_was_opened_before_a_refusal_is_let_go():
    _, lines, _ = ended(tool("here", end="refused"))
    assert lines == ["configured for sim", "let go"]


@pytest.mark.parametrize(
    ("end", "code", "line", "life"),
    [
        ("failed", 1, ["tool: the tool broke"], WHOLE_LIFE),
        ("stillborn", 1, ["tool: the tool is broken"], ["configured for sim", "stopped", "let go"]),
        ("done", 7, [], WHOLE_LIFE),
    ],
)
def test_it_may_end_by_itself(end, code, line, life):
    returned, lines, errors = ended(tool("here", end=end))
    assert (returned, lines) == (code, life)
    assert errors.splitlines()[-1:] == line  # rclpy's executors have their say before
    assert "Traceback" not in errors


@pytest.mark.parametrize("left", ["here", "apart"])
def test_a_mistake_in_a_callback_is_traced_and_the_node_closed(left):
    code, lines, errors = ended(tool(left, end="bug"))
    assert (code, lines) == (1, WHOLE_LIFE)
    assert "RuntimeError: a mistake" in errors


class Listener:
    """A node of this process, which hears the others."""

    def __init__(self):
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node("listener", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def until(self, condition):
        eventually(condition, meanwhile=lambda: self._executor.spin_once(timeout_sec=0.1))

    def close(self):
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.close()


def test_parameters_are_described_and_settled_at_start_unless_they_say_otherwise():
    process = tool("here")
    request = DescribeParameters.Request(names=["cell", "end", "speed"])
    try:
        with Session("asking") as session:
            client = session.node.create_client(DescribeParameters, "/tool/describe_parameters")
            answer = session.call(client, request, repeatable=True)
    finally:
        process.send_signal(signal.SIGINT)
        ended(process)
    described = [(d.description, d.read_only) for d in answer.descriptors]
    assert described == [("path of the cell file", True), ("how it ends", True), ("how fast", False)]


@pytest.mark.parametrize(("simulated", "clock"), [(False, ClockType.STEADY_TIME), (True, ClockType.ROS_TIME)])
def test_control_steps_go_on_when_the_systems_clock_is_set_and_stand_still_with_simulated_time(simulated, clock):
    with Session("stepping") as session:
        session.node.set_parameters([Parameter("use_sim_time", value=simulated)])
        each_step(session.node, 0.1, lambda: None)
        *_, timer = session.node.timers
        assert timer.clock.clock_type == clock


def test_log_records_keep_their_severity(listener):
    heard = []
    listener.node.create_subscription(Log, "/rosout", heard.append, 100)
    log = logging.getLogger("test_log_records_keep_their_severity")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    speaker = Node("speaker", context=listener.node.context)
    speaker.get_logger().set_level(rclpy.logging.LoggingSeverity.DEBUG)
    log.addHandler(RosLogHandler(speaker.get_logger(), lambda publish, record: publish(record)))
    listener.until(lambda: listener.node.count_publishers("/rosout") >= 2)
    said = {
        logging.DEBUG: Log.DEBUG,
        logging.INFO: Log.INFO,
        logging.WARNING: Log.WARN,
        logging.ERROR: Log.ERROR,
        logging.CRITICAL: Log.FATAL,
    }
    for _ in range(2):  # rclpy refuses a line that changes its severity the second time it is used
        for level in said:
            log.log(level, "level %d", level)
    spoken = [(level_of, f"level {level}") for level, level_of in said.items()] * 2
    listener.until(lambda: len([message for message in heard if message.name == "speaker"]) == len(spoken))
    assert [(message.level, message.msg) for message in heard if message.name == "speaker"] == spoken
    speaker.destroy_node()


def test_statistics_import_nothing_while_it_runs():
    """An import in the middle of a task holds up every thread, the heartbeat too."""
    code = (
        "import sys, numpy as np, vga_policy.ros.node; before = set(sys.modules); "
        "np.percentile([1.0, 2.0], 95); print(set(sys.modules) - before)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
