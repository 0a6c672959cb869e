"""The robot in the running graph as a study's rig. What the graph offers decides who sets the scene and who judges.

A scene service arranges, and its cell judges: nobody is needed. Else a person sets the scene, and a person judges, or
the cell's success topic. The policy's node is this program's own: one process at a time, started with the checkpoint
and the views of the arm whose turn it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import TracebackType

from sensor_msgs.msg import CompressedImage
from vga_policy.cell.schema import Cell
from vga_policy.display import Display
from vga_policy.evaluate.environment import Judgement
from vga_policy.evaluate.rollout import Tally, Watch, run_trial
from vga_policy.evaluate.trials import Outcome, Trial
from vga_policy.message_constants import DISCARDED, SUCCESS
from vga_policy.observation.resampler import JpegImage
from vga_policy.ros import topics
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.recorder import RecorderClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.client.success import SuccessSignal
from vga_policy.ros.errors import GraphError
from vga_teleop.session.buttons import Button, Several
from vga_teleop.session.operators import LABELS

from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import policy_graph
from vga_bringup.study.design import CELL, Start
from vga_bringup.study.ghost import Pictures, sheet, write
from vga_bringup.study.ledger import Arm, Turn
from vga_bringup.study.page import GhostPage
from vga_bringup.study.running import Disturbed, Voided
from vga_bringup.trials.graph_task import GraphTask
from vga_bringup.trials.scene import judge, prepare

LOG, GHOST = "policy.log", "ghost.png"
KNOWN_WITHIN = 3.0  # s until it is known what the graph offers
GONE_WITHIN = 15.0  # s that the policy of a killed study may take to leave the graph
THERE_WITHIN = 30.0  # s in which cameras and arm must be there, and an episode must begin
STEADY = 1.0  # s that everything must be there before a trial
SHOWN_WITHIN = 5.0  # s until every camera has shown something
RENEW = 0.4  # s between two ghosts
DISCOVERED_WITHIN = 5.0  # s in which the recorder hears of the cell's topics


class GraphRig:
    """Through `session`. A context manager: the policy ends with it, and the arm is in HOLD.

    buttons: of the person, if there is one. page: where the ghost is shown. operator: who, in episodes. record: whether
    trials are recorded.
    """

    def __init__(
        self,
        session: Session,
        cell: Cell,
        folder: Path,
        stop: Event,
        display: Display,
        buttons: Several,
        page: GhostPage,
        operator: str,
        namespace: str = "",
        device: str = "auto",
        record: bool = True,
    ) -> None:
        self._session, self._cell, self._folder, self._stop = session, cell, folder, stop
        self._display, self._buttons, self._page, self._operator = display, buttons, page, operator
        self._namespace, self._device = namespace, device
        self._task, self._scene, self._recorder = GraphTask(session), SceneClient(session), RecorderClient(session)
        self._signal = SuccessSignal(session, cell.success_topic) if cell.success_topic else None
        self._record, self._recording = record, False
        self._policy = ExitStack()  # closing it ends the policy's process
        self._runner: Runner | None = None
        self._arm: Arm | None = None

    def __enter__(self) -> GraphRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._policy:
            self._task.close()
            if self._recording:
                self.label(DISCARDED, "the study was interrupted")

    @property
    def arranges(self) -> bool:
        """Whether the cell sets and judges the scene itself."""
        return self._scene.offered

    def open(self) -> None:
        """Looks what there is. Raises GraphError for what is missing, and where another policy could act."""
        self._await_cell()
        self._session.spin_until(lambda: self._scene.offered and self._recorder.state is not None, KNOWN_WITHIN)
        if not self._session.spin_until(lambda: not self._policies, GONE_WITHIN):
            raise GraphError(
                "another policy is in this graph: end it (vga sim --policy false, no policy.launch.py); a study runs "
                "each arm's policy itself"
            )
        if not (self.arranges or self._buttons.any):
            raise GraphError("nobody can say when the scene is set: run this in a terminal, or give --buttons")
        state = self._recorder.state
        if self._record and state is None:
            raise GraphError(
                "no recorder is in this graph: start it with record (vga sim --record true, lab.launch.py "
                "record:=true), or give --no-record"
            )
        if self._record and state is not None and state.recording:
            self._recorder.stop(DISCARDED, "the study was killed in this trial")

    # A rig's own.

    def load(self, arm: Arm) -> None:
        """Ends the policy of the last arm and starts this one's."""
        if arm == self._arm and self._runner is not None:
            self._runner.check(self._stop)
            return
        self._end_policy()
        graph = policy_graph(
            cell=str(self._folder / CELL),
            checkpoint=arm.checkpoint,
            views=arm.cameras,
            device=self._device,
            namespace=self._namespace,
        )
        log = self._policy.enter_context((self._folder / LOG).open("a", encoding="utf-8"))
        os.environ.update(graph[0].environment)
        self._runner = self._policy.enter_context(Runner(graph, log))
        self._arm = arm

    def set_scene(self, start: Start, reference: Pictures, words: str) -> str:
        """By the cell itself, or by the person, who sees the ghost until the scene is set."""
        self._display.show(words)
        self._await_cell()
        if self._needs_recovery:
            if not self.arranges:
                self._ask("the arm is in a reflex. see that it is free; space: recover, q: end here", Button.GO)
            self._task.driver.recover(self._stop)
        if self.arranges:
            driver = self._task.driver
            told = prepare(self._session, driver, self._scene, start.task, start.seed, self._stop)
            self._show(reference, self.pictures(), words)
            return told
        self._ask(f"{words}. hands off; space: the hand opens and the arm goes to the start, q: end here", Button.GO)
        driver = self._task.driver
        driver.hold()
        driver.open()
        driver.home(start.arm, stop=self._stop)
        self._display.say(f"set the scene: {start.in_words()}" if not reference else "set the scene as its ghost")
        self._display.say(f"the ghost: {self._page.address} and {self._folder / GHOST}; space: it is set, q: end here")
        self._show_until_set(reference, words)
        return start.instruction

    def pictures(self) -> Pictures:
        """The next picture of every camera, the arm at rest."""
        with _Eyes(self._session, self._cell) as eyes:
            if not self._session.spin_until(eyes.complete, SHOWN_WITHIN):
                raise GraphError(self._silent(eyes.missing))
            return eyes.pictures

    def record(self, turn: Turn, instruction: str) -> str:
        """By the graph's recorder."""
        if not self._record:
            return ""
        path = self._recorder.start(turn.task, instruction, self._operator, within=DISCOVERED_WITHIN)
        self._recording = True
        return str(path)

    def label(self, outcome: str, note: str) -> None:
        """Tells the recorder."""
        if self._recording:
            self._recording = False
            self._recorder.stop(outcome, note)

    def run(self, turn: Turn, instruction: str) -> Trial:
        """The policy acts; then a person's label, where nothing else has judged."""
        self._await_policy(turn)
        rollout = _Rollout(self, instruction, turn.arm.max_steps)
        try:
            trial = run_trial(rollout, turn.task, turn.seed, dt=self._cell.dt)
        finally:
            self._task.close()
        if self._stop.is_set():
            raise GraphError("interrupted")
        if trial.outcome is Outcome.FAULT:
            self._await_cell(steady=0.0)  # a camera that fell silent is no failure of the policy's
            self._require_policy()
            if self.arranges and not self._needs_recovery:  # a reflex is the policy's doing
                raise Disturbed(trial.reason)
        return trial if self.arranges or trial.success else self._labeled(trial, rollout.pressed)

    # How.

    def task(self) -> GraphTask:
        """The task that runs."""
        return self._task

    def judged(self) -> Judgement:
        """How the trial stands, as far as something but a person tells."""
        if self.arranges:
            return judge(self._scene)
        if self._signal is None:
            return Judgement(False, False)
        topic = self._signal.topic
        left = f"{topic} has been true since before the trial: not believed" if self._signal.left_on else ""
        return Judgement(self._signal.done, False, f"{topic} is true" if self._signal.done else left)

    def begin(self, instruction: str, max_steps: int) -> None:
        """Starts the policy's task."""
        if self._signal is not None:
            self._signal.begin()
        self._buttons.pressed()
        self._task.start(instruction, max_steps)
        if not self.arranges:
            self._display.say("running. s: success, f: failure, d: void, space: stop and ask, Escape: stop the arm")

    def wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Serves the graph until `done`, or for so long. Raises GraphError when the policy has ended."""
        self._require_policy()
        self._session.spin_until(done, seconds)

    def pressed(self) -> Button | None:
        """What ends the trial, if something was pressed. Escape stops the arm."""
        for button in self._buttons.pressed():
            if button is Button.STOP:
                self._task.driver.stop()
                return button
            if button is Button.QUIT:
                self._stop.set()
                return button
            if button is Button.GO or button in LABELS:
                return button
        return None

    def _labeled(self, trial: Trial, pressed: Button | None) -> Trial:
        """The trial as the person judges it. Raises Voided."""
        label = pressed if pressed in LABELS else self._ask("how was it? s: success, f: failure, d: void", *LABELS)
        word = LABELS[label]
        if word == DISCARDED:
            raise Voided("by the operator")
        if word == SUCCESS:
            return replace(trial, outcome=Outcome.SUCCESS, reason="by the operator")
        kept = trial.outcome in (Outcome.STEP_LIMIT, Outcome.FAULT) and pressed not in LABELS
        outcome = trial.outcome if kept else Outcome.FAILED
        return replace(trial, outcome=outcome, reason=trial.reason or "by the operator")

    def _show_until_set(self, reference: Pictures, words: str) -> None:
        """Renews the ghost until space. Raises GraphError after q."""
        self._buttons.pressed()
        with _Eyes(self._session, self._cell) as eyes:
            while True:
                self._session.spin_until(self._stop.is_set, RENEW)
                if eyes.complete():
                    self._show(reference, eyes.pictures, words)
                else:
                    self._display.show(f"no picture of {', '.join(eyes.missing)} yet")
                if Button.GO in self._answers() and eyes.complete():
                    return

    def _show(self, reference: Pictures, now: Pictures, words: str) -> None:
        image = sheet(reference, now, words)
        write(image, self._folder / GHOST)
        self._page.show(image, words)

    def _ask(self, question: str, *wanted: Button) -> Button:
        self._buttons.pressed()
        self._display.say(question)
        while True:
            self._session.spin_until(self._stop.is_set, 0.1)
            for button in self._answers():
                if button in wanted:
                    return button

    def _answers(self) -> list[Button]:
        pressed = self._buttons.pressed()
        if Button.STOP in pressed:
            self._task.driver.stop()
        if Button.QUIT in pressed or self._stop.is_set():
            self._stop.set()
            raise GraphError("interrupted")
        return pressed

    @property
    def _needs_recovery(self) -> bool:
        state = self._task.driver.state
        return state is not None and bool(state.needs_recovery)

    @property
    def _policies(self) -> int:
        return int(self._session.node.count_publishers(topics.POLICY_HEARTBEAT))

    def _await_cell(self, steady: float = STEADY) -> None:
        """Until cameras and arm are there. Raises GraphError naming what is silent."""
        try:
            wait_until_steady(self._session, self._cell, self._look, steady, THERE_WITHIN, nodes=())
        except GraphError as error:
            if self._stop.is_set():
                raise
            raise GraphError(self._silent([str(error).partition("missing: ")[2] or str(error)])) from None

    def _await_policy(self, turn: Turn) -> None:
        """Until the arm's policy is there as well."""
        cell = self._cell.with_views(list(turn.arm.cameras))
        wait_until_steady(self._session, cell, lambda _: self._require_policy(), STEADY)

    def _require_policy(self) -> None:
        """Raises GraphError when its process has ended, without naming the arm's policy."""
        assert self._runner is not None
        if not self._stop.is_set() and (codes := self._runner.ended()):
            self._arm = None
            (name,) = codes
            raise GraphError(f"the arm's policy has ended ({self._runner.ends[name]}); see {self._folder / LOG}")
        self._look([])

    def _look(self, _missing: list[str]) -> None:
        if self._stop.is_set():
            raise GraphError("interrupted")

    def _silent(self, what: list[str]) -> str:
        return f"silent: {', '.join(what)}; see `vga doctor`, start it again"

    def _end_policy(self) -> None:
        self._policy.close()
        self._runner = self._arm = None
        if not self._session.spin_until(lambda: not self._policies, GONE_WITHIN):
            raise GraphError("the last arm's policy does not leave the graph: end it by hand")


