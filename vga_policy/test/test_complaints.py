"""What a node waits for, in its log; and where the publishers of a topic run."""

from contextlib import contextmanager

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String
from support.waiting import eventually
from vga_policy.ros import log
from vga_policy.ros.log import Complaints
from vga_policy.ros.publishers import PublishersHere

pytestmark = pytest.mark.usefixtures("ros_domain")


@contextmanager
def node(name):
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        yield rclpy.create_node(name, context=context)
    finally:
        rclpy.shutdown(context=context)


def test_what_is_waited_for_is_an_error_only_once_it_lasts(monkeypatch, capfd):
    monkeypatch.setattr(log, "LOOK_PERIOD", 0.02)
    with node("waiter") as waiter:
        said = ""

        def says(*expected):
            nonlocal said
            executor.spin_once(timeout_sec=0.02)
            said += capfd.readouterr().err
            return [line.partition("]")[0][1:] for line in said.splitlines()] == list(expected)

        executor = SingleThreadedExecutor(context=waiter.context)
        executor.add_node(waiter)
        complaints = Complaints(waiter, patience=0.3)
        complaints.say("no camera")
        assert says("WARN")
        complaints.say("")
        complaints.say("no camera")
        eventually(lambda: says("WARN", "WARN", "ERROR"))
        complaints.say("it hangs")  # by now nobody expects it any more
        assert says("WARN", "WARN", "ERROR", "ERROR")


def test_publishers_of_this_host_are_known_as_such():
    with node("driver") as driver, node("leader") as leader:
        driver.create_publisher(String, "state", 1)
        where = PublishersHere(driver, "leader", "state")
        where.look()
        assert not where.here
        leader.create_publisher(String, "leader", 1)
        eventually(lambda: where.look() or where.here)
