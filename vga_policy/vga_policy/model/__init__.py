"""The model: VGGT's backbone and heads, and the policy built on them. No ROS."""

from vga_policy.model.vga import VGA, Prediction, VGAConfig
from vga_policy.model.vggt import VGGT, InputError, VGGTConfig
from vga_policy.model.weights.convert import WeightsError, load_vggt

__all__ = [
    "VGA",
    "VGGT",
    "InputError",
    "Prediction",
    "VGAConfig",
    "VGGTConfig",
    "WeightsError",
    "load_vggt",
]
