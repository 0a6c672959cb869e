"""All that is computed for a chunk once an observation is there, as one function of tensors.

It is traced on a CPU and recorded on a GPU. Nothing in it depends on values, so nothing in it waits for them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from vga_policy.checkpoints.normalization import Normalization
from vga_policy.embodiment.embodiment import Embodiment
from vga_policy.inference.compile import Forward


class ChunkFunction(nn.Module):
    """From pixels and what the joints measure to what they shall do: normalization, network, and back to SI units.

    In float64 but for the network: in PyTorch's operations what `Range.normalize`, `Normalization.chunk` and
    `Space.command` are in NumPy's, to the last bit.
    """

    middle: Tensor
    width: Tensor
    action_middle: Tensor
    action_half: Tensor
    origins: Tensor
    has_origin: Tensor
    low: Tensor
    high: Tensor
    signs: Tensor

    def __init__(self, network: Forward, normalization: Normalization, embodiment: Embodiment) -> None:
        super().__init__()
        self.network = network
        self.normalization, self.embodiment = normalization, embodiment
        felt, acted = normalization.proprioception, normalization.action
        low, high = embodiment.actions.bounds
        self._keep("middle", felt.middle)
        self._keep("width", np.where(felt.half > 0.0, felt.half, np.inf))
        self._keep("action_middle", acted.middle)
        self._keep("action_half", acted.half)
        self._keep("origins", embodiment.origins.clip(0))
        self._keep("has_origin", embodiment.origins >= 0)
        self._keep("low", low)
        self._keep("high", high)
        self._keep("signs", embodiment.actions.signs)

    def forward(self, squares: Tensor, language: Tensor, proprioception: Tensor) -> Tensor:
        """The chunk as the network means it, and as it is commanded, within bounds: float64 [2, H, A], in SI units.

        squares: uint8 [V, S, S, 3], the views at the network's size. language: float32 [1, E]. proprioception:
        float64 [P].
        """
        normalized = self.network(*self.network_inputs(squares, language, proprioception))[0].double()
        chunk = self.action_middle + self.action_half * normalized
        if self.normalization.relative:
            origin = proprioception.index_select(0, self.origins)
            chunk = chunk + torch.where(self.has_origin, origin, 0.0)
        bounded = torch.minimum(torch.maximum(chunk, self.low), self.high)
        signed = torch.where(chunk > 0.0, 1.0, -1.0).to(chunk.dtype)
        return torch.stack([chunk, torch.where(self.signs, signed, bounded)])

    def network_inputs(
        self, squares: Tensor, language: Tensor, proprioception: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the network is called with: images in [0, 1], language, and proprioception [1, P] in [-1, 1]."""
        images = squares.permute(0, 3, 1, 2)[None].float() / 255.0
        normalized = ((proprioception - self.middle) / self.width).clamp(-1.0, 1.0).float()
        return images, language, normalized[None]

    def around(self, network: Forward) -> ChunkFunction:
        """The same of another network, on the device of this one."""
        return ChunkFunction(network, self.normalization, self.embodiment).to(self.middle.device)

    def _keep(self, name: str, values: ArrayLike) -> None:
        self.register_buffer(name, torch.from_numpy(np.array(values)), persistent=False)
