"""IP-Adapters: what lets a text-to-image model look at a picture, for its style.

Ye et al., "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models": CLIP's view of the
picture becomes a few tokens, to which each cross attention listens beside the words, with keys and values of its own.
The unguided branch is told a picture that shows nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddrep_core.confined import is_file, is_folder, named
from ddrep_core.errors import RequestError
from ddrep_core.pictures import to_picture
from ddrep_core.priors.model_files import PICKLES, ModelFiles, check_safetensors, read_weights
from ddrep_core.priors.model_parts import load_network

MOST_SCALE = 10.0
MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's, of sRGB

KINDS = (("proj.weight", "image_embeds"), ("proj.3.weight", "tokens"), ("latents", "tokens"))
"""A weight that tells the kind of an adapter (plain, full face, plus), and what of CLIP's view it wants."""


@dataclass(frozen=True)
class IpAdapter:
    """An IP-Adapter, and how much the picture counts.

    Args:
        file: .safetensors, or a folder that holds one.
        image_encoder: the folder of the CLIP vision model that it was trained with. None: an `image_encoder/` beside
            the file, as they are handed out, or in the model's own folder.
        scale: 1 listens to the picture as much as to the words, 0 not at all.
    """

    file: Path
    image_encoder: Path | None = None
    scale: float = 1.0


def parse_reference(text: str) -> tuple[Path, float]:
    """PICTURE or PICTURE:SCALE.

    Raises:
        RequestError: a scale that is no number from 0 to 10.
    """
    name, colon, told = text.rpartition(":")
    try:
        scale = float(told) if colon else 1.0
    except ValueError:  # a colon of the path's own
        name, scale, colon = text, 1.0, ""
    check_scale(scale)
    return Path(name if colon else text).expanduser(), scale


def check_scale(scale: float) -> None:
    """Raises:
    RequestError: no number from 0 to 10."""
    if not math.isfinite(scale) or not 0 <= scale <= MOST_SCALE:
        raise RequestError(f"A reference picture counts 0 to {MOST_SCALE:g} times, not {scale}.")


