"""`vga home` beside a driver of publishers and services: what becomes of the hand."""

import threading

import pytest
import rclpy
from rclpy.action import ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import Trigger
from vga_policy.cli import main

from vga_msgs.action import Home
from vga_msgs.msg import GripperState

pytestmark = pytest.mark.usefixtures("ros_domain")


class Driver:
    """Homes at once and opens at once. hand: what it says of the hand; None: nothing."""

    def __init__(self):
        self.requests, self.hand, self.refusal, self.jams = [], None, "", False
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("franka_driver", context=self._context)
        self._state = self._node.create_publisher(GripperState, "/franka_driver/gripper_state", 10)
        self._node.create_service(Trigger, "/franka_driver/open_hand", self._open)
        group = ReentrantCallbackGroup()
        self._action = ActionServer(self._node, Home, "/franka_driver/home", self._home, callback_group=group)
        self._node.create_timer(0.02, lambda: self.hand and self._state.publish(self.hand))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self._action.destroy()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _open(self, _, response):
        self.requests.append("open")
        response.success, response.message = not self.refusal, self.refusal
        if not (self.refusal or self.jams):
            self.hand = GripperState(width=0.08, max_width=0.08, commanded_width=0.08)
        return response

    def _home(self, goal):
        self.requests.append("home")
        goal.succeed()
        return Home.Result(success=True, message="at home")


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr("vga_policy.ros.client.driver.OPEN_WITHIN", 0.3)
    driver = Driver()
    yield driver
    driver.close()


def hand(**fields):
    return GripperState(width=0.04, max_width=0.08, **fields)


@pytest.mark.parametrize(
    "held",
    [
        hand(commanded_width=0.0, is_grasped=True),
        hand(commanded_width=0.02),  # something stops the fingers, no grasp was asked for
    ],
)
def test_home_keeps_what_is_held_and_says_so(driver, capsys, held):
    driver.hand = held
    assert main(["home"]) == 0
    assert driver.requests == ["home"]
    assert capsys.readouterr().out == (
        "the hand holds something (0.040 m) and keeps it; vga home --open opens it\nat home\n"
    )


def test_home_opens_the_hand_first_when_told_to(driver, capsys):
    driver.hand = hand(commanded_width=0.0, is_grasped=True)
    assert main(["home", "--open"]) == 0
    assert driver.requests == ["open", "home"]
    assert capsys.readouterr().out == "at home\n"


@pytest.mark.parametrize("seen", [hand(commanded_width=0.04), None])
def test_home_says_nothing_of_an_empty_hand_and_needs_none(driver, capsys, monkeypatch, seen):
    monkeypatch.setattr("vga_policy.ros.client.driver.STANDS_WITHIN", 0.5)
    driver.hand = seen
    assert main(["home"]) == 0
    assert driver.requests == ["home"]
    assert capsys.readouterr().out == "at home\n"


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ("the driver is in TELEOP: set HOLD first", "the hand is not opened: the driver is in TELEOP: set HOLD first"),
        ("", "the hand does not open within 0.3 s: see `vga doctor`"),
    ],
)
def test_an_arm_stays_where_its_hand_does_not_open(driver, capsys, refusal, words):
    driver.hand, driver.refusal, driver.jams = hand(commanded_width=0.0, is_grasped=True), refusal, True
    assert main(["home", "--open"]) == 1
    assert driver.requests == ["open"]
    assert words in capsys.readouterr().err
