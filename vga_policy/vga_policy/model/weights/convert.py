"""Reading weights from files, and putting them into a model or saying exactly why not."""

from __future__ import annotations

import math
import pickle
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from vga_policy.model.backbone.aggregator import AggregatorConfig
from vga_policy.model.backbone.dinov2 import DinoV2Config
from vga_policy.model.backbone.patches import LinearPatchesConfig
from vga_policy.model.backbone.vision import VisionConfig
from vga_policy.model.heads.camera_head import CameraHeadConfig
from vga_policy.model.heads.depth_head import DepthHeadConfig
from vga_policy.model.vggt import VGGT, VGGTConfig
from vga_policy.wording import shortened

FILES = ("model.safetensors", "model.pt", "vggt_1B_commercial.pt", "checkpoint.pt")
SKIPPED_HEADS = ("point_head.", "track_head.")
WRAPPERS = ("model", "state_dict", "model_state_dict", "module")  # keys that trainers keep weights under,
PREFIXES = ("model.", "module.", "state_dict.", "model_state_dict.")  # and what else they put before every name
COMPILED = "_orig_mod."  # torch.compile puts it before the names of what it compiled
ROOM = 150  # characters of a message for the names in it
NAME = 100  # characters of the longest


class WeightsError(ValueError):
    """Weights that cannot be used. The message names the file and the first tensors at fault."""


def load_vggt(path: str | Path, config: VGGTConfig | None = None) -> VGGT:
    """VGGT with the weights of a public checkpoint: a `.safetensors` or `.pt` file, or a directory holding one.

    The point and track heads are skipped. Without `config` the model's size is read from the tensors' shapes. Float32,
    on the CPU, in evaluation mode. Raises WeightsError.
    """
    file = find_weights(path)
    tensors = {name: tensor for name, tensor in read_tensors(file).items() if not name.startswith(SKIPPED_HEADS)}
    config = config or infer_config(tensors, file)
    with torch.device("meta"):
        model = config.build()
    check_fit(model.state_dict(), tensors, file)
    model.load_state_dict(tensors, assign=True)
    return model.float().eval()


def find_weights(path: str | Path) -> Path:
    """The weights file `path` names or holds."""
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise WeightsError(f"{path}: no such file or directory")
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"{path}: no policy, run or public weights: it holds none of {', '.join(FILES)}")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Name to tensor, mapped from the file rather than copied where the format allows.

    What trainers wrap weights in is taken off. A `.pt` file is read without running any code it may hold.
    """
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                return plain_names({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise WeightsError(f"{file}: damaged, or a pickle of more than tensors, not opened; {_rescue(file)}") from None
    except Exception as error:  # whatever a damaged file makes torch and safetensors stumble over
        known = file.suffix == ".safetensors" or is_zipfile(file)  # else torch tells of its own arguments
        why = _first_line(error) if known else "neither .safetensors nor what torch.save writes"
        raise WeightsError(f"{file}: truncated, or not a weights file ({why})") from None
    return plain_names(_unwrapped(found, file))


def plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without what wrappers (DDP, torch.compile, trainers) put before the names of all of them."""
    plain = {name.replace(COMPILED, ""): tensor for name, tensor in tensors.items()}
    while prefix := next((each for each in PREFIXES if plain and all(name.startswith(each) for name in plain)), None):
        plain = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
    return plain


