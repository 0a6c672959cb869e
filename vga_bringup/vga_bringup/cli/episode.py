"""The episode that `vga run --record` makes of a task, and what labels it."""

from __future__ import annotations

import re
import sys

from vga_policy.display import Display
from vga_policy.message_constants import DISCARDED, FAILURE, SUCCESS
from vga_policy.ros.client.recorder import RecorderClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_bringup.cli.commands import ASK, NONE

LABELS = {"s": SUCCESS, "f": FAILURE, "d": DISCARDED, "": ""}
QUESTION = "how was it? s: success, f: failure, d: discard, Enter: no label "
DISCOVERED_WITHIN = 5.0  # s in which the recorder hears of the cell's topics


class TaskEpisode:
    """Through `session`. Raises GraphError where there is no recorder, RefusedError where it refuses.

    task: short name of the task; empty: made of the instruction. label: SUCCESS, FAILURE, DISCARDED, ASK, or NONE.
    """

    def __init__(self, session: Session, instruction: str, task: str, label: str) -> None:
        self._recorder = RecorderClient(session)
        self._label = label
        self._ended = False
        self._path = self._recorder.start(task or named(instruction), instruction, within=DISCOVERED_WITHIN)

    def end(self, display: Display, judged: str = "", note: str = "") -> None:
        """Ends the recording at once; then labels it and says where it is.

        judged: the simulated cell's verdict, SUCCESS or FAILURE; empty where it has none. note: how the task ended.
        """
        self._ended = True
        known = {ASK: judged, NONE: ""}.get(self._label, self._label)
        problem = self._recorder.stop(known, note)
        display.say(f"recorded: {self._path}{f' ({problem})' if problem else ''}")
        if not known and self._label == ASK and (answer := _asked()):
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


def named(instruction: str) -> str:
    """A task's short name, of its instruction."""
    return re.sub(r"[^a-z0-9]+", "_", instruction.lower()).strip("_") or "task"


def _asked() -> str:
    """A person's label; empty for none, and where nobody is at the terminal."""
    while sys.stdin.isatty():
        print(QUESTION, end="", flush=True)
        if not (line := sys.stdin.readline()):
            break
        if (label := LABELS.get(line.strip().lower()[:1])) is not None:
            return label
    return ""
