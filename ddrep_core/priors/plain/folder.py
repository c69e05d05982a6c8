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

WRITTEN_FOR = {
    "unet/config.json": "0cba77a4a2b69d44d3abbc62d009ac04fa8814c71c6a086e8b939f3c3f5f0bd1",
    "controlnet/config.json": "39ea08ca62facd8f8e392b2e7d47633d2b9aca9dca29c7c58109798b677962b6",
    "vae/config.json": "936d7e8bd874dd0d1c0c31c80329be39977a0b7530f1a887b3d6ac182676737d",
    "text_encoder/config.json": "c2eb08d9233328c648840176ec25fbefbf72b2ef7fea534a3d6f92e455c425d3",
    "tokenizer/tokenizer.json": "c1353889884368c4bd844e1bc5e07071e4b7cb22857e68babb0a6606e52bb00a",
    "tokenizer/tokenizer_config.json": "e67929d2d8708b8de7b5ce2bbee75a01c98468a5365791893232378db26739fe",
}
"""The SHA-256 of the files that say how the parts are built."""


def is_plain(checksums: Mapping[str, str]) -> bool:
    """Whether a model is built as the classes here have it; by its files' SHA-256, which have been compared."""
    return WRITTEN_FOR.items() <= checksums.items()


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
