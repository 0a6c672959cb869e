"""Checkpoints: a directory of config.json, model.safetensors, normalization.json and cell.yaml.

Beside them, instructions.safetensors may have embeddings of instructions by their text, and views/ what the cameras saw
in the training data. A checkpoint that is for no robot's cell has embodiment.json in place of cell.yaml.

Only data is read, never code: pickles are refused.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from vga_policy.cell.compatibility import Contract
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import BEST, CELL, EMBEDDINGS, EMBODIMENT, GEOMETRY, has_contract, locate, no_such
from vga_policy.checkpoints.normalization import Normalization
from vga_policy.embodiment.embodiment import Embodiment, EmbodimentError
from vga_policy.files import whole_directory
from vga_policy.model.config import from_plain, to_plain
from vga_policy.model.rhythm import RhythmicVGAConfig
from vga_policy.model.vga import VGA, VGAConfig
from vga_policy.model.weights.convert import WeightsError, check_finite, plain_names, shown
from vga_policy.model.weights.save import Whole, as_it_is, save_tensors
from vga_policy.objective.lora import merged
from vga_policy.text.encoder import TextEncoder
from vga_policy.text.registry import TEXT_ENCODERS, package_of
from vga_policy.viewpoint.reference import DIRECTORY as VIEWS
from vga_policy.viewpoint.reference import References, ViewpointError
from vga_policy.wording import shortened

FORMAT = 1
CONFIG, WEIGHTS, NORMALIZATION = "config.json", "model.safetensors", "normalization.json"
FILES = CONFIG, WEIGHTS, NORMALIZATION, CELL
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
LINE = 200  # characters of a message, beside the path


MODELS: dict[str, type[Any]] = {"vga": VGAConfig, "rhythmic_vga": RhythmicVGAConfig}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The message names the file and what is wrong."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a policy is made of.

    contract: what it was trained for and acts with. embeddings: float32 [E] of the instructions that it was trained on,
    and of none (""): they need no text encoder. references: what its views looked like; None where nobody kept it.
    """

    config: VGAConfig
    encoder: TextEncoder
    model: VGA
    normalization: Normalization
    contract: Contract
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    references: References | None = None

    @property
    def embodiment(self) -> Embodiment:
        """What it acts with."""
        return self.contract.embodiment

    @property
    def cell(self) -> Cell:
        """The robot's cell that it is for. Raises CheckpointError when it is for none."""
        return robot_cell(self.contract)


def robot_cell(contract: Contract, whose: str = "this policy") -> Cell:
    """The contract of a robot's cell. Raises CheckpointError for any other; `whose` it is begins the message."""
    if not isinstance(contract, Cell):
        raise CheckpointError(
            f"{whose} is for '{contract.name}', not for a robot's cell: give one that was trained in a cell"
        )
    return contract


