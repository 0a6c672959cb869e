"""A small VGA learns what it is shown, and only what it is shown: images to actions, cameras and depth."""

from dataclasses import replace

import pytest
import torch
from support.models import TINY_VGA
from vga_policy.model.backbone.conv_stem import ConvStemConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig
from vga_policy.model.vga import VGAConfig
from vga_policy.objective.lora import make_trainable
from vga_policy.objective.losses import TrainingLabels, action_loss, objective
from vga_policy.objective.recipe import LossConfig, Recipe

SIDE = TINY_VGA.image_size
SQUARE = 18
LEARNER: VGAConfig = replace(
    TINY_VGA,
    backbone=replace(TINY_VGA.backbone, layer_scale=1.0, vision=ConvStemConfig(channels=16, grid=3)),
    depth_head=DepthHeadConfig(channels=(16, 16, 16, 16), features=16, last=16),
    film=False,
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _one_seed():
    torch.manual_seed(0)


def scenes(count):
    """Two views of one square; the chunk reaches for where the first view shows it.

    The square is nearer than what is behind it, and the second camera stands beside the first.
    """
    places = torch.randint(2, SIDE - SQUARE - 2, (count, 2))
    images, depth = torch.full((count, 2, 3, SIDE, SIDE), 0.3), torch.full((count, 2, SIDE, SIDE), 1.0)
    for sample, (row, column) in enumerate(places.tolist()):
        for view, shift in enumerate((0, 2)):
            images[sample, view, 0, row : row + SQUARE, column - shift + 2 : column - shift + 2 + SQUARE] = 0.9
            depth[sample, view, row : row + SQUARE, column - shift + 2 : column - shift + 2 + SQUARE] = 0.6
    target = 2 * places / (SIDE - SQUARE) - 1
    steps = torch.linspace(0.3, 1, 8)[None, :, None]
    cameras = torch.zeros(count, 2, 9)
    cameras[..., 6] = 1
    cameras[:, 1, 0] = -0.1
    cameras[..., 7:] = 1.0
    return Batch(
        (images, torch.zeros(count, 12), torch.zeros(count, 8)),
        TrainingLabels(
            actions=(steps * target[:, None]).repeat(1, 1, 4),
            action_mask=torch.ones(count, 8, dtype=torch.bool),
            cameras=cameras,
            camera_mask=torch.ones(count, 2, dtype=torch.bool),
            depth=depth,
            depth_mask=torch.ones_like(depth, dtype=torch.bool),
        ),
    )


class Batch:
    def __init__(self, inputs, labels):
        self.inputs, self.labels = inputs, labels

    def error(self, model):
        with torch.no_grad():
            return action_loss(model(*self.inputs), self.labels.actions, self.labels.action_mask).item()


def train(model, batch, recipe, steps, rate=2e-3):
    make_trainable(model, recipe)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        if recipe.joint:
            loss = objective(model.predict(*batch.inputs), batch.labels, recipe.losses)["total"]
        else:
            loss = action_loss(model(*batch.inputs), batch.labels.actions, batch.labels.action_mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


FULL = Recipe(initialization="random", strategy="full", joint=False)


def test_actions_are_learned_and_shuffled_images_are_noticed():
    shown, unseen = scenes(48), scenes(32)
    learned = train(LEARNER.build(), shown, FULL, steps=80)
    wrong = replace(shown.labels, actions=shown.labels.actions[torch.randperm(48)])
    confused = train(LEARNER.build(), Batch(shown.inputs, wrong), FULL, steps=80)
    assert unseen.error(learned) < 0.1
    assert unseen.error(confused) > 0.2


def test_joint_training_learns_actions_and_depth_together():
    batch = scenes(4)
    recipe = replace(FULL, joint=True, losses=LossConfig(kept=1.0))
    model = train(LEARNER.build(), batch, recipe, steps=150, rate=3e-3)
    assert batch.error(model) < 0.02
    with torch.no_grad():
        prediction = model.predict(*batch.inputs)
    # Everywhere as far as the background: 0.12.
    assert ((prediction.depth - batch.labels.depth).abs() / batch.labels.depth).mean() < 0.05
    assert (prediction.cameras[-1] - batch.labels.cameras).abs().mean() < 0.02


def test_a_backbone_frozen_at_random_learns_slower():
    batch = scenes(16)
    errors = {}
    for strategy in ("full", "lora"):
        torch.manual_seed(2)
        model = train(LEARNER.build(), batch, replace(FULL, strategy=strategy, rank=4), steps=40)
        errors[strategy] = batch.error(model)
    assert errors["lora"] > 1.25 * errors["full"]
