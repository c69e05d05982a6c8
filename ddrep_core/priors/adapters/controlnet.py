"""ControlNets: networks beside a U-Net that are shown a picture of the shape, and add what they make of it.

Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models": a copy of the U-Net's first half answers
with residuals for its skip connections. Those of several ControlNets are added up, each times its scale, as diffusers'
`MultiControlNetModel` does.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ddrep_core.confined import is_folder, named
from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.priors.protocol import SIGNAL_CHANNELS, TILE, Controls

MOST_SCALE = 10.0

NAMES = (
    ("depth", re.compile("depth")),
    ("normal", re.compile("normal")),
    ("canny", re.compile("canny")),
    ("lineart", re.compile("line[-_]?art")),
    (TILE, re.compile("tile")),
)
"""What a ControlNet's name says that it hears."""

OTHERS = re.compile(r"openpose|scribble|seg(?=[^a-z]|$)|softedge|hed|mlsd|shuffle|qr|blur|inpaint|recolou?r")
"""What else there is, and ddrep cannot make."""


@dataclass(frozen=True)
class Control:
    """A ControlNet that goes with a model.

    Args:
        source: its folder, or a hub id.
        kind: what it is shown: "depth", "normal", "canny", "lineart" or "tile". None: what its name says, else depth.
        scale: how much it counts.
    """

    source: str
    kind: str | None = None
    scale: float = 1.0


def parse_control(text: str) -> Control:
    """FOLDER, FOLDER:KIND, FOLDER:SCALE or FOLDER:KIND:SCALE; the folder may be a hub id.

    Raises:
        RequestError: a kind of signal that is not known, a scale that cannot be.
    """
    if is_folder(named(text)):
        return Control(text)
    source, kind, scale = text, None, 1.0
    head, colon, last = source.rpartition(":")
    if colon and (number := _number(last)) is not None:
        source, scale = head, number
        head, colon, last = source.rpartition(":")
    if re.fullmatch("[a-z]+", last) and len(head) > 1:  # one letter before a colon is a drive
        source, kind = head, last
    return checked_control(Control(source, kind, scale))


def checked_control(control: Control) -> Control:
    """The same.

    Raises:
        RequestError: a kind of signal that is not known, a scale that cannot be.
    """
    if control.kind is not None and control.kind not in SIGNAL_CHANNELS:
        raise RequestError(
            f"ddrep cannot show a ControlNet '{control.kind}'.",
            f"It shows {', '.join(SIGNAL_CHANNELS)}: FOLDER:KIND:SCALE, as in control-canny:canny:0.5.",
        )
    if not 0 <= control.scale <= MOST_SCALE or not math.isfinite(control.scale):
        raise RequestError(f"A ControlNet counts 0 to {MOST_SCALE:g} times, not {control.scale}.")
    return control


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def told_kind(control: Control, names: str) -> str:
    """What a ControlNet is shown: what a person says, else what its names say, else depth. Warns where names speak of
    something that ddrep cannot show."""
    if control.kind is not None:
        return control.kind
    for kind, pattern in NAMES:
        if pattern.search(names.lower()):
            return kind
    if other := OTHERS.search(names.lower()):
        warnings.warn(
            f"The ControlNet '{control.source}' seems to hear {other[0]}, and will be told depth. Its pictures may be "
            "wrong.",
            DdrepWarning,
            stacklevel=2,
        )
    return "depth"


class ControlNet:
    """A ControlNet beside a U-Net.

    Args:
        network: diffusers' `ControlNetModel`.
        kind: the signal that it is shown, as `prior.controls` names it.
        scale: how much it counts.
    """

    def __init__(self, network: Any, kind: str = "depth", scale: float = 1.0) -> None:
        self.network = network
        self.kind = kind
        self.scale = scale

    def residuals(
        self, x: Tensor, timesteps: Tensor, tokens: Tensor, added: dict[str, Tensor] | None, signal: Tensor
    ) -> tuple[Sequence[Tensor], Tensor]:
        """What it adds to the skip connections, and to the middle.

        Args:
            x, timesteps, tokens, added: what the U-Net is told.
            signal: [B, C, H, W] of any size.
        """
        return self.network(
            x,
            timesteps,
            encoder_hidden_states=tokens,
            controlnet_cond=self._hint(x, signal),
            conditioning_scale=self.scale,
            added_cond_kwargs=added,
            return_dict=False,
        )

    def _hint(self, x: Tensor, signal: Tensor) -> Tensor:
        """[B, 3, H, W] the signal as a picture, of the size that the ControlNet's own down-sampling expects."""
        # The hint's encoder halves once between any two of its widths.
        factor = 2 ** (len(self.network.config.conditioning_embedding_out_channels) - 1)
        size = (x.shape[-2] * factor, x.shape[-1] * factor)
        if signal.shape[-2:] != size:
            signal = interpolate(signal, size, mode="bilinear", antialias=True)
        return signal.to(x).expand(-1, self.network.config.conditioning_channels, -1, -1)


