"""What is minimized, sample by sample, so that a batch split over processes sums to the same update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vga_policy.checkpoints.normalization import Range
from vga_policy.embodiment.embodiment import Embodiment
from vga_policy.model.backbone.aggregator import Features
from vga_policy.model.geometry.metrics import relative_depth_error, rotation_error, translation_error
from vga_policy.model.vga import VGA
from vga_policy.model.vggt import predict_cameras, predict_depth
from vga_policy.objective.keyframe import KeyframeHead
from vga_policy.objective.losses import TrainingLabels, action_loss, camera_loss, depth_loss
from vga_policy.objective.recipe import LossConfig, Recipe
from vga_policy.train.input.batch import Batch


@dataclass(frozen=True)
class Term:
    """A metric of each sample [B] and how many labels it rests on [B]: their weighted mean is the batch's metric."""

    values: Tensor
    labels: Tensor


LossTerms = dict[str, Term]


class GeometryObjective(nn.Module):
    """Cameras and depth from images alone: VGGT's own objective, on the policy's backbone and heads."""

    def __init__(self, model: VGA, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.losses = recipe.losses

    def forward(self, batch: Batch) -> LossTerms:
        """The terms of the objective."""
        features = self.model.aggregator(batch.images)
        return geometry_terms(self.model, features, batch.images, batch.labels, self.losses)

    def labels(self, batch: Batch) -> dict[str, Tensor]:
        """How many labels each of the terms rests on, [B], without a pass."""
        return {"camera": _count(batch.labels.camera_mask), "depth": _count(batch.labels.depth_mask)}

    @torch.no_grad()
    def measure(self, batch: Batch) -> LossTerms:
        """The terms, and the errors that people read."""
        features = self.model.aggregator(batch.images)
        return geometry_terms(self.model, features, batch.images, batch.labels, self.losses, errors=True)


class PolicyObjective(nn.Module):
    """Equation 7: actions, and with a joint recipe cameras and depth where samples have them.

    geometry_share: the 3D heads see one sample in so many of a batch; they cost a small model as much as its backbone.
    """

    def __init__(
        self, model: VGA, recipe: Recipe, embodiment: Embodiment, action: Range, geometry_share: int = 1
    ) -> None:
        """action: of the normalized targets, to tell errors in the embodiment's units."""
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.geometry_share = geometry_share
        shape = model.config.backbone
        arm = len(embodiment.proprioception.arm)
        self.keyframe_head = KeyframeHead(shape.depth, shape.width, arm) if recipe.losses.keyframe else None
        self._reported = {part: torch.from_numpy(where) for part, where in embodiment.actions.reported.items()}
        self._half_range = torch.tensor((action.q99 - action.q01) / 2, dtype=torch.float32)

    def forward(self, batch: Batch) -> LossTerms:
        """The terms of the objective."""
        features = self.model.features(batch.images, batch.language, batch.proprioception)
        terms = {"action": self._action(self.model.act(features), batch.labels)} | self._keyframe(features, batch)
        if self.recipe.joint:
            every = self.geometry_share
            fewer = _labels_of(batch.labels, every)
            images = batch.images[::every]
            terms |= geometry_terms(self.model, _features_of(features, every), images, fewer, self.recipe.losses)
        return terms

    def labels(self, batch: Batch) -> dict[str, Tensor]:
        """How many labels each of the terms rests on, [B], or fewer for those of the 3D heads; without a pass."""
        counts = {"action": _count(batch.labels.action_mask)}
        if self.keyframe_head is not None:
            counts["keyframe"] = torch.ones_like(counts["action"])
        if self.recipe.joint:
            fewer = _labels_of(batch.labels, self.geometry_share)
            counts |= {"camera": _count(fewer.camera_mask), "depth": _count(fewer.depth_mask)}
        return counts

    @torch.no_grad()
    def measure(self, batch: Batch) -> LossTerms:
        """The terms, and the errors that people read."""
        features = self.model.features(batch.images, batch.language, batch.proprioception)
        actions = self.model.act(features).float()
        labels = batch.labels
        terms = {"action": self._action(actions, labels)} | self._keyframe(features, batch)
        physical = self._half_range.to(actions.device)
        for name, part in self._reported.items():
            predicted, truth = (physical * values for values in (actions, labels.actions))
            terms[name] = _per_sample(action_loss, labels.action_mask, predicted[..., part], truth[..., part])
        if self.recipe.joint:
            terms |= geometry_terms(self.model, features, batch.images, labels, self.recipe.losses, errors=True)
        return terms

    def _keyframe(self, features: Features, batch: Batch) -> LossTerms:
        """Term `keyframe`, if it is an objective."""
        if self.keyframe_head is None:
            return {}
        errors = (self.keyframe_head(features).float() - batch.keyframe[:, None]).abs().mean(dim=(1, 2))
        return {"keyframe": Term(errors, torch.ones_like(errors))}

    @staticmethod
    def _action(actions: Tensor, labels: TrainingLabels) -> Term:
        return _per_sample(action_loss, labels.action_mask, actions.float(), labels.actions)


def geometry_terms(
    model: VGA, features: Features, images: Tensor, labels: TrainingLabels, losses: LossConfig, *, errors: bool = False
) -> LossTerms:
    """Terms `camera` and `depth`; with `errors` also AbsRel, rotation (degrees) and translation of all views but the
    first, which is the world."""
    assert model.camera_head is not None
    assert model.depth_head is not None
    cameras = predict_cameras(model.camera_head, features)
    depth, confidence = predict_depth(model.depth_head, features, model.depth_layers, images)
    camera_mask, depth_mask = labels.camera_mask, labels.depth_mask

    def camera_term(rounds: list[Tensor], truth: Tensor, mask: Tensor) -> Tensor:
        return camera_loss(rounds, truth, mask, losses)

    def depth_term(predicted: Tensor, sure: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        return depth_loss(predicted, sure, truth, mask, losses)

    terms = {
        "camera": Term(torch.vmap(camera_term)(cameras, labels.cameras, camera_mask), _count(camera_mask)),
        "depth": Term(torch.vmap(depth_term)(depth, confidence, labels.depth, depth_mask), _count(depth_mask)),
    }
    if errors:
        terms["abs_rel"] = Term(relative_depth_error(depth, labels.depth, depth_mask), _count(depth_mask))
        predicted, truth, mask = cameras[-1][:, 1:], labels.cameras[:, 1:], camera_mask[:, 1:]
        weight = _count(mask)
        for name, error in {"rotation_deg": rotation_error, "translation": translation_error}.items():
            values = torch.where(mask, error(predicted, truth), 0.0).sum(dim=1) / weight.clamp(min=1)
            terms[name] = Term(values, weight)
    return terms


def _per_sample(loss: Callable[..., Tensor], mask: Tensor, predicted: Tensor, truth: Tensor) -> Term:
    return Term(torch.vmap(loss)(predicted, truth, mask), _count(mask))


def _count(mask: Tensor) -> Tensor:
    return mask.flatten(1).sum(dim=1).float()


def _labels_of(labels: TrainingLabels, every: int) -> TrainingLabels:
    return TrainingLabels(**{name: value[::every] for name, value in vars(labels).items()})


def _features_of(features: Features, every: int) -> Features:
    return Features(
        tuple(x[::every] for x in features.frame),
        tuple(x[::every] for x in features.whole),
        features.groups,
        features.specials,
    )
