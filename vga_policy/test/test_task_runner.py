"""Which task runs, and what ends it: without ROS, every instant given."""

import pytest
from vga_policy.inference.task import Phase
from vga_policy.inference.task_runner import DRIVER_GRACE, DRIVER_SILENCE, NEW_INSTRUCTION, TaskRunner
from vga_policy.message_constants import Mode, TaskOutcome
from vga_policy.units import SECOND

GOAL = object()
SILENT = "driver is silent: nothing on /arm/state; start franka_driver_node"
HELD = "driver is in HOLD (user stop): call /arm/set_mode with POLICY first"


def at(seconds):
    """ns of an instant."""
    return round(seconds * SECOND)


class Told:
    """A runner, and what it told of its tasks."""

    def __init__(self):
        self.started, self.ended = [], []
        self.runner = TaskRunner(0.1, "/arm/state", "/arm/set_mode", self.started.append, self._on_end)

    def _on_end(self, task):
        assert self.runner.task is None
        assert task.phase is Phase.ENDED
        self.ended.append((task.outcome, task.message))

    def begin(self, instruction="stack the cubes", max_steps=0, now=0.0, problem=""):
        self.runner.begin(b"\1" * 16, instruction, max_steps, GOAL, at(now), problem)
        return self.runner.task

    def live(self, now=0.0, **goal):
        """A task that runs already, on a driver heard right now."""
        self.runner.hear_driver(Mode.POLICY, "", at(now))
        task = self.begin(now=now, **goal)
        task.encoded = True
        self.runner.follow_driver(at(now), "")
        assert task.phase is Phase.LIVE
        return task


@pytest.fixture
def told():
    return Told()


def test_a_second_goal_is_refused_while_a_task_runs(told):
    assert told.runner.refusal("anything") == ""
    told.begin("stack the cubes")
    assert told.runner.refusal("pick") == "'pick': 'stack the cubes' is running, cancel it first"
    told.runner.end(TaskOutcome.ABORTED, "enough")
    assert told.runner.refusal("pick") == ""


@pytest.mark.parametrize(
    ("goal", "why"),
    [
        ({"instruction": " \n"}, "the instruction is empty"),
        ({"problem": "two arms speak"}, "two arms speak"),
        ({"instruction": "", "problem": "two arms speak"}, "the instruction is empty"),
    ],
)
def test_what_cannot_run_ends_as_it_begins(told, goal, why):
    assert told.begin(**goal) is None
    assert told.ended == [(TaskOutcome.ABORTED, why)]


def test_a_task_starts_once_driver_and_encoder_are_ready(told):
    task = told.begin()
    told.runner.follow_driver(at(0.1), "")
    assert (task.phase, task.waiting_for) == (Phase.WAITING, SILENT)
    told.runner.hear_driver(Mode.POLICY, "", at(0.2))
    told.runner.follow_driver(at(0.2), "")
    assert (task.phase, task.waiting_for) == (Phase.WAITING, NEW_INSTRUCTION)
    told.runner.follow_driver(at(0.3), "out of words")
    assert (task.phase, task.waiting_for) == (Phase.WAITING, "out of words")
    task.encoded = True
    told.runner.follow_driver(at(0.4), "out of words")
    told.runner.follow_driver(at(0.5), "")
    assert task.phase is Phase.LIVE
    assert told.started == [task]
    assert told.ended == []


@pytest.mark.parametrize("driver", [None, (Mode.HOLD, "user stop")])
def test_a_new_task_gives_the_driver_a_moment(told, driver):
    told.begin()
    if driver:
        told.runner.hear_driver(*driver, at(0.0))
    told.runner.follow_driver(at(DRIVER_GRACE) - 1, "")
    assert told.ended == []
    told.runner.follow_driver(at(DRIVER_GRACE), "")
    assert told.ended == [(TaskOutcome.ABORTED, HELD if driver else SILENT)]


def test_the_encoder_may_take_longer_than_that(told):
    task = told.begin()
    for tenth in range(100):
        told.runner.hear_driver(Mode.POLICY, "", at(tenth / 10))
        told.runner.follow_driver(at(tenth / 10), "")
    assert told.runner.task is task
    assert task.phase is Phase.WAITING


def test_a_live_task_ends_when_the_driver_leaves_its_mode_at_once(told):
    told.live()
    told.runner.hear_driver(Mode.HOLD, "user stop", at(0.1))
    told.runner.follow_driver(at(0.1), "")
    assert told.ended == [(TaskOutcome.ABORTED, HELD)]
    told.live(now=0.2)
    told.runner.hear_driver(Mode.TELEOP, "", at(0.3))
    told.runner.follow_driver(at(0.3), "")
    assert told.ended[1:] == [(TaskOutcome.ABORTED, "driver is in TELEOP: call /arm/set_mode with POLICY first")]


def test_a_task_that_a_person_takes_over_from_lives_on(told):
    task = told.live()
    for mode, now in ((Mode.TELEOP, 0.3), (Mode.HOLD, 0.6), (Mode.POLICY, 0.9)):
        told.runner.hear_driver(mode, "the leader is silent" if mode is Mode.HOLD else "", at(now), task.goal_id)
        told.runner.follow_driver(at(now), "")
        assert (told.runner.task, told.ended) == (task, [])
    told.runner.hear_driver(Mode.TELEOP, "", at(1.0), bytes(16))
    told.runner.follow_driver(at(1.0), "")
    assert told.ended == [(TaskOutcome.ABORTED, "driver is in TELEOP: call /arm/set_mode with POLICY first")]


def test_a_live_task_ends_when_the_driver_falls_silent(told):
    told.live()
    told.runner.follow_driver(at(DRIVER_SILENCE), "")
    assert told.ended == []
    told.runner.follow_driver(at(DRIVER_SILENCE) + 1, "")
    assert told.ended == [(TaskOutcome.ABORTED, SILENT)]


def test_the_step_limit_ends_a_task(told):
    task = told.live(max_steps=3)
    assert [told.runner.advance(at(5.0 + step / 10)) for step in range(4)] == [True, True, True, False]
    assert told.ended == [(TaskOutcome.STEP_LIMIT, "step limit of 3 reached")]
    assert task.steps == 3
    assert not told.runner.advance(at(6.0))


def test_only_the_goal_that_runs_is_canceled(told):
    assert not told.runner.cancel(GOAL)
    told.live()
    assert not told.runner.cancel(object())
    assert told.runner.cancel(GOAL)
    assert not told.runner.cancel(GOAL)
    assert told.ended == [(TaskOutcome.CANCELED, "canceled by the caller")]


def test_a_task_ends_once_and_publishes_nothing_after(told):
    task = told.live()
    with task.publishing() as live:
        assert live
    told.runner.end(TaskOutcome.ABORTED, "enough")
    told.runner.end(TaskOutcome.CANCELED, "again")
    with task.publishing() as live:
        assert not live
    assert told.ended == [(TaskOutcome.ABORTED, "enough")]


def test_a_mode_that_is_unknown_ends_the_task_in_words(told):
    task = told.live()
    told.runner.hear_driver(77, "", at(0.1))
    told.runner.follow_driver(at(0.1), "")
    assert task.outcome is TaskOutcome.ABORTED
    assert task.message.startswith("driver is in mode 77, which this version does not know: call /arm/set_mode")
