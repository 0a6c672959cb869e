"""The objective and the labels' frame, against loops, finite differences and float64."""

import math
from dataclasses import replace

import pytest
import torch
from support.models import TINY_VGA, seeded_inputs, seeded_tensor
from vga_policy.model.geometry.scene import Scene, in_first_camera, normalize, world_points
from vga_policy.objective.losses import (
    LossConfig,
    TrainingLabels,
    action_loss,
    camera_loss,
    depth_loss,
    gradient_loss,
    masked_mean,
    objective,
    trimmed_mean,
)

CONFIG = LossConfig(kept=1.0)
QUATERNION_TURNED = torch.tensor([1.0] * 3 + [-1.0] * 4 + [1.0] * 2)


def doubles(name, *shape):
    return seeded_tensor(name, shape).double()


def test_action_loss_counts_labeled_steps_alone():
    predicted, actions = doubles("predicted", 2, 3, 4), doubles("actions", 2, 3, 4)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    errors = [abs(predicted[b, k, i] - actions[b, k, i]) for b, k in ((0, 0), (0, 1), (1, 0)) for i in range(4)]
    assert action_loss(predicted, actions, mask).item() == pytest.approx(sum(errors).item() / 12)


def huber(error, threshold):
    return error**2 / (2 * threshold) if error < threshold else error - threshold / 2


def test_camera_loss_weights_parts_and_refinements():
    cameras = doubles("cameras", 2, 2, 9)
    rounds = [cameras + 0.3 * doubles(f"round {i}", 2, 2, 9) for i in range(3)]
    mask = torch.tensor([[True, False], [True, True]])
    total = 0.0
    for index, predicted in enumerate(rounds):
        for b, s in ((0, 0), (1, 0), (1, 1)):
            errors = [huber(abs(predicted[b, s, i] - cameras[b, s, i]).item(), CONFIG.huber) for i in range(9)]
            part = sum(errors[:3]) / 3 + sum(errors[3:7]) / 4 + 0.5 * sum(errors[7:]) / 2
            total += 0.6 ** (2 - index) * part / 3
    assert camera_loss(rounds, cameras, mask, CONFIG).item() == pytest.approx(total / 3)


def rotation_about(axis, degrees):
    half = math.radians(degrees) / 2
    return [math.sin(half) * part for part in axis] + [math.cos(half)]


def test_rotations_on_either_side_of_half_a_turn_are_near_each_other():
    axis = [0.0, 0.6, 0.8]
    labels = torch.tensor([[[1.0, 2.0, 3.0, *rotation_about(axis, angle), 0.9, 0.8]] for angle in (178.0, 182.0)])
    labels[1, 0, 3:7] *= -1  # w >= 0, as labels are made
    assert labels[:, 0, 6].min() > 0
    everywhere = torch.ones(1, 1, dtype=torch.bool)
    loss = camera_loss([labels[:1]], labels[1:], everywhere, CONFIG).item()
    assert loss == pytest.approx(camera_loss([labels[:1]], labels[1:] * QUATERNION_TURNED, everywhere, CONFIG).item())
    assert 0 < loss < 0.02
    # Everything else keeps its sign.
    assert camera_loss([labels[:1] * torch.tensor([-1.0] * 3 + [1.0] * 6)], labels[:1], everywhere, CONFIG).item() > 1


def test_the_nearer_of_both_quaternions_attracts():
    label = torch.tensor([[[0.0, 0.0, 0.0, *rotation_about([0.0, 0.0, 1.0], 170.0), 0.9, 0.9]]])
    everywhere = torch.ones(1, 1, dtype=torch.bool)
    for target in (label, label * QUATERNION_TURNED):
        predicted = (target + torch.tensor([0.0] * 5 + [0.1] + [0.0] * 3)).requires_grad_()
        camera_loss([predicted], label, everywhere, CONFIG).backward()
        assert predicted.grad[0, 0, 5] > 0  # downhill leads back to the target
        assert predicted.grad[0, 0].count_nonzero() == 1


def depth_inputs():
    depth = 1 + doubles("depth", 1, 2, 9, 11).abs()
    predicted = depth + 0.2 * doubles("error", 1, 2, 9, 11)
    confidence = 1 + doubles("confidence", 1, 2, 9, 11).exp()
    mask = doubles("mask", 1, 2, 9, 11) > -0.2
    return predicted, confidence, depth, mask


def test_depth_loss_is_uncertainty_error_and_gradient():
    predicted, confidence, depth, mask = depth_inputs()
    labeled = mask.nonzero().tolist()
    total = 0.0
    for b, s, v, u in labeled:
        error = abs(predicted[b, s, v, u] - depth[b, s, v, u]).item()
        sure = confidence[b, s, v, u].item()
        total += (sure * error - 0.2 * math.log(sure) + error) / len(labeled)
    for stride in (1, 2, 4, 8):
        for dv, du in ((0, stride), (stride, 0)):
            steps = []
            for s in range(2):
                for v in range(0, 9 - dv, stride):
                    for u in range(0, 11 - du, stride):
                        if mask[0, s, v, u] and mask[0, s, v + dv, u + du]:
                            here = predicted[0, s, v, u] - depth[0, s, v, u]
                            there = predicted[0, s, v + dv, u + du] - depth[0, s, v + dv, u + du]
                            steps.append(abs(there - here).item())
            total += sum(steps) / max(len(steps), 1) / 4
    assert depth_loss(predicted, confidence, depth, mask, CONFIG).item() == pytest.approx(total)


