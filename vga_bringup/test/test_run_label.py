"""How `vga run --record` labels a task by the simulated cell's own judgement."""

import pytest
from vga_bringup.cli.scene_judge import SceneJudge
from vga_policy.message_constants import FAILURE, SUCCESS

from vga_msgs.msg import TaskState

INSTRUCTION = "pick up the red cube"


class Scene:
    """A simulated cell's scene, at first of nothing done."""

    offered = True

    def __init__(self):
        self.state = TaskState(task="pick_cube", instruction=INSTRUCTION)


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def judge(scene):
    judge = SceneJudge(scene, INSTRUCTION, "vga arrange")
    assert judge.seen  # before the task began
    return judge


@pytest.mark.parametrize(
    ("success", "failed", "canceled", "label"),
    [
        (False, False, False, FAILURE),  # it ended by itself, undone
        (False, False, True, ""),  # it was cut off: whether it would have succeeded nobody knows
        (True, False, True, SUCCESS),
        (False, True, True, FAILURE),
    ],
)
def test_a_canceled_task_is_labeled_only_where_it_was_decided(judge, scene, success, failed, canceled, label):
    scene.state.success, scene.state.failed = success, failed
    assert judge.label(canceled=canceled) == label
