"""Material maps of a finished texture: its views shown to models of surfaces, and what they say fitted to maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddrep_core.errors import RequestError
from ddrep_core.geometry.bake import BakedTexture, Baker, Worn
from ddrep_core.geometry.gltf_materials import ROUGHNESS
from ddrep_core.geometry.mesh import Mesh
from ddrep_core.geometry.tangents import normal_map
from ddrep_core.jobs.blocks import TextureRequest
from ddrep_core.jobs.present import BEHIND
from ddrep_core.jobs.session import Session
from ddrep_core.pictures import to_bytes, to_linear, to_srgb
from ddrep_core.priors.intrinsics import IntrinsicModel, Prediction
from ddrep_core.views import Views

ENSEMBLE = 4
DOUBT = 0.05
"""Of an ensemble's spread: a pixel whose predictions lie so far apart counts half as much as one where they agree."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class MaterialModels:
    """The models that a job asks about its finished texture.

    Attributes:
        intrinsics, normals: None: not asked.
        delight: the base colour becomes what the first says of albedo.
        ensemble: predictions of each view.
    """

    intrinsics: IntrinsicModel | None
    normals: IntrinsicModel | None
    delight: bool
    ensemble: int

    def maps(self, session: Session, mesh: Mesh, views: Views, baker: Baker, baked: dict[str, BakedTexture]) -> Maps:
        """What the models say of the textures' views, as textures.

        Args:
            mesh, views: that the textures were baked of; baker: that baked them.
        """
        plain = {name: Worn(each.pixels(), np.zeros(each.coverage.shape, bool)) for name, each in baked.items()}
        seen, share, _ = baker.drawn(plain)
        pictures = (seen + BEHIND * (1 - share)).clamp(0, 1)
        prior = session.prior
        asked: dict[str, Any] = {"ensemble": self.ensemble, "seed": session.seed}
        if torch.device(prior.device).type == "cuda":
            asked |= {"device": prior.device, "dtype": prior.dtype}
        found: dict[str, Prediction] = {}
        for model, what in ((self.intrinsics, "surfaces"), (self.normals, "normals")):
            if model is not None:
                progress = session.stage(f"Asking a model about the {what} in {len(views)} views")
                found |= model.predict(pictures, progress=progress, **asked)
        session.stage("Fitting material maps")
        fitted: dict[str, dict[str, Pixels]] = {name: {} for name in baked}
        shine = _shine(found, pictures)
        if shine is not None:
            for name, image in _fitted(mesh, views, baker, shine).items():
                fitted[name]["metallic_roughness"] = image
        if "normals" in found:
            for name, image in _fitted(mesh, views, baker, _in_world(found["normals"], views)).items():
                part = next(each for each in mesh.parts if each.name == name)
                flat = mesh.document is not None and part.normals is None and not part.unwrapped
                fitted[name]["normal"] = normal_map(part, image, flat)
        if self.delight:
            albedo = _fitted(mesh, views, baker, found["albedo"])
            if self.intrinsics is not None and self.intrinsics.albedo_is_relative:
                albedo = _as_bright(albedo, baked)
            delit = {
                name: replace(baked[name], image=torch.from_numpy(image).permute(2, 0, 1))
                for name, image in albedo.items()
            }
            return Maps(baker.settled(delit), fitted, baked)
        return Maps(baked, fitted, {})


@dataclass(frozen=True)
class Maps:
    """Textures with their material maps.

    Attributes:
        baked: the base colours.
        data: by part name, [T, T, 3] bytes that are no colours: "metallic_roughness" (roughness in green, metallic in
            blue) and "normal".
        lit: the base colours as they were painted, where they were de-lit.
    """

    baked: dict[str, BakedTexture]
    data: Mapping[str, Mapping[str, Pixels]]
    lit: Mapping[str, BakedTexture]


