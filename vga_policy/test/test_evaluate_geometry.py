"""Depth and camera errors: known ones are found, and a model's own predictions are what is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.cells import SIM
from support.models import seeded_state
from vga_policy.checkpoints.checkpoint import Checkpoint
from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.evaluate.geometry import (
    GeometryComparison,
    GeometryError,
    ViewGeometry,
    compare,
    constant,
    errors,
    evenly,
    refuse_other,
)
from vga_policy.evaluate.geometry_plot import draw_geometry
from vga_policy.libero.embodiment import LIBERO, MIRRORED
from vga_policy.model.backbone.aggregator import AggregatorConfig
from vga_policy.model.backbone.conv_stem import ConvStemConfig
from vga_policy.model.geometry.pose import decode_cameras
from vga_policy.model.heads.action_head import ActionHeadConfig
from vga_policy.model.heads.camera_head import CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig
from vga_policy.model.vga import VGAConfig
from vga_policy.text.encoder import HashedNgrams

SIZE, VIEWS = 28, ["fixed_1", "wrist"]


def turn(axis: int, angle: float) -> np.ndarray:
    a, b = (i for i in range(3) if i != axis)
    rotation = np.eye(3)
    rotation[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return rotation


def truth(count: int = 6) -> tuple[ViewGeometry, np.ndarray]:
    random = np.random.default_rng(0)
    depth = random.uniform(0.4, 1.5, (count, 2, SIZE, SIZE)).astype(np.float32)
    mask = random.uniform(size=depth.shape) < 0.9
    extrinsics = np.zeros((count, 2, 3, 4), np.float32)
    extrinsics[..., :3] = np.eye(3)
    for sample in range(count):
        extrinsics[sample, 1, :, :3] = turn(2, 0.3 * sample) @ turn(0, 0.9)
        extrinsics[sample, 1, :, 3] = random.uniform(-0.5, 0.5, 3)
    fields = np.full((count, 2, 2), 0.8, np.float32)
    return ViewGeometry(np.where(mask, depth, 0), extrinsics, fields), mask


def test_a_perfect_prediction_has_no_error():
    true, mask = truth()
    for view, report in errors(true, true, mask, VIEWS).items():
        assert report["depth"] == report["depth_aligned"] == {"abs_rel": 0.0, "rmse_m": 0.0, "delta_1": 1.0}
        assert report["field_of_view_deg"] == 0.0
        if view == "wrist":
            assert report["camera"]["rotation_deg"] < 0.05
            assert report["camera"]["translation_m"] == 0.0


def test_depth_of_another_unit_is_wrong_as_it_is_and_right_when_aligned():
    true, mask = truth()
    report = errors(ViewGeometry(2 * true.depth, true.extrinsics, true.fields_of_view), true, mask, VIEWS)["wrist"]
    known = true.depth[:, 1][mask[:, 1]]
    assert report["depth"]["abs_rel"] == pytest.approx(1.0)
    assert report["depth"]["rmse_m"] == pytest.approx(np.sqrt((known**2).mean()), abs=1e-3)
    assert report["depth"]["delta_1"] == 0.0
    assert report["depth_aligned"] == {"abs_rel": 0.0, "rmse_m": 0.0, "delta_1": 1.0}


def test_pixels_without_known_depth_do_not_count():
    true, mask = truth()
    depth = np.where(mask, true.depth, 99.0)
    assert errors(ViewGeometry(depth, true.extrinsics, true.fields_of_view), true, mask, VIEWS)["wrist"]["depth"][
        "abs_rel"
    ] == 0.0  # fmt: skip


def test_a_camera_turned_and_moved_by_so_much_is_found_to_be():
    true, mask = truth()
    moved = true.extrinsics.astype(np.float64)
    center = -np.einsum("nji,nj->ni", moved[:, 1, :, :3], moved[:, 1, :, 3])
    moved[:, 1, :, :3] = turn(1, np.radians(10)) @ moved[:, 1, :, :3]
    moved[:, 1, :, 3] = -np.einsum("nij,nj->ni", moved[:, 1, :, :3], center + np.array((0.03, 0.0, 0.04)))
    camera = errors(ViewGeometry(true.depth, moved, true.fields_of_view), true, mask, VIEWS)["wrist"]["camera"]
    assert camera["rotation_deg"] == pytest.approx(10.0, abs=1e-2)
    assert camera["translation_m"] == pytest.approx(0.05, abs=1e-4)


def test_cameras_are_judged_relative_to_the_first_view():
    """A prediction in another world frame, the same for all its views, is as good."""
    true, mask = truth()
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = turn(0, 0.5), (0.2, -0.1, 0.4)
    moved = (true.extrinsics.astype(np.float64) @ world).astype(np.float32)
    camera = errors(ViewGeometry(true.depth, moved, true.fields_of_view), true, mask, VIEWS)["wrist"]["camera"]
    assert camera["rotation_deg"] < 0.1
    assert camera["translation_m"] < 1e-3


def test_the_constant_guess_is_right_where_nothing_varies():
    true, mask = truth(1)
    guess = constant(true, mask)
    assert guess.depth[0][mask[0]] == pytest.approx(true.depth[0][mask[0]])
    report = errors(guess, true, mask, VIEWS)["wrist"]["camera"]
    assert report["rotation_deg"] < 0.1
    assert report["translation_m"] < 1e-3


def checkpoint(heads: bool = True) -> Checkpoint:
    config = VGAConfig(
        image_size=SIZE,
        backbone=AggregatorConfig(width=48, depth=4, heads=3, layer_scale=1.0, vision=ConvStemConfig()),
        language_width=32,
        language_projector=(48, 48),
        film=False,
        action_head=ActionHeadConfig(layers=2, heads=3),
        camera_head=CameraHeadConfig(depth=1, heads=6) if heads else None,
        depth_head=DepthHeadConfig(channels=(8, 8, 16, 16), features=8, last=4) if heads else None,
    )
    model = config.build()
    model.load_state_dict(seeded_state(model))
    eight = Range.of(np.full(8, -2.0), np.full(8, 2.0))
    cell = None  # nothing here asks for it
    return Checkpoint(config, HashedNgrams(32), model, Normalization(eight, eight, False), cell)


class Samples(torch.utils.data.Dataset):
    """Samples as EpisodeDataset gives them; the third one lacks the wrist's ground truth."""

    def __init__(self, geometry: bool = True):
        self._geometry = geometry

    def __len__(self):
        return 20

    def __getitem__(self, index):
        random = np.random.default_rng(index)
        sample = {
            "images": torch.from_numpy(random.integers(0, 256, (2, 3, SIZE, SIZE), dtype=np.uint8)),
            "proprioception": torch.from_numpy(random.uniform(-1, 1, 8).astype(np.float32)),
            "instruction": f"do {index % 3}",
        }
        if not self._geometry:
            return sample
        extrinsics = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
        extrinsics[:, :3, :3] = turn(0, 0.4 + 0.01 * index), turn(1, 0.7)
        extrinsics[:, :3, 3] = random.uniform(-0.5, 0.5, (2, 3))
        depth = random.uniform(0.0, 2.0, (2, SIZE, SIZE)).astype(np.float32)
        k = torch.tensor([[40.0, 0, 13.5], [0, 30.0, 13.5], [0, 0, 1]])
        return sample | {
            "depth": torch.from_numpy(depth),
            "depth_mask": torch.from_numpy(depth > 0.2),
            "intrinsics": k.expand(2, 3, 3),
            "extrinsics": torch.from_numpy(extrinsics),
            "geometry_mask": torch.tensor([True, index != 2]),
        }


