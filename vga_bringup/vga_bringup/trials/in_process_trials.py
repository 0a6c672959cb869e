"""Trials on simulated time, in several processes. What comes out depends on the seeds alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing import get_context

from vga_policy.evaluate.baseline.client import Baseline, BaselineError
from vga_policy.evaluate.controls import control
from vga_policy.evaluate.environment import Actor, Environment
from vga_policy.evaluate.trials import Trial, run_trial
from vga_policy.evaluate.video import TrialVideo

from vga_bringup.sim.scene import meshes
from vga_bringup.trials.actors import open_actor
from vga_bringup.trials.conditions import Request, TrialsError
from vga_bringup.trials.in_process_environment import FastEnvironment

# One thread a process, in drawing and in computing: the processes are what runs in parallel.
WORKER_ENVIRONMENT = {"LP_NUM_THREADS": "0", "OMP_NUM_THREADS": "1"}


class FastTrials:
    """Runs trials one after the other, in the process and thread that made it."""

    def __init__(self, request: Request) -> None:
        """Raises TrialsError when the checkpoint cannot be used."""
        self._request = request
        self._dt = request.cell.dt
        self._fast = FastEnvironment(request.cell, request.latency)
        self._actor: Actor = open_actor(request, self._fast)
        self._environment: Environment = control(
            request.control,
            self._fast,
            self._actor,
            roles=[camera.role for camera in request.cell.views],
            dt=self._dt,
            max_steps=request.max_steps,
        )

    def close(self) -> None:
        """Frees what drawing took, and ends a baseline's server."""
        self._fast.close()
        if isinstance(self._actor, Baseline):
            self._actor.close()

    def run(self, task: str, seed: int) -> Trial:
        """One trial, filmed if the request says so."""
        with ExitStack() as stack:
            path = self._request.video(task, seed)
            video = stack.enter_context(TrialVideo(path, 1 / self._dt)) if path else None
            trial = run_trial(
                self._environment,
                self._actor,
                task,
                seed,
                dt=self._dt,
                max_steps=self._request.max_steps,
                watch=video.add if video else None,
            )
            if video is not None:
                video.close(trial.success, f"{trial.outcome}: {trial.reason}")
        return trial


def run_fast(request: Request, jobs: int) -> Generator[Trial, None, None]:
    """The request's trials, in its order, on `jobs` processes. Raises TrialsError.

    Closing the iterator ends the processes after the trials they are at.
    """
    meshes.light_meshes()  # once, before every process wants them
    os.environ.update(WORKER_ENVIRONMENT)
    jobs = min(jobs, len(request.seeds()))
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _open, (request,))
    try:
        running: list[Future[Trial]] = [pool.submit(_run, task, seed) for task, seed in request.seeds()]
        for future in running:
            yield future.result()
    except BrokenProcessPool:
        raise TrialsError("a process of the trials was killed; is there memory for so many? try fewer --jobs") from None
    finally:
        pool.shutdown(cancel_futures=True)


_trials: FastTrials | TrialsError  # of this process


def _open(request: Request) -> None:
    global _trials
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a trace: this trial counts for nothing then
    try:
        _trials = FastTrials(request)
    except TrialsError as error:  # told with the first trial: an initialiser that raises breaks the pool without a word
        _trials = error


def _run(task: str, seed: int) -> Trial:
    if isinstance(_trials, TrialsError):
        raise _trials
    try:
        return _trials.run(task, seed)
    except BaselineError as error:
        raise TrialsError(str(error)) from None
