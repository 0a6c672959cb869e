"""Collection without waiting: the scripted operator in InProcessCells, one process a processor, one bag an episode."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

from vga_policy.bags.writer import bag_file
from vga_policy.cell.compatibility import differences
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import locate
from vga_policy.checkpoints.checkpoint import CheckpointError, load_contract, robot_cell
from vga_policy.episodes.metadata import Episode
from vga_policy.evaluate.environment import Judgement
from vga_policy.inference.policy import Policy
from vga_policy.message_constants import FAILURE, SUCCESS
from vga_policy.units import SECOND
from vga_policy.workers import worker_pool
from vga_teleop.session.earlier import SCRIPTED

from vga_bringup.collect.in_process_bag import InProcessBag
from vga_bringup.robot.reports import Tick
from vga_bringup.sim.correction import correct
from vga_bringup.sim.demonstration import demonstrate
from vga_bringup.sim.expert.scripted_expert import Leader
from vga_bringup.sim.in_process import InProcessCell
from vga_bringup.sim.scene.views import require_simulated

SOURCE = "collect --fast"
GRIPPER_HZ, STATE_HZ, DIAGNOSTICS_HZ = 50, 10, 1


class CollectError(RuntimeError):
    """Episodes that cannot be collected as asked. The message says why and what to do."""


@dataclass(frozen=True)
class CollectRequest:
    """What to collect: episodes of `task` with the seeds from `seed` on, into `directory`.

    depth: with depth and camera poses. perturb, random_cameras: see `demonstrate`. images_for: s from the beginning
    in which the cameras record, None for all of it; the rest of the episode is recorded without them. policy: the
    checkpoint that acts, and is corrected (see `correct`); empty: the operator demonstrates.
    """

    cell: Cell
    task: str
    episodes: int
    directory: Path
    seed: int = 0
    depth: bool = True
    perturb: bool = False
    random_cameras: bool = False
    images_for: float | None = None
    policy: str = ""

    def path(self, seed: int) -> Path:
        """Directory of one episode."""
        return self.directory / f"{self.task}_{seed:06d}"


@dataclass(frozen=True)
class Collected:
    """One episode that was collected. seconds: simulated time it lasts."""

    path: Path
    outcome: str
    note: str
    seconds: float


def collect(request: CollectRequest, jobs: int) -> Iterator[Collected]:
    """Collects episodes in `jobs` processes, each of them yielded when it is complete, in no certain order.

    What is in them depends on the seeds alone, apart from when they began. Raises CollectError when an episode exists,
    and CellError when the cell cannot be simulated.
    """
    require_simulated(request.cell)
    if request.policy:
        _require_policy(request)
    seeds = range(request.seed, request.seed + request.episodes)
    if existing := [path for seed in seeds if (path := request.path(seed)).exists()]:
        raise CollectError(f"{existing[0]} exists: choose another --seed or --out")
    try:
        request.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectError(f"{request.directory}: {error.strerror}") from None
    with worker_pool(min(jobs, len(seeds)), _open_cell, (request,)) as pool:
        episodes = [pool.submit(_collect_one, seed) for seed in seeds]
        try:
            for episode in as_completed(episodes):
                try:
                    yield episode.result()
                except OSError as error:
                    raise CollectError(f"{error.filename or request.directory}: {error.strerror}") from None
        finally:  # after an error or Ctrl-C, the episodes under way are completed and the others left
            pool.shutdown(cancel_futures=True)


class Collector:
    """Collects one episode after the other in a cell of its own. Close it in the thread that made it.

    Raises CheckpointError where the request's policy cannot act in the cell.
    """

    def __init__(self, request: CollectRequest) -> None:
        self.request = request
        self._policy = Policy.from_pretrained(locate(request.policy), request.cell) if request.policy else None
        self._cell = InProcessCell(request.cell, self._tick, self._frame)
        self._described = _without_places(request.cell) if request.random_cameras else request.cell
        self._bag: InProcessBag | None = None
        self._leader: Leader | None = None
        self._ticks = 0

    def close(self) -> None:
        """Frees what drawing took."""
        self._cell.close()

    def episode(self, seed: int) -> Collected:
        """Collects one episode. It appears complete or not at all. Raises OSError."""
        request, path = self.request, self.request.path(seed)
        work = path.with_name(f".{path.name}.{os.getpid()}")
        work.mkdir()
        started = time.time_ns()
        self._ticks = 0
        bag = InProcessBag(bag_file(work).with_name(bag_file(path).name), self._described, started, depth=request.depth)
        self._bag = bag
        try:
            judgement = self._perform(seed)
            bag.close()
            bag.describe(work / bag_file(path).name)
            episode = Episode(
                id=path.name,
                task=request.task,
                instruction=self._cell.arrangement.instruction,
                operator=SCRIPTED,
                started_ns=started,
                cell=dump_cell(self._described),
                ended_ns=started + round(self._cell.now * SECOND),
                outcome=SUCCESS if judgement.success else FAILURE,
                note=judgement.detail,
                messages=bag.counts,
                source=SOURCE,
                seed=seed,
            )
            episode.save(work)
            work.rename(path)
        except BaseException:
            bag.abandon()
            shutil.rmtree(work, ignore_errors=True)
            raise
        finally:
            self._bag = None
        return Collected(path, str(episode.outcome), judgement.detail, self._cell.now)

    def _perform(self, seed: int) -> Judgement:
        request = self.request
        if self._policy is not None:
            return correct(self._cell, self._policy, request.task, seed, self._lead)
        return demonstrate(
            self._cell,
            request.task,
            seed,
            perturb=request.perturb,
            random_cameras=request.random_cameras,
            watch=self._lead,
        )

    def _lead(self, leader: Leader) -> None:
        if self._bag is not None:
            self._bag.leader(round(self._cell.now * SECOND), leader)

    def _tick(self, tick: Tick) -> None:
        if self._bag is None:
            return
        rate = round(self.request.cell.arm.tracking.rate_hz)
        self._bag.tick(tick)
        if _due(self._ticks, GRIPPER_HZ, rate):
            self._bag.gripper(tick)
        if _due(self._ticks, STATE_HZ, rate):
            self._bag.state(tick)
        if _due(self._ticks, DIAGNOSTICS_HZ, rate):
            self._bag.diagnostics(tick.read_ns)
        self._ticks += 1

    def _frame(self, milliseconds: int) -> None:
        until = self.request.images_for
        if self._bag is None or (until is not None and milliseconds > until * 1000):
            return
        due = [camera for camera in self.request.cell.cameras if _due(milliseconds, camera.color.fps, 1000)]
        if not due:
            return
        for camera, picture in zip(due, self._cell.pictures(due, with_depth=self.request.depth), strict=True):
            self._bag.picture(milliseconds * 1_000_000, camera, picture)


def _due(turn: int, rate: int, turns_a_second: int) -> bool:
    """Whether something that happens `rate` times a second does so in this turn; it does in the first."""
    return turn * rate // turns_a_second != (turn - 1) * rate // turns_a_second


_collector: Collector | None = None


def _open_cell(request: CollectRequest) -> None:
    """Makes this process's cell."""
    global _collector
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which lets the episodes be completed
    os.environ["OMP_NUM_THREADS"] = "1"  # a policy computes in one thread
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa draws in this thread: the processes share the processors
    _collector = Collector(request)


def _collect_one(seed: int) -> Collected:
    assert _collector is not None, "the pool's initializer makes it"
    return _collector.episode(seed)


def _require_policy(request: CollectRequest) -> None:
    """Raises CollectError where the policy is none, or none for this cell: before any process is started for it."""
    checkpoint = locate(request.policy)
    try:
        found = differences(request.cell, robot_cell(load_contract(checkpoint), request.policy))
    except CheckpointError as error:
        raise CollectError(str(error)) from None
    if found:
        raise CollectError(f"--policy {request.policy}: made for another cell: {'; '.join(map(str, found))}")


def _without_places(cell: Cell) -> Cell:
    """The cell as far as it holds where the fixed cameras move about."""
    cameras = [
        camera if camera.role == "wrist" else camera.model_copy(update={"pose": None}) for camera in cell.cameras
    ]
    return cell.model_copy(update={"cameras": cameras})
