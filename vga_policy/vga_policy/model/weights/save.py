"""Writing weights tensor by tensor: beside what is written, memory holds no more than the one whose turn it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64"}
ALIGNMENT = 8  # bytes

Whole = Callable[[Tensor], Tensor]
"""Puts a tensor together whose parts are in several processes."""


def as_it_is(tensor: Tensor) -> Tensor:
    """The Whole of a tensor that is in one."""
    return tensor


@dataclass(frozen=True)
class Later:
    """A tensor that is made when its turn comes."""

    shape: torch.Size
    dtype: torch.dtype
    make: Callable[[], Tensor]


def save_tensors(
    tensors: Mapping[str, Tensor | Later], path: Path, dtype: torch.dtype | None = None, whole: Whole = as_it_is
) -> None:
    """Writes a safetensors file, byte for byte the one that safetensors' own `save_file` writes.

    dtype: of all tensors in the file; their own by default. whole: of those not made later. Who may read the file is
    for the umask to say. Raises OSError; ValueError for a number that is too large for `dtype`.
    """
    kinds = {name: tensor.dtype if dtype is None else dtype for name, tensor in tensors.items()}
    order = sorted(tensors, key=lambda name: (-_rank(kinds[name]), name))
    header, end = {}, 0
    for name in order:
        start, end = end, end + tensors[name].shape.numel() * kinds[name].itemsize
        shape = list(tensors[name].shape)
        header[name] = {"dtype": DTYPES[kinds[name]], "shape": shape, "data_offsets": [start, end]}
    told = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    told += b" " * (-len(told) % ALIGNMENT)
    with path.open("wb") as file, torch.no_grad():
        file.write(len(told).to_bytes(8, "little") + told)
        for name in order:
            tensor = tensors[name]
            made = tensor.make() if isinstance(tensor, Later) else whole(tensor)
            file.write(_bytes(name, made, kinds[name]))
            del made


def _bytes(name: str, tensor: Tensor, dtype: torch.dtype) -> memoryview:
    held = tensor.detach().cpu()
    written = held.to(dtype)
    if dtype == torch.float16 and (lost := written.isinf() & held.isfinite()).any():
        largest = torch.finfo(dtype).max
        raise ValueError(f"{name} holds {held[lost][0]:.4g}, and float16 ends at {largest:.0f}: leave it in float32")
    return written.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _rank(dtype: torch.dtype) -> int:
    """The place of a type in safetensors' own order of them, in which the largest come first."""
    return {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2}.get(dtype, 3)
