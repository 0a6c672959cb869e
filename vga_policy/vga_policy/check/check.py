"""Reads a thing to its end with the readers that use it, and says in one line each what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vga_policy.bags.reader import Bag
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.check.kinds import Kind, find
from vga_policy.checkpoints import BEST
from vga_policy.curation.curate import measure_episode
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.scenes import SceneDataset
from vga_policy.dataset.shards import ShardDataset
from vga_policy.episodes.listing import Skipped, find_episodes
from vga_policy.evaluate import results
from vga_policy.inference.policy import Policy
from vga_policy.lerobot.reader import LeRobotReader
from vga_policy.model import load_vggt
from vga_policy.model.weights.convert import find_weights, read_tensors
from vga_policy.train.runs.run import Run
from vga_policy.wording import shortened

IMAGE_SIZE = 28  # images are decoded, not looked at
LONGEST = 200  # characters of a line, besides the path


@dataclass(frozen=True)
class Checked:
    """What was found. problems: a line each, none for what is whole. holds: what is in it, in words."""

    path: Path
    kind: Kind | None
    problems: list[str]
    holds: str = ""


def check(name: str) -> Checked:
    """Looks at the thing of this path or name. Changes nothing."""
    path, kind = find(name)
    if kind is None:
        there = "nothing that vga writes or reads" if path.exists() else "no such file or directory"
        return Checked(path, None, [f"{path}: {there}"])
    problems: list[str] = []
    holds = CHECKS[kind](path, problems)
    return Checked(path, kind, [one_line(problem, path) for problem in dict.fromkeys(problems)], holds)


def one_line(text: str, path: Path) -> str:
    """The first line of a finding, with its path in front and LONGEST characters besides it."""
    line = " ".join((text.strip().splitlines() or ["unreadable"])[0].split())
    if str(path) not in line:
        line = f"{path}: {line}"
    return shortened(line, LONGEST + len(str(path)))


def _guarded(path: Path, problems: list[str], read: Callable[[], str]) -> str:
    """What `read` returns; what it raises, of any kind, is a problem."""
    try:
        return read()
    except OSError as error:
        problems.append(f"{error.filename or path}: cannot be read: {error.strerror or error}")
    except Exception as error:
        problems.append(Skipped.because(path, error).reason)
    return ""


def _bag(path: Path, problems: list[str]) -> str:
    def read() -> str:
        with Bag(path) as bag:
            for topic in bag.topics.values():
                if not topic.unreadable:
                    _guarded(path, problems, partial(_messages, bag, topic.name))
            count = sum(topic.messages for topic in bag.topics.values())
            return f"{count} messages on {len(bag.topics)} topics, {(bag.end_ns - bag.start_ns) / 1e9:.1f} s"

    return _guarded(path, problems, read)


def _messages(bag: Bag, topic: str) -> str:
    for _ in bag.messages(topic):
        pass
    return ""


def _episode(path: Path, problems: list[str]) -> str:
    """As curation measures it and training reads it, with every image."""
    measured = measure_episode(path)
    if isinstance(measured, Skipped):
        problems.append(str(measured))
        return ""

    def read() -> str:
        dataset = EpisodeDataset([path], IMAGE_SIZE, geometry=True, skip_idle=False, usable_only=False)
        for index in range(len(dataset)):
            dataset[index]
        return f"{measured.metrics.seconds:.1f} s of {measured.episode.task!r}, {len(dataset)} samples"

    return _guarded(path, problems, read)


def _episodes(path: Path, problems: list[str]) -> str:
    paths = find_episodes([path])
    damaged = 0
    for episode in paths:
        found: list[str] = []
        _episode(episode, found)
        damaged += bool(found)
        problems += [one_line(problem, episode) for problem in found[:1]]
    return f"{len(paths)} episodes, {len(paths) - damaged} of them whole"


def _dataset(path: Path, problems: list[str]) -> str:
    def read() -> str:
        reader = LeRobotReader(path)
        problems.extend(reader.problems)
        images = [key for key in reader.features if reader.feature(key).dtype in ("image", "video")]
        for episode in reader.episodes:
            found: list[str] = []
            _guarded(path, found, partial(_frames, reader, episode, images))
            problems.extend(f"episode {episode}: {problem}" for problem in found)
        return f"{len(reader)} episodes at {reader.fps:g} Hz"

    return _guarded(path, problems, read)


def _frames(reader: LeRobotReader, episode: int, images: list[str]) -> str:
    reader.label(episode)
    reader.numbers(episode)
    reader.task(episode)
    for key in images:
        for _ in reader.images(episode, key):
            pass
    return ""


def _scenes(path: Path, problems: list[str]) -> str:
    def read() -> str:
        scenes = SceneDataset(path)
        for index in range(len(scenes)):
            scenes[index]
        return f"{len(scenes)} scenes"

    return _guarded(path, problems, read)


def _demonstrations(path: Path, problems: list[str]) -> str:
    def read() -> str:
        dataset = ShardDataset([path], IMAGE_SIZE, geometry=True)
        problems.extend(map(str, dataset.skipped))
        for index in range(len(dataset)):
            _guarded(path, problems, partial(_sample, dataset, index))
        return f"{len(dataset.episodes)} demonstrations of '{dataset.embodiment.name}', {len(dataset)} samples"

    return _guarded(path, problems, read)


def _sample(dataset: ShardDataset, index: int) -> str:
    dataset[index]
    return ""


def _checkpoint(path: Path, problems: list[str]) -> str:
    """Loaded as the policy node does, which has it act."""

    def read() -> str:
        policy = Policy.from_pretrained(path)
        count = sum(parameter.numel() for parameter in policy.checkpoint.model.parameters())
        contract = policy.checkpoint.contract
        kind = "cell" if isinstance(contract, Cell) else "embodiment"
        return f"{count / 1e6:.1f} million parameters, for {kind} '{contract.name}'"

    return _guarded(path, problems, read)


def _geometry(path: Path, problems: list[str]) -> str:
    return _guarded(path, problems, lambda: _finite(path, problems))


def _vggt(path: Path, problems: list[str]) -> str:
    def read() -> str:
        load_vggt(path)
        return _finite(path, problems)

    return _guarded(path, problems, read)


def _finite(path: Path, problems: list[str]) -> str:
    file = find_weights(path)
    tensors = read_tensors(file)
    problems += [f"{file}: {name}: not all of its values are finite" for name, tensor in tensors.items()
                 if tensor.is_floating_point() and not tensor.isfinite().all()]  # fmt: skip
    return f"{len(tensors)} tensors"


def _run(path: Path, problems: list[str]) -> str:
    def read() -> str:
        run = Run.open(path)
        run.config(), run.origin()
        last, lines = run.last_checkpoint(), run.curve()
        if last is None:
            return f"no state to go on from, {len(lines)} lines of its curve"
        state = "finished" if run.finished else "interrupted"
        return f"{state} after step {last.progress.step}, {len(lines)} lines of its curve"

    holds = _guarded(path, problems, read)
    if (best := path / BEST).exists():
        (_geometry if (best / "geometry.json").is_file() else _checkpoint)(best, problems)
    return holds


def _results(path: Path, problems: list[str]) -> str:
    def read() -> str:
        return f"{len(results.load(path).trials)} trials"

    return _guarded(path, problems, read)


def _cell(path: Path, problems: list[str]) -> str:
    try:
        return f"cell '{load_cell(path).name}'"
    except CellError as error:
        problems += str(error).splitlines()
        return ""


CHECKS: dict[Kind, Callable[[Path, list[str]], str]] = {
    Kind.BAG: _bag,
    Kind.EPISODE: _episode,
    Kind.EPISODES: _episodes,
    Kind.DATASET: _dataset,
    Kind.SCENES: _scenes,
    Kind.DEMONSTRATIONS: _demonstrations,
    Kind.CHECKPOINT: _checkpoint,
    Kind.GEOMETRY: _geometry,
    Kind.VGGT: _vggt,
    Kind.RUN: _run,
    Kind.RESULTS: _results,
    Kind.CELL: _cell,
}


def words(checked: Checked) -> Iterator[str]:
    """What was found, a line each, as the command prints it."""
    if checked.kind is None:
        yield from checked.problems
        return
    count = len(checked.problems)
    state = "whole" if not count else f"{count} {'thing' if count == 1 else 'things'} wrong"
    yield f"{checked.path}: {checked.kind}, {state}{checked.holds and ': '}{checked.holds}"
    yield from (f"  {problem}" for problem in checked.problems)
