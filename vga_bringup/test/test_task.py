"""`vga run` with a driver and a policy that let it down."""

import gc
import os
import pty
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from support.waiting import eventually
from unique_identifier_msgs.msg import UUID
from vga_bringup.cli.episode import QUESTION
from vga_bringup.cli.run import run
from vga_policy.cli import build_parser
from vga_policy.display import Display
from vga_policy.ros.client import session as session_module
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.topics import LATCHED

from vga_msgs.action import RunTask
from vga_msgs.msg import ChunkVerdict, DriverState, TaskState
from vga_msgs.srv import ArrangeScene, SetMode, StartEpisode, StopEpisode

pytestmark = pytest.mark.usefixtures("ros_domain")
CANCEL = CancelResponse.ACCEPT
POLICY, HOLD = SetMode.Request.POLICY, SetMode.Request.HOLD


@contextmanager
def spinning(name, offer, executor=SingleThreadedExecutor, namespace=""):
    """A node of its own that offers what `offer` makes of it, served by threads of the executor."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node(name, context=context, namespace=namespace)
    offered = offer(node)
    executor = executor(context=context)
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
        return node.create_service(SetMode, "franka_driver/set_mode", self._set_mode)

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
            node, RunTask, "policy/run_task", lambda _: None, handle_accepted_callback=lambda _: begun.set()
        )

    return spinning("policy", offer)


def run_task(*options, max_steps=0, namespace=""):
    words = ["run", "pick it up", "--max-steps", str(max_steps), "--namespace", namespace, *options]
    return run(build_parser().parse_args(words))


class Doer:
    """A policy that does a task in steps of 10 ms, a driver's decision for each, and a scene that is judged.

    refusals: reasons, of the first chunks. decided: step from which the scene is done. scene: of which instruction.
    """

    def __init__(self, refusals=(), decided=10**6, scene=""):
        self.refusals, self.decided, self.scene = list(refusals), decided, scene
        self.step = 0

    def offer(self, node):
        group = ReentrantCallbackGroup()
        self._verdicts = node.create_publisher(ChunkVerdict, "franka_driver/chunk_verdict", 50)
        self._scenes = node.create_publisher(TaskState, "sim_cell/task_state", 10)
        if self.scene:
            node.create_service(ArrangeScene, "sim_cell/arrange", lambda _, response: response)
            node.create_timer(0.01, self._judge, callback_group=group)
        return ActionServer(
            node, RunTask, "policy/run_task", self._do, callback_group=group, cancel_callback=lambda _: CANCEL
        )

    def _judge(self):
        done = self.step >= self.decided
        state = TaskState(task="pick", instruction=self.scene, success=done, detail="held" if done else "on the table")
        self._scenes.publish(state)

    def _do(self, goal):
        goal_id = UUID(uuid=goal.goal_id.uuid)
        while self.step < (goal.request.max_steps or 10**6) and not goal.is_cancel_requested:
            reason = self.refusals.pop(0) if self.refusals else ""
            self._verdicts.publish(
                ChunkVerdict(
                    goal_id=goal_id, accepted=not reason, reason=reason, message=f"{reason}: joint 4" if reason else ""
                )
            )
            self.step += 1
            goal.publish_feedback(RunTask.Feedback(steps=self.step))
            time.sleep(0.01)
        canceled = goal.is_cancel_requested
        (goal.canceled if canceled else goal.succeed)()
        outcome = RunTask.Result.CANCELED if canceled else RunTask.Result.STEP_LIMIT
        message = "canceled by the caller" if canceled else f"step limit of {goal.request.max_steps} reached"
        return RunTask.Result(outcome=outcome, message=message, steps=self.step, chunks=self.step)


def doing(doer):
    return spinning("policy", doer.offer, MultiThreadedExecutor)


def test_chunks_that_were_refused_are_counted_by_reason(driver, capsys):
    with doing(Doer(["acceleration_limit"] * 12 + ["jump"] * 3)):
        assert run_task(max_steps=40) == 0
    assert "step limit of 40 reached (40 steps, 40 chunks, 15 refused: acceleration_limit 12, jump 3)\n" in (
        capsys.readouterr().out
    )


def test_a_task_of_which_nothing_was_executed_has_failed(driver, capsys):
    with doing(Doer(["acceleration_limit"] * 50)):
        assert run_task(max_steps=50) == 1
    said = capsys.readouterr().out
    assert "step limit of 50 reached (50 steps, 50 chunks, 50 refused: acceleration_limit 50)\n" in said
    assert "no chunk was executed: acceleration_limit: joint 4" in said


def test_a_run_leaves_the_graph_with_its_end(driver):
    """Not when garbage is collected: that may be in any thread, and while another participant is being made."""
    gc.disable()
    try:
        before = threads()
        with doing(Doer()):
            assert run_task(max_steps=2) == 0
        eventually(lambda: threads() == before)
    finally:
        gc.enable()


def threads():
    """DDS's own are among them."""
    return len(list(Path("/proc/self/task").iterdir()))


