"""Hands cases to worker processes, ends those that hang or grow, and writes the report."""

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

from fuzz.entrance import Entrance
from fuzz.worker import DIED, HANG, OK, Outcome, work

CPU_LIMIT = 20.0  # s of a processor that a case may take; one takes some 0.2 s
WALL_LIMIT = 300.0  # s, on a machine that is busy with other things
START_LIMIT = 300.0  # s for a worker to import everything
TICK = os.sysconf("SC_CLK_TCK")
FAILING_KEPT = 20  # inputs an entrance

Job = tuple[str, int, int]


@dataclass
class Tally:
    """What became of an entrance's cases."""

    wanted: int
    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[dict] = field(default_factory=list)
    long_lines: list[str] = field(default_factory=list)


class Worker:
    """A worker process, and what it is at."""

    def __init__(
        self, names: Sequence[str], valid: Path, prepare: Callable[[], None] | None, cpu_limit: float, scratch: Path
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.scratch, self._cpu_limit = scratch, cpu_limit
        self.job: Job | None = None
        self.ready = False
        self._process = context.Process(target=work, args=(theirs, names, valid, scratch, prepare), daemon=True)
        self._process.start()
        theirs.close()
        self._began, self._cpu = time.monotonic(), 0.0

    def give(self, job: Job) -> None:
        self.job = job
        self._began, self._cpu = time.monotonic(), self._cpu_time()
        self.connection.send(job)

    @property
    def late(self) -> bool:
        wall = time.monotonic() - self._began
        if not self.ready:
            return wall > START_LIMIT
        return wall > WALL_LIMIT or self._cpu_time() - self._cpu > self._cpu_limit

    def end(self) -> int | None:
        """Ends the process. Returns its exit code if it had ended by itself."""
        self._process.join(0.1)
        code = self._process.exitcode
        self._process.kill()
        self._process.join()
        self.connection.close()
        return code

    def _cpu_time(self) -> float:
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / TICK


def run(
    entrances: Sequence[Entrance],
    out: Path,
    *,
    seed: int = 0,
    seconds: float = 600.0,
    inputs: int | None = None,
    first: int = 0,
    workers: int = 0,
    cpu_limit: float = CPU_LIMIT,
    prepare: Callable[[], None] | None = None,
) -> dict:
    """Tries cases of every entrance in turn until each has had its number or time is over. Returns the report.

    inputs: of each entrance, in place of its own number. first: number of the first case. cpu_limit: s of a processor
    that a case may take. prepare: called in every worker before its first case.
    """
    from fuzz import valid

    tallies = {entrance.name: Tally(inputs or entrance.inputs) for entrance in entrances}
    failing = out / "failing"
    shutil.rmtree(failing, ignore_errors=True)
    failing.mkdir(parents=True)
    valid.make(out / "valid")
    jobs = deque(_jobs(tallies, seed, first))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vga_fuzz_") as scratch:
        new = partial(Worker, list(tallies), out / "valid", prepare, cpu_limit)
        team = [new(Path(scratch, str(number))) for number in range(workers or os.cpu_count() or 1)]
        try:
            _serve(team, new, jobs, started + seconds, tallies, failing)
        finally:
            for worker in team:
                worker.end()
    report = _report(tallies, seed, time.monotonic() - started)
    (out / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


def _jobs(tallies: dict[str, Tally], seed: int, first: int):
    """Cases of all entrances in turn, each as often as its number needs."""
    most = max(tally.wanted for tally in tallies.values())
    for number in range(most):
        for name, tally in tallies.items():
            if number * tally.wanted // most != (number + 1) * tally.wanted // most:
                yield name, seed, first + number * tally.wanted // most


def _serve(team, new, jobs, end: float, tallies, failing: Path) -> None:
    busy = list(team)
    while busy:
        for connection in wait([worker.connection for worker in busy], timeout=0.5):
            worker = next(each for each in busy if each.connection is connection)
            try:
                outcome = connection.recv()
            except (EOFError, OSError):
                outcome = Outcome(DIED, f"exit code {worker.end()}")
            if outcome is not None and worker.job is None:
                raise RuntimeError(f"a worker cannot start: {outcome.words}")
            worker.ready = True
            if outcome is not None:
                _note(tallies[worker.job[0]], worker, outcome, failing)
            if outcome is not None and outcome.result == DIED:
                worker.job = None
                _replace(team, busy, worker, new, jobs)
            elif not jobs or time.monotonic() > end:
                busy.remove(worker)
            else:
                worker.give(jobs.popleft())
        for worker in [each for each in busy if each.late]:
            worker.end()
            if worker.job is None:
                raise RuntimeError(f"a worker does not start within {START_LIMIT} s")
            _note(tallies[worker.job[0]], worker, Outcome(HANG, "over its limit of processor time"), failing)
            _replace(team, busy, worker, new, jobs)


def _replace(team, busy, worker: Worker, new: Callable[[Path], Worker], jobs: deque[Job]) -> None:
    """Another worker in place of one that has ended, if there is something left to do."""
    busy.remove(worker)
    team.remove(worker)
    if jobs:
        team.append(new(worker.scratch))
        busy.append(team[-1])


def _note(tally: Tally, worker: Worker, outcome: Outcome, failing: Path) -> None:
    name, seed, number = worker.job
    tally.inputs += 1
    tally.accepted += outcome.accepted and outcome.result == OK
    tally.seconds += outcome.seconds
    if outcome.long_line:
        tally.long_lines.append(f"{number}: {outcome.long_line}")
    if outcome.result == OK:
        return
    tally.counts[outcome.result] = tally.counts.get(outcome.result, 0) + 1
    words = outcome.words.replace(str(worker.scratch), "…")
    tally.failures.append({"number": number, "seed": seed, "result": outcome.result, "words": words.splitlines()})
    if len(tally.failures) <= FAILING_KEPT and worker.scratch.is_dir():
        kept = failing / f"{''.join(c if c.isalnum() else '_' for c in name)}-{number}"
        shutil.copytree(worker.scratch, kept, symlinks=True, dirs_exist_ok=True)


def _report(tallies: dict[str, Tally], seed: int, seconds: float) -> dict:
    results = ("traceback", "hang", "out of memory", "batch lost", "died")
    by_entrance = {
        name: {
            "inputs": tally.inputs,
            "wanted": tally.wanted,
            "accepted": tally.accepted,
            **{result: tally.counts.get(result, 0) for result in results},
            "lines over 200 characters": len(tally.long_lines),
            "seconds each": round(tally.seconds / max(1, tally.inputs), 3),
            "failures": tally.failures,
            "long lines": tally.long_lines[:10],
        }
        for name, tally in tallies.items()
    }
    failed = sum(len(tally.failures) for tally in tallies.values())
    return {"seed": seed, "seconds": round(seconds), "failed": failed, "entrances": by_entrance}
