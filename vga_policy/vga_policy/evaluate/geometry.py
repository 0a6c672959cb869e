"""How well a policy knows the shape of what it sees: depth and cameras against ground truth (section 5.3, figure 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Subset

from vga_policy.checkpoints.checkpoint import Checkpoint
from vga_policy.dataset.samples import SampleDataset
from vga_policy.model.geometry.pose import decode_cameras, encode_cameras
from vga_policy.model.geometry.scene import Scene, in_first_camera
from vga_policy.model.vga import VGA

BATCH = 16
DELTA_1 = 1.25  # a depth within this factor of the truth counts as right

Array = NDArray[np.float32]


class GeometryError(ValueError):
    """A checkpoint or data without geometry. The message says what is missing."""


@dataclass(frozen=True)
class ViewGeometry:
    """What some samples' views look like, in the first view's camera frame and meters.

    depth [N, V, H, W] along the optical axis. extrinsics [N, V, 3, 4]: first camera → camera (OpenCV).
    fields_of_view [N, V, 2]: height, width, rad.
    """

    depth: Array
    extrinsics: Array
    fields_of_view: Array


@dataclass(frozen=True)
class GeometryComparison:
    """Samples with their ground truth and the policy's view of it. mask [N, V, H, W]: where the true depth is known."""

    images: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    truth: ViewGeometry
    prediction: ViewGeometry


def refuse_other(checkpoint: Checkpoint, dataset: SampleDataset) -> None:
    """Raises GeometryError where the policy is for something that feels, or sees, in another way."""
    mine, theirs = checkpoint.embodiment, dataset.embodiment
    felt, there = (tuple(map(str, each.proprioception.channels)) for each in (mine, theirs))
    if felt != there or mine.mirrored != theirs.mirrored:
        policy, data = (f"{it.name!r}{' with mirrored pictures' if it.mirrored else ''}" for it in (mine, theirs))
        raise GeometryError(f"the policy is for {policy}, and the data of {data}")


def evenly(dataset: Dataset[dict[str, Any]], count: int) -> Subset[dict[str, Any]]:
    """At most `count` samples, spread evenly over the dataset."""
    size = len(dataset)  # type: ignore[arg-type]
    return Subset(dataset, np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(int)).tolist())


@torch.inference_mode()
def compare(checkpoint: Checkpoint, samples: Dataset[dict[str, Any]], device: str = "cpu") -> GeometryComparison:
    """Predicts what the samples (EpisodeDataset's, with geometry) show. Samples without ground truth are left out.

    Raises GeometryError when the policy has no camera and depth heads, or no sample has ground truth.
    """
    model = checkpoint.model
    if not isinstance(model, VGA) or model.camera_head is None or model.depth_head is None:
        raise GeometryError("the policy was built without camera and depth heads: it predicts actions only")
    model = model.to(device).eval()
    parts = []
    for batch in DataLoader(samples, batch_size=BATCH):
        if "geometry_mask" not in batch:
            raise GeometryError(
                "the data has no depth and camera poses; `vga collect --in-process` and `vga libero import` make such"
            )
        known = batch["geometry_mask"].all(dim=1)
        if known.any():
            parts.append(_compare(checkpoint, model, _rows(batch, known), device))
    if not parts:
        raise GeometryError("no sample has the ground truth of every view: record with depth, or give other --views")
    found = GeometryComparison(*(_joined(values) for values in zip(*parts, strict=True)))
    if not found.mask.any(axis=(0, 2, 3)).all():
        raise GeometryError("a view has no pixel whose depth is known in any sample: give other --views")
    return found


def errors(
    prediction: ViewGeometry, truth: ViewGeometry, mask: NDArray[np.bool_], views: Sequence[str]
) -> dict[str, Any]:
    """Errors by view: means over the samples.

    depth: AbsRel, RMSE (m) and δ1 as predicted, and `aligned`, scaled by one factor a sample, as estimates
    without a known unit are judged. camera, of every view but the first: rotation (degrees),
    translation (m, of the camera's center) and its direction (degrees) in the first view's frame. field_of_view
    (degrees) of every view.
    """
    scale = _scales(prediction.depth, truth.depth, mask)
    aligned = prediction.depth * scale[:, None, None, None]
    rotation, translation, direction = _pose_errors(prediction.extrinsics, truth.extrinsics)
    angle = np.degrees(np.abs(prediction.fields_of_view - truth.fields_of_view)).mean(axis=-1)
    report: dict[str, Any] = {}
    for slot, view in enumerate(views):
        true, where = truth.depth[:, slot], mask[:, slot]
        report[view] = {
            "depth": _depth_errors(prediction.depth[:, slot], true, where),
            "depth_aligned": _depth_errors(aligned[:, slot], true, where),
            "field_of_view_deg": _rounded(angle[:, slot].mean()),
        }
        if slot:
            report[view]["camera"] = {
                "rotation_deg": _rounded(rotation[:, slot].mean()),
                "rotation_deg_median": _rounded(np.median(rotation[:, slot])),
                "translation_m": _rounded(translation[:, slot].mean()),
                "translation_m_median": _rounded(np.median(translation[:, slot])),
                "direction_deg": _rounded(direction[:, slot].mean()),
            }
    return report


