"""Augmentation: what a pixel shows and where it is stay together, through any crop; colors change as asked."""

import numpy as np
import pytest
import torch
from vga_policy.model.geometry.scene import Scene, world_points
from vga_policy.train.config import AugmentationConfig
from vga_policy.train.input.augmentation import Distortion, distort_images, distort_scene, draw

SIZE = 56
BATCH, VIEWS = 3, 2
CROPS = AugmentationConfig(crop=(0.5, 0.95), brightness=0.0, contrast=(1, 1), saturation=(1, 1), hue=0.0)


def look_at(position, target):
    """Extrinsics [3, 4] of a camera at `position` that looks at `target`."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return np.hstack([rotation, -rotation @ np.reshape(position, (3, 1))])


def hilly(x, y):
    """Height of the ground, m."""
    return 0.05 * torch.sin(5 * x) * torch.cos(4 * y)


def ground(rng):
    """Views of a hilly ground, by marching along each pixel's ray; double precision."""
    extrinsics = torch.tensor(
        np.array(
            [
                [look_at(rng.uniform([-1, -1.5, 0.8], [1, -0.8, 1.2]), rng.uniform(-0.1, 0.1, 3)) for _ in range(VIEWS)]
                for _ in range(BATCH)
            ]
        )
    )
    focal = torch.tensor(rng.uniform(0.9, 1.4, (BATCH, VIEWS)) * SIZE)
    intrinsics = torch.eye(3, dtype=torch.float64).repeat(BATCH, VIEWS, 1, 1)
    intrinsics[..., 0, 0], intrinsics[..., 1, 1] = focal, 1.2 * focal
    intrinsics[..., :2, 2] = SIZE / 2 - 0.5
    depth = torch.full((BATCH, VIEWS, SIZE, SIZE), 0.1, dtype=torch.float64)
    for _ in range(60):  # steps of the height that is left never pass through these slopes
        points = world_points(Scene(extrinsics, intrinsics, depth, depth > 0))
        depth = depth + (points[..., 2] - hilly(points[..., 0], points[..., 1]))
    return Scene(extrinsics, intrinsics, depth, (depth > 0.2) & (depth < 4.0))


def project(scene, sample, view, points):
    """Pixels [N, 2] and depth [N] of world points [N, 3] in a view."""
    camera = points @ scene.extrinsics[sample, view, :, :3].T + scene.extrinsics[sample, view, :, 3]
    pixels = camera @ scene.intrinsics[sample, view].T
    return pixels[:, :2] / pixels[:, 2:], camera[:, 2]


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(1)
    scene, distortion = ground(rng), draw(CROPS, BATCH, VIEWS, rng)
    doubles = Distortion(*(value.double() for value in vars(distortion).values()))
    return scene, doubles, distort_scene(scene, doubles)


def test_every_point_of_a_cropped_view_is_a_point_of_the_whole_one(drawn):
    scene, _, cropped = drawn
    for sample in range(BATCH):
        for view in range(VIEWS):
            known = cropped.mask[sample, view]
            assert known.float().mean() > 0.3
            points = world_points(cropped)[sample, view][known]
            pixels, depth = project(scene, sample, view, points)
            column, row = pixels.round().long().unbind(-1)
            assert column.min() >= 0
            assert column.max() < SIZE
            torch.testing.assert_close(scene.depth[sample, view][row, column], depth)


def test_points_of_one_cropped_view_are_where_another_one_sees_them(drawn):
    _, _, cropped = drawn
    for sample in range(BATCH):
        points = world_points(cropped)[sample, 0][cropped.mask[sample, 0]]
        heights = points[:, 2] - hilly(points[:, 0], points[:, 1])
        assert heights.abs().max() < 0.06  # half a pixel of the whole image, on a slope
        pixels, depth = project(cropped, sample, 1, points)
        column, row = pixels.round().long().unbind(-1)
        inside = ((pixels >= 0) & (pixels <= SIZE - 1)).all(dim=-1)
        seen = inside.clone()
        seen[inside] = cropped.mask[sample, 1][row[inside], column[inside]]
        assert seen.sum() > 100
        error = (cropped.depth[sample, 1][row[seen], column[seen]] - depth[seen]).abs() / depth[seen]
        assert error.median() < 0.01


def test_images_and_intrinsics_are_cropped_alike(drawn):
    scene, distortion, cropped = drawn
    ramp = torch.arange(SIZE, dtype=torch.float64) / SIZE
    across, down = ramp.expand(SIZE, -1), ramp[:, None].expand(-1, SIZE)
    images = torch.stack([across, down, torch.full_like(across, 0.5)]).expand(BATCH, VIEWS, 3, -1, -1)
    shown = distort_images(images.contiguous(), distortion)
    for sample in range(BATCH):
        for view in range(VIEWS):
            known = cropped.mask[sample, view]
            pixels, _ = project(scene, sample, view, world_points(cropped)[sample, view][known])
            inner = ((pixels > 0.5) & (pixels < SIZE - 1.5)).all(dim=-1)
            colors = shown[sample, view][:2][:, known][:, inner]
            torch.testing.assert_close(SIZE * colors.T, pixels[inner], atol=1e-3, rtol=0)


def test_views_and_samples_are_distorted_each_on_its_own():
    distortion = draw(AugmentationConfig(), 64, 2, np.random.default_rng(0))
    for values in vars(distortion).values():
        assert len(values.unique()) == 128
    assert (distortion.left + distortion.side).max() <= 1
    assert (distortion.side**2).min() >= 0.9
    assert (distortion.side**2).max() <= 1.0


def one(**changes):
    plain = {"left": 0.0, "top": 0.0, "side": 1.0, "brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    return Distortion(*(torch.tensor([[value]]) for value in {**plain, **changes}.values()))


@pytest.fixture
def picture():
    return torch.from_numpy(np.random.default_rng(0).uniform(0.3, 0.7, (1, 1, 3, 8, 8)).astype(np.float32))


def luma(image):
    return torch.einsum("c,bvchw->bvhw", torch.tensor([0.299, 0.587, 0.114]), image)


def test_no_distortion_changes_nothing(picture):
    torch.testing.assert_close(distort_images(picture, one()), picture, atol=1e-3, rtol=0)


def test_brightness_shifts_and_contrast_stretches_about_the_mean(picture):
    torch.testing.assert_close(distort_images(picture, one(brightness=0.1)), picture + 0.1, atol=1e-3, rtol=0)
    stretched = distort_images(picture, one(contrast=1.2))
    mean = picture.mean(dim=(-2, -1), keepdim=True)
    torch.testing.assert_close(stretched, mean + 1.2 * (picture - mean), atol=1e-3, rtol=0)


def test_saturation_and_hue_keep_luma(picture):
    gray = distort_images(picture, one(saturation=0.0))
    assert (gray.amax(dim=2) - gray.amin(dim=2)).max() < 2e-3
    turned = distort_images(picture, one(hue=0.05))
    for changed in (gray, turned):
        torch.testing.assert_close(luma(changed), luma(picture), atol=2e-3, rtol=0)
    assert (turned - picture).abs().max() > 0.01
    back = distort_images(turned, one(hue=-0.05))
    torch.testing.assert_close(back, picture, atol=2e-3, rtol=0)


def test_a_crop_of_nothing_is_refused():
    with pytest.raises(ValueError, match="crop"):
        AugmentationConfig(crop=(0.0, 1.0))
