"""The episode that `vga run --record` makes of a task, and what labels it."""

from __future__ import annotations

import re
import sys
from threading import Event

from vga_policy.display import Display
from vga_policy.ros.client.recorder import RecorderClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError
from vga_teleop.session.buttons import Button, Several
from vga_teleop.session.operators import LABELS

from vga_bringup.cli.commands import ASK, NONE

NO_LABEL = (Button.GO, Button.QUIT)
QUESTION = "how was it? s: success, f: failure, d: discard, space: no label"
DISCOVERED_WITHIN = 5.0  # s in which the recorder hears of the cell's topics


class TaskEpisode:
    """Through `session`. Raises GraphError where there is no recorder, RefusedError where it refuses.

    buttons: by which a person labels it. task: short name of the task; empty: made of the instruction. label: an
    outcome of episodes, ASK, or NONE. stop: set by Ctrl-C, which ends the question too.
    """

    def __init__(
        self, session: Session, buttons: Several, instruction: str, task: str, label: str, stop: Event
    ) -> None:
        self._session, self._buttons, self._stop = session, buttons, stop
        self._recorder = RecorderClient(session)
        self._label = label
        self._ended = False
        self._path = self._recorder.start(task or named(instruction), instruction, within=DISCOVERED_WITHIN)

    def end(self, display: Display, judged: str = "", note: str = "") -> None:
        """Ends the recording at once; then labels it and says where it is.

        judged: the simulated cell's verdict, success or failure; empty where it has none. note: how the task ended.
        """
        self._ended = True
        known = {ASK: judged, NONE: ""}.get(self._label, self._label)
        problem = self._recorder.stop(known, note)
        display.say(f"recorded: {self._path}{f' ({problem})' if problem else ''}")
        if not known and self._label == ASK and (answer := self._asked(display)):
            known, problem = answer, self._recorder.stop(answer, note)
        if known:
            display.say(f"labeled {known}{f' ({problem})' if problem else ''}")
        else:
            display.say("not labeled: `outcome: success` or `failure` in its episode.yaml does it")

    def abandon(self) -> None:
        """Ends the recording, without a label, where `end` was not called, because the task came to none."""
        if not self._ended:
            try:
                self._recorder.stop(note="the task was not run to an end")
            except GraphError as error:
                print(error, file=sys.stderr)

    def _asked(self, display: Display) -> str:
        """A person's label; empty for none, and where nobody is at the terminal."""
        pressed: list[Button] = []

        def answered() -> bool:
            pressed.extend(button for button in self._buttons.pressed() if button in LABELS or button in NO_LABEL)
            return bool(pressed) or self._stop.is_set()

        if not self._buttons.any:
            return ""
        display.say(QUESTION)
        self._stop.clear()  # which may have ended the task
        self._session.spin_until(answered)
        return LABELS.get(pressed[0], "") if pressed else ""


def named(instruction: str) -> str:
    """A task's short name, of its instruction."""
    return re.sub(r"[^a-z0-9]+", "_", instruction.lower()).strip("_") or "task"
