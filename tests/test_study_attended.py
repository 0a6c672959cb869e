"""`vga eval robot` where nothing sets the scene: a person does, and judges by key, or a topic of the cell does."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import yaml
from std_msgs.msg import Bool
from support.at_terminal import Operator
from support.waiting import eventually
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_bringup.study import design
from vga_bringup.study.ledger import lock
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.evaluate.results import load
from vga_policy.ros import topics
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.session import Session

DONE = "/scale/done"
TRIALS, MAX_STEPS = 3, 40
ELSEWHERE = (topics.SIM_CELL_ARRANGE, "elsewhere/arrange")  # a robot has no such service


class Scale:
    """What tells when the task is done: says so all the time."""

    def __init__(self):
        self._session = Session("scale")
        self._publisher = self._session.node.create_publisher(Bool, DONE, topics.SENSOR_DATA)
        self._ended = threading.Event()
        self.done = False
        self._thread = threading.Thread(target=self._tell)
        self._thread.start()

    def _tell(self):
        while not self._ended.wait(0.05):
            self._publisher.publish(Bool(data=self.done))

    def end(self):
        self._ended.set()
        self._thread.join()
        self._session.__exit__(None, None, None)


@pytest.fixture(scope="module")
def cell(sim_cell):
    sim_cell.write_text(dump_cell(load_cell(sim_cell).model_copy(update={"success_topic": DONE})))
    return sim_cell


@pytest.fixture(scope="module")
def graph(ros_domain, cell, tmp_path_factory):
    """The simulated robot with a recorder and nobody who sets its scene; where it records."""
    folder = tmp_path_factory.mktemp("graph")
    parts = sim_graph(cell=str(cell), policy=False, record=True, episodes=str(folder / "episodes"))
    parts = tuple(replace(part, remappings=(*part.remappings, ELSEWHERE)) for part in parts)
    with (folder / "nodes.log").open("w") as log, Runner(parts, log) as runner, Session("waits") as session:
        wait_until_steady(session, load_cell(cell), lambda _: runner.check(), nodes=(topics.RECORDER,))
        yield folder / "episodes"


@pytest.fixture
def scale(graph):
    scale = Scale()
    yield scale
    scale.end()


@pytest.fixture
def study(cell, tmp_path):
    folder = tmp_path / "study"
    plan = design.StudyPlan({"raw": "untrained"}, ("ood",), ("pick_cube",), TRIALS, 7, MAX_STEPS, str(cell))
    design.create(plan, folder)
    assert lock(folder) == TRIALS
    return folder


@pytest.fixture
def person(graph, study):
    operator = Operator("--operator", "Ada", command=("eval", "robot", str(study)))
    yield operator
    operator.end()


def test_a_person_sets_the_scene_and_judges_or_the_cells_topic_does(graph, study, person, scale):
    def sets_the_scene(time):
        person.sees("the hand opens and the arm goes to the start", time)
        person.types(" ")
        person.sees("space: it is set", time)
        assert (study / "ghost.png").is_file() or time == 1
        person.types(" ")
        person.sees("running. s: success", time)

    sets_the_scene(1)
    person.types("s")
    person.sees("success after")
    sets_the_scene(2)
    scale.done = True
    person.sees(f"{DONE} is true")
    scale.done = False
    sets_the_scene(3)
    person.types("d")
    person.sees("void, it will be run again: by the operator")
    sets_the_scene(4)
    person.sees("how was it? s: success, f: failure, d: void")
    person.types("f")
    eventually(lambda: person.process.poll() is not None, lambda: f"the study ends, in {person.shown}")
    assert person.process.returncode == 0, person.shown

    trials = load(study / "reports/raw-ood").trials
    assert sorted((trial.outcome, trial.reason) for trial in trials) == [
        ("step limit", "by the operator"),
        ("success", f"{DONE} is true"),
        ("success", "by the operator"),
    ]
    episodes = [yaml.safe_load(file.read_text()) for file in sorted(graph.glob("*/episode.yaml"))]
    assert [episode["outcome"] for episode in episodes] == ["success", "success", "discarded", "failure"]
    assert {episode["operator"] for episode in episodes} == {"Ada"}
