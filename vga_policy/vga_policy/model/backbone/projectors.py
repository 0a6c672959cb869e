"""Small maps into the backbone's width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


class Projector(nn.Module):
    """An MLP with GELU through `widths`, then into the backbone.

    Table 5's projectors end at 896 channels (27.6 M and 2.2 M parameters), but VGGT is 1024 wide. The paper does
    not list the map in between; it is taken to be one linear layer, `to_backbone`, absent where the widths agree.
    """

    def __init__(self, width_in: int, widths: Sequence[int], width_out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((width_in, *widths)))
        self.to_backbone = nn.Identity() if widths[-1] == width_out else nn.Linear(widths[-1], width_out)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width_in] → [..., width_out]."""
        for index, layer in enumerate(self.layers):
            x = layer(functional.gelu(x)) if index else layer(x)
        return self.to_backbone(x)
