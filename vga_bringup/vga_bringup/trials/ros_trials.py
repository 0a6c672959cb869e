"""Trials through the whole ROS graph, in real time: the policy's node, the driver and the cameras are the real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from threading import Event
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage
from vga_policy.cell.loading import dump_cell
from vga_policy.evaluate.environment import Judgement
from vga_policy.evaluate.rollout import Tally, Watch
from vga_policy.evaluate.trials import Trial
from vga_policy.evaluate.video import filmed_trial
from vga_policy.files import write_atomically
from vga_policy.observation.observation import PROPRIOCEPTION, Observation
from vga_policy.observation.resampler import JpegImage
from vga_policy.ros import topics
from vga_policy.ros.client.alone import require_alone
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError

from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_bringup.trials.conditions import EvalRequest, TrialsError
from vga_bringup.trials.graph_task import GraphTask
from vga_bringup.trials.scene import judge, prepare

LOG, CELL = "nodes.log", "cell.yaml"


def run_graph(request: EvalRequest, seeds: Sequence[tuple[str, int]]) -> Generator[Trial, None, None]:
    """The request's trials of these tasks and seeds, one after the other, on a graph of their own.

    Raises TrialsError, or KeyboardInterrupt.
    """
    cell = request.directory / CELL
    write_atomically(cell, dump_cell(request.cell))
    graph = sim_graph(cell=str(cell), checkpoint=request.checkpoint, task=request.tasks[0])
    os.environ.update(graph[0].environment)
    with (request.directory / LOG).open("w", encoding="utf-8") as log, stop_request() as stop:
        try:
            require_alone()
            with Runner(graph, log) as runner, Session("vga_eval") as session:
                rollout = GraphRollout(request, session, runner, stop)
                wait_until_steady(session, request.cell, lambda _: runner.check(stop))
                for task, seed in seeds:
                    with closing(rollout):
                        trial = filmed_trial(rollout, task, seed, dt=request.cell.dt, path=request.video(task, seed))
                    yield trial
        except GraphError as error:
            if stop.is_set():
                raise KeyboardInterrupt from None
            raise TrialsError(f"{error}; see {request.directory / LOG}") from None


class GraphRollout:
    """The policy's node in a running graph. Faults of the graph raise GraphError; those of a trial are its outcome."""

    def __init__(self, request: EvalRequest, session: Session, runner: Runner, stop: Event) -> None:
        self._request, self._session, self._runner, self._stop = request, session, runner, stop
        self._task, self._scene = GraphTask(session), SceneClient(session)
        self._instruction = ""
        self._next_frame = 0.0
        self._images: dict[str, JpegImage] = {}
        if request.videos:
            for camera in request.cell.views:
                topic = topics.camera(camera.name).compressed
                on_image = partial(self._on_image, camera.name)
                session.node.create_subscription(CompressedImage, topic, on_image, topics.SENSOR_DATA)

    def begin(self, task: str, seed: int) -> str:
        """Prepares the trial and starts the policy's task; its instruction."""
        self._runner.check(self._stop)
        self._instruction = prepare(self._session, self._task.driver, self._scene, task, seed)
        self._task.start(self._instruction, self._request.max_steps)
        self._next_frame = time.monotonic()
        return self._instruction

    def step(self, watch: Watch | None) -> None:
        """Until the next frame is due, or the trial is decided."""
        self._runner.check(self._stop)
        self._session.spin_until(self._decided, timeout=max(0.0, self._next_frame - time.monotonic()))
        self._next_frame += self._request.cell.dt
        if watch is not None and len(self._images) == len(self._request.cell.views):
            watch(self._shown())

    def over(self) -> bool:
        """Whether the task has ended."""
        return self._task.done

    def judge(self) -> Judgement:
        """As the simulated cell's."""
        return judge(self._scene)

    def end(self) -> Tally:
        """Ends the task if it still runs."""
        return self._task.end()

    def close(self) -> None:
        """Sets the driver back to HOLD, where a trial has not come to its end."""
        self._task.close()

    def _decided(self) -> bool:
        judgement = self.judge()
        return judgement.success or judgement.failed or self.over()

    def _shown(self) -> Observation:
        """The newest images as an observation, to be filmed."""
        images = tuple(self._images[camera.name].decode() for camera in self._request.cell.views)
        return Observation(0, images, (0,) * len(images), np.zeros(PROPRIOCEPTION), self._instruction)

    def _on_image(self, camera: str, message: Any) -> None:
        self._images[camera] = JpegImage(message.data.tobytes())
