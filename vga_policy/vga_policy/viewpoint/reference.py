"""What the views looked like in the training data: made of its pictures, kept beside a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Role = Literal["fixed", "wrist"]

DIRECTORY, ABOUT = "views", "views.json"  # in a checkpoint
FORMAT = 1
FEWEST, ENOUGH = 5, 24  # pictures that a reference is made of: the least, and as many as are looked for
OPEN = 0.9  # of the hand's range, from which its fingers are where they are in a reference
LARGEST = 640  # px, width of a reference
STILL = 14  # of 255: what nine pictures of ten differ from their median by, at most, where nothing moves


class ViewpointError(ValueError):
    """Reference pictures that cannot be made or read. The message says which and why."""


@dataclass(frozen=True)
class Reference:
    """One view as it was.

    name: of the camera. slot: of the policy's view that it filled; None: recorded only. picture: uint8 [H, W, 3], RGB.
    still: bool [H, W], where nothing moved.
    """

    name: str
    role: Role
    slot: int | None
    picture: Pixels
    still: NDArray[np.bool_]

    @classmethod
    def of(cls, name: str, role: Role, slot: int | None, pictures: Sequence[Pixels]) -> Reference:
        """The reference that pictures of one view amount to, RGB, all of one size. Raises ViewpointError."""
        if len(pictures) < FEWEST:
            raise ViewpointError(f"view {name}: {len(pictures)} pictures, a reference needs {FEWEST}")
        if len({picture.shape for picture in pictures}) > 1:
            raise ViewpointError(f"view {name}: its pictures differ in size")
        stack = np.stack([narrowed(picture, LARGEST) for picture in pictures])
        median = np.median(stack, axis=0).astype(np.uint8)
        away = np.abs(stack.astype(np.int16) - median).max(axis=-1)
        return cls(name, role, slot, median, np.percentile(away, 90, axis=0) < STILL)


@dataclass(frozen=True)
class References:
    """All views. pictures: how many each was made of, at most; episodes: of so many."""

    views: tuple[Reference, ...]
    pictures: int
    episodes: int

    def __iter__(self) -> Iterator[Reference]:
        return iter(self.views)

    def save(self, directory: Path) -> None:
        """Writes them into `directory`, which is made: a PNG each, opaque where nothing moved, and what they are."""
        directory.mkdir()
        views = [{"name": view.name, "role": view.role, "slot": view.slot} for view in self.views]
        about = {"format": FORMAT, "pictures": self.pictures, "episodes": self.episodes, "views": views}
        (directory / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        for view in self.views:
            opacity = np.where(view.still, 255, 0).astype(np.uint8)
            pixels = np.dstack([view.picture[..., ::-1], opacity])
            (directory / f"{view.name}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    @classmethod
    def load(cls, directory: Path) -> References | None:
        """Those that `save` wrote there; None where there are none. Raises ViewpointError naming the file."""
        path = directory / ABOUT
        if not path.is_file():
            return None
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise ViewpointError(f"{path}: format {about['format']!r} is unknown; this version reads {FORMAT}")
            views = tuple(_read(directory, view) for view in about["views"])
            return cls(views, int(about["pictures"]), int(about["episodes"]))
        except ViewpointError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ViewpointError(f"{path}: not readable: {type(error).__name__}: {error}") from None


def made_of(
    seen: Mapping[str, Sequence[Pixels]], about: Iterable[tuple[str, Role, int | None]], episodes: int
) -> References:
    """The references of cameras by name, role and slot, from what each has seen. Raises ViewpointError."""
    views = tuple(Reference.of(name, role, slot, seen[name]) for name, role, slot in about)
    return References(views, max(map(len, seen.values())), episodes)


def narrowed(picture: Pixels, width: int) -> Pixels:
    """A picture no wider than that, px."""
    height, wide = picture.shape[:2]
    if wide <= width:
        return picture
    return np.asarray(cv2.resize(picture, (width, round(height * width / wide)), interpolation=cv2.INTER_AREA))


def _read(directory: Path, view: Any) -> Reference:
    name, role, slot = view["name"], view["role"], view["slot"]
    if not isinstance(name, str) or not name.isidentifier() or role not in get_args(Role):
        raise ViewpointError(f"{directory / ABOUT}: a view with the name {name!r:.40} and the role {role!r:.40}")
    path = directory / f"{name}.png"
    data = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise ViewpointError(f"{path}: damaged: no picture with an opacity")
    return Reference(name, role, slot, np.ascontiguousarray(pixels[..., 2::-1]), pixels[..., 3] > 0)
