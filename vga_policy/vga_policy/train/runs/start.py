"""Where the weights of a run come from: chance, public weights, pretraining on scenes, or another policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vga_policy.cell.compatibility import Contract, differences
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import GEOMETRY, has_contract, locate, no_such
from vga_policy.checkpoints import checkpoint as checkpoints
from vga_policy.checkpoints.checkpoint import WEIGHTS, CheckpointError
from vga_policy.checkpoints.normalization import Normalization
from vga_policy.model.config import to_plain
from vga_policy.model.vga import VGA
from vga_policy.model.weights.convert import WeightsError, check_fit, read_tensors
from vga_policy.model.weights.initialize import initialize_from_vggt
from vga_policy.model.weights.save import Whole, as_it_is, save_tensors
from vga_policy.train.runs.failure import TrainingError

GEOMETRIC = ("aggregator.", "camera_head.", "depth_head.")


def start_from(model: VGA, path: Path, contract: Contract) -> None:
    """Puts weights into `model`, in place.

    path: a run of `vga train` or `vga pretrain` (its best), a policy's checkpoint or the name of a shipped one, what
    `save_geometry` wrote, or public weights of VGGT.
    Raises TrainingError when they do not fit the model, or were made for another contract.
    """
    path = locate(path)
    if not path.exists():
        raise TrainingError(f"--init {no_such(path, 'file or directory')}")
    try:
        if has_contract(path):
            _from_policy(model, path, contract)
        elif (path / GEOMETRY).is_file():
            load_geometry(model, path)
        else:
            initialize_from_vggt(model, path)
    except (CheckpointError, WeightsError) as error:
        raise TrainingError(f"--init: {error}") from None


def absolute(path: str) -> str:
    """`path` from the root, if there is something at it; else it is a name, as of a shipped policy."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def is_policy(path: Path) -> bool:
    """Whether at `path`, as for `start_from`, is a policy, which has all of its weights."""
    return has_contract(locate(path))


def statistics_of(path: Path, contract: Contract | None = None) -> Normalization | None:
    """The statistics of the policy at `path`, as for `start_from`; None where that is no policy.

    A policy that is trained on keeps them: its weights mean what they mean in these units. Raises TrainingError, also
    where it was made for another contract than `contract`.
    """
    try:
        checkpoint = checkpoints.load(locate(path)) if is_policy(path) else None
    except CheckpointError as error:
        raise TrainingError(f"--init: {error}") from None
    if checkpoint is None:
        return None
    if contract is not None:
        _refuse_other_contract(path, checkpoint.contract, contract)
    return checkpoint.normalization


def save_geometry(model: VGA, directory: Path, about: dict[str, Any], whole: Whole = as_it_is) -> None:
    """Writes what a policy starts from, the backbone and the 3D heads, into an existing directory."""
    state = model.state_dict(keep_vars=True)
    tensors = {name: value for name, value in state.items() if name.startswith(GEOMETRIC)}
    save_tensors(tensors, directory / WEIGHTS, whole=whole)
    (directory / GEOMETRY).write_text(json.dumps({"model": to_plain(model.config), **about}, indent=2) + "\n")


def load_geometry(model: VGA, path: Path) -> None:
    """Puts what `save_geometry` wrote into `model`, in place. Raises WeightsError when it does not fit."""
    tensors = {name: value for name, value in read_tensors(path / WEIGHTS).items() if not _headless(model, name)}
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith(GEOMETRIC)}
    check_fit(wanted, tensors, path)
    model.load_state_dict(tensors, strict=False)


def _from_policy(model: VGA, path: Path, contract: Contract) -> None:
    checkpoint = checkpoints.load(path)
    _refuse_other_contract(path, checkpoint.contract, contract)
    tensors = {name: value for name, value in checkpoint.model.state_dict().items() if not _headless(model, name)}
    check_fit(model.state_dict(), tensors, path)
    model.load_state_dict(tensors)


def _refuse_other_contract(path: Path, made_for: Contract, contract: Contract) -> None:
    if found := differences(contract, made_for):
        kind = "cell" if isinstance(contract, Cell) else "embodiment"
        raise TrainingError(
            f"--init {path}: made for another {kind}: {'; '.join(map(str, found))}; vga export geometry gives its "
            "backbone and 3D heads alone, which any may start from"
        )


def _headless(model: VGA, name: str) -> bool:
    """Whether a tensor belongs to a 3D head that the model was built without."""
    head = name.split(".")[0]
    return head in ("camera_head", "depth_head") and getattr(model, head) is None
