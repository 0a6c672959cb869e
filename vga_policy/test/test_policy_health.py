"""What the policy's heartbeat and diagnostics say: without ROS, from the real resampler and workers."""

import threading

import numpy as np
import pytest
from support.cells import SIM
from support.waiting import eventually
from vga_policy.inference.cycle_statistics import CycleStatistics
from vga_policy.inference.health import ACTS, DISBELIEF_SHOWN, STUCK_AFTER, HealthMonitor, too_slow
from vga_policy.inference.task import Task
from vga_policy.inference.worker import Worker
from vga_policy.observation.joint_states import JointStateError, JointStates
from vga_policy.observation.resampler import Resampler

VIEWS = [camera.name for camera in SIM.views]
NOW = 10**9
DEADLINE = 10.0


class Image:
    """Any image."""

    def decode(self):
        return np.zeros((2, 2, 3), np.uint8)


class Policy:
    """The parts of a policy that have a health, idle at first.

    act: what the control cycle does.
    """

    def __init__(self):
        self.act = lambda: None
        self.resampler = Resampler(VIEWS, SIM.inputs)
        self.worker = Worker(lambda: self.act(), lambda _: None)
        self.encoder = Worker(lambda: None, lambda _: None)
        self.monitor = HealthMonitor(self.resampler, CycleStatistics(), self.worker, self.encoder)

    def feed(self, *views, joints=True):
        for view in views:
            self.resampler.push_image(view, NOW, Image())
        if joints:
            self.resampler.push_joints(NOW, np.zeros(8))

    def health(self, sender=""):
        return self.monitor.look(NOW, sender)


@pytest.fixture
def policy():
    policy = Policy()
    yield policy
    policy.worker.stop()
    policy.encoder.stop()


def test_with_all_inputs_and_an_idle_worker_it_is_healthy(policy):
    policy.feed(*VIEWS)
    health = policy.health()
    assert (health.healthy, health.reason) == (True, "")
    report = policy.monitor.inputs(health, NOW, 0.0)
    assert (report.problem, report.warning, report.fine) == ("", "", "complete and recent")
    assert report.values[f"{VIEWS[0]}_age_s"] == 0.0


def test_what_is_missing_is_named(policy):
    policy.feed(*VIEWS[1:])
    health = policy.health()
    assert not health.healthy
    assert VIEWS[0] in health.reason
    assert VIEWS[1] not in health.reason
    report = policy.monitor.inputs(health, NOW, 0.0)
    assert report.problem == health.reason
    assert report.values[f"{VIEWS[0]}_age_s"] == "none"


def test_the_sender_of_the_joint_states_comes_first(policy):
    policy.feed()
    health = policy.health(sender="two arms speak")
    assert health.reason.startswith("two arms speak; ")
    assert health.input_problem == health.reason


def test_a_failing_policy_is_unhealthy_until_it_succeeds(policy):
    policy.feed(*VIEWS)

    def fail():
        raise RuntimeError("out of ideas")

    policy.act = fail
    policy.worker.tick()
    eventually(lambda: not policy.health().healthy)
    health = policy.health()
    assert (health.reason, health.input_problem) == ("RuntimeError: out of ideas", "")
    policy.act = lambda: None
    policy.worker.tick()
    eventually(lambda: policy.health().healthy)
    assert health.kind != policy.health().kind


def test_a_stuck_policy_says_for_how_long(policy):
    policy.feed(*VIEWS)
    release = threading.Event()
    policy.act = lambda: release.wait(DEADLINE)
    policy.worker.tick()
    eventually(lambda: not policy.health().healthy)
    first = policy.health()
    assert first.reason.startswith("inference has been running for 0.")
    assert first.reason.endswith(f"s, limit {STUCK_AFTER} s")
    eventually(lambda: policy.health().reason != first.reason)
    assert policy.health().kind == first.kind  # worth a word when it begins, not at every heartbeat
    release.set()
    eventually(lambda: policy.health().healthy)


def test_a_joint_state_that_is_not_believed_is_counted_and_shown_for_a_while(policy):
    policy.feed(*VIEWS)
    with pytest.raises(JointStateError) as caught:
        JointStates(SIM).believed([*SIM.arm.joint_names, SIM.gripper.joint_name], [1e300] * 8)
    policy.monitor.disbelieve(caught.value, monotonic=100.0)
    shown = policy.monitor.inputs(policy.health(), NOW, 100.0 + DISBELIEF_SHOWN - 0.1)
    assert shown.warning == f"joint states not believed, the last: {caught.value}"
    assert shown.problem == ""
    later = policy.monitor.inputs(policy.health(), NOW, 100.0 + DISBELIEF_SHOWN)
    assert later.warning == ""
    assert later.values[f"joint_states_{caught.value.kind}"] == 1


def test_the_task_and_its_figures_are_told(policy):
    idle = policy.monitor.inference(policy.health(), None, 7, 2, "")
    assert (idle.fine, idle.values["waiting_for"]) == ("idle", "")
    assert (idle.values["chunks"], idle.values["messages_lost"]) == (7, 2)
    assert idle.values["checkpoint"] == "untrained"
    task = Task(b"\1" * 16, "stack the cubes", 0, dt=0.1, accepted_ns=0)
    task.waiting_for = "the driver"
    report = policy.monitor.inference(policy.health(), task, 7, 2, "nano")
    assert (report.fine, report.values["waiting_for"]) == ("task 'stack the cubes': waiting", "the driver")
    task.start()
    assert policy.monitor.inference(policy.health(), task, 7, 2, "nano").fine == "task 'stack the cubes': live"


def test_a_policy_that_cannot_keep_up_is_unhealthy_between_its_acts_too(policy):
    policy.feed(*VIEWS)
    monitor = HealthMonitor(policy.resampler, CycleStatistics(), policy.worker, policy.encoder, 8.7, "cpu")
    slow = monitor.look(NOW, "")
    assert slow.reason.startswith("a chunk takes 8.7 s on cpu, limit 0.3 s: use a GPU (device:=cuda), more threads (th")
    monitor.took(STUCK_AFTER / 2)  # the machine was busy, and is not any more
    assert monitor.look(NOW, "").healthy
    for _ in range(ACTS - 1):
        monitor.took(2 * STUCK_AFTER)
        assert monitor.look(NOW, "").healthy  # held up, but not each time
    monitor.took(2 * STUCK_AFTER)
    assert not monitor.look(NOW, "").healthy


def test_the_remedy_is_one_that_there_is():
    assert too_slow(0.1, 0.3, "cpu") == ""
    assert too_slow(1.0, 0.3, "cuda:1").endswith("limit 0.3 s: use a smaller policy")
