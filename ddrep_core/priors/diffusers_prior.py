"""A prior made of a diffusers model: Stable Diffusion 1.x and 2.x, SDXL, SD3, FLUX.1."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.priors.adapters.ip_adapter import distinct
from ddrep_core.priors.autoencoder import Autoencoder
from ddrep_core.priors.batches import BatchLimit, default_limit
from ddrep_core.priors.levels import NoiseLevels
from ddrep_core.priors.networks import Network
from ddrep_core.priors.prompts import PromptEncoder, TextEmbedding
from ddrep_core.priors.protocol import REFERENCE, SIGNAL_CHANNELS, TILE, Controls, Indices, index_tensor
from ddrep_core.views.directions import DirectionWords, direction_words


@dataclass(frozen=True)
class PromptConditioning:
    """What a diffusers prior was told about each view.

    Args:
        texts: every text of the run, once.
        prompts: [V] which of them is each view's prompt; [1] where all views are alike.
        negatives: [V] or [1] which of them is its negative prompt.
        guidance_scale: w in ε_u + w (ε_c − ε_u).
        controls: [V, ...] of each signal that the network hears.
        references: [1 + P, ...] what it is told of no picture, and of each reference picture of the run.
        shown: [V] or [1] which of them is each view's.
        view_count: V; None where all views are alike and there may be any number of them.
        unshown: signals that the network hears, and that a run shall show it of what it makes.
    """

    texts: TextEmbedding
    prompts: Tensor
    negatives: Tensor
    guidance_scale: float
    controls: Controls = field(default_factory=dict)
    references: Tensor | None = None
    shown: Tensor | None = None
    view_count: int | None = None
    unshown: frozenset[str] = frozenset()

    def showing(self, controls: Controls) -> PromptConditioning:
        """As `FollowsRun`."""
        device = self.prompts.device
        signals = {name: signal.to(device, torch.float32) for name, signal in controls.items() if name in self.unshown}
        return replace(self, controls={**self.controls, **signals})

    def __getitem__(self, indices: Indices) -> PromptConditioning:
        if self.view_count is None:
            return self
        rows = index_tensor(indices, self.view_count).to(self.prompts.device)
        return replace(
            self,
            prompts=self.prompts if len(self.prompts) == 1 else self.prompts[rows],
            negatives=self.negatives if len(self.negatives) == 1 else self.negatives[rows],
            controls={name: signal[rows] for name, signal in self.controls.items()},
            shown=self.shown if self.shown is None or len(self.shown) == 1 else self.shown[rows],
            view_count=len(rows),
        )


def view_prompts(prompt: str, views: Any | None, words: DirectionWords | None = None) -> list[str]:
    """The prompt of each view: the run's, the camera's own words, the direction it looks from. One without views."""
    if views is None:
        return [prompt]
    target = getattr(views, "target", (0.0, 0.0, 0.0))
    front = getattr(views, "front_degrees", 0.0)
    parts = ((prompt.strip(), camera.prompt.strip(), direction_words(camera, target, words, front)) for camera in views)
    return [", ".join(part for part in view if part) for view in parts]


@dataclass(frozen=True)
class Origin:
    """Where a prior was read from.

    Args:
        files: its folders or files.
        scheduler: its scheduler's configuration.
        told: what was said of its adapters: weights, kinds, scales.
    """

    files: tuple[Path, ...]
    scheduler: dict[str, Any]
    told: str = ""


class DiffusersPrior:
    """Predicts noise with a diffusers network. Made by `load_prior`.

    Args:
        name: what a person called it.
        network: what predicts.
        levels: what it was trained on, and what its output means.
        prompt_encoder: words to embeddings.
        autoencoder: latents to pictures and back.
        latent_size: (h, w), its native size.
        device, dtype: where and in what the network runs. x may be anything; answers come back like x.
        max_batch: the most rows that the network sees at once, both branches of guidance counted. None: as many as fit.
        default_guidance_scale: the guidance that suits this model.
        directions: its words for the sides of things.
        distilled: it was made to draw without guidance, or to be told it: no task asks it for more than its own.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        levels: NoiseLevels,
        prompt_encoder: PromptEncoder,
        autoencoder: Autoencoder,
        latent_size: tuple[int, int],
        device: torch.device,
        dtype: torch.dtype,
        max_batch: int | None = None,
        default_guidance_scale: float = 7.5,
        directions: DirectionWords | None = None,
        distilled: bool = False,
    ) -> None:
        self.name = name
        self.network = network
        self.levels = levels
        self.prompt_encoder = prompt_encoder
        self.autoencoder = autoencoder
        self.latent_size = latent_size
        self.device = device
        self.dtype = dtype
        self.max_batch = max_batch
        self.default_guidance_scale = default_guidance_scale
        self.directions = directions
        self.distilled = distilled
        self.origin: Origin | None = None
        """Where it was read from, if it was."""
        self._limits: dict[tuple[int, int], BatchLimit] = {}

    @property
    def sigmas(self) -> Tensor:
        """[L] all levels it was trained on, descending; ∞ comes first for flows and zero-terminal-SNR models."""
        return self.levels.sigmas

    @property
    def _told_guidance(self) -> bool:
        return getattr(self.network, "told_guidance", False)

    @property
    def channels(self) -> int:
        """C of the latents."""
        return self.autoencoder.channels

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of the latents at the native size."""
        return (self.channels, *self.latent_size)

    @property
    def image_size(self) -> int:
        """The native size in pixels (the larger side)."""
        return max(self.latent_size) * self.autoencoder.factor

    @property
    def controls(self) -> frozenset[str]:
        """The signals given to `condition` that make a difference: those of its ControlNets, a reference picture."""
        return self.network.hears

    def condition(
        self,
        prompt: str,
        negative_prompt: str = "",
        views: Any | None = None,
        guidance_scale: float = 7.5,
        controls: Controls | None = None,
    ) -> PromptConditioning:
        """Encode the prompts of a run, each different text once.

        Args:
            prompt: what the pictures show. Each view adds its camera's words, and the direction it looks from.
            negative_prompt: what guidance leads away from.
            views: cameras; None: all views are alike.
            guidance_scale: w; 0 evaluates the unconditional branch alone, 1 the conditional one alone. A model that was
                distilled to be told w (FLUX.1 dev, latent consistency models) has the conditional one alone.
            controls: {"depth": [V, 1, H, W] in [0, 1], near = 1, background 0}, and so on (`geometry.signals`);
                {"reference": [V, 3, H, W], or one for all views, sRGB}; what is not heard is left aside. A tile that is
                heard and not given, a run makes of what it has so far.

        Raises:
            RequestError: a guidance that is not a number, a control of a wrong shape.
        """
        if not guidance_scale >= 0:
            raise RequestError(f"The guidance scale must be zero or more, not {guidance_scale}.")
        if guidance_scale == 0 and prompt.strip():
            warnings.warn(
                "A guidance scale of 0 leaves the prompt out. To follow it without guidance, as the pages of Turbo "
                "and Lightning models mean by 0, use 1.",
                DdrepWarning,
                stacklevel=2,
            )
        prompts = view_prompts(prompt, views, self.directions) if guidance_scale != 0 else [""]
        texts: dict[str, int] = {}
        for text in prompts:
            texts.setdefault(text, len(texts))
        embeddings = [self.prompt_encoder(text) for text in texts] if guidance_scale != 0 else []
        negative = 0
        if self._told_guidance and negative_prompt.strip():
            warnings.warn(
                f"The model '{self.name}' is told its guidance and never draws without the prompt: it does not hear "
                "the negative prompt.",
                DdrepWarning,
                stacklevel=2,
            )
        if guidance_scale == 0 or not (guidance_scale == 1 or self._told_guidance):
            negative = len(embeddings)
            embeddings.append(self.prompt_encoder(negative_prompt, negative=True))
        view_count = None if views is None else len(views)
        signals = dict(controls or {})
        pictures = signals.pop(REFERENCE, None)
        for name, signal in signals.items():
            view_count = _check_control(name, signal, view_count)
        heard = {
            name: signal.to(self.device, torch.float32) for name, signal in signals.items() if name in self.controls
        }
        references, shown = None, None
        if pictures is not None:
            if len(pictures) != 1 or pictures.ndim != 4:
                view_count = _check_control(REFERENCE, pictures, view_count)
            if REFERENCE in self.controls:
                references, shown = self._look_at(pictures)
        return PromptConditioning(
            texts=TextEmbedding.stack(embeddings),
            prompts=torch.tensor([texts[text] for text in prompts], device=self.device),
            negatives=torch.tensor([negative], device=self.device),
            guidance_scale=float(guidance_scale),
            controls=heard,
            references=references,
            shown=shown,
            view_count=view_count,
            unshown=(self.controls & {TILE}) - signals.keys(),
        )

    def _look_at(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is told of reference pictures [V, 3, H, W], each different one once, and which each is."""
        listener = self.network.listener
        assert listener is not None
        different, numbers = distinct(pictures)
        told = listener.look(different, self.device, self.dtype)
        numbers = numbers[:1] if len(different) == 1 else numbers
        return told, torch.tensor([1 + number for number in numbers], device=self.device)

    def predict_noise(self, x: Tensor, sigma: float | Tensor, conditioning: PromptConditioning) -> Tensor:
        """ε̂ [B, C, h, w] like x, with guidance. σ > 0: a number, or one a view ([B]). Carries no gradient.

        Raises:
            RequestError: a conditioning for another number of views, latents of another number of channels.
            RunError: no memory for a single view.
        """
        level = _levels(sigma)
        return self.predict(x, level, conditioning, *self.levels.noise_weights(level))

    def predict_clean(self, x: Tensor, sigma: float | Tensor, conditioning: PromptConditioning) -> Tensor:
        """x̂0 [B, C, h, w] like x, with guidance; at σ = ∞, x is the noise itself. Carries no gradient.

        Raises:
            RequestError: as `predict_noise`; and σ = ∞ for a model that predicts noise.
        """
        level = _levels(sigma)
        return self.predict(x, level, conditioning, *self.levels.clean_weights(level))

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W], sRGB in [0, 1]. Gradients flow where latents ask for them."""
        return self.autoencoder.decode(latents)

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] of pictures [B, 3, H, W], sRGB in [0, 1]; the distribution's mode, nothing is drawn."""
        return self.autoencoder.encode(images)

    def settle(self) -> None:
        """Wait for what was found out about earlier pictures while nobody waited (`finite`).

        Raises:
            NotFiniteError: some were not finite.
        """
        self.autoencoder.watch.settle()

    def release(self) -> None:
        """Give the accelerator's memory back: everything moves to main memory, and runs there from now on.

        What `condition` made before stays where it was: condition again to go on.
        """
        cpu = torch.device("cpu")
        self.autoencoder.rests = False
        self.network.to(cpu)
        self.autoencoder.to(cpu)
        self.prompt_encoder.to(cpu)
        self.device = cpu
        self._limits.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def noise_with_graph(self, x: Tensor, sigma: float | Tensor, conditioning: PromptConditioning) -> Tensor:
        """`predict_noise` that keeps the graph, for what learns on the network (`adapters.low_rank`)."""
        level = _levels(sigma)
        return self._predict(x, level, conditioning, *self.levels.noise_weights(level))

    @torch.no_grad()
    def predict(
        self, x: Tensor, sigma: Tensor, conditioning: PromptConditioning, output_weight: Tensor, input_weight: Tensor
    ) -> Tensor:
        """output_weight · (guided output) + input_weight · (scaled input), [B, C, h, w] like x; weights [B] or [1].

        With weights (1, 0) it is the network's own answer, whatever that means.
        """
        return self._predict(x, sigma, conditioning, output_weight, input_weight)

    def _predict(
        self, x: Tensor, sigma: Tensor, conditioning: PromptConditioning, output_weight: Tensor, input_weight: Tensor
    ) -> Tensor:
        count = len(x)
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise RequestError(f"{self.name} denoises [B, {self.channels}, h, w], not {tuple(x.shape)}.")
        if conditioning.view_count not in (None, count):
            raise RequestError(f"{count} latents came with a conditioning for {conditioning.view_count} views.")
        if len(sigma) not in (1, count):
            raise RequestError(f"{count} latents came with {len(sigma)} noise levels.")
        self.autoencoder.watch.look()
        self.autoencoder.make_room()
        # Scales and weights meet x in full precision; only the network itself runs in half.
        precision = torch.float64 if self.dtype == torch.float64 else torch.float32
        scaled = x.to(self.device, precision) * self._column(self.levels.input_scale(sigma), precision)
        timesteps = self.levels.timestep(sigma).to(precision).to(self.device).expand(count)

        weight = conditioning.guidance_scale
        alone = weight == 1 or self._told_guidance  # what is told its guidance answers guided
        wanted = [False] if weight == 0 else [True] if alone else [False, True]
        outputs = self._evaluate(scaled, timesteps, wanted, conditioning)
        # Every read-out is linear in the output with the same input in both branches: guiding it guides ε̂.
        guided = outputs[0] if len(outputs) == 1 else outputs[0] + weight * (outputs[1] - outputs[0])
        answer = self._column(output_weight, precision) * guided + self._column(input_weight, precision) * scaled
        return answer.to(x)

    def _evaluate(
        self, scaled: Tensor, timesteps: Tensor, wanted: Sequence[bool], conditioning: PromptConditioning
    ) -> Sequence[Tensor]:
        """The network's output for each branch of guidance, [B, C, h, w] each, in batches that fit.

        Args:
            wanted: of each branch, whether it is led towards the prompt.
        """
        repeats, count = len(wanted), len(scaled)
        inputs = scaled.to(self.dtype).repeat(repeats, 1, 1, 1)
        timesteps = timesteps.repeat(repeats)
        texts = torch.cat([(conditioning.prompts if w else conditioning.negatives).expand(count) for w in wanted])
        controls = {name: torch.cat([signal] * repeats) for name, signal in conditioning.controls.items()}
        references, shown = conditioning.references, conditioning.shown
        if references is not None and shown is not None:
            rows = torch.cat([(shown if w else torch.zeros_like(shown)).expand(count) for w in wanted])
            controls[REFERENCE] = references[rows]

        told = {"guidance": conditioning.guidance_scale or 1.0} if self._told_guidance else {}

        def call(rows: slice) -> Tensor:
            return self.network(
                inputs[rows],
                timesteps[rows],
                conditioning.texts[texts[rows]],
                {name: signal[rows] for name, signal in controls.items()},
                **told,
            )

        return self._limit(scaled).run(call, len(inputs)).to(scaled.dtype).chunk(repeats)

    def _limit(self, x: Tensor) -> BatchLimit:
        """How many rows of this size at once; remembered, with what running out of memory has taught."""
        height, width = x.shape[-2:]
        if (height, width) not in self._limits:
            row_bytes = self.network.row_bytes(height, width)
            self._limits[height, width] = default_limit(self.device, row_bytes, self.max_batch)
        return self._limits[height, width]

    def _column(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        return values.to(dtype).to(self.device).reshape(-1, 1, 1, 1)


def _check_control(name: str, signal: Tensor, view_count: int | None) -> int:
    """V, which all signals and views share.

    Raises:
        RequestError: a signal of another shape, or out of its range.
    """
    channels = {**SIGNAL_CHANNELS, REFERENCE: 3}.get(name)
    wrong = signal.ndim != 4 or channels not in (None, signal.shape[1])
    if wrong or (view_count is not None and len(signal) != view_count):
        views = "V" if view_count is None else view_count
        raise RequestError(
            f"{name.capitalize()} must be [{views}, {channels or 'C'}, H, W], not {tuple(signal.shape)}."
        )
    if channels is not None and not bool(((signal >= 0) & (signal <= 1)).all()):
        near = ", near = 1 and background = 0" if name == "depth" else ""
        raise RequestError(f"{name.capitalize()} must lie in [0, 1]{near}.")
    return len(signal)


def _levels(sigma: float | Tensor) -> Tensor:
    """[1] or [B] float64 on the CPU."""
    return torch.as_tensor(sigma).detach().to("cpu", torch.float64).reshape(-1)
