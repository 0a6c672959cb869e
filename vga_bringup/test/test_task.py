"""`vga run` with a driver and a policy that let it down."""

import argparse
import os
import signal
import threading
from contextlib import contextmanager

import pytest
import rclpy
from rclpy.action import ActionServer
from rclpy.executors import SingleThreadedExecutor
from vga_bringup.cli.run import run
from vga_policy.ros.client import session as session_module
from vga_policy.ros.client.driver import DriverClient

from vga_msgs.action import RunTask
from vga_msgs.srv import SetMode

pytestmark = pytest.mark.usefixtures("ros_domain")
POLICY, HOLD = SetMode.Request.POLICY, SetMode.Request.HOLD


@contextmanager
def spinning(name, offer):
    """A node of its own that offers what `offer` makes of it, served by a thread."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node(name, context=context)
    offered = offer(node)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
        offered.destroy()
        node.destroy_node()
        rclpy.shutdown(context=context)


class Driver:
    """A driver that does what it is asked, POLICY after `before_arming`."""

    def __init__(self):
        self.modes = []
        self.before_arming = lambda: None

    def offer(self, node):
        return node.create_service(SetMode, "/franka_driver/set_mode", self._set_mode)

    def _set_mode(self, request, response):
        if request.mode == POLICY:
            self.before_arming()
        self.modes.append(request.mode)
        response.success = True
        return response


@pytest.fixture
def driver():
    driver = Driver()
    with spinning("driver", driver.offer):
        yield driver


def policy(begun):
    """A policy that begins a task and never ends it."""

    def offer(node):
        return ActionServer(
            node, RunTask, "/policy/run_task", lambda _: None, handle_accepted_callback=lambda _: begun.set()
        )

    return spinning("policy", offer)


def run_task():
    return run(argparse.Namespace(instruction="pick it up", max_steps=0, namespace=""))


def test_a_policy_that_dies_ends_the_run_and_the_driver_is_disarmed(driver, capsys):
    begun = threading.Event()

    def die():
        with policy(begun):
            begun.wait(20)

    thread = threading.Thread(target=die)
    thread.start()
    code = run_task()
    thread.join()
    assert code == 1
    assert "the policy has gone" in capsys.readouterr().err
    assert driver.modes == [POLICY, HOLD]


def test_a_driver_that_arms_itself_too_late_is_disarmed(driver, monkeypatch, capsys):
    given_up = threading.Event()
    driver.before_arming = lambda: given_up.wait(20)
    disarm = DriverClient.hold

    def disarm_late(client):
        given_up.set()
        disarm(client)

    monkeypatch.setattr(session_module, "ANSWER_WITHIN", 1.0)
    monkeypatch.setattr(DriverClient, "hold", disarm_late)
    assert run_task() == 1
    assert "set_mode does not answer" in capsys.readouterr().err
    assert driver.modes == [POLICY, HOLD]


def test_ctrl_c_while_the_driver_is_armed_starts_no_task(driver):
    begun = threading.Event()
    driver.before_arming = lambda: os.kill(os.getpid(), signal.SIGINT)
    with policy(begun):
        assert run_task() == 130
    assert not begun.is_set()
    assert driver.modes == [POLICY, HOLD]
