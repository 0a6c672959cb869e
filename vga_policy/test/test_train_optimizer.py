"""Muon, for matrices and for kernels."""

import pytest
import torch
from torch import distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn
from vga_policy.train.config import OptimizerConfig
from vga_policy.train.engine import optimizer
from vga_policy.train.engine.optimizer import Muon, build_optimizers, orthogonal


@pytest.mark.parametrize("shape", [(16, 24, 3, 3), (64, 16, 1, 1), (48, 96)])
def test_it_moves_a_kernel_as_torchs_own_moves_its_matrix(shape):
    torch.manual_seed(0)
    kernel = nn.Parameter(0.1 * torch.randn(shape))
    if len(shape) == 4:
        kernel = nn.Parameter(kernel.detach().to(memory_format=torch.channels_last))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    ours = Muon([kernel], 0.1, 0.01)
    theirs = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    began = matrix.detach().clone()
    for _ in range(3):
        kernel.grad = torch.randn_like(kernel)
        matrix.grad = kernel.grad.flatten(1).clone()
        ours.step()
        theirs.step()
    apart = (kernel.detach().flatten(1) - matrix.detach()).norm() / (matrix.detach() - began).norm()
    assert apart < 0.02  # theirs computes in bfloat16, which has 8 bits


def test_a_kernel_moves_exactly_as_the_matrix_it_is():
    torch.manual_seed(0)
    kernel = nn.Conv2d(24, 16, 3).to(memory_format=torch.channels_last).weight
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    began = kernel.detach().clone()
    optimizers = Muon([kernel], 0.1, 0.01), Muon([matrix], 0.1, 0.01)
    for _ in range(3):
        kernel.grad = torch.randn_like(kernel)
        matrix.grad = kernel.grad.flatten(1).clone()
        for muon in optimizers:
            muon.step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=0)
    assert not torch.equal(kernel, began)


SHAPES = [(16, 24, 3, 3), (48, 96), (96, 48), (48, 96), (48, 96), (16, 32)]


def moved():
    """The same parameters after the same three steps, one after another."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(0.1 * torch.randn(shape)) for shape in SHAPES]
    muon = Muon(parameters, 0.1, 0.01)
    for _ in range(3):
        for parameter in parameters[:-1]:  # the last has no gradient
            parameter.grad = torch.randn_like(parameter)
        muon.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def moved_together(rank, meeting, expected):
    orthogonal, count = optimizer.orthogonal, []
    optimizer.orthogonal = lambda matrices: count.append(len(matrices)) or orthogonal(matrices)
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    torch.testing.assert_close(moved(), expected, rtol=0, atol=1e-6)
    assert sum(count) == 3 * (3, 2)[rank]  # of five
    dist.destroy_process_group()


def test_two_processes_orthogonalize_a_share_each_and_move_alike(tmp_path):
    spawn(moved_together, (tmp_path / "meeting", moved()), nprocs=2)


def test_several_matrices_are_made_orthogonal_each_on_its_own():
    matrices = torch.randn(3, 20, 40, generator=torch.Generator().manual_seed(1))
    for matrix, made in zip(matrices, orthogonal(matrices), strict=True):
        u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
        along = torch.diag(u.mT @ made @ vh.mT)
        assert along.min() > 0.6
        assert along.max() < 1.3
        torch.testing.assert_close(made, u @ torch.diag(along) @ vh, rtol=0, atol=1e-4)
        torch.testing.assert_close(orthogonal(matrix.mT[None])[0], made.mT, rtol=0, atol=1e-5)


def test_first_and_last_layers_and_tokens_are_left_to_adamw():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 2, 16, 32))
            self.layers = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 16, 3), nn.Conv2d(16, 2, 1))

    model = Model()
    adamw, muon = build_optimizers(OptimizerConfig(muon=1e-3), model)
    assert muon.param_groups[0]["params"] == [model.layers[1].weight]
    left = {id(parameter) for group in adamw.param_groups for parameter in group["params"]}
    everything = {id(parameter) for parameter in model.parameters()}
    assert left == everything - {id(model.layers[1].weight)}
