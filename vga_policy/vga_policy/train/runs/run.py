"""A run's directory: everything needed to go on with it, to judge it, and to do it again.

config.json     what decides the result
origin.json     command line, version of the code, of the data and of the libraries
log.jsonl       the loss curve: one line a step, one a validation
curves.png      the same as a picture, when training stops
tensorboard/    the same for TensorBoard
frozen.safetensors  the weights that no step changes, in the precision that the run computes in
last ->         states/STEP: the other weights, their moving average and the optimizer's memory
best ->         checkpoints/STEP: a checkpoint for the policy node, the best by validation
kept/STEP       others, where they were asked for
"""

from __future__ import annotations

import errno
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vga_policy.checkpoints import BEST
from vga_policy.files import point, synchronize, whole_directory, write_atomically
from vga_policy.model.weights.save import Whole, as_it_is, save_tensors
from vga_policy.train.runs.failure import TrainingError

CONFIG, ORIGIN, LOG = "config.json", "origin.json", "log.jsonl"
LAST, KEPT = "last", "kept"
FROZEN = "frozen.safetensors"
BEGUN = {ORIGIN, f".{ORIGIN}.tmp", f".{CONFIG}.tmp"}  # all that a process killed while it made a run can have left
PROGRESS = "progress.json"
PARTS = {"weights": "weights", "ema": "average", "optimizer": "optimiser"}  # of a checkpoint: in which file
RENAMED = {"average": "ema", "optimiser": "optimizer", "rate": "lr"}  # keys of older runs' configurations
LIBRARIES = ("torch", "accelerate", "peft", "numpy")


@dataclass(frozen=True)
class Progress:
    """Where a run is. step: steps done. first: the loss it began with. smooth: the loss of late."""

    step: int = 0
    first: float | None = None
    smooth: float | None = None
    best: float | None = None
    best_step: int | None = None


@dataclass(frozen=True)
class TrainingCheckpoint:
    """All that a run needs to go on: nothing random has a state, each step draws from a seed of its own.

    frozen: names of the weights that no step changes.
    """

    progress: Progress
    weights: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    frozen: frozenset[str] = frozenset()


