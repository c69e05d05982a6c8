"""A radiance field of which colours alone move: its densities, and what lies behind it, stay.

Where the light is stopped does not change, so a pixel is a weighted mean of colours, f(θ) = Aθ + what shows behind:
such an edit has the exact pull-back of a texture, where a whole field needs descent.
"""

from __future__ import annotations

import torch
from scipy import sparse
from torch import Tensor

from ddrep_core.diffreps.matrix import MatrixDiffrep
from ddrep_core.diffreps.voxel_nerf import VoxelNerfDiffrep
from ddrep_core.noise.fields import CommonNoise
from ddrep_core.sparse import SparseMatrix, torch_csr


class FieldColours(MatrixDiffrep):
    """f(θ, π): the field seen by camera π, in the colours θ [P, C] of the voxels of its coarser levels.

    The finest level's stay, if there are others: between the rays of the bank lie voxels of it that no view sees, and
    from any other side what only the seen ones became would be speckles (docs/methods.md).

    Args:
        field: what is seen; it is not changed.
    """

    damping = 1.0
    """What views disagree about, and what they barely see, is left alone; the next step asks again for what is
    missing."""
    crowded = True

    def __init__(self, field: VoxelNerfDiffrep) -> None:
        self._field = field.copy()
        with torch.no_grad():
            shares = self._field.shares()
            colours, adding = zip(*_moving(self._field), strict=True)
            matrix = torch_csr(
                sparse.hstack([shares @ each for each in adding], format="csr"), colours[0].dtype, colours[0].device
            )
            super().__init__(matrix, field.image_shape, columns=field.image_shape[0])
            self.theta.copy_(torch.cat([grid.flatten(1).T for grid in colours]))
            self._offset = field.render() - self.render()

    def noise_field(self) -> CommonNoise:
        """As the field's."""
        return self._field.noise_field()

    def field(self) -> VoxelNerfDiffrep:
        """The field in these colours."""
        found = self._field.copy()
        grids = [grid for grid, _ in _moving(found)]
        for grid, colours in zip(grids, self.theta.split([grid[0].numel() for grid in grids]), strict=True):
            grid.copy_(colours.T.reshape(grid.shape))
        return found


def _moving(field: VoxelNerfDiffrep) -> list[tuple[Tensor, SparseMatrix]]:
    """Of each level whose colours move, these, live, and what a unit of them adds to each voxel's colour."""
    levels = field.colour_grids()
    return levels[1:] or levels
