"""A stand-in for a CUDA graph: on a CPU, it records a function's operations and repeats them on the same memory."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operations(TorchDispatchMode):
    """Keeps the operations that are called while it is entered, with the tensors that they take and give."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = operation(*args, **(kwargs or {}))
        self.calls.append((operation, args, kwargs or {}, given))
        return given

    @property
    def names(self):
        return {operation.overloadpacket.__name__ for operation, *_ in self.calls}


class Graph:
    """Like a CUDA graph it knows no Python: what was not an operation on tensors stays what it was."""

    def __init__(self):
        self.replays = 0
        self.operations = Operations()

    def replay(self):
        self.replays += 1
        for operation, args, kwargs, given in self.operations.calls:
            again = operation(*args, **kwargs)
            memory = _memory((args, kwargs))
            for old, new in zip(tree_leaves(given), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and not _memory(old) & memory:  # else a view, or changed in place
                    old.copy_(new)


def _memory(values):
    """Where the tensors in some values lie."""
    return {value.untyped_storage().data_ptr() for value in tree_leaves(values) if isinstance(value, torch.Tensor)}


def stand_in(monkeypatch):
    """Puts it in the place of torch's CUDA; returns a list of all graphs recorded, and one of devices entered."""
    graphs, devices = [], []

    @contextmanager
    def capture(graph):
        graphs.append(graph)
        with graph.operations:
            yield

    def entered(device):
        devices.append(device)
        return nullcontext()

    stream = SimpleNamespace(wait_stream=lambda _: None)
    for name, value in {
        "device": entered,
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda _: nullcontext(),
        "CUDAGraph": Graph,
        "graph": capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return graphs, devices
