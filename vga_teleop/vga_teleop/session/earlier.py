"""What earlier sessions have left in a directory: a set of demonstrations grows over days."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vga_policy.episodes.listing import DatasetError, find_episodes
from vga_policy.episodes.metadata import EpisodeError, load_episode
from vga_policy.message_constants import FAILURE, SUCCESS


class Earlier(NamedTuple):
    """Episodes of one task. kept: those labeled success or failure."""

    episodes: int = 0
    kept: int = 0


def earlier(directory: Path, task: str) -> Earlier:
    """Those in `directory`, as far as it is there and their labels can be read."""
    outcomes = []
    with suppress(DatasetError, OSError):
        for path in find_episodes([directory]):
            with suppress(EpisodeError, OSError):
                episode = load_episode(path)
                outcomes += [episode.outcome] if episode.task == task else []
    return Earlier(len(outcomes), sum(outcome in (SUCCESS, FAILURE) for outcome in outcomes))