def material_models(settings: TextureRequest) -> MaterialModels | None:
    """The models that a job names; None where it names none.

    Raises:
        RequestError: a folder that holds no such model; a wish that none of them meets; normals of a mirrored mesh.
    """
    if settings.intrinsics is None and settings.delight:
        raise RequestError("--delight wants a model that tells albedo from light.", "Name its folder: --intrinsics.")
    if settings.intrinsics is None and settings.normals_model is None:
        if settings.ensemble is not None:
            raise RequestError(
                "--ensemble says how often a model is asked about each view.", "Add --intrinsics or --normals-model."
            )
        return None
    intrinsics = None if settings.intrinsics is None else IntrinsicModel(settings.intrinsics, "intrinsics")
    normals = None if settings.normals_model is None else IntrinsicModel(settings.normals_model, "normals")
    if intrinsics is not None and settings.delight and "albedo" not in intrinsics.maps:
        raise RequestError(f"The model '{settings.intrinsics}' gives no albedo.", "Leave --delight out.")
    if intrinsics is not None and not settings.delight and not intrinsics.maps & {"roughness", "metallic"}:
        raise RequestError(
            f"The model '{settings.intrinsics}' gives albedo alone: neither roughness nor metallic.",
            "Add --delight, to take it for the base colour.",
        )
    if normals is not None and settings.symmetry is not None:
        raise RequestError(
            "A normal map's axes are other ones on the other side of a mirrored mesh, where it has the same texels.",
            "Leave --normals-model or --symmetry out.",
        )
    return MaterialModels(intrinsics, normals, settings.delight, settings.ensemble or ENSEMBLE)


def _shine(found: Mapping[str, Prediction], pictures: Tensor) -> Prediction | None:
    """Roughness in green, metallic in blue; what a model does not say is as a painted material has it."""
    if not found.keys() & {"roughness", "metallic"}:
        return None
    blank = torch.zeros_like(pictures[:, :1])
    roughness, metallic = found.get("roughness"), found.get("metallic")
    channels = [
        blank + 1,
        blank + ROUGHNESS if roughness is None else roughness.values,
        blank if metallic is None else metallic.values,
    ]
    doubts = [each.doubt for each in (roughness, metallic) if each is not None and each.doubt is not None]
    return Prediction(torch.cat(channels, dim=1), torch.stack(doubts).amax(0) if doubts else None)


def _in_world(normals: Prediction, views: Views) -> Prediction:
    """Normals of the views' own axes in the world's, as colours (n + 1) / 2."""
    turned = []
    for camera, own in zip(views, normals.values, strict=True):
        axes = np.array(camera.matrix_world[:3, :3])
        axes /= np.linalg.norm(axes, axis=0)
        turned.append(torch.einsum("ij,jhw->ihw", torch.from_numpy(axes).to(own), own))
    return Prediction((torch.stack(turned) + 1) / 2, normals.doubt)


def _fitted(mesh: Mesh, views: Views, baker: Baker, said: Prediction) -> dict[str, Pixels]:
    """[T, T, 3] bytes by part name: the texture that is nearest to what was said, doubtful pixels counting less."""
    doubt = said.doubt
    weights = None if doubt is None else (1 / (1 + (doubt[:, 0] / DOUBT) ** 2)).numpy().astype(np.float32)
    values = said.values.expand(-1, 3, -1, -1)
    own = Baker(mesh, views, baker.resolution, baker.view_size, importance=weights)
    return {name: texture.pixels() for name, texture in own.bake(values).items()}


def _as_bright(albedo: Mapping[str, Pixels], baked: Mapping[str, BakedTexture]) -> dict[str, Pixels]:
    """Albedo that is known but for a factor, as bright on the whole as what was painted."""
    inside = {name: baked[name].coverage > 0 for name in baked}
    painted, said = (
        np.mean([to_linear(images[name][inside[name]] / 255.0, np.float64).mean() for name in baked])
        for images in ({name: texture.pixels() for name, texture in baked.items()}, albedo)
    )
    factor = float(painted / max(said, 1e-6))
    return {
        name: to_bytes(to_srgb(np.clip(factor * to_linear(image / 255.0, np.float64), 0, 1)))
        for name, image in albedo.items()
    }


def data_path(texture: Path, what: str) -> Path:
    """Where a map lies beside its base colour: texture_Cow.png, normal_Cow.png."""
    return texture.with_name(what + texture.name.removeprefix("texture"))