def test_what_is_judged_is_what_the_model_predicts_for_each_sample():
    policy, samples = checkpoint(), Samples()
    found = compare(policy, samples)
    assert len(found.images) == 19, "one sample has no ground truth"
    assert (found.images[2] == samples[3]["images"].numpy()).all()
    sample = samples[3]
    with torch.no_grad():
        alone = policy.model.eval().predict(
            sample["images"][None].float() / 255,
            torch.from_numpy(policy.encoder.encode("do 0"))[None],
            sample["proprioception"][None] / 2,
        )
    assert found.prediction.depth[2] == pytest.approx(alone.depth[0].numpy(), rel=1e-4)
    extrinsics, _ = decode_cameras(alone.cameras[-1][0], (SIZE, SIZE))
    assert found.prediction.extrinsics[2] == pytest.approx(extrinsics.numpy(), abs=1e-4)
    first, second = sample["extrinsics"].double().numpy()
    assert found.truth.extrinsics[2, 0] == pytest.approx(np.eye(4)[:3], abs=1e-5)
    assert found.truth.extrinsics[2, 1] == pytest.approx((second @ np.linalg.inv(first))[:3], abs=1e-5)
    assert found.truth.fields_of_view[0, 0] == pytest.approx([2 * np.arctan(14 / 30), 2 * np.arctan(14 / 40)], abs=1e-4)
    json.dumps(errors(found.prediction, found.truth, found.mask, VIEWS))


def test_samples_are_spread_evenly():
    assert evenly(Samples(), 4).indices == [0, 6, 13, 19]
    assert len(evenly(Samples(), 100)) == 20


def test_a_policy_without_geometry_heads_is_refused():
    with pytest.raises(GeometryError, match="without camera and depth heads"):
        compare(checkpoint(heads=False), Samples())


def test_data_of_another_body_or_of_mirrored_pictures_is_refused():
    policy = replace(checkpoint(), contract=LIBERO)
    refuse_other(policy, SimpleNamespace(embodiment=LIBERO))
    with pytest.raises(GeometryError, match="the policy is for 'libero', and the data of 'fr3'"):
        refuse_other(policy, SimpleNamespace(embodiment=SIM.embodiment))
    with pytest.raises(GeometryError, match="the data of 'libero' with mirrored pictures"):
        refuse_other(policy, SimpleNamespace(embodiment=MIRRORED))
    with pytest.raises(GeometryError, match=r"is for 'libero' with mirrored pictures, and the data of 'libero'$"):
        refuse_other(replace(policy, contract=MIRRORED), SimpleNamespace(embodiment=LIBERO))


def test_a_view_without_any_known_depth_is_refused():
    samples = Samples()
    blind = [sample | {"depth_mask": sample["depth_mask"] & torch.tensor([True, False])[:, None, None]}
             for sample in (samples[0], samples[1])]  # fmt: skip
    with pytest.raises(GeometryError, match="no pixel whose depth is known"):
        compare(checkpoint(), blind)


def test_episodes_without_ground_truth_are_refused():
    with pytest.raises(GeometryError, match="has no depth"):
        compare(checkpoint(), Samples(geometry=False))
    with pytest.raises(GeometryError, match="no sample has the ground truth"):
        compare(checkpoint(), torch.utils.data.Subset(Samples(), [2]))


def test_the_picture_has_a_row_a_sample_and_view(tmp_path):
    true, mask = truth()
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 3, SIZE, SIZE), dtype=np.uint8)
    draw_geometry(GeometryComparison(images, mask, true, true), VIEWS, tmp_path / "two.png", samples=2)
    draw_geometry(GeometryComparison(images, mask, true, true), VIEWS, tmp_path / "one.png", samples=1)
    two, one = Image.open(tmp_path / "two.png"), Image.open(tmp_path / "one.png")
    assert two.width == one.width
    assert two.height > 1.8 * one.height
