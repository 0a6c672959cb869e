"""Trials through the whole ROS graph, in real time: the policy's node, the driver and the cameras are the real ones."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage
from vga_policy.cell.loading import dump_cell
from vga_policy.evaluate.environment import Judgement
from vga_policy.evaluate.trials import Outcome, Trial
from vga_policy.evaluate.video import TrialVideo
from vga_policy.files import write_atomically
from vga_policy.observation.observation import PROPRIOCEPTION, Observation
from vga_policy.observation.resampler import JpegImage
from vga_policy.ros import topics
from vga_policy.ros.client.policy import Task
from vga_policy.ros.client.readiness import Readiness
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError
from vga_policy.units import SECOND, nanoseconds

from vga_bringup.graph.runner import Runner, explain
from vga_bringup.graph.spec import sim_graph
from vga_bringup.trials.conditions import Request, TrialsError
from vga_bringup.trials.scene import Scene
from vga_msgs.action import RunTask
from vga_msgs.msg import ChunkVerdict

READY_WITHIN = 180.0  # s
STEADY = 2.0  # s that everything must be there: start-up is the busiest time
LOG, CELL = "nodes.log", "cell.yaml"


def run_graph(request: Request) -> Generator[Trial, None, None]:
    """The request's trials, one after the other, on a graph of their own. Raises TrialsError, or KeyboardInterrupt."""
    cell = request.directory / CELL
    write_atomically(cell, dump_cell(request.cell))
    graph = sim_graph(cell=str(cell), checkpoint=request.checkpoint)
    os.environ.update(graph[0].environment)
    with (request.directory / LOG).open("w", encoding="utf-8") as log, stop_request() as stop:
        try:
            with Runner(graph, log) as runner, Session("vga_eval") as session:
                trials = GraphTrials(request, session, runner, stop)
                trials.wait_until_ready()
                for task, seed in request.seeds():
                    yield trials.run(task, seed)
        except GraphError as error:
            if stop.is_set():
                raise KeyboardInterrupt from None
            raise TrialsError(f"{error}; see {request.directory / LOG}") from None


class GraphTrials:
    """Runs trials on a running graph. Faults of the graph raise GraphError; those of a trial are its outcome."""

    def __init__(self, request: Request, session: Session, runner: Runner, stop: Event) -> None:
        self._request, self._session, self._runner, self._stop = request, session, runner, stop
        self._dt = request.cell.dt
        self._scene = Scene(session)
        self._task = Task(session)
        self._images: dict[str, JpegImage] = {}
        self._refused: defaultdict[bytes, Counter[str]] = defaultdict(Counter)
        self._received: defaultdict[bytes, list[float]] = defaultdict(list)  # s, of every chunk, by the driver's clock
        session.node.create_subscription(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, self._on_verdict, 50)
        if request.videos:
            for camera in request.cell.views:
                topic = topics.camera(camera.name).compressed
                on_image = partial(self._on_image, camera.name)
                session.node.create_subscription(CompressedImage, topic, on_image, topics.SENSOR_DATA)

    def wait_until_ready(self) -> None:
        """Until every node has been there for a while."""
        readiness = Readiness(self._session.node, self._request.cell)
        started = ready_since = time.monotonic()
        while (now := time.monotonic()) - ready_since < STEADY:
            self._check()
            if missing := readiness.missing():
                ready_since = now
                if now - started > READY_WITHIN:
                    raise GraphError(f"not ready within {READY_WITHIN:g} s, missing: {', '.join(missing)}")
            self._session.spin_until(self._stop.is_set, timeout=0.2)
        readiness.close()

    def run(self, task: str, seed: int) -> Trial:
        """One trial, filmed if the request says so."""
        self._check()
        instruction = self._scene.prepare(task, seed)
        with ExitStack() as stack:
            path = self._request.video(task, seed)
            video = stack.enter_context(TrialVideo(path, 1 / self._dt)) if path else None
            self._task.arm()
            try:
                self._task.send(instruction, self._request.max_steps)
                judgement = self._until_its_end(instruction, video)
                result = self._task.result() if self._task.done else self._task.cancel()
            finally:
                self._task.disarm()
            outcome = _outcome(judgement, result.outcome)
            reason = str(result.message) if outcome is Outcome.FAULT else judgement.detail
            if video is not None:
                video.close(outcome is Outcome.SUCCESS, f"{outcome}: {reason}")
        return Trial(
            task=task,
            seed=seed,
            instruction=instruction,
            outcome=outcome,
            steps=int(result.steps),
            seconds=round(result.steps * self._dt, 6),
            reason=reason,
            grasped=judgement.grasped,
            chunks=int(result.chunks),
            refused=dict(self._refused[self._task.goal_id]),
            chunk_rate=_rate(self._received[self._task.goal_id]),
        )

    def _until_its_end(self, instruction: str, video: TrialVideo | None) -> Judgement:
        """Until the trial is decided or the task over, one frame a control step; how it stands then."""
        judgement = self._scene.judge()

        def over() -> bool:
            nonlocal judgement
            judgement = self._scene.judge()
            return judgement.success or judgement.failed or self._task.done

        next_frame = time.monotonic()
        while not over():
            self._check()
            self._session.spin_until(over, timeout=max(0.0, next_frame - time.monotonic()))
            next_frame += self._dt
            if video is not None and len(self._images) == len(self._request.cell.views):
                video.add(self._shown(instruction))
        return judgement

    def _shown(self, instruction: str) -> Observation:
        """The newest images as an observation, to be filmed."""
        images = tuple(self._images[camera.name].decode() for camera in self._request.cell.views)
        return Observation(0, images, (0,) * len(images), np.zeros(PROPRIOCEPTION), instruction)

    def _check(self) -> None:
        """Raises GraphError when there is no point in going on."""
        if self._stop.is_set():
            raise GraphError("interrupted")
        if ended := self._runner.ended():
            raise GraphError(", ".join(f"{name} ended: {explain(code)}" for name, code in ended.items()))

    def _on_verdict(self, verdict: Any) -> None:
        goal_id = bytes(verdict.goal_id.uuid)
        self._received[goal_id].append(nanoseconds(verdict.header.stamp) / SECOND)
        if not verdict.accepted:
            self._refused[goal_id][verdict.reason] += 1

    def _on_image(self, camera: str, message: Any) -> None:
        self._images[camera] = JpegImage(message.data.tobytes())


def _rate(times: Sequence[float]) -> float | None:
    """How many a second, in the mean; None of fewer than two."""
    return round((len(times) - 1) / (times[-1] - times[0]), 3) if len(times) > 1 else None


def _outcome(judgement: Judgement, ended: int) -> Outcome:
    if judgement.success:
        return Outcome.SUCCESS
    if judgement.failed:
        return Outcome.FAILED
    return Outcome.STEP_LIMIT if ended == RunTask.Result.STEP_LIMIT else Outcome.FAULT
