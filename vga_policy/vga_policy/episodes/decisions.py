"""Verdicts on episodes, kept in a `curation.yaml` beside each bag.

The bag and its episode.yaml are never touched: deleting curation.yaml undoes everything. A person's decision always
wins over the proposal that `vga curate` computes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from vga_policy.episodes.checked import Stamp, Text, read_mapping
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

    proposed: the verdict of the quality rules. reasons: why, in words. decided: a person's verdict, None where none was
    given. decision_reason: why, in the person's words. start_ns, end_ns: the part to train on
    (stamps of observations, both inclusive); None leaves that end as recorded.
    """

    proposed: Verdict | None = None
    reasons: list[Text] = field(default_factory=list)
    decided: Verdict | None = None
    decision_reason: Text = ""
    start_ns: Stamp | None = None
    end_ns: Stamp | None = None

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


_ADAPTER = TypeAdapter(Curation)


def decision(episode: Path) -> Curation:
    """What is decided about the episode in this directory; an empty Curation where there is no curation.yaml.

    Raises CurationError when the file is there but cannot be understood.
    """
    path = episode / FILE
    if not path.exists():
        return Curation()
    try:
        curation = read_mapping(path, _ADAPTER, [field.name for field in fields(Curation)])
    except ValueError as error:
        raise CurationError(f"{error}: correct or delete it") from None
    if curation.start_ns is not None and curation.end_ns is not None and curation.start_ns > curation.end_ns:
        raise CurationError(
            f"{path}: start_ns {curation.start_ns} is after end_ns {curation.end_ns}: correct or delete it"
        )
    return curation


def usable(episode: Path) -> bool:
    """Whether to train on the episode in this directory: as a person decided, else a success that was not turned down.

    A proposal was made of the label as it was then, which may have been corrected since.

    Raises CurationError or contract.episode.EpisodeError when a file that decides it cannot be read.
    """
    curation = decision(episode)
    if curation.decided is not None:
        return curation.decided is Verdict.ACCEPT
    return curation.proposed in (None, Verdict.ACCEPT) and load_episode(episode).outcome == SUCCESS


def decide(episode: Path, verdict: Verdict | None, reason: str = "") -> Curation:
    """Stores a person's verdict on an episode, or with None forgets it. Returns what holds now."""
    curation = replace(decision(episode), decided=verdict, decision_reason=reason)
    curation.save(episode)
    return curation
