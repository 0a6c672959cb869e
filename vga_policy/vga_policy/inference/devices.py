"""What a command's `--device` means on this machine."""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """A device that this machine does not have. The message names the option."""


def usable_device(name: str) -> str:
    """torch's name of a device: of a GPU, where there is one, for auto. Raises DeviceError."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    kind, _, number = name.partition(":")
    if kind == "cuda" and int(number or 0) >= count:
        found = f"{count}, cuda:0 to cuda:{count - 1}" if count else "no GPU"
        raise DeviceError(f"--device {name}: this torch sees {found}; give cpu, or auto")
    return name
