"""Feature-wise linear modulation of the views by the instruction."""

from __future__ import annotations

from torch import Tensor, nn


class Film(nn.Module):
    """x · (1 + γ) + β, with γ and β a linear map of the language token.

    Table 6 says FiLM is used, not where. Its parameters are in no row of Table 5 and the vision encoders are frozen, so
    it is put between them and the backbone. It starts as the identity, which leaves VGGT's features as they are.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, views: Tensor, language: Tensor) -> Tensor:
        """Views [B, S, P, C], language token [B, 1, C] → [B, S, P, C]."""
        scale, shift = self.modulation(language)[:, None].chunk(2, dim=-1)
        return views * (1 + scale) + shift
