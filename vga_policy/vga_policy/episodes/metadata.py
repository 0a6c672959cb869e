"""What is known of an episode besides its messages: episode.yaml, kept next to the bag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BeforeValidator, Strict, TypeAdapter

from vga_policy.episodes.checked import Count, Flag, Stamp, Text, read_mapping
from vga_policy.files import write_atomically
from vga_policy.message_constants import OUTCOMES

FILE = "episode.yaml"
IMPORTED = "lerobot import"  # Episode.source of what was not recorded here: a frame a control step, whatever the camera


class EpisodeError(ValueError):
    """An episode.yaml that cannot be used. The message names the file and what is wrong."""


@dataclass(frozen=True)
class Episode:
    """One recorded episode.

    id: name of its directory. task: the task's short name. instruction: what the policy is told. operator: who
    demonstrated. outcome: success, failure or discarded; None while it runs, and when nobody judged it. note: free
    text. started_ns, ended_ns: ns since the epoch. messages: messages written, by topic. messages_lost: messages that
    the transport lost or that the disk was too slow for. problem: why the recording ended by itself. cell: YAML text
    of the cell file it was recorded with. source: what made it: "recorder", "collect --fast" (the name that
    `vga collect --in-process` had), "lerobot import". seed: of the scene (vga_msgs/ArrangeScene), None where a person
    arranged it. repaired: the recorder was killed, and the bag was made whole afterwards.
    """

    id: Text
    task: Text
    instruction: Annotated[Text, BeforeValidator(lambda found: "" if found is None else found)]
    operator: Text
    started_ns: Stamp
    cell: Text
    ended_ns: Stamp | None = None
    outcome: Text | None = None
    note: Text = ""
    messages: Mapping[Text, Count] = field(default_factory=dict)
    messages_lost: Count = 0
    problem: Text = ""
    source: Text = "recorder"
    seed: Annotated[int, Strict()] | None = None
    repaired: Flag = False

    @property
    def says_what_to_do(self) -> bool:
        """Whether the instruction has a letter or a digit in it."""
        return any(letter.isalnum() for letter in self.instruction)

    def save(self, directory: Path) -> None:
        """Writes `directory`/episode.yaml, whole or not at all."""
        write_atomically(directory / FILE, yaml.safe_dump(asdict(self), sort_keys=False, allow_unicode=True))


_ADAPTER = TypeAdapter(Episode)


def load_episode(directory: Path) -> Episode:
    """Reads `directory`/episode.yaml. Raises EpisodeError when it is missing or is none.

    An instruction of null is an empty one: see :attr:`Episode.says_what_to_do`.
    """
    path = directory / FILE
    try:
        episode = read_mapping(path, _ADAPTER, [field.name for field in fields(Episode)])
    except ValueError as error:
        raise EpisodeError(str(error)) from None
    if episode.outcome is not None and episode.outcome not in OUTCOMES:
        raise EpisodeError(f"{path}: outcome {episode.outcome[:40]!r}: use one of {', '.join(OUTCOMES)}")
    return episode
