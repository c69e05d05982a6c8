"""A radiance field of which colours alone move: its densities, and what lies behind it, stay.

Where the light is stopped does not change, so a pixel is a weighted mean of colours, f(θ) = Aθ + what shows behind:
such an edit has the exact pull-back of a texture, where a whole field needs descent.
"""

from __future__ import annotations

import torch
from scipy import sparse

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.noise.fields import CommonNoise
from ddrep_core.sparse import torch_csr


class FieldColours(MatrixDiffrep):
    """f(θ, π): the field seen by camera π, in the colours θ [P, C] of the voxels of all its levels.

    Of the changes that show the same, the smallest is made; so coarse levels move with the finest, and with them what
    lies between the rays.

    Args:
        field: what is seen; it is not changed.
    """

    damping = 1e-2
    """A voxel that hardly shows keeps its colour, whatever the pixels that it is a little of should become."""

    def __init__(self, field: VoxelNerfDiffrep) -> None:
        self._field = field.copy()
        with torch.no_grad():
            shares = self._field.shares()
            colours, adding = zip(*self._field.colour_grids(), strict=True)
            matrix = sparse.hstack([shares @ each for each in adding], format="csr")
            like = colours[0]
            super().__init__(
                torch_csr(matrix, like.dtype, like.device), field.image_shape, columns=field.image_shape[0]
            )
            self.theta.copy_(torch.cat([grid.flatten(1).T for grid in colours]))
            self._offset = field.render() - self.render()

    def noise_field(self) -> CommonNoise:
        """As the field's."""
        return self._field.noise_field()

    def field(self) -> VoxelNerfDiffrep:
        """The field in these colours."""
        found = self._field.copy()
        grids = [grid for grid, _ in found.colour_grids()]
        for grid, colours in zip(grids, self.theta.split([grid[0].numel() for grid in grids]), strict=True):
            grid.copy_(colours.T.reshape(grid.shape))
        return found
