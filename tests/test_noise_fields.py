"""Noise fields: unit variance at every pixel of every view, whatever is shared."""

from __future__ import annotations

import pytest
import torch

from ddrep_core.errors import RequestError
from ddrep_core.sampling import CommonNoise, MatrixNoise, MixedNoise, ViewNoise

SHAPE = (3, 2, 4, 5)


def surface(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    matrix = torch.rand(3 * 20, 30, generator=generator, dtype=dtype) * (torch.rand(60, 30, generator=generator) < 0.15)
    matrix[7] = 0  # a pixel that looks at nothing
    return matrix


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
def test_every_pixel_has_unit_variance(sparse: bool, share: float | None) -> None:
    matrix = surface().to_sparse_csr() if sparse else surface()
    field = MatrixNoise(matrix, SHAPE)
    noise = field if share is None else MixedNoise(field, ViewNoise(SHAPE), share)
    generator = torch.Generator().manual_seed(0)
    count = 4000
    draws = torch.stack([noise.draw(generator) for _ in range(count)])
    assert draws.shape == (count, *SHAPE)
    # The variance of a variance is 2 / n; five standard errors for 120 pixels.
    assert float((draws.var(0) - 1).abs().max()) < 5 * (2 / count) ** 0.5
    assert float(draws.mean(0).abs().max()) < 5 / count**0.5


def test_pixels_that_look_at_the_same_share_their_noise() -> None:
    eye = torch.eye(20)
    field = MatrixNoise(torch.cat([eye, 3 * eye, eye.roll(1, 0)]), SHAPE)
    first, second, third = field.draw(torch.Generator().manual_seed(1))
    assert torch.allclose(first, second, atol=1e-6)
    assert torch.equal(first.reshape(2, 20).roll(1, 1), third.reshape(2, 20))


def test_channels_may_have_rows_of_their_own() -> None:
    field = MatrixNoise(torch.eye(120), SHAPE)
    expected = torch.randn(120, 1, generator=torch.Generator().manual_seed(4)).reshape(SHAPE)
    assert torch.equal(field.draw(torch.Generator().manual_seed(4)), expected)


def test_a_matrix_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError):
        MatrixNoise(torch.eye(7), SHAPE)
    with pytest.raises(RequestError):
        MixedNoise(ViewNoise(SHAPE), ViewNoise(SHAPE), 1.5)


def test_common_noise_is_white_and_the_same_in_all_views() -> None:
    field = CommonNoise(SHAPE)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([field.draw(generator) for _ in range(4000)])
    assert torch.equal(draws[:, 0], draws[:, 1]) and torch.equal(draws[:, 0], draws[:, 2])
    covariance = draws[:, 0].flatten(1).T.cov()
    assert float((covariance - torch.eye(40)).abs().max()) < 5 * (2 / 4000) ** 0.5