def test_gradients_agree_with_finite_differences():
    predicted, confidence, depth, mask = depth_inputs()
    predicted, confidence = predicted.requires_grad_(), confidence.requires_grad_()
    assert torch.autograd.gradcheck(lambda p, c: depth_loss(p, c, depth, mask, LossConfig()), (predicted, confidence))
    cameras = doubles("cameras", 1, 2, 9)
    rounds = [(cameras + 0.3 * doubles(f"round {i}", 1, 2, 9)).requires_grad_() for i in range(2)]
    everywhere = torch.ones(1, 2, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda *r: camera_loss(list(r), cameras, everywhere, CONFIG), rounds)


def test_the_best_confidence_is_the_inverse_of_the_error():
    error = torch.tensor([[[[0.01, 0.05]]]], dtype=torch.float64)
    confidence = (CONFIG.alpha / error).requires_grad_()
    mask = torch.ones_like(error, dtype=torch.bool)
    depth_loss(error, confidence, torch.zeros_like(error), mask, CONFIG).backward()
    torch.testing.assert_close(confidence.grad, torch.zeros_like(error))


def test_labels_that_are_not_there_weigh_nothing_even_when_they_are_nan():
    values = torch.tensor([1.0, torch.nan, 3.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([True, False, True]))
    mean.backward()
    assert mean.item() == 2.0
    assert values.grad.tolist() == [0.5, 0.0, 0.5]
    nothing = torch.zeros(1, 2, 5, 5, dtype=torch.bool)
    assert masked_mean(torch.full((3,), torch.nan), torch.zeros(3, dtype=torch.bool)).item() == 0.0
    assert gradient_loss(torch.full((1, 2, 5, 5), torch.nan), nothing).item() == 0.0


def test_the_largest_errors_are_trimmed():
    values = torch.arange(1.0, 101.0)
    mask = torch.ones(100, dtype=torch.bool)
    mask[:50] = False
    assert trimmed_mean(values, mask, 0.98).item() == pytest.approx(sum(range(51, 100)) / 49)
    assert trimmed_mean(values, torch.zeros(100, dtype=torch.bool), 0.98).item() == 0.0


def test_a_batch_without_3d_labels_trains_the_actions_alone():
    torch.manual_seed(0)
    model = TINY_VGA.build()
    inputs = seeded_inputs()
    nothing = torch.zeros(2, 2, 42, 42, dtype=torch.bool)
    labels = TrainingLabels(
        actions=seeded_tensor("labels", (2, 8, 8)),
        action_mask=torch.ones(2, 8, dtype=torch.bool),
        cameras=torch.full((2, 2, 9), torch.nan),
        camera_mask=torch.zeros(2, 2, dtype=torch.bool),
        depth=torch.full((2, 2, 42, 42), torch.nan),
        depth_mask=nothing,
    )
    terms = objective(model.predict(*inputs), labels, LossConfig(action=2.0))
    assert terms["total"].item() == pytest.approx(2 * terms["action"].item())
    terms["total"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert not any(p.grad is not None and p.grad.any() for p in model.depth_head.parameters())


def scene():
    skew = torch.zeros(2, 3, 3, 3, dtype=torch.float64)
    angles = doubles("angles", 2, 3, 3)
    skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0] = angles.unbind(-1)
    rotation = torch.linalg.matrix_exp(skew - skew.transpose(-1, -2))
    extrinsics = torch.cat([rotation, doubles("translation", 2, 3, 3, 1)], dim=-1)
    intrinsics = torch.tensor([[6.0, 0, 3], [0, 5, 2], [0, 0, 1]], dtype=torch.float64).expand(2, 3, 3, 3)
    return Scene(extrinsics, intrinsics, 1 + doubles("depth", 2, 3, 4, 6).abs(), doubles("mask", 2, 3, 4, 6) > -0.1)


def test_world_points_project_back_to_their_pixels():
    given = scene()
    points = world_points(given)
    for b, s, v, u in ((0, 0, 0, 0), (1, 2, 3, 5), (0, 1, 2, 4)):
        camera = given.extrinsics[b, s, :, :3] @ points[b, s, v, u] + given.extrinsics[b, s, :, 3]
        pixel = given.intrinsics[b, s] @ camera / camera[2]
        torch.testing.assert_close(pixel[:2], torch.tensor([u, v], dtype=torch.float64))
        torch.testing.assert_close(camera[2], given.depth[b, s, v, u])


def test_the_first_camera_becomes_the_world():
    given = scene()
    moved = in_first_camera(given)
    identity = torch.eye(3, 4, dtype=torch.float64).expand(2, 3, 4)
    torch.testing.assert_close(moved.extrinsics[:, 0], identity)
    first = given.extrinsics[:, :1]
    in_first = torch.einsum("bsij,bshwj->bshwi", first[..., :3].expand(2, 3, 3, 3), world_points(given))
    torch.testing.assert_close(world_points(moved), in_first + first[:, :, None, None, :, 3])


def test_normalized_scenes_have_mean_distance_one_and_metric_ones_keep_meters():
    given = scene()
    metric, unit = normalize(given, metric=True)
    assert torch.equal(metric.depth, given.depth)
    assert unit.tolist() == [1.0, 1.0]
    scaled, unit = normalize(given, metric=False)
    distances = world_points(scaled).norm(dim=-1)
    for b in range(2):
        assert distances[b][given.mask[b]].mean().item() == pytest.approx(1.0)
    torch.testing.assert_close(scaled.depth * unit.view(2, 1, 1, 1), given.depth)
    torch.testing.assert_close(scaled.extrinsics[..., 3] * unit.view(2, 1, 1), metric.extrinsics[..., 3])
    unlabeled, unit = normalize(replace(given, mask=torch.zeros_like(given.mask)), metric=False)
    assert unit.tolist() == [1.0, 1.0]
    assert unlabeled.depth.isfinite().all()
