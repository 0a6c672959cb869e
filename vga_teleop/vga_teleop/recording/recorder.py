"""The episode recorder: decides what is recorded, when it may start, and when it must stop."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vga_policy.bags.writer import BagWriter, Topic
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import Cell
from vga_policy.episodes import topics
from vga_policy.episodes.metadata import Episode
from vga_policy.message_constants import DISCARDED, OUTCOMES
from vga_policy.units import SECOND

SILENT_AFTER = 1.0  # s without a message
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class RecordingError(RuntimeError):
    """A request the recorder refuses. The message says why and what to do."""


def camera_topics(cell: Cell) -> list[str]:
    """The compressed images and camera parameters of every camera, and the depth of those that have it."""
    found = []
    for camera in cell.cameras:
        names = topics.camera_topics(camera.name)
        found += [names.compressed, names.info, *([names.compressed_depth] if camera.depth else [])]
    return found


def recorded_topics(cell: Cell) -> list[str]:
    """Every topic an episode of this cell holds."""
    return [*camera_topics(cell), *cell.recording.topics]


def required_topics(cell: Cell, demonstrating: bool = False) -> list[str]:
    """Topics without which an episode is worthless; a demonstration needs the leader as well."""
    images = [topics.image_topic(camera.name) for camera in cell.cameras]
    return [*images, topics.JOINT_STATES, topics.REFERENCE, *([topics.LEADER] if demonstrating else [])]


@dataclass
class _Source:
    """A topic that exists, its last sign of life (ns), and the last message (data, published) of a latched one."""

    topic: Topic
    last_seen: int = 0
    latched: tuple[bytes, int] | None = None


class Recorder:
    """Records episodes into `directory`, one bag each. All times are ns since the epoch.

    min_free: bytes that stay free on the disk; an episode that would use them is ended, whole.
    demonstrating: whether a person moves the arm, by the leader.
    """

    def __init__(
        self, cell: Cell, directory: Path, min_free: int = 2 * 10**9, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.cell = cell
        self.directory = directory.absolute()
        self.min_free = min_free
        self.episode: Episode | None = None  # the running one, else the last one
        self.path = Path()
        self.demonstrating = False
        self._clock = clock
        self._sources: dict[str, _Source] = {}
        self._bag: BagWriter | None = None
        self._lost = 0

    @property
    def recording(self) -> bool:
        """Whether an episode is being recorded."""
        return self._bag is not None

    @property
    def messages(self) -> int:
        """Messages written in the running or last episode."""
        if self._bag is not None:
            return self._bag.messages
        return sum(self.episode.messages.values()) if self.episode else 0

    @property
    def messages_lost(self) -> int:
        """Messages the transport lost or the disk was too slow for, in the running or last episode."""
        if self._bag is not None:
            return self._lost + self._bag.dropped
        return self.episode.messages_lost if self.episode else 0

    @property
    def duration(self) -> float:
        """Seconds from the start of the running or last episode to now or to its end."""
        if self.episode is None:
            return 0.0
        return ((self.episode.ended_ns or self._clock()) - self.episode.started_ns) / SECOND

    @property
    def problem(self) -> str:
        """What is wrong, in words; empty when all is well."""
        if self._bag is not None:
            return self._bag.problem or self._silence()
        return self.episode.problem if self.episode else ""

    def add_topic(self, topic: Topic) -> None:
        """Announces a topic as soon as it is known, recording or not."""
        self._sources[topic.name] = _Source(topic)
        if self._bag is not None:
            self._bag.add_topic(topic)

    def message(self, name: str, data: bytes, received: int, published: int) -> None:
        """Takes one message (raw CDR) of an announced topic: recorded in an episode, a sign of life always."""
        source = self._sources[name]
        source.last_seen = received
        if source.topic.qos.durability == "transient_local":
            source.latched = (data, published)
        if self._bag is not None:
            self._bag.write(name, data, received, published)

    def lost(self, count: int) -> None:
        """Counts messages the transport reported lost."""
        if self._bag is not None:
            self._lost += count

    def silent_topics(self) -> list[str]:
        """Required topics without a recent message."""
        limit = self._clock() - int(SILENT_AFTER * SECOND)
        sources = {name: self._sources.get(name) for name in required_topics(self.cell, self.demonstrating)}
        return [name for name, source in sources.items() if source is None or source.last_seen < limit]

    def start(self, task: str, instruction: str, operator: str, seed: int | None = None) -> Episode:
        """Starts an episode. Raises RecordingError while one runs, a required topic is silent or the disk is full.

        seed: what the scene was drawn from, where it was.
        """
        if self._bag is not None:
            raise RecordingError(f"episode {self._bag.path.name} is being recorded: stop it first")
        if not _NAME.fullmatch(task):
            raise RecordingError(f"task {task!r}: use letters, digits, _ and - only")
        if silence := self._silence():
            raise RecordingError(f"{silence}: is its node running?")
        now = self._clock()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if shortage := self._shortage():
                raise RecordingError(shortage)
            path = self._new_path(time.strftime("%Y%m%d_%H%M%S", time.localtime(now / SECOND)) + f"_{task}")
            episode = Episode(path.name, task, instruction, operator, now, dump_cell(self.cell), seed=seed)
            bag = _open(path, episode)
        except OSError as error:
            raise RecordingError(f"{self.directory}: {error.strerror}") from None
        for name, source in self._sources.items():
            bag.add_topic(source.topic)
            if source.latched is not None:
                data, published = source.latched
                bag.write(name, data, now, published)
        self._bag, self.path, self.episode, self._lost = bag, path, episode, 0
        return episode

    def stop(self, outcome: str | None, note: str = "", problem: str = "") -> Episode:
        """Ends the episode with its label; the bag is complete on return. Raises RecordingError when none runs, and
        when the label cannot be written.

        An episode that ended without a label takes it afterwards.
        """
        if outcome is not None and outcome not in OUTCOMES:
            raise RecordingError(f"outcome {outcome!r}: use one of {', '.join(OUTCOMES)}")
        if self._bag is None:
            if self.episode is None or self.episode.outcome is not None or outcome is None:
                raise RecordingError("no episode is being recorded")
            return self._save(replace(self.episode, outcome=outcome, note=note))
        assert self.episode is not None
        bag, self._bag = self._bag, None
        ended = replace(self.episode, ended_ns=self._clock(), outcome=outcome, note=note)
        bag.close()
        lost = self._lost + bag.dropped
        return self._save(replace(ended, messages=bag.counts, messages_lost=lost, problem=problem or bag.problem))

    def discard(self) -> Episode:
        """Ends the episode as discarded; when none runs, labels the last one so. Raises RecordingError as `stop`."""
        if self._bag is not None:
            return self.stop(DISCARDED)
        if self.episode is None:
            raise RecordingError("no episode has been recorded since the recorder was started")
        return self._save(replace(self.episode, outcome=DISCARDED))

    def check(self) -> str:
        """Ends an episode that cannot go on. Returns why, or an empty text. Call it about once a second."""
        if self._bag is None:
            return ""
        problem = self._bag.problem or self._shortage()
        if problem:
            with suppress(RecordingError):  # the label that could not be written is none yet
                self.stop(None, problem=problem)
        return problem

    def _save(self, episode: Episode) -> Episode:
        """Writes the label of the ended episode, whose bag needs none to be whole. Raises RecordingError."""
        former, self.episode = self.episode, episode
        try:
            episode.save(self.path)
        except OSError as error:
            assert former is not None  # whose label is still the one on the disk
            reason = f"{self.path}: {error.strerror}"
            problem = episode.problem or reason
            self.episode = replace(episode, outcome=former.outcome, note=former.note, problem=problem)
            raise RecordingError(f"{reason}: the label could not be written") from None
        return episode

    def _silence(self) -> str:
        silent = self.silent_topics()
        return f"no message within {SILENT_AFTER:g} s on {', '.join(silent)}" if silent else ""

    def _shortage(self) -> str:
        try:
            free = shutil.disk_usage(self.directory).free
        except OSError as error:
            return f"{self.directory}: {error.strerror}"
        if free >= self.min_free:
            return ""
        return f"{self.directory}: {free / 1e9:.1f} GB free, {self.min_free / 1e9:.1f} GB needed: make room"

    def _new_path(self, name: str) -> Path:
        path, copy = self.directory / name, 2
        while path.exists():
            path, copy = self.directory / f"{name}_{copy}", copy + 1
        return path


def _open(path: Path, episode: Episode) -> BagWriter:
    """The bag of a new episode in the new directory `path`, of which nothing stays when that fails."""
    path.mkdir()
    try:
        episode.save(path)  # before the bag: what a kill leaves behind is known by it
        return BagWriter(path, {"cell": episode.cell})
    except OSError:
        shutil.rmtree(path, ignore_errors=True)
        raise
