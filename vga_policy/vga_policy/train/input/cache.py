"""Samples decoded once: every later epoch reads tensors from a mapped file instead of decoding JPEG and PNG again.

Each key of the samples is one .npy file; depth is kept in whole millimeters, as cameras give it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from vga_policy.files import alone, whole_directory
from vga_policy.train.input.batch import RawBatch
from vga_policy.train.input.loader import SampleSource, read
from vga_policy.train.runs.failure import TrainingError

VERSION = 2
INDEX = "index.json"
CHUNK = 64  # samples decoded at once
SPARE = 1 << 30  # bytes left free on the disk
TEXT = "instruction"
DERIVED = ("depth_mask",)  # where depth is not 0


class CachedDataset:
    """The samples of a cache directory, in the order of the source it was made of."""

    def __init__(self, directory: Path) -> None:
        index = json.loads((directory / INDEX).read_text())
        self._texts: list[str] = index["texts"]
        self._arrays: dict[str, NDArray[Any]] = {
            key: np.load(directory / f"{key}.npy", mmap_mode="r") for key in index["keys"]
        }

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def batch(self, indices: Sequence[int]) -> RawBatch:
        """The samples at these indices, collated."""
        samples: dict[str, Any] = {key: torch.from_numpy(array[indices]) for key, array in self._arrays.items()}
        if TEXT in samples:
            samples[TEXT] = [self._texts[number] for number in samples[TEXT].tolist()]
        if "depth" in samples:
            samples["depth"] = samples["depth"].float() / 1000
            samples["depth_mask"] = samples["depth"] > 0
        return samples


def cached(source: SampleSource, directory: Path, name: str, *, workers: int = 0) -> CachedDataset:
    """The cache of `source` in `directory`, made now if it is not there.

    name: tells sources apart; what their samples depend on must be in it. Raises TrainingError when the disk is full.
    """
    place = directory / f"{name}-v{VERSION}"
    if not (place / INDEX).is_file():
        try:
            with alone(directory / f".{place.name}.lock"):
                if not (place / INDEX).is_file():  # nor did another process make it meanwhile
                    with whole_directory(place) as unfinished:
                        _fill(source, unfinished, workers)
        except OSError as error:
            raise TrainingError(f"{place}: the cache cannot be written: {error}; train without --cache") from None
    return CachedDataset(place)


def _fill(source: SampleSource, directory: Path, workers: int) -> None:
    count = len(source)
    first = _stored(source.batch([0]), {})
    size = count * sum(array.nbytes for array in first.values())
    if (free := shutil.disk_usage(directory).free) < size + SPARE:
        raise OSError(f"it needs {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
    arrays = {
        key: np.lib.format.open_memmap(directory / f"{key}.npy", "w+", value.dtype, (count, *value.shape[1:]))
        for key, value in first.items()
    }
    texts: dict[str, int] = {}
    chunks = [list(range(start, min(start + CHUNK, count))) for start in range(0, count, CHUNK)]
    batches: Iterator[RawBatch] = read(source, iter(chunks), workers=workers)
    described = "decoding samples"
    for chunk, samples in zip(chunks, track(batches, described, len(chunks), transient=True), strict=True):
        for key, values in _stored(samples, texts).items():
            arrays[key][chunk[0] : chunk[-1] + 1] = values
    for array in arrays.values():
        array.flush()
    (directory / INDEX).write_text(json.dumps({"keys": list(arrays), "texts": list(texts)}) + "\n")


def _stored(samples: RawBatch, texts: dict[str, int]) -> dict[str, NDArray[Any]]:
    """A batch as the cache keeps it. `texts` numbers the instructions met so far."""
    arrays: dict[str, NDArray[Any]] = {}
    for key, values in samples.items():
        if key == TEXT:
            arrays[key] = np.array([texts.setdefault(text, len(texts)) for text in values], dtype=np.int32)
        elif key == "depth":
            known = torch.where(samples["depth_mask"], values, 0)
            arrays[key] = (known * 1000).round().numpy().astype(np.uint16)
        elif key not in DERIVED:
            arrays[key] = values.numpy()
    return arrays
