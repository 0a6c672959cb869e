"""The plain constants that code without ROS uses are those of the messages."""

import re
from pathlib import Path

import pytest
from vga_policy.message_constants import OUTCOMES, Mode, Refusal, TaskOutcome

from vga_msgs.action import RunTask
from vga_msgs.msg import DriverState, RobotReference
from vga_msgs.srv import SetMode, StopEpisode

ROOT = Path(__file__).parents[1]
VERDICT = ROOT / "vga_msgs/msg/ChunkVerdict.msg"
ROBOT = ROOT / "vga_bringup/vga_bringup/robot"


def constants(message):
    """Names and values of the constants of a generated message."""
    kind = type(message)
    return {name: getattr(message, name) for name in kind.__prepare__(kind.__name__, ())}


@pytest.mark.parametrize("message", [DriverState, RobotReference, SetMode.Request])
def test_modes(message):
    assert constants(message) == {mode.name: mode.value for mode in Mode}


def test_task_outcomes():
    assert constants(RunTask.Result) == {outcome.name: outcome.value for outcome in TaskOutcome}


def test_episode_outcomes():
    assert constants(StopEpisode.Request) == {outcome.upper(): outcome for outcome in OUTCOMES}


def test_refusals():
    """ChunkVerdict refers to the list, and the driver refuses for each reason in it."""
    assert f"{Refusal.__module__}.{Refusal.__name__} lists them" in VERDICT.read_text()
    code = "".join(file.read_text() for file in ROBOT.rglob("*.py"))
    assert set(re.findall(r"Refusal\.([A-Z_]+)", code)) == {refusal.name for refusal in Refusal}
    assert [refusal.value for refusal in Refusal] == [refusal.name.lower() for refusal in Refusal]
