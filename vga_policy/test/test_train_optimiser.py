"""Muon for kernels is Muon for the matrices they are."""

import torch
from torch import nn
from vga_policy.train.optimiser import Muon, OptimiserConfig


def test_a_kernel_moves_as_its_matrix_does():
    torch.manual_seed(0)
    kernel = nn.Conv2d(24, 16, 3).to(memory_format=torch.channels_last).weight
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    ours = Muon([kernel], 0.1, 0.01)
    theirs = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    began = kernel.detach().clone()
    for _ in range(3):
        kernel.grad = torch.randn_like(kernel)
        matrix.grad = kernel.grad.flatten(1).clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=0)
    assert not torch.equal(kernel, began)


def test_first_and_last_layers_and_tokens_are_left_to_adamw():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 2, 16, 32))
            self.layers = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 16, 3), nn.Conv2d(16, 2, 1))

    model = Model()
    adamw, muon = OptimiserConfig(muon=1e-3).build(model)
    assert list(muon.matrices) == [model.layers[1].weight]
    left = {id(parameter) for group in adamw.param_groups for parameter in group["params"]}
    everything = {id(parameter) for parameter in model.parameters()}
    assert left == everything - {id(model.layers[1].weight)}
