"""Which dataset directories hold, and it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.samples import SampleDataset
from vga_policy.dataset.shards import ABOUT, ShardDataset
from vga_policy.episodes.listing import DatasetError


def open_dataset(
    directories: Sequence[str | Path],
    image_size: int,
    *,
    views: Sequence[str] | None = None,
    geometry: bool = False,
    skip_idle: bool = True,
) -> SampleDataset:
    """The samples of directories that hold recorded episodes, or demonstrations without bags.

    Options as EpisodeDataset's; whoever makes demonstrations has left out idle steps already. Raises DatasetError when
    there is nothing to use, or when the two are mixed.
    """
    sharded = [(Path(directory) / ABOUT).is_file() for directory in directories]
    if not any(sharded):
        for directory in map(Path, directories):
            near = [directory.absolute().parent / ABOUT, *sorted(directory.glob(f"*/{ABOUT}"))]
            if there := [file.parent for file in near if file.is_file()]:
                raise DatasetError(f"{directory}: give the directory that has {ABOUT}: {there[0]}")
        return EpisodeDataset(directories, image_size, views=views, geometry=geometry, skip_idle=skip_idle)
    if not all(sharded):
        raise DatasetError(
            f"{directories[sharded.index(False)]}: has no {ABOUT}, as {directories[sharded.index(True)]} has: a policy "
            "learns from a robot's episodes or from such demonstrations; give directories of one kind"
        )
    return ShardDataset(directories, image_size, views=views, geometry=geometry)