def added_residuals(
    controlnets: Sequence[ControlNet],
    x: Tensor,
    timesteps: Tensor,
    tokens: Tensor,
    added: dict[str, Tensor] | None,
    controls: Controls,
) -> tuple[list[Tensor] | None, Tensor | None]:
    """The sums of what those ControlNets add whose signals are there; (None, None) where none is."""
    down: list[Tensor] | None = None
    middle: Tensor | None = None
    for controlnet in controlnets:
        if controlnet.kind not in controls:
            continue
        more, centre = controlnet.residuals(x, timesteps, tokens, added, controls[controlnet.kind])
        down = list(more) if down is None else [a + b for a, b in zip(down, more, strict=True)]
        middle = centre if middle is None else middle + centre
    return down, middle


def check_controlnet(controlnet: Any, kind: str, unet: Any, name: str) -> None:
    """Raises:
    RequestError: a ControlNet of another family, or one that cannot be shown such a signal."""
    config = controlnet.config
    for key in ("cross_attention_dim", "in_channels", "addition_embed_type"):
        ours, theirs = unet.config.get(key), config.get(key)
        if ours != theirs:
            raise RequestError(
                f"The ControlNet was made for another model than '{name}' ({key} is {theirs}, not {ours}).",
                "Choose one of the same family.",
            )
    if config.global_pool_conditions or config.conditioning_channels not in {SIGNAL_CHANNELS[kind], 3}:
        raise RequestError(
            f"The ControlNet hears something else than a picture of {kind} ({config.conditioning_channels} channels"
            f"{', pooled over the picture' if config.global_pool_conditions else ''}).",
            f"Choose a {kind} ControlNet.",
        )
    if config.controlnet_conditioning_channel_order not in ("rgb", "bgr"):
        raise RequestError("The ControlNet's order of channels is not known.", "Download it again.")


def find_controlnet_folder(source: str, dtype: torch.dtype, allow_download: bool) -> Path:
    """Where a ControlNet lies.

    Raises:
        RequestError: nowhere, or it is none.
        RunError: the hub cannot be reached.
    """
    from ddrep_core.priors.hub import find_controlnet, is_hub_id

    path = named(source)
    if not is_folder(path):
        if not is_hub_id(source):
            raise RequestError(f"There is no ControlNet called '{source}'.", "Use a folder, or a hub id (owner/name).")
        path = find_controlnet(source, dtype in (torch.float16, torch.bfloat16), allow_download)
    if not (path / "config.json").is_file():
        raise RequestError(f"'{source}' is not a ControlNet in diffusers' format: it has no config.json.")
    return path


def read_controlnet(control: Control, dtype: torch.dtype, allow_download: bool) -> tuple[ControlNet, Path]:
    """A ControlNet in main memory, and its folder.

    Raises:
        RequestError: no such folder, no ControlNet, or one of a kind that is not supported.
        RunError: the hub cannot be reached.
    """
    from ddrep_core.priors.model_files import ModelFiles
    from ddrep_core.priors.model_parts import load_network

    control = checked_control(control)
    path = find_controlnet_folder(control.source, dtype, allow_download)
    files = ModelFiles(path, control.source)
    told = files.json("config.json")
    if told.get("_class_name", "ControlNetModel") != "ControlNetModel" or "num_control_type" in told:
        union = "num_control_type" in told or "Union" in str(told.get("_class_name"))
        why = ": it must be told which of several signals it is shown" if union else ""
        raise RequestError(
            f"'{control.source}' is a {str(told.get('_class_name'))[:80]}, which is not supported{why}.",
            f"Choose a plain ControlNet that hears {', '.join(SIGNAL_CHANNELS)}.",
        )
    kind = told_kind(control, f"{path.name} {told.get('_name_or_path', '')}")
    return ControlNet(load_network(files, ".", "ControlNetModel", dtype), kind, control.scale), path
