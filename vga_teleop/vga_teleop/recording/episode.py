"""What is known of an episode besides its messages: episode.yaml, kept next to the bag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from vga_teleop.recording.files import write_atomically

OUTCOMES = ("success", "failure", "discarded")


@dataclass(frozen=True)
class Episode:
    """One recorded episode.

    outcome: one of OUTCOMES; None while it runs, and when it ended without anybody's judgement.
    started_ns, ended_ns: ns since the epoch. messages: messages written, by topic. messages_lost: messages that the
    transport lost or that the disk was too slow for. problem: why the recording ended by itself. cell: YAML text of
    the cell contract it was recorded in.
    """

    id: str
    task: str
    instruction: str
    operator: str
    started_ns: int
    cell: str
    ended_ns: int | None = None
    outcome: str | None = None
    note: str = ""
    messages: Mapping[str, int] = field(default_factory=dict)
    messages_lost: int = 0
    problem: str = ""

    def save(self, directory: Path) -> None:
        """Writes `directory`/episode.yaml, whole or not at all."""
        write_atomically(directory / "episode.yaml", yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True))


def load_episode(directory: Path) -> Episode:
    """Reads `directory`/episode.yaml."""
    return Episode(**yaml.safe_load((directory / "episode.yaml").read_text(encoding="utf-8")))
