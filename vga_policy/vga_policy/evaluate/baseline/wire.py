"""Messages over a pipe: a length, then named arrays as safetensors. Needs nothing but NumPy and safetensors."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

LENGTH = struct.Struct("<Q")
MOST = 1 << 30  # bytes; a longer message is none


def send(stream: IO[bytes], message: Mapping[str, NDArray[Any]]) -> None:
    """Writes one message and flushes."""
    data = save({name: np.ascontiguousarray(value) for name, value in message.items()})
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, NDArray[Any]] | None:
    """Reads one message; None when the other side has closed the pipe. Raises ValueError for what is no message."""
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    if length > MOST:
        raise ValueError(f"a message of {length} bytes: the other side does not speak this protocol")
    data = stream.read(length)
    return load(data) if len(data) == length else None


def text(value: str) -> NDArray[Any]:
    """Words as an array."""
    return np.frombuffer(value.encode(), np.uint8)


def words(value: NDArray[Any]) -> str:
    """The words of :func:`text`."""
    return value.tobytes().decode()
