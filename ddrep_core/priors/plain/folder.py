"""The bundled prior's folder, read without diffusers and transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ddrep_core.priors.model_files import read_weights
from ddrep_core.priors.model_folder import ModelFolder
from ddrep_core.priors.plain.autoencoder import PlainAutoencoder
from ddrep_core.priors.plain.clip import PlainTextModel, PlainTokenizer
from ddrep_core.priors.plain.network import Network, filled
from ddrep_core.priors.plain.unet import PlainControlNet, PlainUNet

KINDS: dict[str, Callable[[Mapping[str, Any]], Network]] = {
    "unet": PlainUNet,
    "controlnet": PlainControlNet,
    "vae": PlainAutoencoder,
    "text_encoder": PlainTextModel,
}


class PlainFolder(ModelFolder):
    """A `ModelFolder` whose parts have been compared with their checksums, and are of the kinds that stand here."""

    def tokenizer(self, part: str) -> Any:
        return PlainTokenizer(self.path / part)

    def network(self, part: str, dtype: torch.dtype) -> Any:
        weights = read_weights(self.files.weight_files(part, half=True), None, self.name)
        with torch.device("meta"):  # no memory and no random numbers for what is read anyway
            network = KINDS[part](self.config(part))
        return filled(network, {name.removeprefix("text_model."): each for name, each in weights.items()}, dtype)

    def controlnet(self, dtype: torch.dtype) -> Any | None:
        return self.network("controlnet", dtype)
