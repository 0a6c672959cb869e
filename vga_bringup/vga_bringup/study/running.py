"""The study's trials one by one, on any rig: what is asked of it, and what becomes of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Protocol

from vga_policy.evaluate.trials import Trial
from vga_policy.message_constants import DISCARDED, FAILURE, SUCCESS
from vga_policy.ros.errors import GraphError

from vga_bringup.study.design import Start
from vga_bringup.study.ghost import Pictures, References, reset_errors
from vga_bringup.study.ledger import Arm, Ledger, Turn

AGAIN = "the same command goes on from there"
MOST_DISTURBED = 5  # trials in a row


class Voided(Exception):  # noqa: N818 - named for what happened
    """This trial does not count, and is run again. The message says why."""


class Disturbed(Voided):
    """Nor did the policy do it: an image came late, somebody stopped the arm."""


class Rig(Protocol):
    """A robot with a scene before it. Everything raises GraphError where it cannot; the message says what to do."""

    def load(self, arm: Arm) -> None:
        """Lets this arm's policy act next, on its views."""

    def set_scene(self, start: Start, reference: Pictures, words: str) -> str:
        """Arm at the start, objects where they belong; what the policy is to be told.

        reference: what it looks like then, empty where nobody knows yet. words: which trial it is.
        """

    def pictures(self) -> Pictures:
        """What every camera shows now."""

    def record(self, turn: Turn, instruction: str) -> str:
        """Starts recording; where the episode is, empty where nothing records."""

    def label(self, outcome: str, note: str) -> None:
        """Ends the recording. outcome: of `message_constants`."""

    def run(self, turn: Turn, instruction: str) -> Trial:
        """Lets the policy act until the trial is decided. Raises Voided."""


def run_study(
    ledger: Ledger,
    rig: Rig,
    starts: dict[tuple[str, int], Start],
    say: Callable[[str], None],
    stop: Event,
) -> None:
    """Runs what is missing. Raises GraphError for what keeps it from going on; what ran by then is kept."""
    references = References(ledger.folder)
    disturbed = 0
    while (turn := ledger.next()) is not None and not stop.is_set():
        start = starts[turn.task, turn.seed]
        rig.load(turn.arm)
        known = references.of(turn.task, turn.seed)
        instruction = rig.set_scene(start, known, turn.in_words())
        now = rig.pictures()
        if not known:
            references.keep(turn.task, turn.seed, now)
        reset = reset_errors(known, now)
        try:
            _run_one(ledger, rig, turn, instruction, reset, say)
            disturbed = 0
        except Disturbed as error:
            disturbed += 1
            if disturbed == MOST_DISTURBED:
                raise GraphError(
                    f"{disturbed} trials in a row were disturbed, the last: {error}: `vga doctor`"
                ) from None
        except Voided:
            disturbed = 0


def take_references(
    folder: Path, rig: Rig, starts: dict[tuple[str, int], Start], say: Callable[[str], None], stop: Event
) -> None:
    """Sets every start that has no reference picture yet, and takes it."""
    references = References(folder)
    missing = [start for start in starts.values() if not references.of(start.task, start.seed)]
    for i, start in enumerate(missing):
        if stop.is_set():
            return
        words = f"reference {i + 1} of {len(missing)}: {start.task.replace('_', ' ')}, start {start.seed}"
        rig.set_scene(start, {}, words)
        references.keep(start.task, start.seed, rig.pictures())
        say(f"{words}: taken")


def _run_one(
    ledger: Ledger, rig: Rig, turn: Turn, instruction: str, reset: dict[str, float], say: Callable[[str], None]
) -> None:
    """One trial from its first step into the ledger: void unless it came to an end. Raises what voids it."""
    name = ledger.begin(turn)
    note = f"study {ledger.name}, arm {turn.code}, start {turn.seed}"
    try:
        episode = rig.record(turn, instruction)
        trial = rig.run(turn, instruction)
        told = json.dumps({camera: round(share, 5) for camera, share in reset.items()})
        rig.label(SUCCESS if trial.success else FAILURE, f"{note}, reset error {told}: {trial.reason}")
        ledger.complete(name, trial, reset, episode)
    except BaseException as error:
        reason = str(error) or "interrupted"
        ledger.void(name, reason)
        say(f"{turn.in_words()}: void, it will be run again: {reason}")
        if isinstance(error, Voided):
            rig.label(DISCARDED, f"{note}: {reason}")
        raise
    differs = f"; reset error {100 * max(reset.values()):.2f} %" if reset else ""
    say(f"{turn.in_words()}: {trial.outcome} after {trial.steps} steps ({trial.reason}){differs}")
