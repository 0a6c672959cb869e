"""Reference pictures of the views, taken out of recorded episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vga_policy.dataset.demonstration import Demonstration, StoredImage
from vga_policy.episodes.topics import image_topic
from vga_policy.viewpoint.reference import ENOUGH, OPEN, Pixels, References, ViewpointError, made_of


def reference_views(episodes: Sequence[Path], views: Sequence[str] | None = None) -> References:
    """The references of all cameras that every one of these episodes has, in the slots that they filled there.

    Pictures are spread over the episodes, and in each over the times at which the hand is open. views: cameras for
    slots 0, 1, …; by default those of the first episode's cell. Raises ViewpointError, or what Demonstration raises.
    """
    chosen = [episodes[k] for k in np.unique(np.linspace(0, len(episodes) - 1, ENOUGH).astype(int))]
    each = -(-ENOUGH // len(chosen))
    seen: dict[str, list[Pixels]] = defaultdict(list)
    first = Demonstration(chosen[0], views)
    cameras = first.cell.cameras
    for number, path in enumerate(chosen):
        demonstration = first if number == 0 else Demonstration(path, views)
        shares = (np.arange(each) + (number + 0.5) / len(chosen)) / each
        cameras = [camera for camera in cameras if demonstration.bag.count(image_topic(camera.name))]
        for camera in cameras:
            seen[camera.name] += _pictures(demonstration, camera.name, shares)
        demonstration.close()
    about = [(camera.name, camera.role, camera.slot) for camera in cameras]
    return made_of({camera.name: seen[camera.name] for camera in cameras}, about, len(chosen))


def _pictures(demonstration: Demonstration, camera: str, shares: NDArray[np.float64]) -> list[Pixels]:
    """A camera's pictures at these shares of the times at which the hand is open."""
    bag, topic = demonstration.bag, image_topic(camera)
    width = demonstration.measured.interpolated(bag.stamps(topic))[:, -1]
    moments = np.flatnonzero(width >= OPEN * demonstration.cell.gripper.max_width)
    if not len(moments):
        return []
    picked = np.unique(moments[(shares * len(moments)).astype(int)])
    try:
        return [StoredImage(bag.file, *bag.payload(topic, int(index), "data")).decode() for index in picked]
    except ValueError as error:
        raise ViewpointError(f"{bag.file}: {topic}: {error}") from None
