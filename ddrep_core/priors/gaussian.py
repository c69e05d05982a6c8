"""Exact Gaussian priors and mixtures of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.priors.exact import ArrayLike, ExactConditioning, ExactPrior, floating

ImageShape = tuple[int, int, int]


class _Covariances:
    """Covariances floor·I + U diag(values) Uᵀ, one for each bank and mode (a leading size of 1 is shared by all).

    U [V, K, D, R] has orthonormal columns; None stands for the axes themselves (a diagonal matrix, R = D or 1).
    floor [V, K, 1], values [V, K, R]. Any function of Σ is a function of its eigenvalues, so Σ is never inverted.
    """

    def __init__(self, values: Tensor, vectors: Tensor | None = None, floor: Tensor | None = None) -> None:
        self.values = values
        self.vectors = vectors
        self.floor = torch.zeros_like(values[..., :1]) if floor is None else floor

    @classmethod
    def parse(
        cls, covariances: Tensor, banks: int, modes: int, size: int, means_shape: tuple[int, ...]
    ) -> _Covariances:
        """Read scalar, [K], diagonal [K, D], full [K, D, D], each with [V] in front where it differs by view."""
        shape = tuple(covariances.shape)
        if shape in ((), (1,), (modes,)):
            return cls(covariances.expand(modes).reshape(1, modes, 1))
        if shape == means_shape:  # diagonal, shaped like the means
            return cls(covariances.reshape(-1, modes, size))
        if shape in ((modes, size), (banks, modes, size)):
            return cls(covariances.reshape(-1, modes, size))
        if shape in ((modes, size, size), (banks, modes, size, size)):
            full = covariances.reshape(-1, modes, size, size)
            if not torch.allclose(full, full.mT, rtol=1e-5, atol=1e-6 * float(full.abs().max())):
                raise RequestError("A covariance matrix must be symmetric.")
            values, vectors = torch.linalg.eigh((full + full.mT) / 2)
            # Rounding leaves eigenvalues of a singular matrix a little below zero; anything more is a mistake.
            if float(values.min()) < -1e-5 * float(values.abs().max()):
                raise RequestError("A covariance matrix has a negative eigenvalue.")
            return cls(values.clamp_min(0.0), vectors)
        raise RequestError(
            f"Covariances of shape {shape} do not fit {modes} means of {size} numbers.",
            "Give a number, [K], [K, D] or [K, D, D].",
        )

    @classmethod
    def low_rank(cls, factors: Tensor, floor: Tensor, banks: int, modes: int, size: int) -> _Covariances:
        """Σ = floor·I + F Fᵀ from factors [D, R], [K, D, R] or [V, K or 1, D, R]."""
        factors = factors.reshape((1,) * (4 - factors.ndim) + tuple(factors.shape))
        if factors.shape[0] not in (1, banks) or factors.shape[1] not in (1, modes) or factors.shape[2] != size:
            raise RequestError(f"Factors of shape {tuple(factors.shape)} do not fit {modes} means of {size} numbers.")
        if floor.ndim > 1 or floor.numel() not in (1, modes):
            raise RequestError("With factors, the covariances must be one variance, or one a mean.")
        vectors, singular, _ = torch.linalg.svd(factors, full_matrices=False)
        return cls(singular.square(), vectors, floor.expand(modes).reshape(1, modes, 1))


class GaussianMixturePrior(ExactPrior):
    """p(x0) = Σ_k weight_k N(mean_k, covariance_k), denoised in closed form.

    Args:
        means: [K, C, h, w] or [K, D]; with a bank for each view, [V, K, C, h, w] or [V, K, D].
        covariances: one variance; [K] variances; diagonals [K, D] (or shaped like the means); full [K, D, D]. The last
            two may have [V] in front.
        weights: [K] shares of the modes, normalised here; equal when not given.
        factors: [D, R], [K, D, R] or [V, K or 1, D, R]: covariance_k = covariances_k I + F Fᵀ. A colour that all
            pixels share, with variance τ², is a factor of rank 3: τ at the pixels of each channel.
        image_shape: (C, h, w) of flat means; (1, 1, D) when not given.
        sigmas: [L] noise levels, descending.

    A bank for each view: view v's denoiser knows only its own means. `conditioning[[3, 0, 5]]` says which.

    Raises:
        RequestError: shapes that do not fit, a negative variance, weights that are not positive.
    """

    def __init__(
        self,
        means: ArrayLike,
        covariances: ArrayLike = 0.0,
        weights: ArrayLike | None = None,
        *,
        factors: ArrayLike | None = None,
        image_shape: ImageShape | None = None,
        sigmas: ArrayLike | None = None,
    ) -> None:
        means = floating(means)
        means = means[:, None] if means.ndim == 1 else means
        if means.ndim not in (2, 3, 4, 5) or 0 in means.shape:
            raise RequestError(f"Means must be [K, C, h, w] or [V, K, C, h, w], not {tuple(means.shape)}.")
        banked = means.ndim in (3, 5)
        modes = means.shape[1] if banked else means.shape[0]
        shape = image_shape or (1, 1, means.shape[-1])
        if means.ndim >= 4:
            shape = (means.shape[-3], means.shape[-2], means.shape[-1])
        size = math.prod(shape)
        if means.ndim < 4 and means.shape[-1] != size:
            raise RequestError(f"Means of {means.shape[-1]} numbers do not have the shape {shape}.")
        super().__init__(shape, len(means) if banked else None, means.dtype, means.device, sigmas)

        self._means = means.reshape(-1, modes, size)  # [V or 1, K, D]
        variances, banks = floating(covariances, means), len(self._means)
        if factors is None:
            self._covariances = _Covariances.parse(variances, banks, modes, size, tuple(means.shape))
        else:
            self._covariances = _Covariances.low_rank(floating(factors, means), variances, banks, modes, size)
        if bool((self._covariances.values < 0).any()) or bool((self._covariances.floor < 0).any()):
            raise RequestError("A variance is negative.")

        shares = torch.ones(modes).to(means) if weights is None else floating(weights, means)
        if shares.shape != (modes,) or not bool((shares >= 0).all()) or not float(shares.sum()) > 0:
            raise RequestError(f"Weights must be {modes} numbers, none negative, not all zero.")
        self._log_shares = (shares / shares.sum()).log()

    @property
    def _numbers_a_row(self) -> int:
        factor = 0 if self._covariances.vectors is None else self._covariances.vectors[0].numel()
        return self._means[0].numel() + (factor if self.bank_count else 0)

    def mode_probabilities(self, x: Tensor, sigma: float | Tensor, conditioning: ExactConditioning) -> Tensor:
        """[B, K] how likely each mode is to have made x [B, C, h, w] at σ."""
        rows = x.reshape(len(x), -1).to(self.device, self.dtype)
        level = torch.as_tensor(sigma, dtype=self.dtype, device=self.device).reshape(-1, 1).expand(len(x), 1)
        residual, projected = self._residuals(rows, conditioning)
        return self._responsibilities(residual, projected, level, conditioning).to(x)

    def _residuals(self, x: Tensor, conditioning: ExactConditioning) -> tuple[Tensor, Tensor | None]:
        """x − mean_k, [B, K, D], and its coordinates along the eigenvectors, [B, K, R]."""
        residual = x[:, None] - self._banked(self._means, conditioning)
        if self._covariances.vectors is None:
            return residual, None
        vectors = self._banked(self._covariances.vectors, conditioning)
        return residual, torch.einsum("bkd,bkdr->bkr", residual, vectors)

    def _responsibilities(
        self, residual: Tensor, projected: Tensor | None, sigma: Tensor, conditioning: ExactConditioning
    ) -> Tensor:
        """[B, K] softmax over modes of log weight_k + log N(x; mean_k, Σ_k + σ² I)."""
        variance = sigma[:, None].square()  # [B, 1, 1]
        values = self._banked(self._covariances.values, conditioning)
        floor = self._banked(self._covariances.floor, conditioning)
        # log det(Σ + σ²) up to a constant common to all modes, in a form that is finite at every σ up to ∞
        near, far = 1 / (1 + variance), 1 / (1 + 1 / variance)

        def log_volume(eigenvalues: Tensor) -> Tensor:
            return (eigenvalues * near + far).log()

        size = residual.shape[-1]
        if projected is None:
            total = values + floor
            distance = (residual.square() / (total + variance)).sum(-1)
            volume = log_volume(total).sum(-1) * (size / total.shape[-1])
        else:
            total = values + floor
            inside = projected.square()
            outside = (residual.square().sum(-1) - inside.sum(-1)).clamp_min(0.0)
            distance = (inside / (total + variance)).sum(-1)
            volume = log_volume(total).sum(-1)
            rest = size - total.shape[-1]
            if rest:
                distance = distance + outside / (floor + variance)[..., 0]
                volume = volume + rest * log_volume(floor)[..., 0]
        return (self._log_shares - 0.5 * (distance + volume)).softmax(-1)

    def _posterior(
        self, x: Tensor, sigma: Tensor, conditioning: ExactConditioning, gain: Callable[[Tensor], Tensor], means: bool
    ) -> Tensor:
        """Σ_k r_k (mean_k + gain(Σ_k) (x − mean_k)), [B, D]; without the first term where `means` is false."""
        residual, projected = self._residuals(x, conditioning)
        shares = self._responsibilities(residual, projected, sigma, conditioning)
        values = self._banked(self._covariances.values, conditioning)
        floor = self._banked(self._covariances.floor, conditioning)
        if projected is None or self._covariances.vectors is None:
            moved = gain(values + floor) * residual
        else:
            vectors = self._banked(self._covariances.vectors, conditioning)
            moved = torch.einsum("bkr,bkdr->bkd", (gain(values + floor) - gain(floor)) * projected, vectors)
            moved = moved + gain(floor) * residual
        if means:
            moved = moved + self._banked(self._means, conditioning)
        return torch.einsum("bk,bkd->bd", shares, moved)

    def _clean(self, x: Tensor, sigma: Tensor, conditioning: ExactConditioning) -> Tensor:
        variance = sigma[:, None].square()
        return self._posterior(x, sigma, conditioning, lambda v: v / (v + variance), means=True)

    def _noise(self, x: Tensor, sigma: Tensor, conditioning: ExactConditioning) -> Tensor:
        # Not (x − x̂0)/σ: that loses digits where σ is small beside x.
        level = sigma[:, None]
        noise = self._posterior(x, sigma, conditioning, lambda v: level / (v + level.square()), means=False)
        return torch.where(sigma.isinf(), x, noise)


class GaussianPrior(GaussianMixturePrior):
    """p(x0) = N(mean, covariance): x̂0 = mean + Σ (Σ + σ²)⁻¹ (x − mean).

    Args:
        mean: [C, h, w] or [D].
        covariance: one variance, a diagonal [D] (or shaped like the mean), or a full matrix [D, D].
        image_shape: (C, h, w) of a flat mean; (1, 1, D) when not given.
        sigmas: [L] noise levels, descending.

    Raises:
        RequestError: shapes that do not fit, a matrix that is not symmetric or has a negative eigenvalue.
    """

    def __init__(
        self,
        mean: ArrayLike,
        covariance: ArrayLike = 1.0,
        *,
        image_shape: ImageShape | None = None,
        sigmas: ArrayLike | None = None,
    ) -> None:
        mean = floating(mean)
        if mean.ndim not in (1, 3):
            raise RequestError(f"A mean must be [C, h, w] or [D], not {tuple(mean.shape)}.")
        covariance = floating(covariance, mean)
        if covariance.ndim:
            covariance = covariance[None]
        super().__init__(mean[None], covariance, image_shape=image_shape, sigmas=sigmas)
