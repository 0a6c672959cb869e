"""The contract between a policy and what it acts with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vga_policy.embodiment.space import Space


class EmbodimentError(ValueError):
    """An embodiment that is none, or one asked for what it has not. The message names the key and what is wrong."""


class Difference(NamedTuple):
    """One difference in meaning between two contracts."""

    key: str
    mine: Any
    other: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.mine!r} here, {self.other!r} there"


@dataclass(frozen=True)
class View:
    """What fills a view slot: a camera, which stands still or is on the wrist."""

    name: str
    role: Literal["fixed", "wrist"]


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """What a policy is trained for, and acts with.

    actions: of one step. A chunk is `horizon` of them, `rate_hz` a second. views: by slot. labels: what a robot's
    recorded actions are, where there is a choice. mirrored: whether pictures are left for right.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: str
    actions: Space
    proprioception: Space
    rate_hz: float
    horizon: int
    views: tuple[View, ...]
    labels: str = ""
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not self.rate_hz > 0.0 or self.horizon < 1:
            raise EmbodimentError(f"rate_hz and horizon must be positive (found {self.rate_hz:g} and {self.horizon})")
        names = [view.name for view in self.views]
        if not names or len(set(names)) != len(names):
            raise EmbodimentError(f"views: need one at least, each of another name (found {names})")
        known = self.proprioception.names
        for channel in self.actions.channels:
            if channel.relative_to not in (None, *known):
                raise EmbodimentError(f"{channel.name}: relative to {channel.relative_to!r}, which is none of {known}")

    @property
    def embodiment(self) -> Embodiment:
        """Itself, as a robot's cell has one."""
        return self

    @property
    def dt(self) -> float:
        """Duration of one step, s."""
        return 1.0 / self.rate_hz

    @cached_property
    def origins(self) -> NDArray[np.int64]:
        """For each number of an action the position in proprioception that it can be an offset from; -1: none."""
        known = self.proprioception.names
        channels = self.actions.channels
        return np.array([-1 if (to := channel.relative_to) is None else known.index(to) for channel in channels])

    @property
    def has_origins(self) -> bool:
        """Whether any number of an action can be an offset."""
        return bool((self.origins >= 0).any())

    def origin(self, proprioception: NDArray[np.float64]) -> NDArray[np.float64]:
        """What relative targets are offsets from, given proprioception [..., P]: [..., A], 0 for what never is one."""
        return np.where(self.origins >= 0, proprioception[..., self.origins], 0.0)

    def with_views(self, names: list[str]) -> Embodiment:
        """The same with these views in slots 0, 1, … Raises EmbodimentError."""
        known = {view.name: view for view in self.views}
        if unknown := [name for name in names if name not in known]:
            raise EmbodimentError(f"no view {unknown[0]!r} in '{self.name}'; it has {list(known)}")
        return replace(self, views=tuple(known[name] for name in names))

    def dumped(self) -> str:
        """JSON that `parsed` reads back to an equal one."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def parsed(cls, text: str) -> Embodiment:
        """Raises EmbodimentError naming the key that is missing, unknown or wrong."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise EmbodimentError(f"{key}: {message}" if key else message) from None


def differences(mine: Embodiment, other: Embodiment) -> list[Difference]:
    """Differences in meaning; empty when a policy of `other` can act with `mine`. Of another name, that one alone."""
    if mine.name != other.name:
        return [Difference("embodiment", mine.name, other.name)]
    here, there = _meaning(mine), _meaning(other)
    return [Difference(key, here[key], there[key]) for key in here if here[key] != there[key]]


def _meaning(embodiment: Embodiment) -> dict[str, Any]:
    return {
        "rate_hz": embodiment.rate_hz,
        "horizon": embodiment.horizon,
        "labels": embodiment.labels,
        "mirrored": embodiment.mirrored,
        "slot roles": [view.role for view in embodiment.views],
        "actions": list(map(str, embodiment.actions.channels)),
        "proprioception": list(map(str, embodiment.proprioception.channels)),
    }
