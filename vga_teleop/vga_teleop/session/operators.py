"""Who sees to a recording session: a person with buttons, or nobody, where the simulated cell does and judges all."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum

from vga_policy.message_constants import DISCARDED, FAILURE, SUCCESS

from vga_teleop.session.buttons import Button, Buttons
from vga_teleop.session.workflow import (
    GLANCE,
    Cell,
    DiscardLast,
    Refused,
    Scene,
    SessionEnded,
    Sight,
    Verdict,
)

EPILOGUE = 0.3  # s recorded after a trial has succeeded or failed
PATIENCE = 40.0  # s after which a trial that has not succeeded counts as failed
RETRIES = 30
RETRY_EVERY = 1.0  # s
ANSWERS = (Button.GO, Button.SUCCESS, Button.FAILURE, Button.DISCARD)
KEYS = "s: success  f: failure  d: discard  space: stop"
CORRECTING = f"{KEYS}  t: take over, hand back  Escape: stop the arm"
LABELS = {Button.SUCCESS: SUCCESS, Button.FAILURE: FAILURE, Button.DISCARD: DISCARDED}


class Held(StrEnum):
    """What becomes of a thing that the hand still holds when the arm is to go home."""

    ASK = "ask"  # the person decides
    KEEP = "keep"  # it stays in the hand; the arm does not go home, the session ends
    OPEN = "open"  # the hand opens: it falls where it is


class TrialWatch:
    """Ends an episode by what the simulated cell says of the trial. For one episode."""

    def __init__(self) -> None:
        self._decided: float | None = None

    def judge(self, sight: Sight, seconds: float) -> Verdict | None:
        """A verdict EPILOGUE after the trial was decided; None before, and where no cell judges."""
        trial = sight.trial
        if trial is None or not (trial.success or trial.failed):
            self._decided = None
            return None
        self._decided = seconds if self._decided is None else self._decided
        if seconds - self._decided < EPILOGUE:
            return None
        return Verdict(SUCCESS if trial.success else FAILURE, trial.detail)


class HumanOperator:
    """A person with buttons. `say` shows a line, `show` what is true at the moment.

    spread: how far from home, rad a joint, the arm's start is drawn at most. seed: of the first scene, where the cell
    draws scenes itself. held: whether a hand that holds something opens. scripted: whether a script holds the leader.
    explain: adds to the reason of a refusal what else is known. halt: stops the arm at once. pass_on: takes over from
    the policy, or hands back, and says so; None where no policy acts.
    """

    def __init__(
        self,
        instruction: str,
        buttons: Buttons,
        say: Callable[[str], None],
        show: Callable[[str], None],
        spread: float = 0.0,
        seed: int = 0,
        held: Held = Held.ASK,
        scripted: bool = False,
        explain: Callable[[str], str] = str,
        halt: Callable[[], None] = lambda: None,
        pass_on: Callable[[], str] | None = None,
    ) -> None:
        self._instruction = instruction
        self._buttons = buttons
        self._say = say
        self._show = show
        self._spread = spread
        self._seed = seed
        self._held = held
        self._leader = "the script holds the leader" if scripted else "hold the leader as the arm stands"
        if pass_on is not None:
            self._leader = "the policy acts next"
        self._explain, self._halt, self._pass_on = explain, halt, pass_on
        self._watch = TrialWatch()
        self._noticed: str | None = None  # of the running episode, so far; None: it has only just begun

    def let_go(self, cell: Cell, width: float) -> None:
        """Asks the person, or does as told beforehand."""
        holds = f"the hand holds something ({width:.3f} m)"
        if self._held is Held.KEEP:
            self._say(f"{holds} and keeps it, so the arm does not go home: empty the hand, or give --held open")
            raise SessionEnded
        if self._held is Held.OPEN:
            self._say(f"{holds}: opening it")
            return
        question = f"{holds}: open it and go home? space: open it, q: keep it and end the session"
        self._ask(cell, question, Button.GO)

    def arrange(self, cell: Cell, number: int) -> Scene:
        """Waits until the person has arranged the scene, or at least looked at it. The arm waits at its start."""
        scene = cell.arrange(self._seed + number)
        if scene is None and self._spread:
            cell.home([angle + random.uniform(-self._spread, self._spread) for angle in cell.position()])
        what = "the scene is arranged" if scene else "arrange the scene"
        question = f"episode {number + 1}: {what}, {self._leader}. space: start, d: discard the last"
        if self._ask(cell, question, Button.GO, Button.DISCARD) is Button.DISCARD:
            raise DiscardLast
        self._watch, self._noticed = TrialWatch(), None
        return scene or Scene(self._instruction)

    def wait(self) -> None:
        """Forgets what has been pressed."""
        self._pressed()

    def judge(self, sight: Sight, seconds: float) -> Verdict | None:
        """The label pressed, no label after space, or the simulated cell's own verdict."""
        if self._pass_on is not None:
            self._notice(sight.notice)
        self._show("  ".join(filter(None, (f"{seconds:5.1f} s", sight.commander or KEYS, sight.problem))))
        for button in self._pressed():
            return Verdict(LABELS.get(button))
        return self._watch.judge(sight, seconds)

    def label(self, cell: Cell) -> Verdict:
        """Waits for a label."""
        return Verdict(LABELS[self._ask(cell, "how was it? s: success, f: failure, d: discard", *LABELS)])

    def retry(self, cell: Cell, reason: str) -> None:
        """Waits until the person has seen to it."""
        self._ask(cell, f"{self._explain(reason)}\nspace: try again, q: end the session", Button.GO)

    def _ask(self, cell: Cell, question: str, *wanted: Button) -> Button:
        self.wait()
        self._say(question)
        while True:
            cell.look(GLANCE)
            for button in self._pressed():
                if button in wanted:
                    return button

    def _notice(self, text: str) -> None:
        """Says what is new; at first, what the keys do."""
        if self._noticed is None:
            self._say(CORRECTING)
        if text and text != self._noticed:
            self._say(text)
        self._noticed = text

    def _pressed(self) -> list[Button]:
        """What answers a question. The rest is seen to: Escape stops the arm, q ends the session, t takes over."""
        pressed = self._buttons.pressed()
        if Button.STOP in pressed:
            self._halt()
        if Button.QUIT in pressed:
            raise SessionEnded
        if Button.TAKE_OVER in pressed and self._pass_on is not None:
            self._say(self._pass_on())
        return [button for button in pressed if button in ANSWERS]


