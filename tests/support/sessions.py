"""A recording session without ROS: a cell and a person's keys that tests control."""

from __future__ import annotations

import math
from pathlib import Path

from vga_teleop.session.workflow import Refused, Scene, Sight, Trial, Workflow


class FakeCell:
    """A cell that does what it is asked and writes it down. Time passes only while it is looked at.

    refusals: for each request, the refusals that come before it is granted. faults: what an episode meets at which
    of its seconds, as changes of the sight; meanwhile: what happens while it is being ended. problem: what is wrong
    with an ended one. held_width: of what the hand holds, m.
    """

    def __init__(self, draws=False):
        self.now = 0.0
        self.log = []
        self.refusals = {}
        self.faults = []
        self.meanwhile = {}
        self.problem = ""
        self.held_width = 0.0
        self.draws = draws
        self.sight = Sight(hold_reason="just started", misalignment=0.01)
        self.started = math.inf
        self.episodes = 0

    def change(self, **fields):
        self.sight = Sight(**{**self.sight.__dict__, **fields})

    def look(self, seconds):
        self.now += seconds
        for at, fields in list(self.faults):
            if self.now - self.started >= at:
                self.faults.remove((at, fields))
                self.change(**fields)
        return self.sight

    def _grant(self, request, *details):
        self.log.append((request, *details))
        if waiting := self.refusals.get(request):
            raise Refused(waiting.pop(0))

    def hold(self):
        self._grant("hold")
        self.change(teleop=False, hold_reason="requested")

    def recover(self):
        self._grant("recover")
        self.change(needs_recovery=False)

    def held(self):
        return self.held_width

    def open(self):
        self._grant("open")
        self.held_width = 0.0

    def home(self, position=()):
        self._grant("home", *position)

    def arrange(self, seed):
        self._grant("arrange", seed)
        return Scene(f"scene {seed}", (0.1, 0.2)) if self.draws else None

    def position(self):
        return (0.0, 1.0)

    def teleoperate(self):
        self._grant("teleop")
        self.change(teleop=True)

    def start(self, instruction):
        self._grant("start", instruction)
        self.change(recording=True, trial=Trial(False, False, "not yet"))
        self.started = self.now
        self.episodes += 1
        return Path(f"/episodes/{self.episodes}")

    def stop(self, verdict):
        self._grant("stop", verdict.outcome, verdict.note)
        self.change(recording=False, **self.meanwhile)
        self.started = math.inf
        return self.problem

    def discard(self, path):
        self._grant("discard", path.name)

    def leave(self):
        self.log.append(("leave", self.sight.recording))


class Keys:
    """Presses at given moments: (second of the cell's clock, button), or as soon as they are asked for."""

    def __init__(self, cell, *presses):
        self.cell = cell
        self.presses = list(presses)

    def pressed(self):
        due = []
        while self.presses and self.presses[0][0] <= self.cell.now:
            due.append(self.presses.pop(0)[1])
        assert self.presses or due or self.cell.now < 1000, "the session waits for a button that never comes"
        return due


def session(cell, operator, episodes=1):
    said = []
    workflow = Workflow(cell, operator, said.append, lambda: cell.now)
    workflow.run(episodes)
    return workflow, said
