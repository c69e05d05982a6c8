"""A small denoiser of objects: from pictures, clean or under noise, to a radiance field.

An object's field is made as 8 × 8 tokens, each a column of it that runs away from view 0: so what view 0 shows at a
place belongs to the token there, and what the left and the right show in a row of pixels to that row's tokens. At the
end every voxel looks up what view 0 shows where it sees it, if that is clean: matter is only where it does not see past
it, and a voxel's colour is a mixture of the network's own and of the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddrep_core.diffreps.voxel_nerf import voxel_centres
from ddrep_core.errors import RequestError
from ddrep_core.forward_models.field import laid_into_space
from ddrep_core.forward_models.rig import SHOWN, rig_views

TOKENS = 8  # a side
LARGEST = 1024
CONTEXT = 16  # channels of what view 0 shows, pixel by pixel
DEVIATION = 0.25  # of what is seen, where something is seen
DENSITY_SCALE, COLOUR_SCALE = 8.0, 0.5
BLOB_DENSITY, BLOB_RADIUS = 3.0, 0.8
CARVED = 0.04  # the coverage at and below which a clean view is taken to see past an object


@dataclass(frozen=True)
class ObjectNetworkShape:
    """What a network is built of.

    Attributes:
        size: of pictures.
        grid: R, of the field.
        width, blocks, heads: of the transformer.
        fine: channels of what is made of the tokens at the field's own fineness.
    """

    size: int = 32
    grid: int = 24
    width: int = 144
    blocks: int = 4
    heads: int = 4
    fine: int = 40


class ObjectNetwork(nn.Module):
    """A `SignalDenoiser`: fields [B, 4, R, R, R] from the rig's views. It looks at the first `SHOWN` of them alone.

    Raises:
        RequestError: pictures or a field that do not divide into tokens.
    """

    blob: Tensor

    def __init__(self, shape: ObjectNetworkShape) -> None:
        super().__init__()
        numbers = (shape.size, shape.grid, shape.width, shape.blocks, shape.heads, shape.fine)
        whole = all(isinstance(number, int) and 1 <= number <= LARGEST for number in numbers)
        if not whole or shape.size % TOKENS or shape.grid % TOKENS or shape.width % shape.heads:
            raise RequestError(f"A network of {shape} is not possible.", f"Sizes must be multiples of {TOKENS}.")
        self.shape = shape
        size, grid, width, fine = shape.size, shape.grid, shape.width, shape.fine
        self.patch, self.cells = size // TOKENS, grid // TOKENS
        self.lay = laid_into_space(rig_views(size)[0], size, grid)
        distance = voxel_centres(grid, 1.0).norm(dim=-1).reshape(-1)
        self.register_buffer("blob", BLOB_DENSITY * (1 - distance / BLOB_RADIUS).clamp_min(-2), persistent=False)
        across, along = 4 * self.patch**2, 4 * self.patch * size
        self.embed = nn.ModuleList(
            nn.Sequential(nn.Linear(along if view % 2 else across, width), nn.SiLU(), nn.Linear(width, width))
            for view in range(SHOWN)
        )
        self.place = nn.Parameter(0.02 * torch.randn(TOKENS**2, width))
        self.told = nn.Sequential(nn.Linear(3 * SHOWN, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.body = nn.ModuleList(Block(width, shape.heads) for _ in range(shape.blocks))
        self.end = nn.LayerNorm(width)
        self.finer = nn.Linear(width, fine * self.cells**2)
        self.picture = nn.Conv2d(4, CONTEXT, 3, padding=1)
        self.join = nn.Conv2d(fine + CONTEXT, fine, 3, padding=1)
        self.head = nn.Conv2d(fine, 5 * grid, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, seen: Tensor, levels: Tensor) -> Tensor:
        """As `SignalDenoiser`; views beyond the first `SHOWN` are passed over."""
        seen, levels = seen[:, :SHOWN], levels[:, :SHOWN]
        grid, patch = self.shape.grid, self.patch
        there = (~levels.isinf()).to(seen)
        level = torch.where(levels.isinf(), 1.0, levels).to(seen)
        clean = (levels == 0).to(seen)
        scaled = seen * (there / (level**2 + DEVIATION**2).sqrt())[:, :, None, None, None]
        told = self.told(torch.cat([there, clean, there * level.clamp_min(1e-3).log() / 4], 1))
        tokens = self.place + self.embed[0](_patches(scaled[:, 0], patch))
        tokens = tokens + self.embed[2](_patches(scaled[:, 2].flip(-1), patch))
        for view, rows in ((1, scaled[:, 1]), (3, scaled[:, 3].flip(-1))):
            beside = rows.unflatten(2, (TOKENS, patch)).movedim(2, 1).flatten(2)  # [B, 8, 4 patch size]
            tokens = tokens + self.embed[view](beside).repeat_interleave(TOKENS, 1)
        for block in self.body:
            tokens = block(tokens, told)
        x = functional.pixel_shuffle(self.finer(self.end(tokens)).mT.unflatten(2, (TOKENS, TOKENS)), self.cells)
        context = functional.silu(self.picture(scaled[:, 0] * clean[:, :1, None, None]))
        context = functional.interpolate(context, (grid, grid), mode="bilinear", align_corners=False)
        x = functional.silu(self.join(torch.cat([x, context], 1)))
        raw = self.head(x).unflatten(1, (-1, grid)).flip(3).transpose(2, 3)  # [B, 5, z, y, x]; rows count down
        return self._field(raw.flatten(2), seen[:, 0], clean[:, :1]).unflatten(2, (grid,) * 3)

    def _field(self, raw: Tensor, shown: Tensor, clean: Tensor) -> Tensor:
        """[B, 4, R³] from what the network says of each voxel, [B, 5, R³], and what view 0 shows there if it is clean.

        Args:
            shown: [B, 4, h, w] view 0.
            clean: [B, 1].
        """
        density = functional.softplus(DENSITY_SCALE * raw[:, :1] + self.blob)
        colours = COLOUR_SCALE * raw[:, 1:4]
        with torch.no_grad():
            colour = shown[:, :3] / shown[:, 3:].clamp_min(0.1)
            reach = ((functional.max_pool2d(shown[:, 3:], 3, 1, 1) - CARVED) / 0.2).clamp(0, 1)
            rows = torch.cat([colour, reach], 1).flatten(2).permute(2, 0, 1).flatten(1).contiguous()
            laid = (self.lay @ rows).view(-1, len(shown), 4).permute(1, 2, 0)
        density = density * torch.lerp(torch.ones_like(laid[:, 3:]), laid[:, 3:], clean[:, None])
        share = torch.sigmoid(raw[:, 4:5] + 1.0) * clean[:, None]
        return torch.cat([density, torch.lerp(colours, laid[:, :3], share)], 1)


class Block(nn.Module):
    """Attention and a perceptron, both told the levels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.told = nn.Linear(width, 4 * width)
        self.first, self.second = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attend, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        for last in (self.told, self.join, self.fall):
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        a, b, c, d = self.told(told)[:, None].chunk(4, 2)
        queries, keys, values = self.attend(self.first(x) * (1 + a) + b).unflatten(2, (3, self.heads, -1)).unbind(2)
        queries, keys, values = (each.transpose(1, 2) for each in (queries, keys, values))
        met = functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        x = x + self.join(met)
        return x + self.fall(functional.silu(self.rise(self.second(x) * (1 + c) + d)))


def _patches(pictures: Tensor, side: int) -> Tensor:
    """[B, 8 · 8, C side²] of pictures [B, C, h, w], row by row."""
    return functional.unfold(pictures, side, stride=side).mT
