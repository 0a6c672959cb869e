"""A person takes over from a policy and hands back: real driver, leader and policy nodes, in the simulated graph."""

import os
import signal
from itertools import pairwise

import numpy as np
import pytest
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_policy.cell.loading import load_cell
from vga_policy.message_constants import Mode, Refusal
from vga_policy.ros import topics
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError, RefusedError
from vga_policy.units import SECOND, nanoseconds

from vga_msgs.msg import ChunkVerdict, RobotReference

ACCEPTED_WITHIN = 1.0  # s; on a machine with time to spare it is a third of that
LARGEST_STEP = 0.3  # rad/s between two references 10 ms apart, some of which a busy machine leaves out


class Watch:
    """What driver and policy say, newest last."""

    def __init__(self, session):
        self.session, self.driver = session, DriverClient(session)
        self.references, self.verdicts = [], []
        node = session.node
        node.create_subscription(RobotReference, topics.DRIVER_REFERENCE, self.references.append, 1000)
        node.create_subscription(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, self.verdicts.append, 100)

    def until(self, condition, what, seconds=20.0):
        assert self.session.spin_until(condition, seconds), f"{what} did not come within {seconds} s"

    def during(self, seconds):
        self.session.spin_until(lambda: False, seconds)

    def start_task(self):
        """A task whose chunks move the arm; a busy machine may need several attempts."""
        for _ in range(5):
            task = PolicyClient(self.session)
            try:
                self.driver.policy()
                task.start("pick up the red cube")
            except GraphError:
                continue
            if self.session.spin_until(lambda task=task: task.done or self.executed(task), 15.0) and not task.done:
                return task
        pytest.fail(f"no task moved the arm: {self.driver.state}")

    def executed(self, task):
        return self.references and bytes(self.references[-1].goal_id.uuid) == task.goal_id and self.heading()

    def heading(self):
        return self.references[-1].step >= 0

    def accepted_after_hand_back(self):
        """Hands back; s until the first chunk was accepted."""
        seen = len(self.verdicts)
        self.driver.hand_back()
        self.until(lambda: any(verdict.accepted for verdict in self.verdicts[seen:]), "an accepted chunk")
        first = next(verdict for verdict in self.verdicts[seen:] if verdict.accepted)
        began = next(r for r in reversed(self.references) if r.mode in (Mode.TELEOP, Mode.HOLD))
        return (nanoseconds(first.header.stamp) - nanoseconds(began.header.stamp)) / SECOND


@pytest.fixture(scope="module")
def runner(ros_domain, sim_cell, tmp_path_factory):
    output = tmp_path_factory.mktemp("graph") / "nodes.log"
    try:
        graph = sim_graph(cell=str(sim_cell), checkpoint="untrained", teleop=True)
        with output.open("w") as log, Runner(graph, log) as runner:
            yield runner
    finally:
        print(output.read_text())


@pytest.fixture
def watch(runner, sim_cell):
    with Session("watch") as session:
        watch = Watch(session)
        wait_until_steady(session, load_cell(sim_cell), nodes=(topics.POLICY, topics.GELLO), steady=1.0)
        yield watch
        watch.driver.hold()


def test_a_task_is_taken_over_and_handed_back(watch):
    task = watch.start_task()
    watch.driver.take_over()
    watch.until(lambda: watch.references[-1].mode == Mode.TELEOP, "TELEOP")
    began, decided = len(watch.references), len(watch.verdicts)
    watch.during(2.0)
    assert not task.done
    assert (watch.driver.mode, watch.driver.goal) == (Mode.TELEOP, task.goal_id)
    assert {bytes(r.goal_id.uuid) for r in watch.references[began:]} == {task.goal_id}, "the bag tells who is corrected"
    assert {verdict.reason for verdict in watch.verdicts[decided + 1 :]} == {Refusal.TAKEN_OVER}, "it goes on inferring"
    waited = watch.accepted_after_hand_back()
    print(f"accepted {waited:.3f} s after the hand-back")
    assert waited < ACCEPTED_WITHIN
    watch.during(0.5)
    assert not task.done
    moving = [r for r in watch.references if np.abs(r.velocity).max() > 0]
    for a, b in pairwise(moving):
        passed = (nanoseconds(b.header.stamp) - nanoseconds(a.header.stamp)) / SECOND
        if passed < 0.02:
            assert np.abs(np.subtract(b.velocity, a.velocity)).max() < LARGEST_STEP
    task.cancel()


def test_a_leader_that_dies_meanwhile_leaves_a_task_that_goes_on(runner, watch):
    task = watch.start_task()
    watch.driver.take_over()
    watch.until(lambda: watch.references[-1].mode == Mode.TELEOP, "TELEOP")
    os.kill(runner.pid(topics.GELLO), signal.SIGKILL)
    watch.until(lambda: watch.driver.mode is Mode.HOLD, "HOLD", 5.0)
    assert "set POLICY again" in watch.driver.state.hold_reason
    with pytest.raises(RefusedError, match="takes over from a policy in command, and the driver is in HOLD"):
        watch.driver.take_over()
    watch.during(1.0)
    assert not task.done
    assert watch.driver.goal == task.goal_id
    assert watch.accepted_after_hand_back() < ACCEPTED_WITHIN
    watch.during(0.3)
    assert watch.driver.mode is Mode.POLICY
    task.cancel()
