"""SIRENs: pictures as small networks of sines, defined at every point and therefore at every resolution.

The shape is that of "Diffusing Differentiable Representations" (§4.1): 128 sinusoidal features of the coordinates, then
three layers of width 256 with the sine as activation. The features are random and fixed; the three layers are θ.

The frequency scale decides how well a SIREN can be pulled back to. Measured on 16² and 64² latents with a 1/f spectrum
(`scripts/experiments/siren.py --frequencies`): at 0.6 radians a pixel, Gauss-Newton reaches 50-65 dB in ten
passes, and between the pixels the SIREN still follows a bicubic interpolation; at half of that, hardly 30 dB are
reached, and much above it the network is free to oscillate between the pixels.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ddrep_core.diffreps.linearized import Change
from ddrep_core.errors import RequestError

FEATURES = 128
WIDTH = 256
RADIANS_PER_PIXEL = 0.63 * math.pi / 2
OUTPUT_SPREAD = 9.0
FILE_FORMAT = "ddrep siren 1"
LAYERS = ("hidden_1", "hidden_2", "output")


class SirenDiffrep:
    """f(θ, π): the network at the coordinates of view π's pixels.

    Args:
        coordinates: [V, h, w, D] where each pixel of each view lies; for a picture, D = 2 and the unit square.
        channels: C of what is rendered.
        pixel_pitch: the distance between neighbouring pixels in the coordinates' units; the spread of the features'
            frequencies is `RADIANS_PER_PIXEL` over it. Taken from the coordinates when not given.
        seed: of the fixed features. θ itself is drawn by `reset`.
        output_spread: of the output weights at rest, times √width. Large ones let hidden layers move little, so that J
            stays what it was ("lazy training", Chizat et al. 2019) and one factor of J Jᵀ serves most of a run. Descent
            follows small ones better (0.3).

    Raises:
        RequestError: coordinates of another shape.
    """

    def __init__(
        self,
        coordinates: Tensor,
        channels: int,
        *,
        pixel_pitch: float | None = None,
        features: int = FEATURES,
        width: int = WIDTH,
        seed: int = 0,
        radians_per_pixel: float = RADIANS_PER_PIXEL,
        output_spread: float = OUTPUT_SPREAD,
    ) -> None:
        if coordinates.ndim != 4 or 0 in coordinates.shape:
            raise RequestError(f"A SIREN's coordinates must be [V, h, w, D], not {tuple(coordinates.shape)}.")
        self.coordinates = coordinates.float()
        self.channels, self.output_spread = channels, output_spread
        pitch = pixel_pitch or _pitch(self.coordinates)
        generator = torch.Generator().manual_seed(seed)
        frequencies = torch.randn(coordinates.shape[-1], features, generator=generator) * (radians_per_pixel / pitch)
        self.frequencies = frequencies.to(coordinates.device)  # [D, F]
        self.phases = (torch.rand(features, generator=generator) * 2 * math.pi).to(coordinates.device)  # [F]
        sizes = ((features + 1, width), (width + 1, width), (width + 1, channels))  # the last row is the bias
        self.theta = {
            name: torch.zeros(size, device=coordinates.device) for name, size in zip(LAYERS, sizes, strict=True)
        }
        self.reset(generator)
        self._embedded: Tensor | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.channels, self.coordinates.shape[1], self.coordinates.shape[2]

    @property
    def view_count(self) -> int:
        return self.coordinates.shape[0]

    def parameters(self) -> dict[str, Tensor]:
        return self.theta

    def pixel_weights(self) -> Tensor | None:
        return None

    def reset(self, generator: torch.Generator) -> None:
        """Random layers whose render is exactly zero.

        The last hidden layer's units come in pairs with the same input and opposite output weights: f = 0 everywhere,
        while J has full rank for the first step (pairs part at once, their gradients being opposite).
        """
        features, width = self.frequencies.shape[1], self.theta["hidden_1"].shape[1]

        def uniform(rows: int, columns: int, bound: float) -> Tensor:
            return (torch.rand(rows, columns, generator=generator) * 2 - 1) * bound

        first = torch.cat([uniform(features, width, math.sqrt(1 / features)), uniform(1, width, math.pi)])
        half = width // 2
        second = torch.cat([uniform(width, half, math.sqrt(1 / width)), uniform(1, half, math.pi)])
        output = torch.randn(half, self.channels, generator=generator) * (self.output_spread / math.sqrt(width))
        with torch.no_grad():
            self.theta["hidden_1"].copy_(first)
            self.theta["hidden_2"].copy_(torch.cat([second, second], dim=1))
            self.theta["output"].copy_(torch.cat([output, -output, torch.zeros(1, self.channels)]))

    def render(self, indices: Tensor | None = None) -> Tensor:
        return self._network(self._embedding(indices)).movedim(-1, 1)

    def render_at(self, coordinates: Tensor, chunk: int = 65536) -> Tensor:
        """[..., C] at any points [..., D] of the coordinates' space, in pieces of `chunk` points, without a graph."""
        with torch.no_grad():
            points = coordinates.reshape(-1, coordinates.shape[-1]).to(self.frequencies)
            pieces = [self._network(self._embed(piece)) for piece in points.split(chunk)]
            return torch.cat(pieces).reshape(*coordinates.shape[:-1], self.channels)

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.theta = {name: tensor.detach().clone() for name, tensor in self.theta.items()}
        return twin

    def linearize(self, indices: Tensor | None = None) -> SirenLinearization:
        with torch.no_grad():
            return SirenLinearization(self, self._embedding(indices))

    def apply(self, change: Change) -> None:
        with torch.no_grad():
            for tensor, step in zip(self.theta.values(), change, strict=True):
                tensor.add_(step)

    def save(self, path: str | Path, notes: dict[str, str] | None = None) -> None:
        """Write the network as safetensors: layers, frequencies and phases; `notes` are kept beside them as text."""
        tensors = {**self.theta, "frequencies": self.frequencies, "phases": self.phases}
        # One entry only: safetensors writes several in an order that differs from run to run.
        header = {FILE_FORMAT: json.dumps(notes or {}, sort_keys=True)}
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path, header)

    @classmethod
    def load(cls, path: str | Path, coordinates: Tensor) -> tuple[Self, dict[str, str]]:
        """A saved network over new coordinates [V, h, w, D], and the notes it was saved with.

        Raises:
            RequestError: the file is missing or is not a SIREN of ours, or the coordinates have another dimension.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise RequestError(f"The SIREN {path} cannot be read: {error}.") from error
        if FILE_FORMAT not in header or {*LAYERS, "frequencies", "phases"} - set(tensors):
            raise RequestError(f"{path} holds no SIREN of ddrep.", "Give the .safetensors that `ddrep image` wrote.")
        if coordinates.shape[-1] != tensors["frequencies"].shape[0]:
            raise RequestError(
                f"This SIREN lives in {tensors['frequencies'].shape[0]} dimensions, not {coordinates.shape[-1]}."
            )
        rep = cls(coordinates, tensors["output"].shape[1], pixel_pitch=1.0, width=tensors["hidden_1"].shape[1])
        rep.frequencies = tensors["frequencies"].to(coordinates.device)
        rep.phases = tensors["phases"].to(coordinates.device)
        rep.theta = {name: tensors[name].to(coordinates.device) for name in LAYERS}
        return rep, json.loads(header[FILE_FORMAT])

    def _embed(self, points: Tensor) -> Tensor:
        return torch.sin(points @ self.frequencies + self.phases)

    def _embedding(self, indices: Tensor | None) -> Tensor:
        """[B, h, w, F] the fixed features, computed once for the bank."""
        if self._embedded is None or self._embedded.device != self.coordinates.device:
            self._embedded = self._embed(self.coordinates)
        return self._embedded if indices is None else self._embedded[indices]

    def _network(self, embedded: Tensor) -> Tensor:
        hidden = embedded
        for name in LAYERS[:-1]:
            hidden = torch.sin(hidden @ self.theta[name][:-1] + self.theta[name][-1])
        return hidden @ self.theta["output"][:-1] + self.theta["output"][-1]


class SirenLinearization:
    """J of a SIREN at one θ, by its layers' activations (no graph is kept).

    Pixels are rows [N, ·], N = B * h * w. For layer l with input b (a one appended for the bias) and
    pre-activation z, J δ and Jᵀ v are one forward and one backward sweep; JᵀJ is about Σ over layers of the Kronecker
    product (bᵀb) ⊗ (gᵀg), g the derivative of the outputs by z ("K-FAC", Martens and Grosse 2015, here with the exact
    Gauss-Newton g: there are only C outputs).
    """

    def __init__(self, rep: SirenDiffrep, embedded: Tensor) -> None:
        self.image_shape = embedded.shape[0], embedded.shape[1], embedded.shape[2]  # B, h, w
        first, second, self.output = rep.theta.values()
        self.first, self.second = first.clone(), second.clone()
        self.output = self.output.clone()
        input_1 = embedded.reshape(-1, embedded.shape[-1])
        z_1 = input_1 @ first[:-1] + first[-1]
        input_2 = torch.sin(z_1)
        z_2 = input_2 @ second[:-1] + second[-1]
        input_3 = torch.sin(z_2)
        self.slope_1, self.slope_2 = torch.cos(z_1), torch.cos(z_2)  # [N, W]
        self.inputs = tuple(_with_one(piece) for piece in (input_1, input_2, input_3))  # [N, · + 1]
        self.render = self._to_images(self.inputs[2] @ self.output)
        self._factors: list[tuple[Tensor, Tensor]] | None = None

    def push(self, change: Change) -> Tensor:
        tangent = (self.inputs[0] @ change[0]) * self.slope_1
        tangent = (tangent @ self.second[:-1] + self.inputs[1] @ change[1]) * self.slope_2
        return self._to_images(tangent @ self.output[:-1] + self.inputs[2] @ change[2])

    def pull(self, images: Tensor) -> Change:
        rows = images.movedim(1, -1).reshape(-1, images.shape[1])
        by_z_2 = (rows @ self.output[:-1].T) * self.slope_2
        by_z_1 = (by_z_2 @ self.second[:-1].T) * self.slope_1
        return self.inputs[0].T @ by_z_1, self.inputs[1].T @ by_z_2, self.inputs[2].T @ rows

    def gram(self) -> Tensor:
        pixels, channels = len(self.inputs[0]), self.output.shape[1]
        kernel = self.render.new_zeros(channels, pixels, channels, pixels)
        kernel.diagonal(dim1=0, dim2=2).copy_((self.inputs[2] @ self.inputs[2].T)[:, :, None].expand(-1, -1, channels))
        by_z_2, by_z_1 = self._output_slopes()
        for entered, slopes in ((self.inputs[0], by_z_1), (self.inputs[1], by_z_2)):
            alike = entered @ entered.T
            each = slopes.transpose(0, 1).contiguous()  # [C, N, W]
            for one in range(channels):  # it is symmetric: the lower blocks are enough
                block = (each[one] @ each[: one + 1].flatten(0, 1).T).view(pixels, one + 1, pixels)
                kernel[one, :, : one + 1] += block * alike[:, None]
        for one in range(channels):
            kernel[:one, :, one] = kernel[one, :, :one].permute(1, 2, 0)
        count = self.image_shape[0]
        kernel = kernel.view(channels, count, -1, channels, count, pixels // count)
        return kernel.permute(1, 0, 2, 4, 3, 5).reshape(pixels * channels, pixels * channels)

    def precondition(self, gradient: Change, damping: float) -> Change:
        if self._factors is None:
            self._factors = self._kronecker_factors(damping)
        return tuple(left @ step @ right for (left, right), step in zip(self._factors, gradient, strict=True))

    def _kronecker_factors(self, damping: float) -> list[tuple[Tensor, Tensor]]:
        """Inverses of the two factors of each layer, the damping shared between them (Martens and Grosse, §6.3)."""
        pixels = len(self.inputs[0])
        by_z_2, by_z_1 = self._output_slopes()
        factors = []
        for entered, slopes in zip(self.inputs, (by_z_1, by_z_2, None), strict=True):
            left = entered.T @ entered
            if slopes is None:
                right = torch.eye(self.output.shape[1], dtype=left.dtype, device=left.device)
            else:
                flat = slopes.reshape(-1, slopes.shape[-1])
                right = flat.T @ flat / pixels
            balance = (left.diagonal().mean() / right.diagonal().mean().clamp_min(1e-12)).sqrt().double()
            root = math.sqrt(damping)
            factors.append((_damped_inverse(left, root * balance), _damped_inverse(right, root / balance)))
        return factors

    def _output_slopes(self) -> tuple[Tensor, Tensor]:
        """[N, C, W] the derivatives of each output by z_2 and by z_1."""
        by_z_2 = self.output[:-1].T[None] * self.slope_2[:, None]
        return by_z_2, (by_z_2 @ self.second[:-1].T) * self.slope_1[:, None]

    def _to_images(self, rows: Tensor) -> Tensor:
        return rows.view(*self.image_shape, -1).movedim(-1, 1)


def grid_coordinates(height: int, width: int, aspect: float | None = None) -> Tensor:
    """[h, w, 2] the pixel centres (x, y) of a picture; the shorter side spans [0, 1].

    With `aspect` (width over height) the same picture is drawn with other pixel counts.
    """
    aspect = width / height if aspect is None else aspect
    x_end, y_end = max(aspect, 1.0), max(1 / aspect, 1.0)
    x = (torch.arange(width) + 0.5) / width * x_end
    y = (torch.arange(height) + 0.5) / height * y_end
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def image_siren(
    image_shape: tuple[int, int, int],
    seed: int = 0,
    device: torch.device | str = "cpu",
    output_spread: float = OUTPUT_SPREAD,
) -> SirenDiffrep:
    """One picture of (C, h, w) as a SIREN over the unit square (or a longer one, the shorter side 1)."""
    channels, height, width = image_shape
    coordinates = grid_coordinates(height, width)[None].to(device)
    return SirenDiffrep(coordinates, channels, seed=seed, output_spread=output_spread)


def _pitch(coordinates: Tensor) -> float:
    """The median distance between horizontal or vertical neighbours; 1 where there is a single pixel."""
    steps = [coordinates.diff(dim=axis).norm(dim=-1).flatten() for axis in (1, 2) if coordinates.shape[axis] > 1]
    return float(torch.cat(steps).median()) if steps else 1.0


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)


def _damped_inverse(matrix: Tensor, damping: Tensor) -> Tensor:
    damped = matrix.clone()
    damped.diagonal().add_(damping + 1e-6 * matrix.diagonal().mean().double() + 1e-20)
    return torch.cholesky_inverse(torch.linalg.cholesky_ex(damped).L)
