"""A small Visual Geometry Action model: the full model's wiring at a size a laptop runs at 10 Hz.

Each view, the instruction and the action queries form a group of tokens. As in VGGT, blocks alternate between
attention within every group ("frame") and attention over all tokens ("global"); the action tokens are then
regressed to one chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vga_policy.contract.observation import PROPRIOCEPTION

ACTION = 8  # 7 joint targets and the gripper's, normalised
STEM_STRIDE = 16
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class SmallVGAConfig:
    """Shape of a :class:`SmallVGA`.

    image_size: side of the square input images, a multiple of 16.
    width: token dimension, a multiple of `heads`. layers: pairs of one frame and one global block.
    language_width: dimension of the instruction's embedding. horizon: steps of a chunk.
    proprioception_skip: hidden units of a direct path from proprioception to the chunk; 0 for none.
    """

    image_size: int = 112
    width: int = 96
    layers: int = 3
    heads: int = 4
    mlp_ratio: int = 4
    language_width: int = 256
    horizon: int = 8
    proprioception_skip: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            minimum = 0 if name == "proprioception_skip" else 1
            if not isinstance(value, int) or value < minimum:
                raise ValueError(f"{name}: must be an integer of at least {minimum} (found {value!r})")
        if self.image_size % STEM_STRIDE:
            raise ValueError(f"image_size: must be a multiple of {STEM_STRIDE} (found {self.image_size})")
        if self.width % self.heads:
            raise ValueError(f"width: must be a multiple of heads = {self.heads} (found {self.width})")

    @property
    def patches(self) -> int:
        """Patch tokens a view."""
        return (self.image_size // STEM_STRIDE) ** 2

    def build(self) -> SmallVGA:
        """A model of this shape with random weights."""
        return SmallVGA(self)


class SmallVGA(nn.Module):
    """See the module's docstring; `forward` is the whole story."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, config: SmallVGAConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.stem = conv_stem(width)
        self.patch_position = nn.Parameter(0.02 * torch.randn(1, config.patches, width))
        # Slot 0 of the second axis serves the first view, slot 1 all others: the order of views matters.
        self.camera_token = nn.Parameter(0.02 * torch.randn(1, 2, 1, width))
        self.language = nn.Linear(config.language_width, width)
        self.proprioception = mlp(PROPRIOCEPTION, width, width)
        self.action_queries = nn.Parameter(0.02 * torch.randn(1, config.horizon, width))
        self.frame_blocks = nn.ModuleList(Block(width, config.heads, config.mlp_ratio) for _ in range(config.layers))
        self.global_blocks = nn.ModuleList(Block(width, config.heads, config.mlp_ratio) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, ACTION)
        self.skip = (
            ProprioceptionSkip(config.proprioception_skip, config.horizon) if config.proprioception_skip else None
        )

    def forward(self, images: Tensor, language: Tensor, proprioception: Tensor) -> Tensor:
        """One chunk for each item of a batch.

        images: [B, V, 3, S, S] in [0, 1], views in slot order. language: [B, E], the instruction's embedding.
        proprioception: [B, 8], normalised to [-1, 1]. Returns the normalised chunk [B, H, 8].
        """
        batch, views = images.shape[:2]
        seen = self.embed_views(images)
        told = self.language(language)[:, None]
        act = torch.cat(
            [self.proprioception(proprioception)[:, None], self.action_queries.expand(batch, -1, -1)], dim=1
        )
        for frame_block, global_block in zip(self.frame_blocks, self.global_blocks, strict=True):
            seen, told, act = frame_block(seen), frame_block(told), frame_block(act)
            tokens = torch.cat([seen.reshape(batch, -1, self.config.width), told, act], dim=1)
            seen, told, act = global_block(tokens).split(
                [tokens.shape[1] - told.shape[1] - act.shape[1], told.shape[1], act.shape[1]], dim=1
            )
            seen = seen.reshape(batch * views, -1, self.config.width)
        chunk = self.head(self.norm(act[:, 1:]))
        return chunk if self.skip is None else chunk + self.skip(proprioception)

    def embed_views(self, images: Tensor) -> Tensor:
        """Camera token and patch tokens of every view: [B, V, 3, S, S] → [B V, 1 + P, width]."""
        batch, views = images.shape[:2]
        patches = self.stem((images.flatten(0, 1) - self.image_mean) / self.image_std)
        patches = patches.flatten(2).transpose(1, 2) + self.patch_position
        slots = torch.zeros(views, dtype=torch.long, device=images.device)
        slots[1:] = 1
        camera = self.camera_token[:, slots].expand(batch, -1, -1, -1).flatten(0, 1)
        return torch.cat([camera, patches], dim=1)


class Block(nn.Module):
    """Pre-norm transformer block, [N, T, width] → [N, T, width]."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attention among the tokens of each item, then the MLP, both residual."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        """Self-attention among the tokens of each item."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


class ProprioceptionSkip(nn.Module):
    """A direct path from proprioception to the chunk: [B, 8] → [B, H, 8]. It starts silent."""

    def __init__(self, hidden: int, horizon: int) -> None:
        super().__init__()
        self.input = nn.Linear(PROPRIOCEPTION, hidden)
        self.output = nn.Linear(hidden, horizon * ACTION)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, proprioception: Tensor) -> Tensor:
        """The share of the normalised chunk that depends on proprioception alone."""
        hidden = torch.tanh(self.input(proprioception))
        return self.output(hidden).unflatten(-1, (-1, ACTION))


def conv_stem(width: int) -> nn.Sequential:
    """Images [N, 3, S, S] → one token per 16 x 16 pixels [N, width, S/16, S/16]."""
    channels = [3, width // 4, width // 2, width, width]
    stages: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        stages += [nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1), nn.GELU()]
    return nn.Sequential(*stages[:-1])


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with a GELU between."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
