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
TRIES = 5
SILENT = "no message of the leader"
STALLS = "no healthy policy heartbeat", "the leader's samples are refused", SILENT  # a busy machine makes it hold


class StalledError(Exception):
    """This machine was too busy to keep policy or leader in command, which says nothing about what is tested."""


class Watch:
    """What driver and policy say, newest last."""

    def __init__(self, session):
        self.session, self.driver = session, DriverClient(session)
        self.stalls = STALLS
        self.references, self.verdicts = [], []
        node = session.node
        node.create_subscription(RobotReference, topics.DRIVER_REFERENCE, self.references.append, 1000)
        node.create_subscription(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, self.verdicts.append, 100)

    def unstalled(self, act):
        """Does `act`, again where the machine stalled meanwhile."""
        for _ in range(TRIES):
            self.stalls = STALLS
            self.driver.hold()
            self.session.spin_until(lambda: not self.stall, 2.0)
            try:
                return act()
            except StalledError as stall:
                told = stall
        pytest.fail(f"this machine is too busy: {told}")

    def until(self, condition, what, seconds=20.0):
        if not self.session.spin_until(lambda: self.stall or condition(), seconds):
            pytest.fail(f"{what} did not come within {seconds} s")
        if self.stall:
            raise StalledError(self.stall)

    def during(self, seconds):
        self.session.spin_until(lambda: self.stall, seconds)
        if self.stall:
            raise StalledError(self.stall)

    @property
    def stall(self):
        """Why the driver is in HOLD, where a busy machine explains it; else empty."""
        reason = self.driver.state.hold_reason
        return reason if reason.startswith(self.stalls) else ""

    def start_task(self):
        """A task whose chunks move the arm."""
        task = PolicyClient(self.session)
        try:
            self.driver.policy()
            task.start("pick up the red cube")
        except GraphError as refused:
            self.session.spin_until(lambda: False, 1.0)
            raise StalledError(str(refused)) from refused
        self.until(lambda: task.done or self.executed(task), "a chunk that moves the arm")
        if task.done:
            raise StalledError(task.result().message)
        return task

    def executed(self, task):
        return self.references and bytes(self.references[-1].goal_id.uuid) == task.goal_id and self.heading()

    def heading(self):
        return self.references[-1].step >= 0

    def accepted_after_hand_back(self):
        """Hands back; s until the first chunk was accepted."""
        seen = len(self.verdicts)
        try:
            self.driver.hand_back()
        except RefusedError as refused:
            raise StalledError(str(refused)) if STALLS[0] in str(refused) else refused from None
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
    watch.unstalled(lambda: taken_over_and_handed_back(watch))


def taken_over_and_handed_back(watch):
    task = watch.start_task()
    watch.driver.take_over()
    watch.until(lambda: watch.references[-1].mode == Mode.TELEOP, "TELEOP")
    began, decided = len(watch.references), len(watch.verdicts)
    watch.during(1.0)
    watch.until(lambda: len(watch.verdicts) > decided + 5, "a chunk that is not heeded: it goes on inferring")
    assert not task.done
    assert (watch.driver.mode, watch.driver.goal) == (Mode.TELEOP, task.goal_id)
    assert {bytes(r.goal_id.uuid) for r in watch.references[began:]} == {task.goal_id}, "the bag tells who is corrected"
    assert {verdict.reason for verdict in watch.verdicts[decided + 1 :]} == {Refusal.TAKEN_OVER}
    waited = watch.accepted_after_hand_back()
    print(f"accepted {waited:.3f} s after the hand-back")
    assert waited < ACCEPTED_WITHIN
    watch.during(0.5)
    assert not task.done
    moving = [r for r in watch.references[began:] if np.abs(r.velocity).max() > 0]
    for a, b in pairwise(moving):
        passed = (nanoseconds(b.header.stamp) - nanoseconds(a.header.stamp)) / SECOND
        if passed < 0.02:
            assert np.abs(np.subtract(b.velocity, a.velocity)).max() < LARGEST_STEP
    task.cancel()


def test_a_leader_that_dies_meanwhile_leaves_a_task_that_goes_on(runner, watch, sim_cell):
    def act():
        if topics.GELLO in runner.ended():  # in the try before
            runner.start(topics.GELLO)
            wait_until_steady(watch.session, load_cell(sim_cell), nodes=(topics.POLICY, topics.GELLO), steady=1.0)
        leader_that_dies(runner, watch)

    watch.unstalled(act)


def leader_that_dies(runner, watch):
    task = watch.start_task()
    watch.driver.take_over()
    watch.until(lambda: watch.references[-1].mode == Mode.TELEOP, "TELEOP")
    watch.stalls = tuple(why for why in STALLS if why != SILENT)
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