class AutomaticOperator:
    """Leaves everything to the simulated cell and the scripted operator.

    seed: of the first scene. explain: adds to the reason of a refusal what else is known.
    """

    def __init__(self, seed: int, explain: Callable[[str], str] = str) -> None:
        self._seed = seed
        self._explain = explain
        self._watch = TrialWatch()
        self._retries = 0

    def let_go(self, cell: Cell, width: float) -> None:
        """What falls is simulated, and the scene is drawn anew."""

    def arrange(self, cell: Cell, number: int) -> Scene:
        """Draws the scene."""
        scene = cell.arrange(self._seed + number)
        if scene is None:
            raise Refused("nobody arranges scenes: is this the simulated cell?")
        self._watch, self._retries = TrialWatch(), 0
        return scene

    def wait(self) -> None:
        """Says nothing anyway."""

    def judge(self, sight: Sight, seconds: float) -> Verdict | None:
        """The simulated cell's verdict; failure after PATIENCE."""
        if seconds > PATIENCE:
            detail = sight.trial.detail if sight.trial else ""
            return Verdict(FAILURE, f"not done within {PATIENCE:g} s: {detail}")
        return self._watch.judge(sight, seconds)

    def label(self, cell: Cell) -> Verdict:
        """Every verdict of `judge` has a label."""
        raise NotImplementedError

    def retry(self, cell: Cell, reason: str) -> None:
        """Waits a little; raises Refused after RETRIES in a row."""
        self._retries += 1
        if self._retries > RETRIES:
            raise Refused(self._explain(reason))
        cell.look(RETRY_EVERY)
