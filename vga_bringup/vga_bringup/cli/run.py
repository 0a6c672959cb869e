"""`vga run`: one task, from arming the driver to its end."""

from __future__ import annotations

import argparse
import sys
from threading import Event

from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.display import SPARSE, Display
from vga_policy.message_constants import Mode, TaskOutcome
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.client.success import SuccessSignal
from vga_policy.ros.client.verdicts import Verdicts
from vga_policy.ros.errors import GraphError
from vga_teleop.session.buttons import Button, ButtonError, Several, open_buttons
from vga_teleop.session.hands import pass_on

from vga_bringup.cli.episode import TaskEpisode
from vga_bringup.cli.options import robot_option
from vga_bringup.cli.scene_judge import SceneJudge
from vga_msgs.action import RunTask

CANCELED = 130
KEYS = "; t takes over with the leader and hands back, Escape stops the arm"
SEEN_WITHIN = 1.0  # s until the driver's verdicts are heard, and a simulated cell has said how its scene stands
VERDICTS_WITHIN = 0.5  # s until the driver has decided on the last chunks


def run(args: argparse.Namespace) -> int:
    """Runs one task: 0 when it came to its end, 130 when Ctrl-C canceled it, 1 when it was refused, the driver held, or
    no chunk was executed."""
    with stop_request() as stop:
        try:
            with open_buttons(args, sys.stdin.isatty()) as buttons, Session("vga_run", args.namespace) as session:
                return _Run(session, args, stop, buttons).perform()
        except (GraphError, ButtonError) as error:
            print(error, file=sys.stderr)
            return 1


class _Run:
    """One run of a task."""

    def __init__(self, session: Session, args: argparse.Namespace, stop: Event, buttons: Several) -> None:
        self._session, self._args, self._stop, self._buttons = session, args, stop, buttons
        self._driver, self._policy = DriverClient(session), PolicyClient(session)
        self._verdicts = Verdicts(session)
        self._robot = robot_option(args.namespace)
        topic = load_cell(cell_path(args.cell)).success_topic if args.cell else ""
        signal = SuccessSignal(session, topic) if topic else None
        self._judge = SceneJudge(SceneClient(session), args.instruction, f"vga arrange{self._robot}", signal)
        self._display = Display(every=SPARSE)
        self._episode: TaskEpisode | None = None

    def perform(self) -> int:
        """The exit code. Raises GraphError when the task is refused, or the policy goes."""
        args = self._args
        if args.record:
            self._episode = TaskEpisode(
                self._session, self._buttons, args.instruction, args.task, args.label, self._stop
            )
        try:
            return self._perform()
        finally:
            if self._episode is not None:
                self._episode.abandon()

    def _perform(self) -> int:
        try:
            self._session.spin_until(lambda: self._verdicts.heard and self._judge.seen, SEEN_WITHIN)
            self._driver.policy()
            if self._stop.is_set():
                return CANCELED
            self._judge.begin()
            self._policy.start(self._args.instruction, self._args.max_steps)
            self._display.say(f"running {self._args.instruction!r}; Ctrl-C cancels{KEYS if self._buttons.any else ''}")
            self._session.spin_until(self._over)
            result = self._policy.cancel()
            if result.outcome == TaskOutcome.ABORTED:  # the policy may know of the HOLD before this command does
                self._session.spin_until(lambda: self._driver.mode is Mode.HOLD, VERDICTS_WITHIN)
            held = self._hold_reason()
        finally:  # also where the driver has armed itself too late for an answer
            self._driver.hold()
        return self._conclude(result, held)

    def _over(self) -> bool:
        self._obey()
        decided, feedback = self._verdicts.of(self._policy.goal_id), self._policy.feedback
        limit = f" of {self._args.max_steps}" if self._args.max_steps else ""
        waiting = f"; waiting for {feedback.waiting_for}" if feedback.waiting_for else ""
        state = self._driver.state
        if state is not None and state.mode != Mode.POLICY and self._driver.goal == self._policy.goal_id:
            held = f": {state.hold_reason}" if state.mode == Mode.HOLD else ""
            waiting = f"; a person has taken over{held}; t hands back"
        self._display.show(
            f"step {feedback.steps}{limit}, {decided.executed} chunks executed, {decided.in_words()}{waiting}"
        )
        return self._policy.done or self._policy.orphaned or self._stop.is_set() or self._judge.decided

    def _obey(self) -> None:
        """Does what has been pressed: t takes over and hands back, Escape stops the arm and ends the run."""
        for button in self._buttons.pressed():
            if button is Button.STOP:
                self._driver.stop()
                self._stop.set()
            elif button is Button.TAKE_OVER:
                self._display.say(pass_on(self._driver))

    def _hold_reason(self) -> str:
        """Why the driver has left POLICY by itself; empty when it has not."""
        state = self._driver.state
        if state is None or self._driver.mode is not Mode.HOLD:
            return ""
        return f"{state.hold_reason}; next: vga recover{self._robot}" if state.needs_recovery else state.hold_reason

    def _conclude(self, result: RunTask.Result, held: str) -> int:
        """Says how the task ended; the exit code."""
        decided = self._verdicts.of(self._policy.goal_id)
        self._session.spin_until(lambda: len(decided.times) >= result.chunks, VERDICTS_WITHIN)
        aborted = result.outcome == TaskOutcome.ABORTED
        end = f"the driver went to HOLD: {held}" if aborted and held else self._judge.ending(result)
        if self._episode is not None:
            canceled = result.outcome == TaskOutcome.CANCELED
            self._episode.end(self._display, self._judge.label(canceled=canceled), end)
        end = f"{end} ({result.steps} steps, {result.chunks} chunks, {decided.in_words()})"
        if result.outcome == TaskOutcome.CANCELED and not self._judge.decided:
            self._display.say(end)
            return CANCELED
        nothing = not decided.executed and (decided.times or not result.chunks)
        trouble = aborted or nothing
        if nothing and not aborted:
            why = decided.refusal or self._policy.feedback.waiting_for
            end += f"\nno chunk was executed{why and f': {why}'}"
        self._display.say(self._session.explain(end) if trouble else end)
        if self._judge.hint:
            self._display.say(self._judge.hint)
        return 1 if trouble else 0