def check_fit(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """WeightsError unless tensors have the wanted names and shapes, and nothing but finite numbers."""
    shapes = [
        f"{name} has shape {list(tensors[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    missing = [f"missing {name}" for name in wanted if name not in tensors]
    unexpected = [f"unexpected {name}" for name in tensors if name not in wanted]
    if shapes or missing or unexpected:
        # The first of each kind says more than many of one.
        faults = [*shapes[:1], *missing[:1], *unexpected[:1], *shapes[1:], *missing[1:], *unexpected[1:]]
        raise WeightsError(f"{source}: {len(faults)} tensors do not fit the model: {shown(faults)}")
    check_finite(tensors, source)


def check_finite(tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """WeightsError that names the tensors with NaN or infinity in them."""
    faulty = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if faulty:
        raise WeightsError(f"{source}: {len(faulty)} tensors have NaN or infinity in them: {shown(faulty, 130)}")


def shown(words: Sequence[str], room: int = ROOM) -> str:
    """As many words as there is room for, one at least, and how many more there are."""
    taken = 1
    words = [shortened(word, min(room, NAME)) for word in words]
    while taken < len(words) and len(", ".join(words[: taken + 1])) <= room:
        taken += 1
    return ", ".join(words[:taken]) + (f" and {len(words) - taken} more" if taken < len(words) else "")


def _unwrapped(found: Any, file: Path) -> dict[str, Tensor]:
    """The tensors of what was saved: themselves, or under the key that trainers keep them under."""
    while isinstance(found, Mapping):
        nested = {key: value for key, value in found.items() if isinstance(value, Mapping)}
        inner = next((nested[key] for key in WRAPPERS if key in nested), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping):
        raise WeightsError(f"{file}: expected a mapping from names to tensors, found {type(found).__name__}")
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if nested or not tensors:
        keys = shown([str(key) for key in nested or found]) if found else "none"
        raise WeightsError(f"{file}: no weights below one of the keys {', '.join(WRAPPERS)}; its keys: {keys}")
    return tensors


def _rescue(file: Path) -> str:
    """How to make a file of tensors alone of a pickle."""
    return (
        f"if you trust it: python -c \"import torch; torch.save(torch.load('{file}', weights_only=False)['model'], "
        "'model.pt')\""
    )


def infer_config(tensors: Mapping[str, Tensor], source: str | Path) -> VGGTConfig:
    """The size of the VGGT that `tensors` were made for; where tensors disagree, the most common answer.

    Shapes do not tell the number of heads of blocks without q/k norm: DINOv2 is taken to have 64 channels a head as all
    public sizes have, and the camera head 16 heads as the public model has.
    """

    def common(*places: tuple[str, int]) -> int:
        return _most_common(tensors, places, source)

    def channels(level: int) -> int:
        project = rf"depth_head\.projects\.{level}\.(weight|bias)"
        return common((project, 0), (rf"depth_head\.scratch\.layer{level + 1}_rn\.weight", 1))

    width = common((r"aggregator\.(frame|global)_blocks\.\d+\.norm\d\.weight", 0))
    heads = width // common((r"aggregator\.(frame|global)_blocks\.\d+\.attn\.[qk]_norm\.weight", 0))
    last = r"depth_head\.scratch\.output_conv2"
    return VGGTConfig(
        aggregator=AggregatorConfig(
            width=width,
            depth=_count(tensors, r"aggregator\.frame_blocks\.(\d+)\."),
            heads=heads,
            vision=_infer_vision(tensors, width, heads),
        ),
        camera_head=CameraHeadConfig(
            depth=_count(tensors, r"camera_head\.trunk\.(\d+)\."), heads=math.gcd(16, 2 * width)
        ),
        depth_head=DepthHeadConfig(
            channels=(channels(0), channels(1), channels(2), channels(3)),
            features=common((r"depth_head\.scratch\.refinenet\d\.out_conv\.bias", 0)),
            last=common((rf"{last}\.0\.(weight|bias)", 0), (rf"{last}\.2\.weight", 1)),
        ),
    )


def _infer_vision(tensors: Mapping[str, Tensor], width: int, heads: int) -> VisionConfig:
    if "aggregator.patch_embed.proj.weight" in tensors:
        return LinearPatchesConfig()
    positions = tensors.get("aggregator.patch_embed.pos_embed")
    return DinoV2Config(
        width=width,
        depth=_count(tensors, r"aggregator\.patch_embed\.blocks\.(\d+)\."),
        heads=width // 64 if width % 64 == 0 else heads,
        grid=37 if positions is None else math.isqrt(positions.shape[1] - 1),
    )


def _count(names: Iterable[str], pattern: str) -> int:
    """Number of blocks whose index the pattern captures."""
    return max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=-1) + 1


def _most_common(tensors: Mapping[str, Tensor], places: Iterable[tuple[str, int]], source: str | Path) -> int:
    """The most common size of an axis among the tensors of a name; `places` are patterns of names, and the axis."""
    sizes = Counter(
        tensor.shape[axis]
        for pattern, axis in places
        for name, tensor in tensors.items()
        if re.fullmatch(pattern, name) and tensor.ndim > axis
    )
    if not sizes:
        part = next(iter(places))[0].split(r"\.")[0]
        names = f"its tensors: {shown(list(tensors), 100)}" if tensors else "it has no tensors"
        raise WeightsError(f"{source}: not a VGGT checkpoint: nothing of {part} in it; {names}")
    return sizes.most_common(1)[0][0]


def _first_line(error: Exception) -> str:
    return shortened(str(error).splitlines()[0], ROOM) if str(error).strip() else type(error).__name__
