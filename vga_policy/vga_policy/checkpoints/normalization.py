"""Between physical units and the model's [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Range:
    """The 1st and 99th percentile of some values, mapped to -1 and 1. Both have the values' trailing shape."""

    q01: NDArray[np.float64]
    q99: NDArray[np.float64]

    @classmethod
    def of(cls, q01: ArrayLike, q99: ArrayLike) -> Range:
        """Raises ValueError unless both are finite, of one shape, and q01 nowhere above q99."""
        low, high = np.asarray(q01, dtype=np.float64), np.asarray(q99, dtype=np.float64)
        if low.shape != high.shape:
            raise ValueError(f"q01 has shape {low.shape}, q99 {high.shape}")
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            place, value = next((at, v) for side in (low, high) for at, v in np.ndenumerate(side) if not np.isfinite(v))
            raise ValueError(f"q01 and q99 must be finite (found {value} at {list(place)})")
        if (low > high).any():
            place = tuple(np.argwhere(low > high)[0])
            raise ValueError(
                f"q01 must nowhere be above q99 (found {low[place]:g} and {high[place]:g} at {list(map(int, place))})"
            )
        return cls(low, high)

    def normalize(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values as [-1, 1], clipped; 0 where the range has no width."""
        half = self.half
        return np.clip((values - self.middle) / np.where(half > 0.0, half, np.inf), -1.0, 1.0)

    def denormalize(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `normalize`; values beyond [-1, 1] extrapolate."""
        return self.middle + self.half * values

    def at(self, positions: NDArray[np.int64]) -> Range:
        """Of the numbers at these positions alone."""
        return Range(self.q01[..., positions], self.q99[..., positions])

    @property
    def middle(self) -> NDArray[np.float64]:
        """What is mapped to 0."""
        return 0.5 * (self.q99 + self.q01)

    @property
    def half(self) -> NDArray[np.float64]:
        """How far from the middle -1 and 1 are; 0 where the range has no width."""
        return 0.5 * (self.q99 - self.q01)


@dataclass(frozen=True)
class Normalization:
    """Statistics of the training data that a checkpoint carries.

    action: [A], or [H, A] when every step of a chunk has its own. proprioception: [P].
    relative: targets are offsets from the proprioception at t_obs, those for which the embodiment has an origin there.
    """

    action: Range
    proprioception: Range
    relative: bool

    def chunk(self, normalized: NDArray[np.float64], *, origin: NDArray[np.float64]) -> NDArray[np.float64]:
        """A model's output [H, A] in physical units, given the embodiment's origin [A] at t_obs."""
        chunk = self.action.denormalize(normalized)
        return chunk + origin if self.relative else chunk

    def to_json(self) -> dict[str, Any]:
        """Plain data that :meth:`from_json` reads back."""
        return {
            "targets": "relative" if self.relative else "absolute",
            "action": {"q01": self.action.q01.tolist(), "q99": self.action.q99.tolist()},
            "proprioception": {"q01": self.proprioception.q01.tolist(), "q99": self.proprioception.q99.tolist()},
        }

    @classmethod
    def from_json(cls, data: Any, chunk: tuple[int, int], proprioception: int) -> Normalization:
        """Of chunks [H, A] and proprioception [P] of these sizes.

        Raises ValueError naming the key that is missing or wrong.
        """
        if not isinstance(data, dict) or set(data) != {"targets", "action", "proprioception"}:
            raise ValueError("expected the keys targets, action and proprioception")
        if data["targets"] not in ("absolute", "relative"):
            raise ValueError(f"targets: must be absolute or relative (found {data['targets']!r})")
        return cls(
            action=_range("action", data["action"], [chunk[1:], chunk]),
            proprioception=_range("proprioception", data["proprioception"], [(proprioception,)]),
            relative=data["targets"] == "relative",
        )


def _range(key: str, data: Any, shapes: list[tuple[int, ...]]) -> Range:
    if not isinstance(data, dict) or set(data) != {"q01", "q99"}:
        raise ValueError(f"{key}: expected the keys q01 and q99")
    try:
        values = Range.of(data["q01"], data["q99"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from None
    if values.q01.shape not in shapes:
        raise ValueError(f"{key}: shape must be {' or '.join(map(str, shapes))} (found {values.q01.shape})")
    return values
