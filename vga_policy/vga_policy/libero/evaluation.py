"""Trials over suites in several processes, on disk trial by trial, so that a run can be taken up again."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mujoco

from vga_policy.evaluate.intervals import clustered_wilson, wilson
from vga_policy.files import alone, write_atomically
from vga_policy.libero.errors import LiberoError, told
from vga_policy.libero.plus import variant_of, variants_of
from vga_policy.libero.tasks import EVALUATION_STATES, LiberoTask, tasks
from vga_policy.libero.trials import EXECUTE, Actors, Ending, LiberoTrial, TrialCase, run_trial
from vga_policy.libero.world import RATE_HZ, SETTLING, Vector, World
from vga_policy.observation.observation import Observation
from vga_policy.workers import worker_pool

LOG = logging.getLogger(__name__)

FORMAT = 1
PLUS_SEED, MATCHED_SEEDS = 0, 10
STUCK = 2 * RATE_HZ  # steps at the end of a failure in which the hand stood still
CONDITIONS, RESULTS = "conditions.json", "results.json"
TRAINED, ADDED = "trained", "added"


@dataclass(frozen=True)
class LiberoConditions:
    """What trials were run with; rates of different conditions are different figures.

    seed: of the environment, set once a task; its resets then follow one another in the order of the trials, one each,
    which decides where fixtures stand. execute: actions of a chunk executed open loop. policy: `oracle`, `zero`, or
    TRAINED, which is that of a checkpoint, or ADDED, somebody else's, whose name then takes the checkpoint's place;
    weights: name of its weights, or of its file's content. control: what is kept from it. plus: which of LIBERO-Plus'
    trials, if it is those.
    """

    policy: str
    checkpoint: str = ""
    weights: str = ""
    control: str = ""
    execute: int = EXECUTE
    seed: int = 0
    hard_resets: bool = False
    plus: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data, with what else decides a trial."""
        simulator = {"mujoco": mujoco.__version__, "python": platform.python_version()}
        return {**asdict(self), "settling_steps": SETTLING, "graphics": "default", "simulator": simulator}


@dataclass(frozen=True)
class Job:
    """The trials of one task, for one process, in their order. videos: of how many, from the first on."""

    task: LiberoTask
    cases: tuple[TrialCase, ...]
    conditions: LiberoConditions
    out: Path
    videos: int = 0

    @property
    def file(self) -> Path:
        """One line of JSON a trial."""
        return self.out / "trials" / f"{self.task.suite}_{self.task.index}.jsonl"

    def video(self, number: int) -> Path | None:
        """Of one of the trials; None where it is not to be filmed."""
        name = f"{self.task.suite}_{self.task.index}_{number:03d}.mp4"
        return self.out / "videos" / name if number < self.videos else None

    def trials(self) -> list[LiberoTrial]:
        """Those that are on disk."""
        known = {trial.case: trial for trial in read_trials(self.file)}
        return [known[case] for case in self.cases if case in known]


MakeActors = Callable[[LiberoConditions], Actors]  # picklable


def evaluate(jobs: Sequence[Job], actors: MakeActors, processes: int, report: Callable[[str], None]) -> list[str]:
    """Runs what is missing of these jobs, all of one run; what went wrong, in words.

    Raises LiberoError where the policy cannot be used, or the run was begun under other conditions.
    """
    problems = []
    with worker_pool(min(processes, len(jobs))) as pool:
        try:
            pool.submit(_load, actors, jobs[0].conditions).result()  # once, in a process that goes on with it
        except BrokenExecutor:
            raise LiberoError("the process that loaded the policy died, perhaps for want of memory") from None
        prepare(jobs[0].out, jobs[0].conditions)
        running = {pool.submit(run_job, job, actors): job for job in jobs}
        for done in as_completed(running):
            job, error = running[done], done.exception()
            if error is not None:
                problems.append(f"{job.task.label}: {told(error)}")
                report(problems[-1])
                continue
            trials = done.result()
            report(
                f"{job.task.label}: {sum(trial.success for trial in trials)} of {len(trials)}: {job.task.instruction}"
            )
    return problems


def _load(actors: MakeActors, conditions: LiberoConditions) -> None:
    actors(conditions)


