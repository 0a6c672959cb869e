"""Text encoders: the names that commands offer, and the classes behind them."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from dataclasses import is_dataclass

import numpy as np
import pytest
import vga_policy.text
from vga_policy.names import TEXT_ENCODER_NAMES
from vga_policy.presets.presets import PRESETS
from vga_policy.text.registry import TEXT_ENCODERS
from vga_policy.train.config import PolicyConfig
from vga_policy.train.runs.failure import TrainingError


def test_every_encoder_has_a_name_and_every_name_an_encoder():
    modules = [
        importlib.import_module(f"vga_policy.text.{module.name}")
        for module in pkgutil.iter_modules(vga_policy.text.__path__)
    ]
    encoders = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if is_dataclass(kind) and hasattr(kind, "encode")
    }
    assert tuple(TEXT_ENCODERS.data) == TEXT_ENCODER_NAMES  # without those of packages that other tests asked for
    assert {TEXT_ENCODERS[name] for name in TEXT_ENCODER_NAMES} == encoders
    assert {preset().text_encoder for preset in PRESETS.values()} <= set(TEXT_ENCODER_NAMES)


def test_an_encoder_is_made_by_its_name():
    encoder = TEXT_ENCODERS["hashed_ngrams"]()
    vector = encoder.encode("pick up the cube")
    assert vector.shape == (encoder.width,)
    assert np.linalg.norm(vector) == pytest.approx(1.0)


def test_the_names_need_no_torch():
    code = "import sys, vga_policy.text.registry as r; list(r.TEXT_ENCODERS); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_run_with_an_unknown_encoder_is_refused():
    known = ", ".join(TEXT_ENCODER_NAMES)
    with pytest.raises(TrainingError, match=f"text_encoder 'clip' is unknown; known: {known}"):
        PolicyConfig(data=("episodes",), text_encoder="clip").resolved()