class Run:
    """The directory of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log: TextIO | None = None

    @classmethod
    def create(cls, directory: Path, config: Mapping[str, Any], data: Mapping[str, Any], processes: int) -> Run:
        """Starts a run. data: what is trained on, with its fingerprint.

        Raises TrainingError when something is there, and when the directory cannot be written.
        """
        cls.refuse_used(directory)
        run = cls(directory)
        origin: dict[str, Any] = {"command": sys.argv, "code": code_version(), "python": platform.python_version()}
        origin |= {"libraries": {name: version(name) for name in LIBRARIES}, "processes": processes}
        origin |= {"data": dict(data)}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            run._write_json(ORIGIN, origin)
            run._write_json(CONFIG, config)  # last: with it there is a run
        except OSError as error:
            full = "make room there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            reason = f"--out {directory}: cannot be written: {error.strerror or error}"
            raise TrainingError(f"{reason}; {full}give another --out") from None
        return run

    @staticmethod
    def refuse_used(directory: Path) -> None:
        """Raises TrainingError when something is there."""
        found = {path.name for path in directory.iterdir()} - BEGUN if directory.is_dir() else set()
        if found:
            instead = f", or go on with --resume {directory}" if CONFIG in found else ""
            raise TrainingError(f"{directory}: is not empty; give another --out{instead}")

    @classmethod
    def open(cls, directory: Path) -> Run:
        """A run that was started. Raises TrainingError if none was."""
        if not (directory / CONFIG).is_file():
            raise TrainingError(f"{directory}: no run was started there; it has no {CONFIG}")
        return cls(directory)

    def config(self) -> Any:
        """What `create` was given; keys that had other names when the run began have today's."""
        return _renamed(self._read_json(CONFIG))

    def origin(self) -> dict[str, Any]:
        """Where the run came from."""
        return self._read_json(ORIGIN)

    def last_checkpoint(self) -> TrainingCheckpoint | None:
        """The checkpoint last saved, None before the first. Raises TrainingError when it is damaged."""
        directory = self.directory / LAST
        if not directory.exists():
            return None
        try:
            progress = Progress(**json.loads((directory / PROGRESS).read_text()))
            parts = {part: load_file(directory / f"{file}.safetensors") for part, file in PARTS.items()}
            kept = self.directory / FROZEN
            frozen = load_file(kept) if kept.exists() else {}
            parts["weights"] |= frozen
            return TrainingCheckpoint(progress, **parts, frozen=frozenset(frozen))
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise TrainingError(f"{directory.resolve()}: damaged: {error}") from None

    @property
    def has_state(self) -> bool:
        """Whether a checkpoint was saved."""
        return (self.directory / LAST).exists()

    @property
    def finished(self) -> bool:
        """Whether it has come to the end of its configuration's steps. Raises TrainingError when it names none."""
        last, config = self._pointed(LAST), self.config()
        loop = config.get("loop") if isinstance(config, dict) else None
        steps = loop.get("steps") if isinstance(loop, dict) else None
        if not isinstance(steps, int):
            raise TrainingError(f"{self.directory / CONFIG}: loop.steps: must be a whole number (found {steps!r:.50})")
        return last is not None and int(last) >= steps

    def save_checkpoint(self, checkpoint: TrainingCheckpoint, whole: Whole = as_it_is) -> None:
        """Saves a checkpoint in place of the last one. Raises TrainingError, the last one intact, when it cannot.

        whole: puts its tensors together.
        """
        target = self.directory / "states" / f"{checkpoint.progress.step:07d}"
        if self._pointed(LAST) == target.name:
            return

        def write(target: Path) -> None:
            self._keep_frozen({name: checkpoint.weights[name] for name in sorted(checkpoint.frozen)}, whole)
            with whole_directory(target) as directory:
                for part, file in PARTS.items():
                    tensors = getattr(checkpoint, part)
                    changing = {name: tensor for name, tensor in tensors.items() if name not in checkpoint.frozen}
                    save_tensors(changing, directory / f"{file}.safetensors", whole=whole)
                (directory / PROGRESS).write_text(json.dumps(asdict(checkpoint.progress)) + "\n")

        self._replace(LAST, target, write)

    def _keep_frozen(self, tensors: Mapping[str, Tensor], whole: Whole) -> None:
        """Writes what no step changes, if there is any, and once."""
        file = self.directory / FROZEN
        if tensors and not file.exists():
            unfinished = file.with_name(f".{FROZEN}.unfinished")
            try:
                save_tensors(tensors, unfinished, whole=whole)
                synchronize(unfinished)
                unfinished.replace(file)
            finally:
                unfinished.unlink(missing_ok=True)

    def save_best(self, step: int, export: Callable[[Path], None]) -> None:
        """Keeps a checkpoint, which `export` writes as a new directory, as the best. Raises TrainingError."""
        target = self.directory / "checkpoints" / f"{step:07d}"
        if self._pointed(BEST) != target.name:  # else a resumed run has come here again
            self._replace(BEST, target, export)

    def keep(self, step: int, export: Callable[[Path], None]) -> None:
        """Keeps a checkpoint, which `export` writes as a new directory, for good. Raises TrainingError."""
        target = self.directory / KEPT / f"{step:07d}"
        if not target.exists():  # else a resumed run has come here again
            with self._saving(target):
                target.parent.mkdir(exist_ok=True)
                export(target)

    @property
    def tensorboard(self) -> Path:
        """Where TensorBoard's files are."""
        return self.directory / "tensorboard"

    def log(self, line: Mapping[str, Any]) -> None:
        """Adds a line to the curve."""
        if self._log is None:
            self._log = (self.directory / LOG).open("a", encoding="utf-8", buffering=1)
        self._log.write(json.dumps(line) + "\n")

    def curve(self) -> list[dict[str, Any]]:
        """All lines of the curve; a line cut off by the end of the process is left out. Raises TrainingError."""
        path = self.directory / LOG
        try:
            lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise TrainingError(f"{path}: cannot be read: {error}") from None
        return [_curve_line(line, f"{path}: line {number}") for number, line in enumerate(lines, 1)]

    def forget_after(self, step: int) -> None:
        """Takes back the lines of steps that a resumed run will do again."""
        kept = [json.dumps(line) + "\n" for line in self.curve() if line["step"] <= step]
        write_atomically(self.directory / LOG, "".join(kept))

    def _replace(self, name: str, target: Path, write: Callable[[Path], None]) -> None:
        """Writes `target`, makes `name` point to it, and removes what it pointed to before."""
        link = self.directory / name
        old = link.resolve() if link.is_symlink() else None
        with self._saving(target):
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)  # left by a run that ended before `name` pointed to it
            write(target)
            point(link, target)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _saving(self, target: Path) -> Iterator[None]:
        """Inside, `target` is written; what fails there is told as a TrainingError."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            for rest in target.parent.glob(".*.unfinished"):
                shutil.rmtree(rest, ignore_errors=True)
            intact = [f"{name} (step {int(step)})" for name in (LAST, BEST) if (step := self._pointed(name))]
            raise TrainingError(
                f"{target}: cannot be saved: {error}. Intact: {' and '.join(intact) or 'nothing, this was the first'}. "
                f"Make room, then go on with --resume {self.directory}"
            ) from None

    def _pointed(self, name: str) -> str | None:
        link = self.directory / name
        return link.resolve().name if link.exists() else None

    def _write_json(self, name: str, data: Any) -> None:
        write_atomically(self.directory / name, json.dumps(data, indent=2) + "\n")

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads((self.directory / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise TrainingError(f"{self.directory / name}: cannot be read: {error}") from None


def _curve_line(text: str, where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{where}: damaged: {error}: delete it") from None
    step = line.get("step") if isinstance(line, dict) else None
    if not isinstance(step, int) or not isinstance(line.get("validation", {}), dict):
        raise TrainingError(f"{where}: is no line of a curve, which has a step: delete it")
    return dict(line)


def _renamed(config: Any) -> Any:
    """A configuration with today's names of its keys."""
    if not isinstance(config, dict):
        return config
    return {RENAMED.get(key, key): _renamed(value) for key, value in config.items()}


def code_version() -> str:
    """The commit of this code, `-dirty` if changed; the package's version where there is no repository."""
    described = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    if described.returncode == 0:
        return described.stdout.strip()
    try:
        return version("vga_policy")
    except PackageNotFoundError:
        return "unknown"
