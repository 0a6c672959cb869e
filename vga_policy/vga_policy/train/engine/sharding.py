"""A model divided among processes (torch's FSDP2): each has a part of every weight, gradient, moment and average.

A unit's weights are whole in every process only while it computes. Between steps they are DTensors, and so is all that
is made of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from vga_policy.model.weights.save import Whole, as_it_is
from vga_policy.train.engine.activations import units

DONE = -1


def shard(model: nn.Module, device: torch.device) -> None:
    """Divides `model` among all processes, in place, each part on the process's `device`, unit by unit."""
    # What a unit returns is changed by nothing in place.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module .* returned a view tensor")
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for unit in units(model):
        fully_shard(unit, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "measure")


def gather_again(model: nn.Module) -> None:
    """Has the next pass gather the weights outside of units anew, which a pass without gradients leaves whole."""
    if isinstance(model, FSDPModule):
        model.reshard()


def whole_value(value: Tensor) -> Tensor:
    """`value` put together; all processes have to ask for it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


@torch.no_grad()
def put(value: Tensor, into: Tensor) -> None:
    """Copies a whole tensor into one that may be divided: each process takes its own part, none is sent."""
    if isinstance(into, DTensor):
        value = distribute_tensor(value, into.device_mesh, into.placements, src_data_rank=None)
    into.copy_(value)


def in_first(write: Callable[[Whole], None], tensors: Sequence[Tensor], accelerator: Accelerator) -> None:
    """Runs `write` in the first process, and returns in all of them when it has ended.

    tensors: the same in all processes. `write` is given what puts any of them together; the others then send their
    parts of it. So no process ever has more than one of them whole.
    """
    divided = [tensor for tensor in tensors if isinstance(tensor, DTensor)]
    if not divided:
        if accelerator.is_main_process:
            write(as_it_is)
        return
    wanted = torch.empty((), dtype=torch.int64, device=accelerator.device)
    if not accelerator.is_main_process:
        while True:
            distributed.broadcast(wanted, 0)
            if (place := int(wanted)) == DONE:
                return
            divided[place].full_tensor()
    places = {id(tensor): place for place, tensor in enumerate(divided)}

    def whole(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, DTensor):
            return tensor
        distributed.broadcast(wanted.fill_(places[id(tensor)]), 0)
        return tensor.full_tensor()

    try:
        write(whole)
    finally:
        distributed.broadcast(wanted.fill_(DONE), 0)