class Loser(Doer):
    """A policy that ends its task because the driver has gone to HOLD, of which others hear 0.2 s later."""

    def offer(self, node):
        self._states = node.create_publisher(DriverState, "franka_driver/state", LATCHED)
        return super().offer(node)

    def _do(self, goal):
        held = DriverState(mode=HOLD, hold_reason="the wrist camera is late")
        threading.Timer(0.2, lambda: self._states.publish(held)).start()
        goal.abort()
        message = "driver is in HOLD (the wrist camera is late): call /franka_driver/set_mode with POLICY first"
        return RunTask.Result(outcome=RunTask.Result.ABORTED, message=message, steps=1)


def test_a_driver_that_goes_to_hold_is_named_with_its_reason(driver, capsys):
    with doing(Loser()):
        assert run_task() == 1
    said = capsys.readouterr().out
    assert "\nthe driver went to HOLD: the wrist camera is late (1 steps, 0 chunks, none refused)\n" in said
    assert "set_mode" not in said


def test_the_simulated_cell_ends_a_task_that_is_done(driver, capsys):
    with doing(Doer(decided=30, scene="pick it up")):
        assert run_task() == 0
    said = capsys.readouterr().out
    assert "\nsucceeded: held (" in said
    assert said.endswith("for another scene: vga arrange\n")
    assert driver.modes == [POLICY, HOLD]


@pytest.mark.parametrize(
    ("doer", "hint"),
    [
        (Doer(decided=0, scene="pick it up"), "not judged, for the scene was done before"),
        (Doer(decided=5, scene="push it"), "not judged, for the scene is of 'push it'"),
    ],
    ids=["done before", "another's"],
)
def test_a_scene_that_is_not_the_task_s_is_not_judged(capsys, doer, hint):
    left, driver = "left", Driver()
    with spinning("driver", driver.offer, namespace=left), spinning("policy", doer.offer, MultiThreadedExecutor, left):
        assert run_task(max_steps=20, namespace=left) == 0
    said = capsys.readouterr().out
    assert "step limit of 20 reached (20 steps, 20 chunks, none refused)\n" in said
    assert said.endswith(f"{hint}: vga arrange --namespace left\n")


class Recorder:
    """Records episodes in words: (task, instruction), then each label that it is given."""

    def __init__(self, stopped=lambda: None):
        self.told, self._stopped = [], stopped

    def offer(self, node):
        node.create_service(StopEpisode, "recorder/stop", self._stop)
        return node.create_service(StartEpisode, "recorder/start", self._start)

    def _start(self, request, response):
        self.told.append((request.task, request.instruction))
        response.success, response.path = True, "/episodes/1"
        return response

    def _stop(self, request, response):
        self.told.append(request.outcome)
        self._stopped()
        response.success, response.path = True, "/episodes/1"
        return response


@pytest.mark.parametrize(
    ("options", "scene", "typed", "label", "said"),
    [
        ((), "pick it up", "", ["success"], "labeled success"),
        (("--label", "failure"), "pick it up", "", ["failure"], "labeled failure"),
        (("--label", "none"), "pick it up", "", [""], "not labeled"),
        ((), "", "xf", ["", "failure"], "labeled failure"),
        ((), "", " ", [""], "not labeled"),
        ((), "", "", [""], "not labeled"),
    ],
    ids=["judged", "told", "left open", "asked", "no answer", "nobody there"],
)
def test_a_task_is_recorded_with_its_label(driver, capsys, monkeypatch, options, scene, typed, label, said):
    keyboard, terminal = pty.openpty()
    recorder = Recorder(stopped=lambda: os.write(keyboard, typed.encode()))
    with os.fdopen(terminal) as stream:
        if typed:
            monkeypatch.setattr(sys, "stdin", stream)
        with spinning("recorder", recorder.offer), doing(Doer(decided=5 if scene else 10**6, scene=scene)):
            assert run_task("--record", *options, max_steps=20) == 0
    os.close(keyboard)
    assert recorder.told == [("pick_it_up", "pick it up"), *label]
    told = capsys.readouterr().out
    assert "recorded: /episodes/1\n" in told
    assert said in told


def test_ctrl_c_ends_the_question_for_the_label(driver, capsys, monkeypatch):
    say = Display.say

    def interrupted(display, text):
        say(display, text)
        if text == QUESTION:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    monkeypatch.setattr(Display, "say", interrupted)
    _, terminal = pty.openpty()
    recorder = Recorder()
    with os.fdopen(terminal) as stream, spinning("recorder", recorder.offer), doing(Doer()):
        monkeypatch.setattr(sys, "stdin", stream)
        assert run_task("--record", max_steps=20) == 0
    assert recorder.told == [("pick_it_up", "pick it up"), ""]
    assert "not labeled" in capsys.readouterr().out


def test_without_a_recorder_nothing_moves(driver, capsys, monkeypatch):
    monkeypatch.setattr(session_module, "ANSWER_WITHIN", 1.0)
    with doing(Doer()):
        assert run_task("--record", max_steps=20) == 1
    assert "nobody offers /recorder/start" in capsys.readouterr().err
    assert driver.modes == []


def test_a_recording_of_a_task_that_is_refused_ends_too(driver, capsys, monkeypatch):
    monkeypatch.setattr(session_module, "ANSWER_WITHIN", 3.0)
    recorder = Recorder()
    with spinning("recorder", recorder.offer):
        assert run_task("--record", "--task", "pick") == 1  # nobody offers the task
    assert recorder.told == [("pick", "pick it up"), ""]


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

    monkeypatch.setattr(session_module, "ANSWER_WITHIN", 3.0)
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