def run_job(job: Job, actors: MakeActors) -> list[LiberoTrial]:
    """All trials of a job, of which those on disk are not run again."""
    job.file.parent.mkdir(parents=True, exist_ok=True)
    with alone(job.file.with_name(f".{job.file.name}.lock")):
        if len(job.trials()) < len(job.cases):
            _run(job, actors)
    return job.trials()


def _run(job: Job, actors: MakeActors) -> None:
    known = {trial.case for trial in job.trials()}
    states, conditions = job.task.initial_states(), job.conditions
    world = World(job.task, conditions.seed, hard_resets=conditions.hard_resets)
    make = actors(conditions)
    try:
        with job.file.open("a", encoding="utf-8") as file:
            for number, case in enumerate(job.cases):
                if case.seed is not None:
                    world.seed(case.seed)
                world.reset()  # before a known trial as well: the next one's fixtures depend on it
                if case in known:
                    continue
                started = time.monotonic()
                world.move_camera(variant_of(job.task, case.camera) if case.camera else None)
                ending = _filmed(world, make, states[case.state], conditions.execute, job.video(number))
                seconds = round(time.monotonic() - started, 2)
                trial = LiberoTrial(job.task.label, case, ending.success, ending.steps, seconds, ending.still)
                file.write(json.dumps(asdict(trial)) + "\n")
                file.flush()
                os.fsync(file.fileno())
    finally:
        world.close()


def _filmed(world: World, make: Actors, state: Vector, execute: int, path: Path | None) -> Ending:
    """One trial (see `run_trial`), with a video at `path` if there is one."""
    if path is None:
        return run_trial(world, make, state, execute)
    from vga_policy.evaluate.video import TrialVideo  # needs what reads and writes videos

    told = world.task.instruction
    with TrialVideo(path, RATE_HZ / execute) as video:
        ending = run_trial(
            world,
            make,
            state,
            execute,
            lambda seen: video.add(Observation(0, tuple(seen.views.images), (), seen.proprioception, told)),
        )
        video.close(ending.success, f"{'done' if ending.success else 'given up'} after {ending.steps} steps")
    return ending


def read_trials(file: Path) -> list[LiberoTrial]:
    """The trials of a job's file; none where there is none. A line that a crash cut short or spoiled does not count."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    trials, whole = [], []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            trials.append(LiberoTrial.from_json(json.loads(line)))
            whole.append(line)
    if whole and not whole[-1].endswith("\n"):
        del trials[-1], whole[-1]
    if whole != lines:
        LOG.warning("%s: %d unreadable lines are dropped, and their trials run again", file, len(lines) - len(whole))
        write_atomically(file, "".join(whole))
    return trials


def prepare(out: Path, conditions: LiberoConditions) -> None:
    """Makes the directory of a run, or takes one up again. Raises LiberoError when it was begun otherwise."""
    wanted = conditions.to_json()
    file = out / CONDITIONS
    if file.is_file():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise LiberoError(f"{file}: cannot be read ({error}); choose another --out") from None
        found = {"plus": "", **(found if isinstance(found, dict) else {})}  # older ones do not say
        other = sorted(key for key in wanted if found.get(key) != wanted[key])
        if other:
            key = other[0]
            there, here = ("none" if value == "" else value for value in (found.get(key), wanted[key]))
            raise LiberoError(f"{out}: was begun with {key} {there}, not {here}; choose another --out")
        return
    if (out / RESULTS).exists() or any(out.glob("trials/*.jsonl")):
        raise LiberoError(f"{out}: holds results, and no {CONDITIONS} that says of what; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(wanted, indent=2) + "\n")


def jobs_of(
    suites: Iterable[str],
    numbers: Sequence[int],
    cases: Callable[[LiberoTask], tuple[TrialCase, ...]],
    conditions: LiberoConditions,
    out: Path,
    videos: int = 0,
) -> list[Job]:
    """One job a task. numbers: of the tasks in each suite; empty for all. videos: of how many trials each."""
    chosen = (task for suite in dict.fromkeys(suites) for task in tasks(suite) if not numbers or task.index in numbers)
    return [Job(task, cases(task), conditions, out, videos) for task in chosen]


def published(trials: int) -> Callable[[LiberoTask], tuple[TrialCase, ...]]:
    """Trial k from initial state k."""
    return lambda _: tuple(TrialCase(state) for state in range(min(trials, EVALUATION_STATES)))


def plus_camera(task: LiberoTask) -> tuple[TrialCase, ...]:
    """LIBERO-Plus' camera variants, each once."""
    return tuple(TrialCase(0, PLUS_SEED, variant.pose) for variant in variants_of(task))


