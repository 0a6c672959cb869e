"""The course of a recording session, without ROS: what is asked of the cell, and of whom, in which order.

    open hand → home → the scene is arranged → start pose → the leader is aligned → recording → label → HOLD → again

A driver that falls to HOLD in mid-episode ends the episode as a failure with the driver's reason. Whatever stopped the
arm, and whatever the cell refused, it moves again only once the operator has seen to it. However the session ends, it
leaves the arm in HOLD and no episode running.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from vga_policy.message_constants import DISCARDED, FAILURE

from vga_teleop.session.earlier import Earlier

NOTHING = Earlier()
ALIGNED = 0.05  # rad between leader and reference, in every joint
ALIGN_WITHIN = 15.0  # s; the approach of an arm 0.8 rad away takes a fifth of that
GLANCE = 0.05  # s between two looks at the cell

T = TypeVar("T")


class Refused(RuntimeError):  # noqa: N818 - named for what happened
    """A request that the cell refused. The message says why and what to do."""


class SessionEnded(Exception):  # noqa: N818 - named for what happened
    """The operator, or Ctrl-C, ended the session."""


class DiscardLast(Exception):  # noqa: N818 - named for what happened
    """The operator wants the last episode to be labeled discarded."""


class Scene(NamedTuple):
    """One trial's scene. arm_start: joint angles it starts from, rad; empty: the cell's home."""

    instruction: str
    arm_start: tuple[float, ...] = ()


class Verdict(NamedTuple):
    """How an episode ended. outcome: None when that is still to be asked."""

    outcome: str | None
    note: str = ""


class Trial(NamedTuple):
    """How a trial stands that the cell itself judges."""

    success: bool
    failed: bool
    detail: str


@dataclass(frozen=True)
class Sight:
    """The cell at one moment.

    teleop: the arm follows the leader; hold_reason says why it does not. misalignment: largest distance of a joint of
    the leader from the arm's reference, rad. recording, problem: what the recorder says. trial: None where nobody but a
    person judges. commander: who commands, in words, where that changes. notice: what a person has to know, and to do.
    ended: why the arm does not move any more, where that is not the driver's doing.
    """

    teleop: bool = False
    hold_reason: str = ""
    needs_recovery: bool = False
    misalignment: float = math.inf
    recording: bool = False
    problem: str = ""
    trial: Trial | None = None
    commander: str = ""
    notice: str = ""
    ended: str = ""


class Cell(Protocol):
    """What a session asks of the cell. Every request may raise Refused, and SessionEnded after Ctrl-C."""

    def look(self, seconds: float) -> Sight:
        """The cell as it is after this time."""

    def hold(self) -> None:
        """Brings the arm to rest."""

    def recover(self) -> None:
        """Clears a reflex, or rebuilds the connection to the arm."""

    def held(self) -> float:
        """Opening (m) around what the hand holds; 0: nothing."""

    def open(self) -> None:
        """Opens the hand all the way: what it holds falls."""

    def home(self, position: Sequence[float] = ()) -> None:
        """Moves the arm to these joint angles (rad), or home, in HOLD. The hand keeps still."""

    def position(self) -> tuple[float, ...]:
        """Where the arm is asked to be, rad."""

    def teleoperate(self) -> None:
        """Lets the arm follow the leader."""

    def arrange(self, seed: int) -> Scene | None:
        """Sets the scene drawn from `seed`. None where a person has to."""

    def start(self, instruction: str) -> Path:
        """Starts an episode; its directory."""

    def stop(self, verdict: Verdict) -> str:
        """Ends the episode, or labels the one that ended without a label. Returns what else is wrong with it."""

    def discard(self, path: Path) -> None:
        """Labels the episode in this directory, the last one, discarded."""

    def leave(self) -> None:
        """Ends an episode that still runs, without a label, and brings the arm to rest; also after Ctrl-C."""


class Operator(Protocol):
    """Who sees to the session: a person with buttons, or a program. Every method may raise SessionEnded."""

    def let_go(self, cell: Cell, width: float) -> None:
        """Agrees that the hand, which holds something `width` (m) wide, opens before the arm goes home.

        Raises SessionEnded where it is to keep its grip.
        """

    def arrange(self, cell: Cell, number: int) -> Scene:
        """Has the scene of episode `number` (from 0) arranged, the arm being home. May raise Refused, DiscardLast."""

    def wait(self) -> None:
        """Is asked nothing: what it says by now, apart from the session's end, is no answer to what comes."""

    def judge(self, sight: Sight, seconds: float) -> Verdict | None:
        """Looks at the episode after so many seconds of recording. None: it goes on."""

    def label(self, cell: Cell) -> Verdict:
        """The verdict on the episode that has just ended without one."""

    def retry(self, cell: Cell, reason: str) -> None:
        """Sees to what the cell refused; on return it is asked again."""


class Taken(NamedTuple):
    """An episode of this session. seconds: of recording."""

    path: Path
    verdict: Verdict
    seconds: float


