"""`vga record` on a terminal, with the real recorder and a robot of publishers."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import Trigger
from support.at_terminal import Operator
from support.recorded_robot import LATCHED, LEADER, Robot, launch_recorder
from support.waiting import eventually
from vga_policy.cli import main
from vga_policy.episodes.metadata import load_episode
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session
from vga_teleop.session.graph_cell import GraphCell
from vga_teleop.session.workflow import Refused, Verdict

from vga_msgs.msg import DriverState, RecorderState
from vga_msgs.srv import ArrangeScene, SetMode, StopEpisode

HOLD, TELEOP = SetMode.Request.HOLD, SetMode.Request.TELEOP

pytestmark = pytest.mark.usefixtures("ros_domain")


@pytest.fixture
def robot():
    robot = Robot()
    robot.silent = set()
    yield robot
    robot.close()


@pytest.fixture
def operator():
    started = []

    def start(*options):
        started.append(Operator(*options))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_a_session_by_keyboard(robot, operator, tmp_path):
    recorder = launch_recorder(tmp_path / "elsewhere")
    directory = tmp_path / "episodes"
    try:
        eventually(robot.heard)  # a recorder that has only just been started refuses: it has had no message yet
        session = operator("--episodes", "3", "--out", str(directory), "--operator", "Ada")

        session.sees("episode 1: arrange the scene")
        robot.refusal = "TELEOP refused: fr3_joint4 by 0.90 rad"
        session.types(" ")
        session.sees("fr3_joint4 by 0.90 rad")  # the leader is brought closer
        session.types(" ")
        session.sees("recording ")
        eventually(lambda: robot.state.recording and robot.state.messages > 20)
        session.types("s")

        session.sees("episode 2:")  # the arm falls to HOLD in mid-episode
        session.types(" ")
        session.sees("recording ", 2)
        eventually(lambda: robot.state.recording)
        homed = robot.requests.count("home")
        robot.drive(DriverState.HOLD, "reflex: joint 4")
        session.sees("reflex: joint 4; the arm goes home next")
        assert robot.requests.count("home") == homed
        session.types(" ")

        session.sees("episode 3:")
        session.types(" ")
        session.sees("recording ", 3)
        eventually(lambda: robot.state.recording)
        session.types(" ")
        session.sees("how was it?")
        eventually(lambda: not robot.state.recording)
        session.types("d")

        session.sees("episode 4:")  # what was discarded is made up for
        session.types(" ")
        session.sees("recording ", 4)
        eventually(lambda: robot.state.recording)
        session.process.send_signal(signal.SIGINT)
        session.sees("the session has been ended")
        assert session.process.wait(20) == 130
        session.sees("2 episodes in")
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=20)
    episodes = [
        load_episode(path) for path in sorted(directory.iterdir(), key=lambda path: load_episode(path).started_ns)
    ]
    assert [(episode.outcome, episode.note) for episode in episodes] == [
        ("success", ""),
        ("failure", "the driver went to HOLD: reflex: joint 4"),
        ("discarded", ""),
        (None, "the session was ended"),
    ]
    assert {(episode.instruction, episode.operator) for episode in episodes} == {("pick it up", "Ada")}
    assert all(Path(directory, episode.id, "metadata.yaml").is_file() for episode in episodes)
    assert not (tmp_path / "elsewhere").exists()
    assert robot.requests[:7] == [HOLD, "open", "home", TELEOP, HOLD, TELEOP, HOLD]
    assert robot.requests[-1] == HOLD


def test_a_person_is_asked_before_the_hand_lets_go(robot, operator, tmp_path):
    robot.held = 0.04
    recorder = launch_recorder(tmp_path)
    try:
        session = operator("--episodes", "1")
        session.sees("the hand holds something (0.040 m): open it and go home?")
        assert robot.requests == [HOLD]
        session.types(" ")
        session.sees("episode 1: arrange the scene")
        assert robot.requests == [HOLD, "open", "home"]
        session.types("q")
        assert session.process.wait(20) == 130
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=20)


@pytest.mark.parametrize(
    ("options", "line", "asked"),
    [
        ([], "the hand holds something (0.040 m) and keeps it, so the arm does not go home", [HOLD, HOLD]),
        (["--held", "open"], "the hand holds something (0.040 m): opening it", [HOLD, "open", "home", HOLD]),
    ],
)
def test_with_nobody_to_ask_the_hand_keeps_its_grip_unless_told(robot, tmp_path, options, line, asked):
    robot.held = 0.04
    recorder = launch_recorder(tmp_path)
    try:
        command = [sys.executable, "-m", "vga_policy", "record", "--task", "pick", "--instruction", "it"]
        ended = subprocess.run(
            [*command, "--episodes", "1", *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=20)
    assert ended.returncode == 130
    assert line in ended.stdout
    assert robot.requests == asked


def test_what_is_missing_is_named(robot, operator):
    robot.silent = {LEADER}
    session = operator("--episodes", "1")
    session.sees("vga record: missing: the recorder; start them with")
    assert session.process.wait(20) == 1
    assert "Traceback" not in session.shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "pick the cube"], "argument --task: use letters, digits, _ and - only (found 'pick the cube')"),
        (["--instruction", " "], "argument --instruction: must say what to do"),
    ],
)
def test_names_that_the_recorder_would_refuse_are_refused_before_anything(capsys, options, words):
    with pytest.raises(SystemExit) as ended:
        main(["record", "--task", "pick", "--instruction", "pick it up", "--episodes", "1", *options])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_task_that_the_simulated_cell_does_not_know_is_refused_at_once(robot):
    def refuse(_, response):
        response.message = "no task 'wipe'; there are ours"
        return response

    robot.node.create_service(ArrangeScene, "/sim_cell/arrange", refuse)
    with Session("cell") as session:
        scene = SceneClient(session)
        assert session.spin_until(lambda: scene.offered, 20.0)
        with pytest.raises(Refused, match=r"^no task 'wipe'; there are ours"):
            GraphCell(session, "wipe", "Ada", threading.Event()).refuse_unknown_task()
        cell = GraphCell(session, "pick_cube", "Ada", threading.Event())
        cell.refuse_unknown_task()
        assert not cell.scripted
        leader = rclpy.create_node("sim_leader", context=robot.context)
        try:
            assert cell.scripted
        finally:
            leader.destroy_node()


def test_a_button_device_that_is_none_is_named(operator):
    session = operator("--episodes", "1", "--buttons", "no such pedal")
    session.sees("button device 'no such pedal': not found")
    assert session.process.wait(20) == 1


class SlowRecorder:
    """A recorder whose disk is busy until the arm rests: it answers `stop` only then, with a path and a problem."""

    def __init__(self, robot):
        self._robot = robot
        self.discards = 0
        self._node = rclpy.create_node("recorder", context=robot.context)
        self._state = self._node.create_publisher(RecorderState, "/recorder/state", LATCHED)
        self._node.create_service(StopEpisode, "/recorder/stop", self._stop)
        self._node.create_service(Trigger, "/recorder/discard", self._discard)
        self._executor = SingleThreadedExecutor(context=robot.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def _stop(self, _, response):
        eventually(lambda: HOLD in self._robot.requests)
        response.path, response.message = "/episodes/one", "disk full"
        self._state.publish(RecorderState(path=response.path))
        return response

    def _discard(self, _, response):
        self.discards += 1
        response.success = True
        return response

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()


def test_an_episode_on_a_busy_disk_is_labeled_and_no_other_is_discarded(robot):
    recorder = SlowRecorder(robot)
    try:
        with Session("cell") as session:
            cell = GraphCell(session, "pick", "Ada", threading.Event())
            assert cell.stop(Verdict("success")) == "disk full"
            assert robot.requests == [HOLD]
            session.spin_until(lambda: cell.look(0.05).problem != "the recorder is silent", 5.0)
            with pytest.raises(Refused, match="vga curate /episodes --reject two"):
                cell.discard(Path("/episodes/two"))
            assert recorder.discards == 0
            cell.discard(Path("/episodes/one"))
            assert recorder.discards == 1
    finally:
        recorder.close()