class PictureListener:
    """A U-Net's ears for a picture, and the eyes that see it.

    Args:
        encoder: transformers' `CLIPVisionModelWithProjection`. It stays in main memory but while it looks.
        wants: of its output, "image_embeds" or "tokens" (the layer before the last).
        scale: how much the picture counts.
        processors: the U-Net's attentions that listen.
    """

    def __init__(self, encoder: Any, wants: str, scale: float, processors: Iterable[Any]) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.wants = wants
        self.scale = scale
        self._processors = list(processors)
        config = encoder.config
        tokens = (config.image_size // config.patch_size) ** 2 + 1
        self.shape = (1, config.projection_dim) if wants == "image_embeds" else (1, tokens, config.hidden_size)
        """Of what the U-Net is told of one picture."""

    @torch.no_grad()
    def look(self, pictures: Sequence[Tensor], device: torch.device, dtype: torch.dtype) -> Tensor:
        """[P + 1, *shape]: what is told of no picture, and of each of P pictures [3, H, W], sRGB in [0, 1]."""
        pixels = torch.stack([clip_pixels(picture, self.encoder.config.image_size) for picture in pictures])
        pixels = torch.cat([torch.zeros_like(pixels[:1]), pixels]).to(device, self.encoder.dtype)
        try:
            self.encoder.to(device)
            seen = self.encoder(pixels, output_hidden_states=True)
        finally:
            if device.type != "cpu":
                self.encoder.to("cpu")
        if self.wants == "tokens":
            return seen.hidden_states[-2][:, None].to(device, dtype)
        embeds = seen.image_embeds
        return torch.cat([torch.zeros_like(embeds[:1]), embeds[1:]])[:, None].to(device, dtype)

    def told(self, x: Tensor, reference: Tensor | None) -> dict[str, list[Tensor]]:
        """What a U-Net is told of [B, *shape] of a picture, one a row of x; of None, which then counts for nothing."""
        for processor in self._processors:
            processor.scale = [0.0 if reference is None else self.scale]
        return {"image_embeds": [x.new_zeros(len(x), *self.shape) if reference is None else reference.to(x)]}


def clip_pixels(picture: Tensor, size: int) -> Tensor:
    """[3, size, size] the middle of a picture [3, H, W] as CLIP sees it."""
    image = to_picture(picture.detach().float().cpu())
    short = min(image.size)
    wide, high = (int(size * side / short) for side in image.size)
    image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    values = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
    scaled = (values - np.array(MEAN, np.float32)) / np.array(SPREAD, np.float32)
    return torch.from_numpy(scaled).permute(2, 0, 1)


def distinct(pictures: Tensor) -> tuple[list[Tensor], list[int]]:
    """The different ones among pictures [V, 3, H, W], and for each which of them it is."""
    found: list[Tensor] = []
    numbers = []
    for picture in pictures:
        number = next((n for n, known in enumerate(found) if torch.equal(known, picture)), len(found))
        if number == len(found):
            found.append(picture)
        numbers.append(number)
    return found, numbers


def add_ip_adapter(adapter: IpAdapter, unet: Any, model: ModelFiles, dtype: torch.dtype) -> PictureListener:
    """Give a U-Net ears for a picture.

    Args:
        adapter: the file.
        unet: diffusers' `UNet2DConditionModel`, in main memory; changed.
        model: its files, for messages, and for an image encoder that may lie among them.
        dtype: of its weights.

    Raises:
        RequestError: no such file, no IP-Adapter, one for another family or of a kind that is not supported, no image
            encoder that goes with it.
    """
    check_scale(adapter.scale)
    path = adapter_file(adapter.file)
    weights = read_weights([path], dtype, path.name)
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, tensor in weights.items():
        part, _, rest = key.partition(".")
        if part not in parts or not rest:
            raise RequestError(
                f"'{path.name}' is no IP-Adapter: ddrep does not know its '{key[:80]}'.",
                "Choose an IP-Adapter for Stable Diffusion 1.x or SDXL.",
            )
        parts[part][rest] = tensor
    projection = parts["image_proj"]
    wants = next((wants for key, wants in KINDS if key in projection), None)
    if wants is None or any("lora" in key for key in parts["ip_adapter"]):
        raise _other_kind(path)
    _check_family(parts["ip_adapter"], unet, path.name, model.name)
    folder = find_image_encoder(adapter, path, wants, _width(projection), model)
    encoder = load_network(ModelFiles(folder, str(folder)), ".", "CLIPVisionModelWithProjection", dtype)
    try:
        unet._load_ip_adapter_weights([parts])
    except Exception as error:  # whatever the library says of weights that are missing or of another shape
        lines = str(error).strip().splitlines()
        raise RequestError(
            f"The IP-Adapter '{path.name}' cannot be read: {lines[0][:200] if lines else type(error).__name__}",
            "Download it again.",
        ) from error
    processors = [p for p in unet.attn_processors.values() if hasattr(p, "num_tokens")]
    return PictureListener(encoder, wants, adapter.scale, processors)


def adapter_file(path: Path) -> Path:
    """The adapter's own file, checked to be safetensors.

    Raises:
        RequestError: there is none, or only a pickle, or several to choose from.
    """
    path = named(path)
    if is_folder(path):
        found = sorted(path.glob("*.safetensors"))
        if len(found) > 1:
            names = ", ".join(one.name for one in found)[:300]
            raise RequestError(f"'{path}' holds several IP-Adapters.", f"Name one of these files: {names}.")
        pickled = any(one.suffix in PICKLES for one in path.iterdir())
        path = found[0] if found else path / ("ip-adapter.bin" if pickled else "ip-adapter.safetensors")
    if path.suffix in PICKLES:
        raise RequestError(
            f"The IP-Adapter '{path.name}' is a pickle, which can run code when opened.",
            "Choose the .safetensors file beside it.",
        )
    if not is_file(path) or path.suffix != ".safetensors":
        raise RequestError(f"There is no IP-Adapter called '{path}'.", "Give a .safetensors file.")
    check_safetensors(ModelFiles(path.parent, path.name).file(path.name), f"The IP-Adapter '{path.name}'", path.name)
    return path


def _check_family(layers: dict[str, Tensor], unet: Any, name: str, model: str) -> None:
    """Raises:
    RequestError: keys and values for other attentions than the U-Net's, in number or size."""
    theirs: dict[int, tuple[int, ...]] = {}
    for key, tensor in layers.items():
        if match := re.fullmatch(r"(\d+)\.to_k_ip\.weight", key):
            theirs[int(match[1])] = tuple(tensor.shape)
    ours = [
        (attention.to_k.weight.shape[0], unet.config.cross_attention_dim)
        for attention in (
            unet.get_submodule(path.removesuffix(".processor"))
            for path in unet.attn_processors
            if not path.endswith("attn1.processor")
        )
    ]
    told = [theirs[number] for number in sorted(theirs)]
    if told == ours:
        return
    counts = f"it has {len(told)} attentions, not {len(ours)}"
    sizes = "" if not told else f"its attentions are {told[0][0]} x {told[0][1]}, not {ours[0][0]} x {ours[0][1]}"
    raise RequestError(
        f"The IP-Adapter '{name}' was made for another family than '{model}': "
        f"{counts if len(told) != len(ours) else sizes}.",
        "Choose one for this model's family (Stable Diffusion 1.x and SDXL each have their own).",
    )


def _width(projection: Mapping[str, Any]) -> int:
    """Of what the adapter's own projection takes in; of its tensors, or slices of them."""
    key = next(key for key in ("proj.weight", "proj.0.weight", "proj_in.weight") if key in projection)
    return tuple(projection[key].shape)[-1]


def adapter_files(adapter: IpAdapter, model: ModelFiles) -> tuple[Path, Path]:
    """An adapter's file and its image encoder's folder, from headers alone.

    Raises:
        RequestError: as `add_ip_adapter`, of what the headers tell.
    """
    path = adapter_file(adapter.file)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    projection = {
        key.removeprefix("image_proj."): SimpleNamespace(shape=entry["shape"])
        for key, entry in header.items()
        if key.startswith("image_proj.")
    }
    wants = next((wants for key, wants in KINDS if key in projection), None)
    if wants is None:
        raise _other_kind(path)
    return path, find_image_encoder(adapter, path, wants, _width(projection), model)


def _other_kind(path: Path) -> RequestError:
    return RequestError(
        f"The IP-Adapter '{path.name}' is of another kind (FaceID is told a face by a network of its own).",
        "Choose a plain one, a plus one or a full-face one.",
    )


def find_image_encoder(adapter: IpAdapter, path: Path, wants: str, width: int, model: ModelFiles) -> Path:
    """The folder of the CLIP vision model that an adapter was trained with.

    Args:
        path: of the adapter's file.
        wants, width: what of its view the adapter takes in, and how wide that is.
        model: the files of the prior, among which it may lie.

    Raises:
        RequestError: there is none, or its view has another width.
    """
    key = "projection_dim" if wants == "image_embeds" else "hidden_size"
    beside = [path.parent / "image_encoder", path.parent.parent / "models" / "image_encoder"]
    places = [adapter.image_encoder] if adapter.image_encoder else [*beside, model.root / "image_encoder"]
    found = []
    for place in places:
        place = place.expanduser()
        if not (place / "config.json").is_file():
            continue
        files = ModelFiles(place, str(place))
        config = files.json("config.json")
        found.append(f"{place}: {config.get(key)}")
        if config.get(key) == width and config.get("model_type", "clip_vision_model") == "clip_vision_model":
            return place
    what = f"a CLIP vision model whose {key} is {width}"
    raise RequestError(
        f"The IP-Adapter '{path.name}' needs {what}; "
        + (f"found {', '.join(found)}." if found else f"there is none in {places[0]}."),
        "Give its folder with --image-encoder.",
    )
