"""What a picture's surfaces are like, by a model that says: Marigold's intrinsic images and normals.

Both are diffusers pipelines (`MarigoldIntrinsicsPipeline`, `MarigoldNormalsPipeline`; Ke et al. 2024 and 2025). A
folder's parts are read as a prior's are: safetensors only, nothing fetched, nothing but known classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors.families import class_of
from ddrep_core.priors.model_files import ModelFiles
from ddrep_core.priors.model_folder import read_index
from ddrep_core.priors.model_parts import load_network, load_tokenizer
from ddrep_core.progress import Progress, counted, unheard

Kind = Literal["intrinsics", "normals"]
PIPELINES: dict[Kind, str] = {"intrinsics": "MarigoldIntrinsicsPipeline", "normals": "MarigoldNormalsPipeline"}
SCHEDULERS = ("DDIMScheduler", "LCMScheduler")
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
KEPT = ("prediction_type", "default_denoising_steps", "default_processing_resolution")
ENOUGH_TO_DOUBT = 3  # predictions, below which there is no telling how far they agree
NAMES = {"albedo": "albedo", "roughness": "roughness", "metallicity": "metallic", "metallic": "metallic"}
"""What models call the maps that are known here, and what they are called here."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of some pictures.

    Attributes:
        values: [V, C, H, W]: albedo (3) as it is stored, in sRGB, roughness and metallic (1) in [0, 1]; or normals (3)
            of length 1 in the camera's axes: x right, y up, z towards the camera.
        doubt: [V, 1, H, W] how far an ensemble's members lie apart, 0 and up; None where too few were asked.
    """

    values: Tensor
    doubt: Tensor | None


class IntrinsicModel:
    """A folder in diffusers' format that holds one of `PIPELINES`; its weights are read when it is first asked.

    Args:
        folder: where it is.
        kind: what it must predict.

    Raises:
        RequestError: no such folder or model, one of another kind, one that lacks parts or says not what it predicts.
    """

    def __init__(self, folder: str | Path, kind: Kind) -> None:
        self.name = str(folder)
        self.kind: Kind = kind
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise RequestError(
                f"There is no model folder {folder}.", "Give a folder in diffusers' format; nothing is fetched."
            )
        self._files = ModelFiles(path, self.name)
        self._index = read_index(self._files)
        found, wanted = self._index.get("_class_name"), PIPELINES[kind]
        if found != wanted:
            raise RequestError(f"'{folder}' is a {found}, not a {wanted}.", "Name another folder.")
        missing = [part for part in PARTS if not class_of(self._index, part) or not self._files.names(part)]
        if missing:
            raise RequestError(f"The model '{folder}' lacks {', '.join(missing)}.", "Download it again, completely.")
        if (steps := class_of(self._index, "scheduler")) not in SCHEDULERS:
            raise RequestError(f"The model '{folder}' steps by {steps}.", f"Known are {' and '.join(SCHEDULERS)}.")
        self._targets = _targets(self._index, self.name) if kind == "intrinsics" else []
        self._pipeline: Any = None

    @property
    def maps(self) -> frozenset[str]:
        """What it gives of albedo, roughness and metallic; or normals."""
        return frozenset(target.name for target in self._targets) or frozenset({"normals"})

    @property
    def albedo_is_relative(self) -> bool:
        """Whether its albedo is known but for a factor."""
        return any(target.name == "albedo" and target.up_to_scale for target in self._targets)

    def predict(
        self,
        pictures: Tensor,
        *,
        ensemble: int,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        progress: Progress = unheard,
    ) -> dict[str, Prediction]:
        """What the surfaces in pictures are like, by the names of `maps`.

        Args:
            pictures: [V, 3, H, W] sRGB in [0, 1].
            ensemble: how many predictions of each are made and joined.
            seed: of their noise.

        Raises:
            RunError: a prediction that is not finite.
        """
        pipeline = self._loaded(device, dtype)
        generator = torch.Generator().manual_seed(seed)
        asked: dict[str, Any] = {"ensemble_size": ensemble, "output_uncertainty": ensemble >= ENOUGH_TO_DOUBT}
        values, doubts = [], []
        for picture in counted(list(pictures), progress):
            found = pipeline(picture[None].to(device, dtype), generator=generator, output_type="pt", **asked)
            values.append(found.prediction.float().cpu())
            if found.uncertainty is not None:
                doubts.append(found.uncertainty.float().cpu())
        together = torch.stack(values)  # [V, T, 3, H, W]
        if not bool(torch.isfinite(together).all()):
            raise RunError(f"The model '{self.name}' predicts what is not finite.", "Try --precision fp32.")
        doubt = torch.stack(doubts) if doubts else None
        if self.kind == "normals":
            unit = torch.nn.functional.normalize(together[:, 0], dim=1)
            return {"normals": Prediction(unit, None if doubt is None else doubt[:, 0].mean(1, keepdim=True))}
        return {target.name: target.of(together, doubt) for target in self._targets}

    def _loaded(self, device: torch.device | str, dtype: torch.dtype) -> Any:
        if self._pipeline is None:
            import diffusers

            index, files = self._index, self._files
            parts: dict[str, Any] = {
                part: load_network(files, part, class_of(index, part) or "", dtype).to(device).eval()
                for part in ("unet", "vae", "text_encoder")
            }
            scheduler = getattr(diffusers, class_of(index, "scheduler") or "")
            parts["scheduler"] = scheduler.from_config(files.json("scheduler/scheduler_config.json"))
            parts["tokenizer"] = load_tokenizer(files, "tokenizer", class_of(index, "tokenizer") or "")
            told = {key: index.get(key) for key in KEPT}
            if self.kind == "intrinsics":
                told["target_properties"] = index["target_properties"]
            else:
                told["use_full_z_range"] = index.get("use_full_z_range", True)
            self._pipeline = getattr(diffusers, PIPELINES[self.kind])(**parts, **told)
            self._pipeline.set_progress_bar_config(disable=True)
        return self._pipeline


@dataclass(frozen=True)
class _Target:
    """A map that a model gives: its name here, the number of its picture, the channel if it is one of three, and
    whether it is linear and known but for a factor."""

    name: str
    number: int
    channel: int | None
    linear: bool
    up_to_scale: bool

    def of(self, values: Tensor, doubt: Tensor | None) -> Prediction:
        """Of [V, T, 3, H, W]."""
        own = values[:, self.number]
        if self.name != "albedo":
            own = own.mean(1, keepdim=True) if self.channel is None else own[:, self.channel : self.channel + 1]
        elif self.linear:
            own = torch.where(own <= 0.0031308, 12.92 * own, 1.055 * own.clamp_min(1e-8) ** (1 / 2.4) - 0.055)
        if doubt is None:
            return Prediction(own.clamp(0, 1), None)
        far = doubt[:, self.number]
        far = far.mean(1, keepdim=True) if self.channel is None else far[:, self.channel : self.channel + 1]
        return Prediction(own.clamp(0, 1), far)


def _targets(index: dict[str, Any], name: str) -> list[_Target]:
    """The maps that are known here among those that a model says it gives."""
    properties = index.get("target_properties")
    names = properties.get("target_names") if isinstance(properties, dict) else None
    if not isinstance(properties, dict) or not isinstance(names, list) or not names:
        raise RequestError(f"The model '{name}' does not say what it predicts.", "Download it again, completely.")
    found = []
    for number, target in enumerate(names):
        about = properties.get(target)
        about = about if isinstance(about, dict) else {}
        subs = about.get("sub_target_names")
        if about.get("prediction_space") == "stack" and isinstance(subs, list):
            members = [(sub, channel) for channel, sub in enumerate(subs[:3])]
        else:
            members = [(target, None)]
        for member, channel in members:
            if isinstance(member, str) and member in NAMES:
                own = about if channel is None else properties.get(member)
                own = own if isinstance(own, dict) else {}
                linear = own.get("prediction_space", "srgb") == "linear"
                found.append(_Target(NAMES[member], number, channel, linear, own.get("up_to_scale") is True))
    if not found:
        said = ", ".join(map(str, names))
        raise RequestError(
            f"The model '{name}' predicts {said}: no albedo, roughness or metallic.", "Name another folder."
        )
    return found
