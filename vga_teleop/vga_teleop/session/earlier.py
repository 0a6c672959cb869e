"""What earlier sessions have left in a directory: a set of demonstrations grows over days."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vga_policy.episodes.decisions import CurationError, Verdict, decision
from vga_policy.episodes.listing import DatasetError, find_episodes
from vga_policy.episodes.metadata import EpisodeError, load_episode
from vga_policy.message_constants import FAILURE, SUCCESS

SCRIPTED = "scripted operator"  # who demonstrates in `vga collect`


class Earlier(NamedTuple):
    """Episodes of one task. kept: a person's that are labeled success or failure, and that curation did not reject."""

    episodes: int = 0
    kept: int = 0


def earlier(directory: Path, task: str) -> Earlier:
    """Those in `directory`, as far as it is there and their labels can be read."""
    kept = []
    with suppress(DatasetError, OSError):
        for path in find_episodes([directory]):
            with suppress(EpisodeError, CurationError, OSError):
                episode = load_episode(path)
                if episode.task == task:
                    labeled = episode.outcome in (SUCCESS, FAILURE) and episode.operator != SCRIPTED
                    kept.append(labeled and decision(path).verdict is not Verdict.REJECT)
    return Earlier(len(kept), sum(kept))
