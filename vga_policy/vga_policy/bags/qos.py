"""The quality of service that a topic was recorded with, in whichever way the distribution wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from vga_policy.bags.writer import OfferedQos
from vga_policy.files import parse_yaml

# Words of Jazzy and later, numbers (of rmw) before.
BEST_EFFORT, VOLATILE, KEEP_ALL = ("best_effort", "2"), ("volatile", "2"), ("keep_all", "2")
TRANSIENT_LOCAL = ("transient_local", "1")
DEPTH, DEEPEST = 100, 10_000  # where the bag says none, and the most that is believed


def offered_qos(*recorded: str) -> OfferedQos:
    """What a replay offers for a topic whose publishers' profiles these YAML lists say.

    The weakest of each policy, since whoever subscribed then took that; the depth of the deepest. Reliable and volatile
    where the bag does not say.
    """
    profiles = list(_profiles(recorded))
    said = {key: [_word(profile.get(key)) for profile in profiles] for key in ("reliability", "durability", "history")}
    latched = any(word in TRANSIENT_LOCAL for word in said["durability"])
    weak = any(word in VOLATILE for word in said["durability"])
    depths = [
        _depth(profile.get("depth")) if history not in KEEP_ALL else DEPTH
        for profile, history in zip(profiles, said["history"], strict=True)
    ]
    return OfferedQos(
        "best_effort" if any(word in BEST_EFFORT for word in said["reliability"]) else "reliable",
        "transient_local" if latched and not weak else "volatile",
        max(depths, default=DEPTH),
    )


def _profiles(recorded: Iterable[str]) -> Iterator[dict[str, Any]]:
    for text in recorded:
        try:
            found = parse_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        yield from (profile for profile in (found if isinstance(found, list) else [found]) if isinstance(profile, dict))


def _word(value: Any) -> str:
    return str(value).strip().lower()[:40] if isinstance(value, str | int) else ""


def _depth(value: Any) -> int:
    """0 stands for a depth that the recorder could not find out."""
    number = int(value) if isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal()) else 0
    return min(number, DEEPEST) if number > 0 else DEPTH
