"""CLIP's text encoder and its tokenizer: transformers' `CLIPTextModel` and `CLIPTokenizer`.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from ddrep_core.priors.plain.network import Network

END_OF_WORD = "</w>"


class Embeddings(nn.Module):
    def __init__(self, words: int, length: int, width: int) -> None:
        super().__init__()
        # Not drawn at random: on the meta device torch would import its compiler for that.
        self.token_embedding = nn.Embedding.from_pretrained(torch.empty(words, width))
        self.position_embedding = nn.Embedding.from_pretrained(torch.empty(length, width))

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[-1], device=ids.device)[None]
        return self.token_embedding(ids) + self.position_embedding(places)


class SelfAttention(nn.Module):
    """Of each word to those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            made.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)
            for made in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        scale = query.shape[-1] ** -0.5  # transformers' own; torch's differs in the last bit of a float64
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
        return self.out_proj(found.transpose(1, 2).reshape(x.shape))


class Perceptron(nn.Module):
    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, wide), nn.Linear(wide, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class Layer(nn.Module):
    def __init__(self, width: int, wide: int, heads: int, eps: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.mlp = Perceptron(width, wide)
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Layers(nn.Module):
    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class PlainTextModel(Network):
    """A vector for every word of a text."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        told = self.config
        width, eps = told.hidden_size, told.layer_norm_eps
        self.embeddings = Embeddings(told.vocab_size, told.max_position_embeddings, width)
        self.encoder = Layers(
            [Layer(width, told.intermediate_size, told.num_attention_heads, eps) for _ in range(told.num_hidden_layers)]
        )
        self.final_layer_norm = nn.LayerNorm(width, eps=eps)

    def forward(self, ids: Tensor, output_hidden_states: bool = True) -> tuple[Tensor]:
        """([B, N, D]) of token ids [B, N]: the last layer."""
        return (self.final_layer_norm(self.encoder(self.embeddings(ids))),)


class PlainTokenizer:
    """Words to numbers, and back, by tokenizer.json; the calls are those that ddrep makes of transformers' own.

    Args:
        folder: of the tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.model_max_length: int = told["model_max_length"]
        self.pad_token_id = self._tokenizer.get_vocab()[told["pad_token"]]

    def __call__(
        self,
        text: str,
        add_special_tokens: bool = True,
        padding: str | None = None,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> dict[str, Any]:
        """{"input_ids": numbers, or [1, N]}."""
        ids = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        if truncation and max_length is not None and len(ids) > max_length:
            ids = [*ids[: max_length - 1], ids[-1]]  # the last one ends the text
        if padding == "max_length" and max_length is not None:
            ids = ids + [self.pad_token_id] * (max_length - len(ids))
        return {"input_ids": torch.tensor([ids]) if return_tensors == "pt" else ids}

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text.replace(END_OF_WORD, " ").strip()
