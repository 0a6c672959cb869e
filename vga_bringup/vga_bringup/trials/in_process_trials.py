"""Trials on simulated time, in several processes. What comes out depends on the seeds alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from vga_policy.evaluate.baseline.client import Baseline, BaselineError
from vga_policy.evaluate.controls import control
from vga_policy.evaluate.environment import Actor
from vga_policy.evaluate.rollout import SteppedRollout
from vga_policy.evaluate.trials import Trial
from vga_policy.evaluate.video import filmed_trial
from vga_policy.workers import worker_pool

from vga_bringup.sim.scene import meshes
from vga_bringup.sim.scene.task import TaskError
from vga_bringup.trials.actors import open_actor
from vga_bringup.trials.conditions import EvalRequest, TrialsError
from vga_bringup.trials.in_process_environment import InProcessEnvironment

# One thread a process, in drawing and in computing: the processes are what runs in parallel.
WORKER_ENVIRONMENT = {"LP_NUM_THREADS": "0", "OMP_NUM_THREADS": "1"}


class InProcessTrials:
    """Runs trials one after the other, in the process and thread that made it."""

    def __init__(self, request: EvalRequest) -> None:
        """Raises TrialsError when the checkpoint cannot be used."""
        self._request = request
        self._world = InProcessEnvironment(request.cell, request.latency)
        self._actor: Actor = open_actor(request, self._world)
        environment = control(
            request.control,
            self._world,
            self._actor,
            roles=[camera.role for camera in request.cell.views],
            dt=request.cell.dt,
            max_steps=request.max_steps,
        )
        self._rollout = SteppedRollout(environment, self._actor, request.max_steps)

    def close(self) -> None:
        """Frees what drawing took, and ends a baseline's server."""
        self._world.close()
        if isinstance(self._actor, Baseline):
            self._actor.close()

    def run(self, task: str, seed: int) -> Trial:
        """One trial, filmed if the request says so."""
        path = self._request.video(task, seed)
        return filmed_trial(self._rollout, task, seed, dt=self._request.cell.dt, path=path)


def run_in_process(request: EvalRequest, seeds: Sequence[tuple[str, int]], jobs: int) -> Generator[Trial, None, None]:
    """The request's trials of these tasks and seeds, each as it ends, on `jobs` processes. Raises TrialsError.

    Closing the iterator ends the processes after the trials they are at.
    """
    meshes.light_meshes()  # once, before every process wants them
    os.environ.update(WORKER_ENVIRONMENT)
    pool = worker_pool(min(jobs, len(seeds)), _open, (request,))
    try:
        running: list[Future[Trial]] = [pool.submit(_run, task, seed) for task, seed in seeds]
        while running:
            wait(running, return_when=FIRST_COMPLETED)
            ended = [future for future in running if future.done()]
            running = [future for future in running if future not in ended]
            yield from (future.result() for future in ended)
    except BrokenProcessPool:
        raise TrialsError("a process of the trials was killed; is there memory for so many? try fewer --jobs") from None
    finally:
        pool.shutdown(cancel_futures=True)


_trials: InProcessTrials | TrialsError  # of this process


def _open(request: EvalRequest) -> None:
    global _trials
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a trace: this trial counts for nothing then
    try:
        _trials = InProcessTrials(request)
    except TrialsError as error:  # told with the first trial: an initializer that raises breaks the pool without a word
        _trials = error


def _run(task: str, seed: int) -> Trial:
    if isinstance(_trials, TrialsError):
        raise _trials
    try:
        return _trials.run(task, seed)
    except (BaselineError, TaskError) as error:
        raise TrialsError(str(error)) from None
