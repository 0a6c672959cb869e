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
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError
from vga_policy.units import SECOND, nanoseconds

from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_bringup.trials.conditions import Request, TrialsError
from vga_bringup.trials.scene import judge, prepare
from vga_msgs.action import RunTask
from vga_msgs.msg import ChunkVerdict

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
                wait_until_steady(session, request.cell, lambda _: runner.check(stop))
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
        self._driver, self._policy, self._scene = DriverClient(session), PolicyClient(session), SceneClient(session)
        self._images: dict[str, JpegImage] = {}
        self._refused: defaultdict[bytes, Counter[str]] = defaultdict(Counter)
        self._received: defaultdict[bytes, list[float]] = defaultdict(list)  # s, of every chunk, by the driver's clock
        session.node.create_subscription(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, self._on_verdict, 50)
        if request.videos:
            for camera in request.cell.views:
                topic = topics.camera(camera.name).compressed
                on_image = partial(self._on_image, camera.name)
                session.node.create_subscription(CompressedImage, topic, on_image, topics.SENSOR_DATA)

    def run(self, task: str, seed: int) -> Trial:
        """One trial, filmed if the request says so."""
        self._runner.check(self._stop)
        instruction = prepare(self._session, self._driver, self._scene, task, seed)
        with ExitStack() as stack:
            path = self._request.video(task, seed)
            video = stack.enter_context(TrialVideo(path, 1 / self._dt)) if path else None
            self._driver.policy()
            try:
                self._policy.start(instruction, self._request.max_steps)
                judgement = self._until_its_end(instruction, video)
                result = self._policy.cancel()
            finally:
                self._driver.hold()
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
            refused=dict(self._refused[self._policy.goal_id]),
            chunk_rate=_rate(self._received[self._policy.goal_id]),
        )

    def _until_its_end(self, instruction: str, video: TrialVideo | None) -> Judgement:
        """Until the trial is decided or the task over, one frame a control step; how it stands then."""
        judgement = judge(self._scene)

        def over() -> bool:
            nonlocal judgement
            judgement = judge(self._scene)
            return judgement.success or judgement.failed or self._policy.done

        next_frame = time.monotonic()
        while not over():
            self._runner.check(self._stop)
            self._session.spin_until(over, timeout=max(0.0, next_frame - time.monotonic()))
            next_frame += self._dt
            if video is not None and len(self._images) == len(self._request.cell.views):
                video.add(self._shown(instruction))
        return judgement

    def _shown(self, instruction: str) -> Observation:
        """The newest images as an observation, to be filmed."""
        images = tuple(self._images[camera.name].decode() for camera in self._request.cell.views)
        return Observation(0, images, (0,) * len(images), np.zeros(PROPRIOCEPTION), instruction)

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
