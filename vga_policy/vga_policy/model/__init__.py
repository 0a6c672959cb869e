"""The model: VGGT's backbone and heads, and the policy built on them. No ROS."""

from vga_policy.model.vggt import VGGT, InputError, VGGTConfig
from vga_policy.model.weights import WeightsError, load_vggt

__all__ = ["VGGT", "InputError", "VGGTConfig", "WeightsError", "load_vggt"]
