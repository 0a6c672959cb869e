"""The Vision-Geometry-Action model: what the robot sees, is told and feels, to a chunk of actions."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from vga_policy.model.backbone.aggregator import AggregatorConfig, Features
from vga_policy.model.backbone.attention import Mlp
from vga_policy.model.backbone.film import Film
from vga_policy.model.backbone.patches import PATCH
from vga_policy.model.backbone.projectors import Projector
from vga_policy.model.heads.action_head import ActionHeadConfig
from vga_policy.model.heads.camera_head import CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig
from vga_policy.model.vggt import InputError, check_images, predict_cameras, predict_depth


@dataclass(frozen=True, kw_only=True)
class VGAConfig:
    """The shape of a VGA model.

    image_size: side of the square views in pixels, a multiple of 14. backbone: what turns views into tokens.
    language_width: length of the instruction's embedding. language_projector: widths after each layer of the map from
    embedding to token. film: whether the language modulates the views' patches. horizon, actions: the chunk is
    [horizon, actions]. proprioception: how many numbers it has. action_head: what turns tokens into the chunk.
    camera_head, depth_head: what predicts cameras and depth; None builds none, and the actions are the same.
    """

    image_size: int = 224
    backbone: AggregatorConfig = field(default_factory=AggregatorConfig)
    language_width: int = 1536
    language_projector: tuple[int, ...] = (896, 896)
    film: bool = True
    horizon: int = 8
    actions: int = 8
    proprioception: int = 8
    action_head: ActionHeadConfig = field(default_factory=ActionHeadConfig)
    camera_head: CameraHeadConfig | None = field(default_factory=CameraHeadConfig)
    depth_head: DepthHeadConfig | None = field(default_factory=DepthHeadConfig)

    def __post_init__(self) -> None:
        width, heads = self.backbone.width, self.backbone.heads
        if self.image_size <= 0 or self.image_size % PATCH:
            raise ValueError(f"image_size: must be a multiple of {PATCH} (found {self.image_size})")
        if width % (4 * heads):
            raise ValueError(f"backbone.width: must be a multiple of 4 · heads = {4 * heads} (found {width})")
        if width % self.action_head.heads:
            raise ValueError(f"action_head.heads: must divide backbone.width {width} (found {self.action_head.heads})")
        if not 0 < self.action_head.layers <= self.backbone.depth:
            raise ValueError(f"action_head.layers: must be 1 to backbone.depth (found {self.action_head.layers})")

    def build(self) -> VGA:
        """The model, initialized at random."""
        return VGA(self)


@dataclass(frozen=True)
class Prediction:
    """What the model says at once when it is asked for geometry too.

    actions [B, horizon, actions], normalized. cameras: the encoding [B, S, 9] after each refinement
    (vga_policy.model.geometry.pose). depth, confidence [B, S, H, W].
    """

    actions: Tensor
    cameras: list[Tensor]
    depth: Tensor
    confidence: Tensor


class VGA(nn.Module):
    """Section 4 of the paper. Names of the backbone and of the 3D heads are the public VGGT checkpoint's."""

    def __init__(self, config: VGAConfig) -> None:
        super().__init__()
        self.config = config
        width, depth = config.backbone.width, config.backbone.depth
        self.aggregator = config.backbone.build()
        self.language_projector = Projector(config.language_width, config.language_projector, width)
        self.proprioception_encoder = Mlp(config.proprioception, width, width)
        # Not zero as VLA-Adapter's: equal queries would stay equal, for nothing else tells them apart. Of unit size, as
        # the tokens around them: an optimizer's steps throw small ones about, and everything that reads them.
        self.action_queries = nn.Parameter(torch.randn(1, config.horizon, width))
        # The paper's "learnable noise embeddings" z: learned, and the same in training and at inference.
        self.chunk_embeddings = nn.Parameter(torch.randn(config.horizon, config.actions * width))
        self.film = Film(width) if config.film else None
        self.action_head = config.action_head.build(width, config.actions)
        self.action_layers = config.action_head.backbone_layers(depth)
        # Built last, so that a seed makes the same policy with and without them.
        self.camera_head = config.camera_head.build(2 * width) if config.camera_head else None
        self.depth_head = config.depth_head.build(2 * width) if config.depth_head else None
        self.depth_layers = config.depth_head.layers_of(depth) if config.depth_head else ()

    def forward(self, images: Tensor, language: Tensor, proprioception: Tensor) -> Tensor:
        """The chunk [B, horizon, actions], normalized. The 3D heads are not executed (decoupled inference).

        images: [B, S, 3, H, W] in [0, 1], views in slot order. language: [B, E], the instruction's embedding.
        proprioception: [B, P], normalized. Raises InputError.
        """
        return self.act(self.features(images, language, proprioception))

    def act(self, features: Features) -> Tensor:
        """The chunk [B, horizon, actions] that the features call for."""
        return self.action_head(self.chunk_embeddings, features, self.action_layers)

    def fix_positions(self, views: int) -> None:
        """Fixes the rotations of the tokens of so many views of the model's size, once it is on its device."""
        side, device = self.config.image_size, self.action_queries.device
        others = 1 + self.config.horizon + 1  # language, queries, proprioception
        self.aggregator.fix_positions(views, others, (side, side), device)

    def predict(self, images: Tensor, language: Tensor, proprioception: Tensor) -> Prediction:
        """Actions, cameras and depth from the same features; inputs as for `forward`."""
        if self.camera_head is None or self.depth_head is None:
            raise InputError("this model was built without camera and depth heads; it predicts actions only")
        features = self.features(images, language, proprioception)
        depth, confidence = predict_depth(self.depth_head, features, self.depth_layers, images)
        return Prediction(
            actions=self.act(features),
            cameras=predict_cameras(self.camera_head, features),
            depth=depth,
            confidence=confidence,
        )

    def features(self, images: Tensor, language: Tensor, proprioception: Tensor) -> Features:
        """The native 3D representation: groups views, language, action (equation 1) through the backbone."""
        self._check(images, language, proprioception)
        dtype = self.action_queries.dtype
        language, proprioception = language.to(dtype), proprioception.to(dtype)
        views = self.aggregator.embed_views(images)
        # Encoders return unit length: its elements, 1/√E, would drown in the projector's biases. The token it becomes
        # is of the size of those around it, or the difference between two instructions would be too faint to learn.
        language = functional.rms_norm(language, language.shape[-1:])
        told = self.language_projector(language)[:, None]
        told = functional.rms_norm(told, told.shape[-1:])
        if self.film is not None:
            views = self.film(views, told)
        queries = self.action_queries.expand(len(images), -1, -1)
        action = torch.cat([queries, self.proprioception_encoder(proprioception)[:, None]], dim=1)
        return self.aggregator.alternate(views, (told, action), (images.shape[-2], images.shape[-1]))

    def _check(self, images: Tensor, language: Tensor, proprioception: Tensor) -> None:
        check_images(images)
        for name, value, width in (
            ("language", language, self.config.language_width),
            ("proprioception", proprioception, self.config.proprioception),
        ):
            if value.shape != (len(images), width):
                raise InputError(f"{name}: expected [{len(images)}, {width}], got {list(value.shape)}")
