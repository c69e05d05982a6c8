"""Meshes in, rays, texels, textures, meshes out."""

from ddrep_core.geometry.bake import BakedTexture, Baker, bake, coverage_share
from ddrep_core.geometry.glb import write_glb
from ddrep_core.geometry.load import demo_mesh_path, load_mesh
from ddrep_core.geometry.mesh import Mesh, Part
from ddrep_core.geometry.raycast import RayCaster, depth_maps

__all__ = [
    "BakedTexture",
    "Baker",
    "Mesh",
    "Part",
    "RayCaster",
    "bake",
    "coverage_share",
    "demo_mesh_path",
    "depth_maps",
    "load_mesh",
    "write_glb",
]
