"""Samples by the batch: what the training loop reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset

from vga_policy.train.input.batch import RawBatch


class SampleSource(Protocol):
    """Samples that are read many at a time."""

    def __len__(self) -> int:
        """Number of samples."""

    def batch(self, indices: Sequence[int]) -> RawBatch:
        """The samples at these indices, collated."""


@dataclass(frozen=True)
class DecodedDataset:
    """A dataset whose samples are decoded whenever they are asked for."""

    dataset: Any
    collate: Callable[[list[Any]], RawBatch]

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int]) -> RawBatch:
        """The samples at these indices, collated."""
        return self.collate([self.dataset[index] for index in indices])


@dataclass(frozen=True)
class Subset:
    """Some of a source's samples, numbered anew."""

    source: SampleSource
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> RawBatch:
        """The samples at these indices, collated."""
        return self.source.batch([self.indices[index] for index in indices])


class _Batches(Dataset):
    """A source as a dataset whose items are batches, numbered by the lists of their samples."""

    def __init__(self, source: SampleSource) -> None:
        self._source = source

    def __getitem__(self, indices: list[int]) -> RawBatch:
        return self._source.batch(indices)


def read(source: SampleSource, batches: Iterator[list[int]], *, workers: int, pin: bool = False) -> Iterator[RawBatch]:
    """The batches in order, decoded ahead by `workers` processes. pin: into memory that a GPU copies from faster."""
    order: Any = batches  # DataLoader asks no more of a sampler than to be iterated
    loader: DataLoader = DataLoader(
        _Batches(source), batch_size=None, sampler=order, num_workers=workers, collate_fn=_as_it_is, pin_memory=pin
    )
    yield from loader


def _as_it_is(samples: Any) -> Any:
    return samples
