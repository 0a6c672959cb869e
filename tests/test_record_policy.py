"""`vga record --policy` at a terminal: a whole session, with every node of the simulated graph and the real keys."""

import os
import signal

import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from support.at_terminal import Operator
from support.waiting import eventually
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.demonstration import Demonstration
from vga_policy.dataset.origins import BEFORE, Origin
from vga_policy.episodes.metadata import load_episode
from vga_policy.message_constants import Mode
from vga_policy.ros import topics
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.session import Session
from vga_policy.units import SECOND

SPACE, ESCAPE = " ", "\x1b"
ACTS = 1.0  # s that the policy, or a person, is left to act
# For a machine that starts a node beside all the others; nothing here is about how soon the arm stops.
PATIENT = {"max_image_age": 0.8, "max_joint_age": 0.4, "max_image_skew": 0.6}


@pytest.fixture(scope="module")
def cell_file(sim_cell):
    cell = load_cell(sim_cell)
    execution = cell.execution.model_copy(update={"heartbeat_timeout": 3.0})
    inputs, arm = (
        cell.inputs.model_copy(update=PATIENT),
        cell.arm.model_copy(update={"homing_speed": 0.8, "speed_scale": 0.3}),
    )
    sim_cell.write_text(dump_cell(cell.model_copy(update={"execution": execution, "inputs": inputs, "arm": arm})))
    return sim_cell


@pytest.fixture(scope="module")
def runner(ros_domain, cell_file, tmp_path_factory):
    output = tmp_path_factory.mktemp("graph") / "nodes.log"
    try:
        graph = sim_graph(cell=str(cell_file), checkpoint="untrained", teleop=True, record=True)
        with output.open("w") as log, Runner(graph, log) as runner:
            with Session("start") as session:
                wait_until_steady(session, load_cell(cell_file), nodes=(topics.POLICY, topics.GELLO), steady=0.5)
            yield runner
    finally:
        print(output.read_text())


class Person(Operator):
    """Who corrects the policy, and sees what the driver does."""

    def __init__(self, watch, *options):
        super().__init__("--policy", "untrained", "--task", "pick_cube", *options)
        self._watch, self._driver = watch, DriverClient(watch)
        self._fault = watch.node.create_client(SetParameters, f"{topics.SIM_LEADER}/set_parameters")

    def until(self, mode, what):
        there = self._watch.spin_until(lambda: self._driver.mode is mode and any(self._driver.goal), 15.0)
        assert there, f"{what}: {self._driver.state}, in {self.shown}"

    def watches(self):
        """Leaves whoever commands to act."""
        self._watch.spin_until(lambda: False, ACTS)

    def plugs(self, fault):
        """What is wrong with the leader's bus from now on; empty: nothing."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=fault)
        request = SetParameters.Request(parameters=[Parameter(name="fault", value=value)])
        (result,) = self._watch.call(self._fault, request).results
        assert result.successful, result.reason

    def takes_over(self, times):
        """For the so manyth time; again where the leader has not been heard for a moment."""

        def answers():
            return self.shown.count("taken over: "), self.shown.count("TELEOP refused")

        while answers()[0] < times:
            before = answers()
            self.types("t")
            eventually(lambda before=before: answers() != before, lambda: f"an answer to t, in {self.shown}")
        self.until(Mode.TELEOP, "a person in command")

    def starts(self):
        """An episode in which the policy acts."""
        begun = self.shown.count("recording ")
        self.types(SPACE)
        self.sees("recording ", begun + 1)
        self.until(Mode.POLICY, "the policy in command")
        self.watches()


def test_a_session(runner, tmp_path):
    episodes = tmp_path / "episodes"
    with Session("watch") as watch:
        person = Person(watch, "--episodes", "3", "--out", str(episodes), "--operator", "Ada")
        try:
            a_corrected_episode(person)
            person.types("t")  # while the arm goes home
            person.sees("no policy acts: space starts it, then t takes over")
            person.sees("episode 2:")
            person.starts()
            person.types("s")
            person.sees("2 of 3 kept")
            person.sees("episode 3:")
            person.starts()
            os.kill(runner.pid(topics.GELLO), signal.SIGKILL)
            person.watches()
            person.types("t")
            person.sees("TELEOP refused: no leader publishes joint states; start the leader node first")
            person.types(SPACE)
            person.sees("how was it?")
            person.types("d")
            person.sees("2 of 3 kept", 2)
            person.types(ESCAPE)  # while the arm goes home
            person.sees("home: stopped")
            person.types(SPACE)
            person.sees("episode 4:")
            person.starts()
            os.kill(runner.pid(topics.POLICY), signal.SIGKILL)
            person.sees("HOLD: no healthy policy heartbeat for 3.0")
            person.sees("3 of 3 kept")
            assert person.process.wait(20) == 0, person.shown
        finally:
            print(person.shown)
            person.end()
    assert "Traceback" not in person.shown
    recorded = sorted(map(load_episode, episodes.iterdir()), key=lambda episode: episode.started_ns)
    assert [episode.outcome for episode in recorded] == ["success", "success", "discarded", "failure"]
    assert "the policy is silent" in recorded[3].note
    assert all(episode.ended_ns for episode in recorded)
    who_commanded(episodes / recorded[0].id)


def a_corrected_episode(person):
    """Taken over twice; the first time the leader is unplugged."""
    person.sees("episode 1:")
    person.starts()
    person.takes_over(1)
    person.watches()
    person.plugs("unplugged")
    person.sees("the arm holds: no message of the leader for 0.20 s")
    person.types("t")
    person.sees("handed back: the policy goes on")
    person.until(Mode.POLICY, "the policy in command again")
    person.plugs("")
    person.watches()
    person.takes_over(2)
    person.watches()
    person.types("t")
    person.sees("handed back: the policy goes on", 2)
    person.watches()
    person.types("s")
    person.sees("1 of 3 kept")


def who_commanded(path):
    """What the bag says of a corrected episode, and what training takes of it."""
    demonstration = Demonstration(path)
    stamps = demonstration.reference.stamps
    origins = demonstration.origins(stamps)
    began = stamps[1:][(origins[1:] == Origin.INTERVENTION) & (origins[:-1] != Origin.INTERVENTION)]
    assert len(began) == 2
    corrections = EpisodeDataset([path], image_size=32, origins={Origin.INTERVENTION}).samples
    assert len(corrections)
    assert (demonstration.origins(corrections.stamps) == Origin.INTERVENTION).all()
    imitated = EpisodeDataset([path], image_size=32).samples
    assert len(imitated) > len(corrections)
    for taken_over in began:
        until = (taken_over - imitated.stamps[imitated.origins == Origin.POLICY]) / SECOND
        assert not ((until > 0) & (until < BEFORE)).any(), "what made a person take over is not imitated"