def constant(truth: ViewGeometry, mask: NDArray[np.bool_]) -> ViewGeometry:
    """A yardstick, the best guess that looks at nothing: each view's mean depth and camera, of these very samples."""
    count = len(truth.depth)
    depth = (truth.depth * mask).sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    depth = np.where(depth > 0, depth, depth[depth > 0].mean())
    u, _, v = np.linalg.svd(truth.extrinsics[..., :3].mean(axis=0))
    flip = np.ones((len(u), 1, 3))
    flip[..., 0, 2] = np.linalg.det(u @ v)
    rotation = (u * flip) @ v
    center = _centers(truth.extrinsics).mean(axis=0)
    translation = -np.einsum("vij,vj->vi", rotation, center)
    extrinsics = np.concatenate([rotation, translation[..., None]], axis=-1)

    def repeated(value: NDArray[np.float64]) -> Array:
        return np.broadcast_to(value.astype(np.float32), (count, *value.shape))

    return ViewGeometry(repeated(depth), repeated(extrinsics), repeated(truth.fields_of_view.mean(axis=0)))


def _compare(checkpoint: Checkpoint, model: VGA, batch: Mapping[str, Any], device: str) -> tuple[Any, ...]:
    size = batch["images"].shape[-2:]
    language = torch.from_numpy(np.stack([checkpoint.encoder.encode(text) for text in batch["instruction"]]))
    proprioception = checkpoint.normalization.proprioception.normalize(batch["proprioception"].double().numpy())
    found = model.predict(
        batch["images"].to(device).float() / 255.0,
        language.to(device),
        torch.from_numpy(proprioception).float().to(device),
    )
    scene = Scene(batch["extrinsics"][..., :3, :], batch["intrinsics"], batch["depth"], batch["depth_mask"])
    true = in_first_camera(scene)
    cameras = found.cameras[-1].float().cpu()
    extrinsics = decode_cameras(cameras, (int(size[0]), int(size[1])))[0]
    fields = encode_cameras(true.extrinsics, true.intrinsics, (int(size[0]), int(size[1])))[..., 7:]
    return (
        batch["images"].numpy(),
        batch["depth_mask"].numpy(),
        ViewGeometry(*(value.numpy() for value in (true.depth, true.extrinsics, fields))),
        ViewGeometry(*(value.numpy() for value in (found.depth.float().cpu(), extrinsics, cameras[..., 7:]))),
    )


def _rows(batch: Mapping[str, Any], which: torch.Tensor) -> dict[str, Any]:
    """The rows of a batch that `which` [B] names."""
    return {
        key: value[which]
        if isinstance(value, torch.Tensor)
        else [item for item, keep in zip(value, which.tolist(), strict=True) if keep]
        for key, value in batch.items()
    }


def _joined(values: Sequence[Any]) -> Any:
    if isinstance(values[0], ViewGeometry):
        return ViewGeometry(*(np.concatenate(parts) for parts in zip(*(vars(v).values() for v in values), strict=True)))
    return np.concatenate(values)


def _scales(prediction: Array, truth: Array, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each sample the median ratio of true to predicted depth; 1 where no depth is known."""
    return np.array(
        [
            np.median(true[known] / found[known]) if known.any() else 1.0
            for found, true, known in zip(prediction, truth, mask, strict=True)
        ]
    )


def _depth_errors(prediction: NDArray[Any], truth: Array, mask: NDArray[np.bool_]) -> dict[str, float | None]:
    """Over all known pixels of a view's samples."""
    found, true = prediction[mask].astype(np.float64), truth[mask].astype(np.float64)
    if not len(true):
        return {"abs_rel": None, "rmse_m": None, "delta_1": None}
    ratio = np.maximum(found / true, true / found)
    return {
        "abs_rel": _rounded((np.abs(found - true) / true).mean()),
        "rmse_m": _rounded(np.sqrt(((found - true) ** 2).mean())),
        "delta_1": _rounded((ratio < DELTA_1).mean()),
    }


def _pose_errors(prediction: Array, truth: Array) -> tuple[NDArray[np.float64], ...]:
    """Rotation (degrees), distance (m) and direction (degrees) of each camera [N, V], relative to its first view."""
    found, true = _relative(prediction), _relative(truth)
    between = np.einsum("nvij,nvkj->nvik", found[..., :3], true[..., :3])
    cosine = (np.trace(between, axis1=-2, axis2=-1) - 1) / 2
    a, b = _centers(found), _centers(true)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    along = (a * b).sum(axis=-1) / np.maximum(lengths, 1e-9)
    return _degrees(cosine), np.linalg.norm(a - b, axis=-1), _degrees(along)


def _relative(extrinsics: Array) -> NDArray[np.float64]:
    """Extrinsics with each sample's first camera as the world, also where the first one is not the identity."""
    rotation, translation = extrinsics[..., :3].astype(np.float64), extrinsics[..., 3:].astype(np.float64)
    turned = rotation @ np.swapaxes(rotation[:, :1], -1, -2)
    return np.concatenate([turned, translation - turned @ translation[:, :1]], axis=-1)


def _centers(extrinsics: NDArray[Any]) -> NDArray[np.float64]:
    """Optical centers: the inverse of [R | t] takes the origin to -Rᵀ t."""
    return -np.einsum("...ji,...j->...i", extrinsics[..., :3], extrinsics[..., 3])


def _degrees(cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _rounded(value: Any) -> float:
    return round(float(value), 4)
