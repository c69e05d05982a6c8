"""Loading a prior by name: the bundled one, a folder, or a model on the hub."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from ddrep_core.confined import is_file, is_folder, named
from ddrep_core.errors import DdrepWarning, RequestError

if TYPE_CHECKING:
    from ddrep_core.priors.adapters.controlnet import Control, ControlNet
    from ddrep_core.priors.adapters.ip_adapter import IpAdapter
    from ddrep_core.priors.adapters.lora import Lora
    from ddrep_core.priors.diffusers_prior import DiffusersPrior
    from ddrep_core.priors.families import Family
    from ddrep_core.priors.model_folder import ModelFolder
    from ddrep_core.priors.single_file import SingleFile

    ModelSource: TypeAlias = ModelFolder | SingleFile

BUNDLED = Path(__file__).resolve().parent / "bundled"
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "fp64": torch.float64}


def load_prior(
    source: str | Path = "bundled",
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    controlnet: str | Path | None = None,
    controlnet_scale: float = 1.0,
    controlnets: Sequence[Control] = (),
    image_size: int | None = None,
    max_batch: int | None = None,
    allow_download: bool = True,
    loras: Sequence[Lora] = (),
    ip_adapter: IpAdapter | None = None,
) -> DiffusersPrior:
    """A diffusion model as a prior: Stable Diffusion 1.x and 2.x, SDXL, Stable Diffusion 3, FLUX.1, PixArt-Σ.

    Args:
        source: "bundled", a folder in diffusers' format, a checkpoint in one .safetensors file, or a hub id
            (owner/name). A folder or a file never causes a download; naming a hub id asks for it, and what this machine
            already has is used first.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ….
        precision: "auto" (fp16 on CUDA, bf16 for flow models there, fp32 on a CPU), "fp32", "fp16", "bf16", "fp64".
        controlnet: a ControlNet, folder or hub id, shown what its name says (depth where it says nothing). When none is
            given, the model folder's own `controlnet/`, if any.
        controlnet_scale: how much that ControlNet counts.
        controlnets: more of them, each with what it is shown and how much it counts; their answers add up.
        image_size: pixels along a side, for another than the model's native size.
        max_batch: the most rows that the network sees at once, both branches of guidance counted. When not given, all
            that fit: on CUDA the batch is halved when memory runs out.
        allow_download: False fetches nothing, even for a hub id.
        loras: files that bend the model's weights, each with how much it counts; merged one after the other.
        ip_adapter: lets the model look at a reference picture, which `condition` is given as a control.

    Returns:
        the prior, its weights on the device.

    Raises:
        RequestError: an unknown prior, a folder that is no model, lacks a part or holds only pickled weights, a device
            that is not there, a precision or size that is not possible.
        RunError: the hub cannot be reached.
    """
    from ddrep_core.priors.adapters.controlnet import Control, checked_control, read_controlnet

    chosen_device = choose_device(device)
    if precision != "auto" and precision not in PRECISIONS:
        raise RequestError(f"There is no precision '{precision}'.", f"Use auto, {', '.join(PRECISIONS)}.")
    if max_batch is not None and max_batch < 1:
        raise RequestError(f"A batch holds at least one row, not {max_batch}.")
    chosen = [Control(str(controlnet), None, controlnet_scale)] if controlnet is not None else []
    chosen = [checked_control(control) for control in (*chosen, *controlnets)]
    folder = find_model_folder(source, chosen_device, precision, allow_download)
    if source == "bundled" and not loras and ip_adapter is None:  # adapters go by the insides of diffusers' networks
        from ddrep_core.priors.plain.folder import PlainFolder, is_plain

        if is_plain(folder.files.json("checksums.json")):
            folder = PlainFolder(BUNDLED, "bundled")
    dtype = choose_precision(precision, chosen_device, folder)
    read = [read_controlnet(control, dtype, allow_download) for control in chosen]
    own = [controlnet for controlnet, _ in read]
    prior = _assemble(folder, chosen_device, dtype, own, controlnet_scale, image_size, max_batch, loras, ip_adapter)
    if prior.origin is not None:
        kinds = [(each.kind, each.scale) for each in own]
        told = f"{[lora.weight for lora in loras]} {kinds}" if loras or kinds else ""
        prior.origin = replace(prior.origin, files=(*prior.origin.files, *(path for _, path in read)), told=told)
    return prior


def choose_device(name: str | torch.device) -> torch.device:
    """The device that a name means, checked to be there.

    Raises:
        RequestError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RequestError(f"There is no kind of device called '{name}'.", "Use auto, cpu or cuda.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = "This PyTorch was installed without CUDA." if torch.version.cuda is None else "No GPU was found."
            raise RequestError(
                f"CUDA was asked for, but it is not available. {built}",
                "Use --device cpu, or install a CUDA build of PyTorch and its driver.",
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise RequestError(f"There is no GPU number {device.index}: {torch.cuda.device_count()} were found.")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("Apple's GPU was asked for, but it is not available.", "Use --device cpu.")
    elif device.type not in ("cpu", "mps"):
        raise RequestError(f"Priors do not run on '{device.type}'.", "Use auto, cpu or cuda.")
    return device


def verify_checksums(folder: Path) -> None:
    """Compare every file with checksums.json, {relative path: SHA-256}.

    Raises:
        RequestError: a file is missing or different.
    """
    try:
        checksums: Any = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(
            "The bundled prior is not installed with this copy of ddrep.",
            "Install ddrep again, or name another prior with --prior.",
        ) from error
    for name, expected in sorted(checksums.items()):
        path = folder / name
        if not path.is_file():
            raise RequestError(f"The bundled prior lacks the file {name}.", "Install ddrep again.")
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if digest.hexdigest() != expected:
            raise RequestError(f"The bundled prior's file {name} is damaged.", "Install ddrep again.")


def find_model_folder(source: str | Path, device: torch.device, precision: str, allow_download: bool) -> ModelSource:
    """The model that a name means; its weights are not read. Arguments and errors as for `load_prior`."""
    from ddrep_core.priors.hub import find_model, is_hub_id
    from ddrep_core.priors.model_folder import ModelFolder
    from ddrep_core.priors.single_file import SingleFile

    name = str(source)
    if name == "bundled":
        verify_checksums(BUNDLED)
        return ModelFolder(BUNDLED, name)
    path = named(source)
    if is_folder(path):
        return ModelFolder(path, name)
    if is_file(path):
        return SingleFile(path, name)
    if not isinstance(source, str) or not is_hub_id(name):
        raise RequestError(
            f"There is no prior called '{name}'.", "Use 'bundled', a model's folder, or a hub id (owner/name)."
        )
    half = precision in ("fp16", "bf16") or (precision == "auto" and device.type == "cuda")
    return ModelFolder(find_model(name, half, allow_download), name)


def choose_precision(precision: str, device: torch.device, folder: ModelSource) -> torch.dtype:
    """What a model runs in where a person says "auto", or what they say."""
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cpu":
        return torch.float32
    # Large transformers leave float16's range; U-Nets stay inside and want its finer digits.
    if folder.family.network == "transformer" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float16


def _assemble(
    folder: ModelSource,
    device: torch.device,
    dtype: torch.dtype,
    controlnets: Sequence[ControlNet],
    controlnet_scale: float,
    image_size: int | None,
    max_batch: int | None,
    loras: Sequence[Lora],
    ip_adapter: IpAdapter | None,
) -> DiffusersPrior:
    """Read the parts and put them together."""
    from ddrep_core.priors.adapters.controlnet import ControlNet, check_controlnet
    from ddrep_core.priors.adapters.ip_adapter import adapter_file, add_ip_adapter
    from ddrep_core.priors.adapters.lora import merge_loras
    from ddrep_core.priors.autoencoder import Autoencoder, autoencoder_dtype, check_autoencoder
    from ddrep_core.priors.diffusers_prior import DiffusersPrior, Origin
    from ddrep_core.priors.families import FEW_STEPS
    from ddrep_core.priors.flux import FluxTransformer
    from ddrep_core.priors.levels import noise_levels
    from ddrep_core.priors.memory import VIEWS
    from ddrep_core.priors.networks import FlowTransformer, UNet
    from ddrep_core.priors.pixart import PixArtTransformer
    from ddrep_core.priors.prompts import PromptEncoder, TextEncoder
    from ddrep_core.priors.self_check import likeliest
    from ddrep_core.priors.single_file import SingleFile
    from ddrep_core.priors.try_out import try_out

    noise_levels(folder.scheduler(), folder.name)  # refused before anything large is read
    settings = folder.settings()
    core = folder.network(folder.family.network, dtype)
    texts = {part: folder.network(part, dtype) for part in folder.text_encoders()}
    merge_loras(loras, {folder.family.network: core, **texts}, folder.name)
    if any(FEW_STEPS.search(lora.file.stem) and lora.weight > 0 for lora in loras):
        warnings.warn(
            "A LoRA looks as if it was distilled to draw in a few steps: the model is used without guidance. "
            "Say otherwise with --guidance-scale.",
            DdrepWarning,
            stacklevel=2,
        )
        settings = replace(settings, guidance_scale=1.0)
    vae = folder.network("vae", autoencoder_dtype(folder.config("vae"), dtype))
    check_autoencoder(vae.config, folder.name)
    autoencoder = Autoencoder(vae, torch.device("cpu"), max_batch)
    _check_network(core, autoencoder.channels, folder)
    if folder.family.network == "unet":
        if not controlnets and (beside := folder.controlnet(dtype)) is not None:
            controlnets = [ControlNet(beside, "depth", controlnet_scale)]
        for controlnet in controlnets:
            check_controlnet(controlnet.network, controlnet.kind, core, folder.name)
            controlnet.network.eval().requires_grad_(False)
        listener = None if ip_adapter is None else add_ip_adapter(ip_adapter, core, folder.files, dtype)
        network = UNet(_settled(core, device), autoencoder.factor, controlnets, listener)
    elif ip_adapter is not None:
        raise RequestError(
            f"An IP-Adapter cannot be used with '{folder.name}'.",
            "Those that ddrep reads go with Stable Diffusion and SDXL. Leave it out.",
        )
    elif controlnets or folder.files.has("controlnet"):
        raise RequestError(
            f"A ControlNet cannot be used with '{folder.name}'.",
            "ControlNets go with Stable Diffusion and SDXL. Leave it out, or move it out of the model's folder.",
        )
    elif folder.family.style == "flux":
        network = FluxTransformer(_settled(core, device))
    elif folder.family.style == "pixart":
        network = PixArtTransformer(_settled(core, device))
    else:
        network = FlowTransformer(_settled(core, device))
    latent_size = _latent_size(core, folder.family, autoencoder.factor, image_size or settings.image_size)
    tokens = latent_size[0] * latent_size[1] // _multiple(core) ** 2
    levels = noise_levels(folder.scheduler(), folder.name, tokens)
    network.to(device)
    autoencoder.place(device, beside=2 * VIEWS * network.row_bytes(*latent_size))

    encoders = [
        TextEncoder(
            folder.tokenizer(part.replace("text_encoder", "tokenizer")),
            texts[part],
            _text_length(part, core, folder.family),
        )
        for part in folder.text_encoders()
    ]
    prompts = PromptEncoder(
        folder.family.style,
        encoders,
        device,
        dtype,
        joint_width=core.config.get("joint_attention_dim"),
        zero_empty_negative=bool(folder.index.get("force_zeros_for_empty_prompt", folder.family.style == "sdxl")),
    )
    prior = DiffusersPrior(
        name=folder.name,
        network=network,
        levels=levels,
        prompt_encoder=prompts,
        autoencoder=autoencoder,
        latent_size=latent_size,
        device=device,
        dtype=dtype,
        max_batch=max_batch,
        default_guidance_scale=settings.guidance_scale,
        directions=settings.directions,
        distilled=settings.guidance_scale <= 1 or network.told_guidance,
    )
    adapters = [lora.file for lora in loras] + ([adapter_file(ip_adapter.file)] if ip_adapter else [])
    prior.origin = Origin((folder.path, *adapters), folder.scheduler())
    try_out(prior, _multiple(core))
    if isinstance(folder, SingleFile) and folder.unsure:
        prior.levels = likeliest(prior, [replace(levels, prediction=kind) for kind in ("epsilon", "v_prediction")])
        prior.origin.scheduler["prediction_type"] = prior.levels.prediction
    return prior


def _settled(network: Any, device: torch.device) -> Any:
    """Ready to predict: no dropout, no gradients, and convolutions laid out as GPUs like them (CPUs do not mind)."""
    network = network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last) if device.type == "cuda" else network


def _check_network(network: Any, latent_channels: int, folder: ModelSource) -> None:
    """Refuse relatives that share a class with the known families but want other inputs.

    Raises:
        RequestError: an inpainting, editing, upscaling or distilled model, or one with other prompts.
    """
    config = network.config
    if folder.family.style == "flux":
        latent_channels *= 4  # packed
    if config.in_channels != latent_channels:
        raise RequestError(
            f"The model '{folder.name}' sees {config.in_channels} channels where its images have {latent_channels}: "
            "it is made for inpainting, editing or depth.",
            "Choose the text-to-image model of the family.",
        )
    # PixArt answers with its uncertainty, too.
    expected = 2 * config.in_channels if folder.family.style == "pixart" else config.in_channels
    if config.out_channels not in (None, expected):
        raise RequestError(
            f"The network of the model '{folder.name}' answers with {config.out_channels} channels for "
            f"{config.in_channels}, which is not supported.",
            "Choose the family's base model.",
        )
    unusual = ("encoder_hid_dim_type", "class_embed_type", "num_class_embeds")
    if told := [key for key in unusual if config.get(key) is not None]:
        raise RequestError(
            f"The model '{folder.name}' wants to be told more than a prompt ({', '.join(told)}), which ddrep cannot.",
            "Choose the family's base model.",
        )
    if folder.family.style == "pixart" and (
        config.norm_type != "ada_norm_single" or config.use_additional_conditions is not False
    ):
        raise RequestError(
            f"The model '{folder.name}' is told the picture's size and aspect, as PixArt-α is, which ddrep cannot.",
            "Choose PixArt-Σ.",
        )
    if folder.index.get("requires_aesthetics_score"):
        raise RequestError(f"The model '{folder.name}' is a refiner.", "Choose the base model that it refines.")


def _latent_size(network: Any, family: Family, factor: int, image_size: int | None) -> tuple[int, int]:
    """(h, w) of the latents. Warns where the network's configuration is not believed.

    Raises:
        RequestError: a size that the network cannot take.
    """
    from ddrep_core.priors.families import native_sides

    told = network.config.get("sample_size")
    multiple = _multiple(network)
    if image_size is not None:
        if image_size < factor * multiple or image_size % (factor * multiple):
            raise RequestError(
                f"This prior cannot draw {image_size} pixels along a side.",
                f"Choose a multiple of {factor * multiple}.",
            )
        return image_size // factor, image_size // factor
    sides = native_sides(network.config, family)
    if told not in (None, sides[0], sides):
        warnings.warn(
            f"The model's files say that it draws {told * factor if isinstance(told, int) else told} pixels; Stable "
            f"Diffusion, which it is, was trained on {sides[0] * factor}, and that is what it is asked for. If it was "
            'made for less, say so in its ddrep.json: {"image_size": 256}.',
            DdrepWarning,
            stacklevel=2,
        )
    if len(sides) != 2 or any(side < 1 or side % multiple for side in sides):
        raise RequestError(f"The network's sample_size of {told!r} cannot be.", "Download the model again.")
    return sides[0], sides[1]


def _text_length(part: str, network: Any, family: Family) -> int | None:
    """Tokens that a T5 encoder reads; None for CLIP's, which say so themselves."""
    from ddrep_core.priors.prompts import LONG_T5_LENGTH, PIXART_LENGTH, T5_LENGTH

    if family.style == "flux" and part == "text_encoder_2":
        return LONG_T5_LENGTH if network.config.guidance_embeds else T5_LENGTH
    if family.style == "pixart":
        return PIXART_LENGTH
    return T5_LENGTH if part == "text_encoder_3" else None


def _multiple(network: Any) -> int:
    """Sides of latents are multiples of this."""
    if network.config.get("guidance_embeds") is not None:
        return 2  # FLUX packs its latents
    blocks = network.config.get("block_out_channels")
    return 2 ** (len(blocks) - 1) if blocks else network.config.patch_size
