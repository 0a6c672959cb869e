"""`vga demo`: the simulated graph runs one task, records it, and the recording alone is reported on.

With `--task` the simulated cell arranges that task's scene and judges it: the run ends with success, failure or the
time it may take. Without, the policy is only asked to move.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.message_constants import DISCARDED, FAILURE, SUCCESS
from vga_policy.processors import BUSY, Processors, overload
from vga_policy.ros import topics
from vga_policy.ros.client.alone import require_alone
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.recorder import RecorderClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError, RefusedError

from vga_bringup.demo.bag import read_recording
from vga_bringup.demo.plot import draw_summary
from vga_bringup.demo.report import Report, make_report, motion_window, write_report
from vga_bringup.demo.video import write_video
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_bringup.trials.scene import judge, prepare

RESULTS = ("report.json", "summary.png", "demo.mp4")
RECORDING_WITHIN = 30.0  # s; the recorder may discover the topics later than we do
FIRST_CHUNK_WITHIN = 10.0  # s
MARGIN = 1.0  # s of motion beyond what is asked for: the report counts from the first chunk to the last
REST = 1.0  # s recorded after the task, while the arm comes to rest


def run(args: argparse.Namespace) -> int:
    """Runs the demo and writes RESULTS: 0 when the run was healthy, 1 when it was not, 130 after Ctrl-C."""
    console = Console(highlight=False)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        (args.out / name).unlink(missing_ok=True)
    with stop_request() as stop, _progress(console) as progress:
        demo = Demo(args, progress, stop)
        demo.perform()
        report = None if stop.is_set() else demo.report()
    if report is None:
        console.print("stopped: no report")
        return 130
    _conclude(console, report)
    console.print(f"results: {args.out}")
    return 0 if report["healthy"] else 1


class Demo:
    """One demo. Faults end it early; what was recorded until then is reported on all the same."""

    def __init__(self, args: argparse.Namespace, progress: Progress, stop: Event) -> None:
        self._args = args
        self._progress = progress
        self._stop = stop
        self._bag: Path | None = None
        self._faults: list[str] = []
        self._instruction = args.instruction
        self._outcome, self._detail = DISCARDED, "made by vga demo"
        self._busy = 0.0

    def perform(self) -> None:
        """Brings the graph up, runs and records the task, brings everything down."""
        out, cell = self._args.out, load_cell(cell_path(self._args.cell))
        graph = sim_graph(
            cell=self._args.cell,
            checkpoint=self._args.checkpoint,
            record=True,
            episodes=str(out / "episodes"),
            task=self._args.task,
            namespace=self._args.namespace,
        )
        os.environ.update(graph[0].environment)
        with (out / "nodes.log").open("w", encoding="utf-8") as log:
            try:
                require_alone(self._args.namespace)
                with Runner(graph, log) as runner, Session("vga_demo", self._args.namespace) as session:
                    self._wait_until_ready(session, runner, cell)
                    scene = self._arrange(session) if self._args.task else None
                    self._record_task(session, runner, scene)
                    row = self._row("stopping every node")
                self._progress.update(row, total=1, completed=1)
            except GraphError as error:
                self._faults.append(f"{error}; see {log.name}")

    def report(self) -> Report:
        """Writes RESULTS from the bag."""
        out = self._args.out
        row = self._row("writing the report", len(RESULTS))
        if self._bag is None:
            report: Report = {"healthy": False, "problems": self._faults}
            write_report(report, out / "report.json")
            return report
        recording = read_recording(self._bag)
        report = make_report(recording, 0.0 if self._args.task else self._args.duration)
        report["problems"] = self._faults + report["problems"]
        report["healthy"] = not report["problems"]
        report["processors_busy_share"] = self._busy
        if not report["healthy"] and self._busy > BUSY:
            report["problems"].append(overload(self._busy))
        write_report(report, out / "report.json")
        self._progress.update(row, completed=1)
        draw_summary(recording, report, self._instruction, out / "summary.png")
        self._progress.update(row, completed=2)
        if window := motion_window(recording):
            write_video(recording, window, out / "demo.mp4")
        self._progress.update(row, completed=3)
        return report

    def _wait_until_ready(self, session: Session, runner: Runner, cell: Cell) -> None:
        row = self._row("bringing the graph up")

        def look(missing: list[str]) -> None:
            runner.check(self._stop)
            if missing:
                self._progress.update(row, detail=f"waiting for {', '.join(missing)}")

        wait_until_steady(session, cell, look)
        self._progress.update(row, total=1, completed=1, detail="ready")

    def _arrange(self, session: Session) -> SceneClient:
        row = self._row(f"arranging {self._args.task}")
        scene = SceneClient(session)
        self._instruction = prepare(session, DriverClient(session), scene, self._args.task, self._args.seed)
        self._progress.update(row, total=1, completed=1)
        return scene

    def _record_task(self, session: Session, runner: Runner, scene: SceneClient | None) -> None:
        recorder, chunks = RecorderClient(session), topics.POLICY_ACTION_CHUNK
        name = self._args.task or "demo"
        self._bag = recorder.start(
            name, self._instruction, "vga demo", RECORDING_WITHIN, lambda: runner.check(self._stop)
        )
        if not session.spin_until(lambda: session.node.count_subscribers(chunks) >= 2, RECORDING_WITHIN):
            raise GraphError(f"driver and recorder do not both listen to {session.resolved(chunks)}")
        try:
            self._run_task(session, runner, scene)
            session.spin_until(self._stop.is_set, timeout=REST)
        finally:
            problem = self._end(recorder)
        if problem:
            raise GraphError(f"the recording ended early: {problem}")

    def _end(self, recorder: RecorderClient) -> str:
        """Ends the recording; what is wrong with it."""
        try:
            return recorder.stop(self._outcome, self._detail)
        except RefusedError as error:
            return error.reason

    def _run_task(self, session: Session, runner: Runner, scene: SceneClient | None) -> None:
        duration = self._args.duration
        row = self._row(f"running “{self._instruction}”", duration)
        driver, policy = DriverClient(session), PolicyClient(session)
        driver.policy()
        processors = Processors(recent=math.inf)
        try:
            policy.start(self._instruction)
            if not session.spin_until(lambda: policy.done or policy.feedback.chunk_sequence > 0, FIRST_CHUNK_WITHIN):
                raise GraphError(f"no chunk within {FIRST_CHUNK_WITHIN:g} s: {policy.feedback.waiting_for}")
            began = time.monotonic()
            while (elapsed := time.monotonic() - began) < duration + MARGIN and not self._decided(scene):
                runner.check(self._stop)
                if policy.done:
                    raise GraphError(f"the task ended early: {policy.result().message}")
                self._progress.update(row, completed=elapsed, detail=f"{policy.feedback.steps} steps")
                session.spin_until(lambda: policy.done or self._stop.is_set() or self._decided(scene), timeout=0.5)
            self._progress.update(row, completed=duration)
            policy.cancel()
        finally:
            self._busy = processors.busy
            driver.hold()

    def _decided(self, scene: SceneClient | None) -> bool:
        """Whether the task is done, or cannot be done any more; takes note of how it stands."""
        if scene is None:
            return False
        state = judge(scene)
        self._outcome, self._detail = SUCCESS if state.success else FAILURE, state.detail
        return state.success or state.failed

    def _row(self, description: str, total: float | None = None) -> TaskID:
        return self._progress.add_task(description, total=total, detail="")


def _conclude(console: Console, report: Report) -> None:
    if "success" in report:
        console.print(f"{'succeeded' if report['success'] else 'did not succeed'}: {report['detail']}", soft_wrap=True)
    if not report["healthy"]:
        console.print("not healthy:", *report["problems"], sep="\n  ", soft_wrap=True)
        return
    latency = report["capture_to_command_ms"]
    console.print(
        f"healthy: {report['duration_s']:.1f} s of motion, {report['chunks_published']} chunks at "
        f"{report['policy_rate_hz']:.2f} Hz, capture to command {latency['p50']:.0f} ms (p95 {latency['p95']:.0f} ms), "
        f"tracking error {1e3 * report['tracking_rms_rad']:.1f} mrad rms",
        soft_wrap=True,
    )


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(bar_width=24))
    detail = TextColumn("{task.fields[detail]}", style="dim")
    return Progress(*columns, detail, console=console, refresh_per_second=4)