class Workflow:
    """One session. `say` is told what happens, a line at a time; `clock` counts seconds.

    earlier: what sessions before it have brought, which it goes on from.
    """

    def __init__(
        self,
        cell: Cell,
        operator: Operator,
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
        earlier: Earlier = NOTHING,
    ) -> None:
        self._cell = cell
        self._operator = operator
        self._say = say
        self._clock = clock
        self._earlier = earlier
        self._wanted = 0
        self._stopped = ""  # what brought the arm to a stop in the last episode
        self.taken: list[Taken] = []

    @property
    def progress(self) -> str:
        """How far the set is, in words."""
        return f"{self._earlier.kept + len(self.kept)} of {self._wanted} kept"

    @property
    def complete(self) -> bool:
        """Whether as many are kept as are wanted."""
        return self._earlier.kept + len(self.kept) >= self._wanted

    @property
    def kept(self) -> list[Taken]:
        """Episodes that were not discarded."""
        return [taken for taken in self.taken if taken.verdict.outcome != DISCARDED]

    def run(self, episodes: int) -> None:
        """Records until `episodes` are kept, earlier ones included, or SessionEnded comes."""
        self._wanted = episodes
        try:
            while not self.complete:
                self._see_to_a_stop()
                try:
                    scene = self._insist(self._prepare)
                except DiscardLast:
                    self._discard_last()
                    continue
                path = self._insist(partial(self._begin, scene))
                self._record(path)
        except SessionEnded:
            self._say("the session has been ended")
        finally:
            self._cell.leave()

    def _insist(self, step: Callable[[], T]) -> T:
        """Does a step until the cell no longer refuses it; the arm holds in between."""
        while True:
            try:
                return step()
            except Refused as refusal:
                self._hold()
                self._operator.retry(self._cell, str(refusal))

    def _see_to_a_stop(self) -> None:
        """Asks before an arm moves that something has stopped."""
        sight = self._cell.look(0.0)
        if self._stopped or sight.needs_recovery:
            reason = self._stopped or f"the driver is in HOLD: {sight.hold_reason}"
            self._operator.retry(self._cell, f"{reason}; the arm goes home next")
            self._stopped = ""

    def _recover(self) -> None:
        if self._cell.look(0.0).needs_recovery:
            self._cell.recover()

    def _prepare(self) -> Scene:
        """The arm at the start of an arranged scene."""
        self._recover()
        self._cell.hold()
        self._empty_the_hand()
        self._cell.home()
        scene = self._operator.arrange(self._cell, self._earlier.episodes + len(self.taken))
        if scene.arm_start:
            self._cell.home(scene.arm_start)
        return scene

    def _empty_the_hand(self) -> None:
        """Opens the hand, as every episode begins, unless the operator wants what it holds kept."""
        if width := self._cell.held():
            self._operator.let_go(self._cell, width)
        self._cell.open()

    def _begin(self, scene: Scene) -> Path:
        """The arm at the leader, and an episode running."""
        self._recover()  # from a user stop pressed while the scene was arranged
        self._cell.teleoperate()
        began = self._clock()
        while not (sight := self._cell.look(GLANCE)).teleop or sight.misalignment > ALIGNED:
            self._operator.wait()
            if not sight.teleop:
                raise Refused(f"the driver went to HOLD: {sight.hold_reason}")
            if self._clock() - began > ALIGN_WITHIN:
                raise Refused(f"the leader is {sight.misalignment:.2f} rad away from the arm: hold it still meanwhile")
        path = self._cell.start(scene.instruction)
        self._say(f"recording {path.name}: {scene.instruction}")
        return path

    def _record(self, path: Path) -> None:
        """The episode, to its end and its label. One that the recorder could not end is recorded once more."""
        self._operator.wait()
        began = self._clock()
        verdict = None
        while verdict is None:
            sight = self._cell.look(GLANCE)
            verdict = self._cut_short(sight) or self._operator.judge(sight, self._clock() - began)
        seconds = self._clock() - began
        try:
            problem = self._end(verdict)
            if verdict.outcome is None:
                verdict = self._operator.label(self._cell)
                problem = self._cell.stop(verdict)
        except Refused as refusal:
            self._say(f"{path.name}: {refusal}")
            return
        self.taken.append(Taken(path, verdict, seconds))
        remarks = "; ".join(filter(None, (verdict.note, "" if problem in verdict.note else problem)))
        self._say(f"{path.name}: {verdict.outcome}, {seconds:.1f} s{remarks and f' ({remarks})'}")
        self._say(self.progress)

    def _end(self, verdict: Verdict) -> str:
        """Ends the episode while the arm still follows the leader, so that its braking is not part of it."""
        try:
            return self._cell.stop(verdict)
        finally:
            self._note_a_stop(self._cell.look(GLANCE))
            self._hold()

    def _cut_short(self, sight: Sight) -> Verdict | None:
        """The verdict on an episode that cannot go on."""
        self._note_a_stop(sight)
        if not sight.recording:
            return Verdict(FAILURE, f"the recording ended early: {sight.problem}")
        return Verdict(FAILURE, self._stopped) if self._stopped else None

    def _note_a_stop(self, sight: Sight) -> None:
        """Notes why the arm follows the leader no longer, where nobody here has asked for it."""
        if not (sight.teleop or self._stopped):
            self._stopped = sight.ended or f"the driver went to HOLD: {sight.hold_reason}"

    def _discard_last(self) -> None:
        """Labels the last episode discarded, so that it is recorded once more."""
        if not self.kept or self.taken[-1].verdict.outcome == DISCARDED:
            self._say("there is no episode to discard")
            return
        last = self.taken[-1]
        try:
            self._cell.discard(last.path)
        except Refused as refusal:
            self._say(f"{last.path.name} is not discarded: {refusal}")
            return
        self.taken[-1] = last._replace(verdict=Verdict(DISCARDED))
        self._say(f"{last.path.name}: discarded; it stays on the disk")
        self._say(self.progress)

    def _hold(self) -> None:
        with suppress(Refused):
            self._cell.hold()