def plus_matched(task: LiberoTask) -> tuple[TrialCase, ...]:
    """What they are compared with: the same initial state and unperturbed camera, fixtures as ten seeds have them.

    A task without fixtures is the same trial under every seed, and has one.
    """
    return tuple(TrialCase(0, seed) for seed in range(MATCHED_SEEDS if task.has_fixtures else 1))


def summary(jobs: Sequence[Job]) -> dict[str, Any]:
    """The results so far: over all, by suite, by kind and difficulty of a perturbation, by task, and each trial."""
    found = {job.task: job.trials() for job in jobs}
    trials = [trial for each in found.values() for trial in each]
    perturbed: dict[str, dict[str, list[LiberoTrial]]] = {"kinds": {}, "difficulties": {}}
    for task, each in found.items():
        for trial in each:
            if trial.case.camera:
                variant = variant_of(task, trial.case.camera)
                perturbed["kinds"].setdefault(variant.kind, []).append(trial)
                if variant.difficulty:
                    perturbed["difficulties"].setdefault(str(variant.difficulty), []).append(trial)
    suites = dict.fromkeys(job.task.suite for job in jobs)
    return {
        "format": FORMAT,
        **_figures(trials),
        "suites": {
            suite: _figures([trial for trial in trials if trial.task.startswith(f"{suite}/")]) for suite in suites
        },
        **{by: {name: _figures(each[name]) for name in sorted(each)} for by, each in perturbed.items() if each},
        "tasks": {task.label: {"instruction": task.instruction, **_figures(each)} for task, each in found.items()},
        "conditions": jobs[0].conditions.to_json() if jobs else {},
        "missing": sum(len(job.cases) for job in jobs) - len(trials),
        "trials": [asdict(trial) for trial in trials],
    }


def table(results: dict[str, Any]) -> Iterator[str]:
    """Lines of text: tasks, kinds and difficulties of perturbations, suites, all.

    Trials of LIBERO-Plus all begin with one state of their task: intervals there are those over tasks.
    """
    plus = bool(results["conditions"].get("plus"))
    difficulties = {f"difficulty {level}": row for level, row in results.get("difficulties", {}).items()}
    rows = {**results["tasks"], **results.get("kinds", {}), **difficulties, **results["suites"], "all": results}
    for name, row in rows.items():
        if row["success_rate"] is None:
            yield f"{name:18} no trial"
            continue
        low, high = row[key] if (key := "over_tasks" if plus else "interval") in row else row["interval"]
        steps = "" if row["mean_steps"] is None else f"{row['mean_steps']:.0f} steps"
        yield (
            f"{name:18} {row['successes']:4} of {row['n']:4}  {100 * row['success_rate']:5.1f} % "
            f"({100 * low:.1f} … {100 * high:.1f})  {steps:10} {row.get('instruction', '')}"
        )
    if stuck := results["stuck"]:
        failed = results["n"] - results["successes"]
        yield f"given up: {failed}; in {stuck} of them the hand stood still for the last 2 s"


def _figures(trials: Sequence[LiberoTrial]) -> dict[str, Any]:
    """interval: Wilson's, as if trials were independent. over_tasks: as if tasks were, whose trials are alike.

    stuck: failures at whose end the hand stood still.
    """
    successes = [trial for trial in trials if trial.success]
    tasks: dict[str, list[bool]] = {}
    for trial in trials:
        tasks.setdefault(trial.task, []).append(trial.success)
    over_tasks = clustered_wilson([(sum(each), len(each)) for each in tasks.values()])
    return {
        "success_rate": len(successes) / len(trials) if trials else None,
        "interval": [round(bound, 6) for bound in wilson(len(successes), len(trials))],
        **({"over_tasks": [round(bound, 6) for bound in over_tasks]} if len(tasks) > 1 else {}),
        "successes": len(successes),
        "n": len(trials),
        "stuck": sum(not trial.success and (trial.still or 0) >= STUCK for trial in trials),
        "mean_steps": sum(trial.steps for trial in successes) / len(successes) if successes else None,
    }
