"""The trained policies that vga_policy ships: a directory each, named as the policy is."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
BEST = "best"  # in the directory of a run: its best checkpoint
CELL, GEOMETRY = "cell.yaml", "geometry.json"  # the one is in a policy's checkpoint, the other in vga pretrain's
EMBEDDINGS = "instructions.safetensors"  # of the instructions that a policy was trained with
EMBODIMENT = "embodiment.json"  # in place of CELL, in the checkpoint of what is no robot's cell


def shipped() -> list[str]:
    """Their names."""
    return sorted(path.parent.name for path in HERE.glob("*/config.json"))


def shipped_for_robots() -> list[str]:
    """Names of those that act in a robot's cell."""
    return [name for name in shipped() if (HERE / name / CELL).is_file()]


def has_contract(directory: Path) -> bool:
    """Whether a directory says what its policy is for, as a checkpoint does."""
    return any((directory / name).is_file() for name in (CELL, EMBODIMENT))


def no_such(checkpoint: str | Path, thing: str = "directory") -> str:
    """In words: there is none of this path or name."""
    return f"{checkpoint}: no such {thing}, nor a shipped policy ({', '.join(shipped())})"


def locate(checkpoint: str | Path) -> Path:
    """The checkpoint meant by the directory of a run (its best), by another path, or by the name of a shipped policy.

    A path goes before a name. Whether there is a checkpoint is for its reader to say.
    """
    path = Path(checkpoint)
    if (path / BEST).exists():
        return path / BEST
    return HERE / path if str(path) in shipped() and not path.exists() else path


def instructions(checkpoint: str | Path) -> list[str]:
    """Those that the checkpoint keeps embeddings of, by any name that `locate` takes; none where it keeps none."""
    from safetensors import SafetensorError, safe_open  # which a robot PC does not have, and needs not

    try:
        with safe_open(locate(checkpoint) / EMBEDDINGS, framework="numpy") as file:
            return sorted(filter(None, file.keys()))
    except (OSError, SafetensorError):
        return []
