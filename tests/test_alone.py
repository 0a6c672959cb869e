"""A robot that is in the graph already, when a command would start another."""

import subprocess
import sys
import threading

import pytest
from support.owned import own_domain
from vga_policy.ros import topics
from vga_policy.ros.client import alone
from vga_policy.ros.client.alone import require_alone
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_msgs.msg import DriverState


@pytest.fixture
def domain(monkeypatch):
    with own_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        yield domain


class Driver:
    """Says ten times a second how it is, in a namespace."""

    def __init__(self, namespace=""):
        self._session = Session("franka_driver", namespace)
        self._publisher = self._session.node.create_publisher(DriverState, topics.DRIVER_STATE, topics.LATCHED)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tell)

    def _tell(self):
        while not self._ended.wait(0.1):
            self._publisher.publish(DriverState())

    def __enter__(self):
        self._thread.start()
        return self

    def end(self):
        self._ended.set()

    def __exit__(self, *_):
        self.end()
        self._thread.join()
        self._session.__exit__(None, None, None)


def test_where_no_robot_is_one_may_come(domain):
    require_alone()
    with Driver("left"):
        require_alone("right")


@pytest.mark.long
def test_beside_a_robot_of_the_same_name_no_other_is_started(domain, sim_cell, tmp_path):
    collect = ["collect", "--task", "pick_cube", "--episodes", "1", "--out", "episodes"]
    commands = ["sim"], ["demo"], ["eval", "sim", "--checkpoint", "nano"], collect
    with Driver():
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "vga_policy", *command, "--cell", str(sim_cell)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=tmp_path,
            )
            for command in commands
        ]
        for command, process in zip(commands, started, strict=True):
            try:
                told = process.communicate(timeout=60)[0]
            finally:
                process.kill()
            assert "a robot is in this graph already: /franka_driver/state is published" in told, command
            assert process.returncode == 1, command


def test_one_that_ends_is_waited_for(domain):
    with Driver() as driver:
        threading.Timer(2.0, driver.end).start()
        require_alone()


def test_the_namespace_is_told(domain, monkeypatch):
    monkeypatch.setattr(alone, "GONE_WITHIN", 0.5)
    with Driver("left"), pytest.raises(GraphError, match="/left/franka_driver/state is published"):
        require_alone("left")