class _Rollout:
    """One trial, as `run_trial` wants it. pressed: what a person ended it with."""

    def __init__(self, rig: GraphRig, instruction: str, max_steps: int) -> None:
        self._rig, self._instruction, self._max_steps = rig, instruction, max_steps
        self.pressed: Button | None = None

    def begin(self, task: str, seed: int) -> str:  # noqa: ARG002 - the scene is set
        """Starts the policy's task."""
        self._rig.begin(self._instruction, self._max_steps)
        return self._instruction

    def step(self, watch: Watch | None) -> None:  # noqa: ARG002
        """Until something decides the trial, but not for longer than a glance."""
        self._rig.wait(self._decided, 0.1)
        self.pressed = self.pressed or self._rig.pressed()

    def over(self) -> bool:
        """Whether the task has ended, or a person has ended it."""
        return self.pressed is not None or self._rig.task().done

    def judge(self) -> Judgement:
        """As the cell or its signal."""
        return self._rig.judged()

    def end(self) -> Tally:
        """Ends the task if it still runs."""
        tally = self._rig.task().end()
        return replace(tally, fault=None) if self.pressed not in (None, Button.STOP) else tally

    def _decided(self) -> bool:
        judgement = self.judge()
        return judgement.success or judgement.failed or self.over()


class _Eyes:
    """What every camera of the cell shows, for as long as it is looked at: images are much to receive."""

    def __init__(self, session: Session, cell: Cell) -> None:
        self._newest = {
            camera.name: Newest(session, CompressedImage, topics.camera(camera.name).compressed, topics.SENSOR_DATA)
            for camera in cell.cameras
        }

    def __enter__(self) -> _Eyes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for newest in self._newest.values():
            newest.close()

    @property
    def missing(self) -> list[str]:
        """Cameras that show nothing."""
        return [f"camera {name}" for name, newest in self._newest.items() if newest.message is None]

    def complete(self) -> bool:
        """Whether every camera shows something."""
        return not self.missing

    @property
    def pictures(self) -> Pictures:
        """By camera."""
        shown = {name: newest.message for name, newest in self._newest.items()}
        return {name: JpegImage(bytes(message.data)).decode() for name, message in shown.items() if message is not None}
