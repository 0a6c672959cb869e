"""The trials of one policy under one set of conditions, as a file that other programs can read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vga_policy.evaluate.intervals import wilson
from vga_policy.evaluate.trials import Outcome, Trial
from vga_policy.files import write_atomically

FORMAT = 1
FILE, TRIALS_FILE = "results.json", "trials.csv"
IN_PROCESS, GRAPH = "fast", "ros"  # `Conditions.path`, as files have it


class ResultsError(ValueError):
    """A results file that cannot be used. The message names the file and what is wrong."""


@dataclass(frozen=True)
class Conditions:
    """What the trials were run with; rates of different conditions are different figures.

    method: name of the policy in tables. run: which training of it (a training seed, say), empty if there is one.
    checkpoint, weights: its directory's name and a digest of its weights. path: IN_PROCESS, on simulated time, or
    GRAPH, the whole one in real time. camera_set: "id", the training's cameras, or "ood"; cameras: in slot order.
    strategy, max_steps: how chunks are executed, and for how many control steps. latency: s from observation to chunk,
    None where it takes the time it takes. control: what was done to the observations, empty for nothing. seed: of the
    first trial.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    method: str
    camera_set: str
    cameras: tuple[str, ...]
    strategy: str
    max_steps: int
    path: str
    seed: int
    latency: float | None = None
    control: str = ""
    run: str = ""
    checkpoint: str = ""
    weights: str = ""
    cell: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data, in which the camera set is called `view`."""
        plain = {"view" if name == "camera_set" else name: value for name, value in asdict(self).items()}
        return {**plain, "cameras": list(self.cameras)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Conditions:
        """The inverse of `to_json`. Raises pydantic's ValidationError."""
        named = {"camera_set" if name == "view" else name: value for name, value in plain.items()}
        return TypeAdapter(cls).validate_python(named)


@dataclass(frozen=True)
class Evaluation:
    """Trials of any number of tasks. missing: task and seed of those not reached. source: the file these are from."""

    conditions: Conditions
    trials: tuple[Trial, ...]
    missing: tuple[tuple[str, int], ...] = ()
    source: str = field(default="trials just run", compare=False)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in order; those of which no trial was reached are last."""
        return list(dict.fromkeys([*(trial.task for trial in self.trials), *(task for task, _ in self.missing)]))

    def of(self, task: str) -> list[Trial]:
        """The trials of one task."""
        return [trial for trial in self.trials if trial.task == task]

    def to_json(self) -> dict[str, Any]:
        """Plain data: conditions, figures over all and by task, each trial, and which were not reached if there are."""
        missing = {"missing": [list(trial) for trial in self.missing]} if self.missing else {}
        return {
            "format": FORMAT,
            **figures(self.trials),
            "tasks": {task: figures(self.of(task)) for task in self.tasks},
            "conditions": self.conditions.to_json(),
            "trials": [{**asdict(trial), "outcome": trial.outcome.value} for trial in self.trials],
            **missing,
        }

    def save(self, directory: Path) -> None:
        """Writes results.json and trials.csv into the directory."""
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / FILE, json.dumps(self.to_json(), indent=2) + "\n")
        write_atomically(directory / TRIALS_FILE, trials_csv(self.trials, self.missing))


def figures(trials: Sequence[Trial]) -> dict[str, Any]:
    """Success rate with Wilson's interval, how the trials ended, and how long a success took (s, median).

    `chunk_rate`, of trials in real time: chunks per second in the median trial.
    Of one task that is to pick something up, `grasped` counts what was held at the end: the right object, lifted far
    enough or not, a wrong one, which fails the trial, and none (section 6.4).
    """
    successes = [trial for trial in trials if trial.success]
    interval = wilson(len(successes), len(trials))
    report: dict[str, Any] = {
        "success_rate": len(successes) / len(trials) if trials else None,
        "interval": [round(bound, 6) for bound in interval],
        "successes": len(successes),
        "n": len(trials),
        "outcomes": {outcome.value: sum(trial.outcome is outcome for trial in trials) for outcome in Outcome},
        "median_seconds": round(median(seconds), 3) if (seconds := [trial.seconds for trial in successes]) else None,
    }
    if rates := [trial.chunk_rate for trial in trials if trial.chunk_rate is not None]:
        report["chunk_rate"] = round(median(rates), 2)
    if len({trial.task for trial in trials}) == 1 and any(trial.grasped is not None for trial in trials):
        some = [trial for trial in trials if trial.grasped]
        wrong = sum(trial.outcome is Outcome.FAILED for trial in some)
        report["grasped"] = {"right": len(some) - wrong, "wrong": wrong, "none": len(trials) - len(some)}
    return report


def load(path: str | Path) -> Evaluation:
    """Reads a results.json, or the one in a directory. Raises ResultsError."""
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ResultsError(f"{path}: no results of trials of format {FORMAT}; vga eval sim writes them")
    if "suites" in data:
        raise ResultsError(f"{path}: results of `vga eval libero`, of which `vga libero table` makes a table")
    try:
        conditions = Conditions.from_json(data["conditions"])
        trials = tuple(map(TypeAdapter(Trial).validate_python, data["trials"]))
        missing = tuple((str(task), int(seed)) for task, seed in data.get("missing", ()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ResultsError(f"{path}: not what this version writes: {where}: {first['msg']}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path}: not what this version writes: {error}") from None
    return Evaluation(conditions, trials, missing, str(path))


def trials_csv(trials: Iterable[Trial], missing: Iterable[tuple[str, int]] = ()) -> str:
    """One line a trial, for a spreadsheet; of those not reached it holds task and seed alone."""
    text = io.StringIO()
    names = [item.name for item in fields(Trial)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        refused = " ".join(f"{reason}:{count}" for reason, count in sorted(trial.refused.items()))
        writer.writerow({**asdict(trial), "outcome": trial.outcome.value, "refused": refused})
    writer.writerows({"task": task, "seed": seed} for task, seed in missing)
    return text.getvalue()
