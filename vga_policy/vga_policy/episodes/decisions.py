"""Verdicts on episodes, kept in a `curation.yaml` beside each bag.

The bag and its episode.yaml are never touched: deleting curation.yaml undoes everything. A person's decision always
wins over the proposal that `vga curate` computes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from vga_policy.episodes.metadata import load_episode
from vga_policy.files import write_atomically
from vga_policy.message_constants import SUCCESS

FILE = "curation.yaml"


class CurationError(ValueError):
    """A curation.yaml that cannot be used, or a decision that cannot be taken. The message says what to do."""


class Verdict(StrEnum):
    """What to do with an episode. One in review is left out of training until a person accepts it."""

    ACCEPT = "accept"
    REVIEW = "review"
    REJECT = "reject"


@dataclass(frozen=True)
class Curation:
    """What is decided about one episode.

    proposed, reasons: of the quality rules, in words. decided: a person's verdict, None where none was given;
    decision_reason: theirs. start_ns, end_ns: the part to train on (stamps of observations, both inclusive); None
    leaves that end as recorded.
    """

    proposed: Verdict | None = None
    reasons: list[str] = field(default_factory=list)
    decided: Verdict | None = None
    decision_reason: str = ""
    start_ns: int | None = None
    end_ns: int | None = None

    @property
    def verdict(self) -> Verdict | None:
        """The person's decision, else the proposal; None for an episode nobody has looked at."""
        return self.decided or self.proposed

    def holds(self, stamp_ns: int) -> bool:
        """Whether an observation of this time belongs to the part to train on."""
        after_start = self.start_ns is None or stamp_ns >= self.start_ns
        return after_start and (self.end_ns is None or stamp_ns <= self.end_ns)

    def save(self, episode: Path) -> None:
        """Writes `episode`/curation.yaml, whole or not at all."""
        data = {key: str(value) if isinstance(value, Verdict) else value for key, value in asdict(self).items()}
        write_atomically(episode / FILE, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def decision(episode: Path) -> Curation:
    """What is decided about the episode in this directory; an empty Curation where there is no curation.yaml.

    Raises CurationError when the file is there but cannot be understood.
    """
    path = episode / FILE
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Curation()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CurationError(f"{path}: cannot be read: {error}") from None
    known = [field.name for field in fields(Curation)]
    if not isinstance(data, dict) or (unknown := set(data) - set(known)):
        found = sorted(map(str, unknown)) if isinstance(data, dict) else type(data).__name__
        raise CurationError(f"{path}: expected the keys {known}, found {found}: correct or delete it")
    try:
        for key in ("proposed", "decided"):
            data[key] = None if data.get(key) is None else Verdict(data[key])
        for key in ("start_ns", "end_ns"):
            data[key] = None if data.get(key) is None else int(data[key])
        return Curation(**data)
    except (TypeError, ValueError) as error:
        raise CurationError(f"{path}: {error}: correct or delete it") from None


def usable(episode: Path) -> bool:
    """Whether to train on the episode in this directory: accepted, or not curated yet and labelled a success.

    Raises CurationError or contract.episode.EpisodeError when a file that decides it cannot be read.
    """
    verdict = decision(episode).verdict
    if verdict is None:
        return load_episode(episode).outcome == SUCCESS
    return verdict is Verdict.ACCEPT


def decide(episode: Path, verdict: Verdict | None, reason: str = "") -> Curation:
    """Stores a person's verdict on an episode, or with None forgets it. Returns what holds now."""
    curation = replace(decision(episode), decided=verdict, decision_reason=reason)
    curation.save(episode)
    return curation
