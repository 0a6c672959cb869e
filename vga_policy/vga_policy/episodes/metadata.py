"""What is known of an episode besides its messages: episode.yaml, kept next to the bag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from vga_policy.files import parse_yaml, write_atomically
from vga_policy.message_constants import OUTCOMES

FILE = "episode.yaml"
IMPORTED = "lerobot import"  # Episode.source of what was not recorded here: a frame a control step, whatever the camera


class EpisodeError(ValueError):
    """An episode.yaml that cannot be used. The message names the file and what is wrong."""


@dataclass(frozen=True)
class Episode:
    """One recorded episode.

    outcome: one of OUTCOMES; None while it runs, and when it ended without anybody's judgement.
    started_ns, ended_ns: ns since the epoch. messages: messages written, by topic. messages_lost: messages that the
    transport lost or that the disk was too slow for. problem: why the recording ended by itself. cell: YAML text of
    the cell contract it was recorded in. source: what made it: "recorder", "collect --fast", "lerobot import".
    seed: of the scene (vga_msgs/ArrangeScene), None where a person arranged it. repaired: the recorder was killed,
    and the bag was made whole afterwards.
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
    source: str = "recorder"
    seed: int | None = None
    repaired: bool = False

    def save(self, directory: Path) -> None:
        """Writes `directory`/episode.yaml, whole or not at all."""
        write_atomically(directory / FILE, yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True))


def load_episode(directory: Path) -> Episode:
    """Reads `directory`/episode.yaml. Raises EpisodeError when it is missing or is none."""
    path = directory / FILE
    try:
        data: Any = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EpisodeError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise EpisodeError(f"{path}: expected a mapping of keys, found {type(data).__name__}")
    known = {field.name for field in fields(Episode)}
    if unknown := sorted(set(map(str, data)) - known):
        raise EpisodeError(f"{path}: unknown keys {unknown}; known are {sorted(known)}")
    try:
        episode = Episode(**data)
    except TypeError as error:
        raise EpisodeError(f"{path}: {str(error).partition(' ')[2]}") from None
    if episode.outcome is not None and episode.outcome not in OUTCOMES:
        raise EpisodeError(f"{path}: outcome {episode.outcome!r}: use one of {', '.join(OUTCOMES)}")
    return episode
