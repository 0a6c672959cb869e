"""What a client's session leaves behind when it is ended in the middle of an action."""

import threading
import time

import pytest
import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from support.waiting import eventually
from vga_policy.ros import topics
from vga_policy.ros.client import session as session_module
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_msgs.action import Home

pytestmark = pytest.mark.usefixtures("ros_domain")


class Driver:
    """Homes until it is canceled. answers: set once it may say that it accepts."""

    def __init__(self):
        self.answers, self.homing, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.closing = False
        self._context, group = Context(), ReentrantCallbackGroup()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("franka_driver", context=self._context)
        self._server = ActionServer(
            self._node,
            Home,
            topics.absolute(topics.DRIVER_HOME),
            self._home,
            goal_callback=self._accept,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=group,
        )
        self._executor = MultiThreadedExecutor(4, context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def _accept(self, _):
        self.answers.wait(20.0)
        return GoalResponse.ACCEPT

    def _home(self, goal):
        self.homing.set()
        while not (goal.is_cancel_requested or self.closing):
            time.sleep(0.02)
        goal.canceled() if goal.is_cancel_requested else goal.abort()
        self.ended.set()
        return Home.Result(message="canceled")

    def close(self):
        self.closing = True
        self.answers.set()
        self._executor.shutdown()
        self._thread.join(10.0)
        self._server.destroy()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def driver():
    driver = Driver()
    yield driver
    driver.close()


def test_an_exception_while_the_arm_goes_home_cancels_that(driver):
    driver.answers.set()

    class Interrupting(threading.Event):
        def is_set(self):
            if driver.homing.is_set():
                raise KeyboardInterrupt
            return False

    with pytest.raises(KeyboardInterrupt), Session("program") as session:
        DriverClient(session).home(stop=Interrupting())
    eventually(driver.ended.is_set)


def test_a_way_home_that_is_accepted_too_late_is_canceled(driver, monkeypatch):
    monkeypatch.setattr(session_module, "CANCELED_WITHIN", 5.0)
    with Session("program") as session:
        client = DriverClient(session)
        session.find(client._home.server_is_ready, "home")
        monkeypatch.setattr(session_module, "ANSWER_WITHIN", 0.5)
        threading.Timer(1.5, driver.answers.set).start()
        with pytest.raises(GraphError, match="does not answer"):
            client.home()
    assert driver.ended.wait(5.0)