def save(
    checkpoint: Checkpoint, directory: str | Path, weights: torch.dtype = torch.float32, whole: Whole = as_it_is
) -> None:
    """Writes a checkpoint, low-rank updates merged. It appears whole or not at all.

    weights: precision of its file; it is loaded as float32 all the same. whole: puts its tensors together.
    Raises CheckpointError when something is there already, and ValueError for a number that `weights` cannot hold.
    """
    directory = Path(directory)
    if directory.exists():
        raise CheckpointError(f"{directory}: exists already; checkpoints are never overwritten")
    config = {
        "format": FORMAT,
        "model": _describe(MODELS, checkpoint.config),
        "text_encoder": _described_encoder(checkpoint.encoder),
    }
    with whole_directory(directory) as unfinished:
        (unfinished / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        (unfinished / NORMALIZATION).write_text(json.dumps(checkpoint.normalization.to_json(), indent=2) + "\n")
        contract = checkpoint.contract
        if isinstance(contract, Cell):
            (unfinished / CELL).write_text(dump_cell(contract))
        else:
            (unfinished / EMBODIMENT).write_text(contract.dumped())
        save_tensors(merged(checkpoint.model, whole), unfinished / WEIGHTS, weights, whole)
        if checkpoint.embeddings:
            save_tensors(checkpoint.embeddings, unfinished / EMBEDDINGS)
        if checkpoint.references is not None:
            checkpoint.references.save(unfinished / VIEWS)


def load(directory: str | Path) -> Checkpoint:
    """Reads a checkpoint, as `locate` finds it. Raises CheckpointError naming the file and what is wrong."""
    directory = locate(directory)
    require_files(directory)
    data = _json(directory / CONFIG)
    config, encoder = _parse_config(data, directory / CONFIG)
    shapes = (config.horizon, config.actions), config.proprioception
    try:
        normalization = Normalization.from_json(_json(directory / NORMALIZATION), *shapes)
    except ValueError as error:
        raise CheckpointError(_prefixed(directory / NORMALIZATION, error)) from None
    contract = load_contract(directory)
    _refuse_misfit(config, contract, directory)
    model = _load_model(config, directory)
    embeddings = _load_embeddings(directory, config.language_width)
    try:
        references = References.load(directory / VIEWS)
    except ViewpointError as error:
        raise CheckpointError(str(error)) from None
    return Checkpoint(config, encoder, model, normalization, contract, embeddings, references)


def load_contract(directory: Path) -> Contract:
    """What the policy in a checkpoint's directory is for. Raises CheckpointError."""
    path = directory / EMBODIMENT
    try:
        if (directory / CELL).is_file() or not path.is_file():
            return load_cell(directory / CELL, stored=True)
        return Embodiment.parsed(path.read_text(encoding="utf-8"))
    except CellError as error:
        raise CheckpointError(str(error)) from None
    except EmbodimentError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def _refuse_misfit(config: VGAConfig, contract: Contract, directory: Path) -> None:
    """Raises CheckpointError where the model's sizes are not its contract's."""
    body = contract.embodiment
    wanted = {"horizon": body.horizon, "actions": len(body.actions), "proprioception": len(body.proprioception)}
    for what, size in wanted.items():
        if (found := getattr(config, what)) != size:
            theirs = f"its cell's action.{what}" if isinstance(contract, Cell) else f"{EMBODIMENT}'s"
            raise CheckpointError(f"{directory}: the model's {what} is {found}, {theirs} {size}")


def digest(directory: Path) -> str:
    """Names the weights, so that a result can be told from another training's; empty where there are none."""
    weights = directory / WEIGHTS
    if not weights.is_file():
        return ""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def require_files(directory: Path) -> None:
    """Raises CheckpointError unless the directory has all files of a checkpoint."""
    if directory.suffix in PICKLES:
        raise CheckpointError(_pickle_refusal(directory))
    if not directory.is_dir():
        raise CheckpointError(no_such(directory))
    if (directory / GEOMETRY).is_file():
        raise CheckpointError(f"{directory}: made by vga pretrain, no policy yet: vga train --init {directory}")
    missing = [name for name in FILES if not (directory / name).is_file()]
    if CELL in missing and has_contract(directory):
        missing.remove(CELL)
    pickles = sorted(path for path in directory.iterdir() if path.suffix in PICKLES)
    if WEIGHTS in missing and pickles:
        raise CheckpointError(_pickle_refusal(pickles[0]))
    if len(missing) > 1:
        raise CheckpointError(
            f"{directory}: neither a checkpoint, which has {', '.join(FILES)}, nor a run with one in {BEST}/"
        )
    if missing:
        raise CheckpointError(f"{directory / missing[0]}: missing from the checkpoint")


def _pickle_refusal(path: Path) -> str:
    return (
        f'{path}: pickled weights are refused, they can run code; convert them: python -c "import torch; '
        f"from safetensors.torch import save_file as s; s(torch.load('{path}', weights_only=True), '{WEIGHTS}')\""
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from None


def _parse_config(data: Any, path: Path) -> tuple[VGAConfig, TextEncoder]:
    expected = {"format", "model", "text_encoder"}
    if not isinstance(data, dict) or set(data) != expected:
        raise CheckpointError(f"{path}: expected the keys {', '.join(sorted(expected))}")
    if data["format"] != FORMAT:
        raise CheckpointError(f"{path}: format {data['format']!r} is unknown; this version reads {FORMAT}")
    config = _build("model", MODELS, data["model"], path)
    encoder = _encoder(data["text_encoder"], path)
    if encoder.width != config.language_width:
        raise CheckpointError(
            f"{path}: the text encoder gives {encoder.width} numbers, the model takes {config.language_width}"
        )
    return config, encoder


def _describe(registry: Mapping[str, type[Any]], part: Any) -> dict[str, Any]:
    """A registered dataclass as plain data: its name and its fields."""
    name = next(name for name, kind in registry.items() if type(part) is kind)
    return {"name": name, **to_plain(part)}


def _described_encoder(encoder: TextEncoder) -> dict[str, Any]:
    """As `_describe`; that of another package names the package, for those who do not have it."""
    plain = _describe(TEXT_ENCODERS, encoder)
    package = package_of(plain["name"])
    return {**plain, **({"package": package} if package else {})}


def _encoder(data: Any, path: Path) -> TextEncoder:
    if not isinstance(data, dict) or not isinstance(package := data.get("package"), str):
        return _build("text_encoder", TEXT_ENCODERS, data, path)
    if data.get("name") not in TEXT_ENCODERS:
        raise CheckpointError(
            f"{path}: text_encoder: {data.get('name')!r} is of the package {package}, which is not installed here"
        )
    plain = {key: value for key, value in data.items() if key != "package"}
    return _build("text_encoder", TEXT_ENCODERS, plain, path)


def _build(key: str, registry: Mapping[str, type[Any]], data: Any, path: Path) -> Any:
    """The part that `data` describes."""
    if not isinstance(data, dict) or "name" not in data:
        raise CheckpointError(f"{path}: {key}: expected a mapping with a name (found {data!r})")
    name, arguments = data["name"], {field: value for field, value in data.items() if field != "name"}
    if not isinstance(name, str) or name not in registry:
        raise CheckpointError(f"{path}: {key}: {name!r} is unknown; known: {', '.join(registry)}")
    try:
        return from_plain(registry[name], arguments)
    except ValueError as error:
        raise CheckpointError(f"{path}: {key}: {error}") from None


def _load_model(config: VGAConfig, directory: Path) -> VGA:
    """The model in float32 on the CPU. Nothing is allocated for it before names and shapes are known to fit."""
    path = directory / WEIGHTS
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("error", "Initializing zero-element")  # of a size of 0, which torch takes
            model = config.build()
    except Exception as error:  # ours, or torch's of sizes that no layer has
        raise CheckpointError(f"{directory / CONFIG}: model: {shown([str(error)])}") from None
    try:
        tensors = plain_names(load_file(path))
    except Exception as error:  # whatever a damaged file makes safetensors stumble over
        raise CheckpointError(f"{path}: damaged or truncated: {shown([str(error)])}") from None
    wanted = model.state_dict()
    common = sorted(wanted.keys() & tensors.keys())
    misfits = {
        "missing tensors": sorted(wanted.keys() - tensors.keys()),
        "tensors the model does not have": sorted(tensors.keys() - wanted.keys()),
        "wrong shapes": [
            _mismatch(name, tensors[name], wanted[name]) for name in common if tensors[name].shape != wanted[name].shape
        ],
    }
    if any(misfits.values()):
        raise CheckpointError(f"{path}: {_in_a_line(misfits)}")
    try:
        check_finite(tensors, path)
    except WeightsError as error:
        raise CheckpointError(str(error)) from None
    model.load_state_dict(tensors, assign=True)
    return model.float()


def _load_embeddings(directory: Path, width: int) -> dict[str, Tensor]:
    path = directory / EMBEDDINGS
    if not path.exists():
        return {}
    try:
        embeddings = load_file(path)
    except Exception as error:  # as above
        raise CheckpointError(f"{path}: damaged or truncated: {shown([str(error)])}") from None
    for instruction, embedding in embeddings.items():
        if embedding.shape != (width,) or embedding.dtype != torch.float32 or not embedding.isfinite().all():
            raise CheckpointError(f"{path}: {instruction!r:.80}: expected {width} finite numbers in float32")
    return embeddings


def _mismatch(name: str, found: Tensor, wanted: Tensor) -> str:
    return f"{name} {list(found.shape)} instead of {list(wanted.shape)}"


def _in_a_line(misfits: Mapping[str, list[str]]) -> str:
    """Every kind of misfit with as many names as a line has room for."""
    for room in (150, 75, 36):
        line = "; ".join(f"{what}: {shown(names, room)}" for what, names in misfits.items() if names)
        if len(line) <= LINE:
            break
    return shortened(line, LINE)


def _prefixed(path: Path, error: Exception) -> str:
    message = str(error)
    return message if message.startswith(str(path)) else f"{path}: {message}"
