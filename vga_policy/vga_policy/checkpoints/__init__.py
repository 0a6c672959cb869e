"""The trained policies that vga_policy ships: a directory each, named as the policy is."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def shipped() -> list[str]:
    """Their names."""
    return sorted(path.parent.name for path in HERE.glob("*/config.json"))


def locate(checkpoint: str | Path) -> Path:
    """The directory meant by a path, or by the name of a shipped policy where no such path exists.

    Whether it exists is for its reader to say.
    """
    path = Path(checkpoint)
    return HERE / path if str(path) in shipped() and not path.exists() else path
