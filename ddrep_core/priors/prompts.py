"""From words to what a network listens to: the text encoders of each model family, with a memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from ddrep_core.errors import DdrepWarning

TextStyle: TypeAlias = Literal["sd", "sdxl", "sd3", "flux", "pixart"]

T5_LENGTH = 256
"""Tokens of SD3's third encoder, as in diffusers' pipeline (the model was trained with up to 256); of FLUX.1 schnell's
second, too."""

LONG_T5_LENGTH = 512
"""Tokens of FLUX.1 dev's second encoder."""


PIXART_LENGTH = 300
"""Tokens of PixArt-Σ's encoder."""


@dataclass(frozen=True)
class TextEmbedding:
    """What a network is told about one or more texts.

    Args:
        tokens: [T, N, D] one vector a token.
        pooled: [T, P] one vector a text, for the families that use it.
        mask: [T, N] 1 for a token of the text, 0 for what fills up, for the families that leave that out.
    """

    tokens: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def __getitem__(self, rows: Tensor | slice) -> TextEmbedding:
        return self._each(lambda tensor: tensor[rows])

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> TextEmbedding:
        """On another device, in another precision."""
        return self._each(lambda tensor: tensor.to(device, dtype))

    def _each(self, change: Callable[[Tensor], Tensor]) -> TextEmbedding:
        pooled = None if self.pooled is None else change(self.pooled)
        return TextEmbedding(change(self.tokens), pooled, None if self.mask is None else change(self.mask))

    @staticmethod
    def stack(embeddings: Sequence[TextEmbedding]) -> TextEmbedding:
        """Several texts after one another."""
        pooled = [embedding.pooled for embedding in embeddings if embedding.pooled is not None]
        masks = [embedding.mask for embedding in embeddings if embedding.mask is not None]
        return TextEmbedding(
            torch.cat([e.tokens for e in embeddings]),
            torch.cat(pooled) if pooled else None,
            torch.cat(masks) if masks else None,
        )


class TextEncoder:
    """One tokenizer and the encoder that belongs to it."""

    def __init__(self, tokenizer: Any, model: Any, length: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.model = model.eval().requires_grad_(False)
        positions = getattr(model.config, "max_position_embeddings", None)
        stated = int(min(tokenizer.model_max_length, positions or tokenizer.model_max_length))
        self.length = length or stated

    def tokens(self, text: str) -> tuple[Tensor, str]:
        """Token ids [1, N] and the end of the text that did not fit."""
        every = self.tokenizer(text, add_special_tokens=True, truncation=False, verbose=False)["input_ids"]
        fitted = self.tokenizer(
            text, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )["input_ids"]
        # The last token ends the text, cut or not.
        lost = every[self.length - 1 : -1] if len(every) > self.length else []
        return fitted, self.tokenizer.decode(lost, skip_special_tokens=True).strip() if lost else ""


class PromptEncoder:
    """Encodes prompts as a family's own pipeline does, and remembers them.

    Args:
        style: "sd": one CLIP encoder, its last layer. "sdxl": two CLIP encoders (the first optional), their last
            layers but one side by side, the second's pooled vector. "sd3": the same with both pooled vectors, padded to
            the width of a T5 encoder's tokens, which follow (zeros where there is no T5). "flux": a T5 encoder's
            tokens, and CLIP's pooled vector. "pixart": a T5 encoder's tokens of the text in small letters, of which
            those that fill up are left out.
        encoders: in the order of the pipeline.
        device: where they run. They stay in main memory otherwise, for they are large and used once.
        dtype: of the embeddings.
        joint_width: D of SD3's tokens.
        zero_empty_negative: tell the network nothing at all (zeros) for an empty negative prompt, as SDXL was trained.
    """

    def __init__(
        self,
        style: TextStyle,
        encoders: Sequence[TextEncoder],
        device: torch.device,
        dtype: torch.dtype,
        joint_width: int | None = None,
        zero_empty_negative: bool = False,
    ) -> None:
        self.style = style
        self.encoders = list(encoders)
        self.device = device
        self.dtype = dtype
        self.joint_width = joint_width
        self.zero_empty_negative = zero_empty_negative
        self._known: dict[str, TextEmbedding] = {}

    def __call__(self, text: str, negative: bool = False) -> TextEmbedding:
        """The embedding of one text, [1, N, D]. Warns (`DdrepWarning`) when the end of the text does not fit."""
        if negative and not text.strip() and self.zero_empty_negative:
            shape = self("")
            pooled = None if shape.pooled is None else torch.zeros_like(shape.pooled)
            return TextEmbedding(torch.zeros_like(shape.tokens), pooled)
        if text not in self._known:
            self._known[text] = self._encode(text)
        return self._known[text]

    def to(self, device: torch.device) -> None:
        """Run elsewhere from now on; what is remembered moves along."""
        self.device = device
        self._known = {text: embedding.to(device) for text, embedding in self._known.items()}

    def _encode(self, text: str) -> TextEmbedding:
        if self.style == "pixart":
            text = text.lower().strip()
        ids, lost = zip(*(encoder.tokens(text) for encoder in self.encoders), strict=True)
        # Encoders differ in how much they read; what none of them reads is lost.
        if cut := min(lost, key=len):
            limit = max(encoder.length for encoder in self.encoders)
            warnings.warn(
                f"The prompt is longer than the {limit} tokens that this prior reads. It does not see the end: '{cut}'",
                DdrepWarning,
                stacklevel=2,
            )
        with torch.no_grad():
            outputs = [self._run(e, tokens) for e, tokens in zip(self.encoders, ids, strict=True)]
            embedding = self._join(outputs)
        if self.style == "pixart":
            embedding = replace(embedding, mask=self._of_the_text(ids[0]))
        return embedding.to(self.device, self.dtype)

    def _of_the_text(self, ids: Tensor) -> Tensor:
        """[1, N] 1 for a token of the text, 0 for what fills up."""
        return (ids != self.encoders[0].tokenizer.pad_token_id).long()

    def _run(self, encoder: TextEncoder, ids: Tensor) -> Any:
        """The encoder's output; an accelerator holds the encoder only meanwhile."""
        told: dict[str, Any] = {"output_hidden_states": True}
        if self.style == "pixart":
            told["attention_mask"] = self._of_the_text(ids)
        try:
            encoder.model.to(self.device)
            here = {key: value.to(self.device) if isinstance(value, Tensor) else value for key, value in told.items()}
            return encoder.model(ids.to(self.device), **here)
        except torch.OutOfMemoryError:
            encoder.model.to("cpu", torch.float32)
            return encoder.model(ids, **told)
        finally:
            if self.device.type != "cpu":
                encoder.model.to("cpu")

    def _join(self, outputs: list[Any]) -> TextEmbedding:
        if self.style in ("sd", "pixart"):
            return TextEmbedding(outputs[0][0])
        if self.style == "flux":
            return TextEmbedding(outputs[1][0].to(self.device), outputs[0].pooler_output)
        clip = outputs[:2]
        tokens = torch.cat([output.hidden_states[-2].to(self.device) for output in clip], dim=-1)
        if self.style == "sdxl":
            return TextEmbedding(tokens, clip[-1][0])
        pooled = torch.cat([output[0].to(self.device) for output in clip], dim=-1)
        width = self.joint_width or tokens.shape[-1]
        tokens = pad(tokens, (0, width - tokens.shape[-1]))
        sentence = outputs[2][0].to(tokens) if len(outputs) > 2 else tokens.new_zeros(1, T5_LENGTH, width)
        return TextEmbedding(torch.cat([tokens, sentence], dim=1), pooled)
