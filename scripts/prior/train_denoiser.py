"""Train U-Net, text encoder and depth ControlNet together, from latents encoded once.

The ControlNet learns from the first step on, on one in five pictures: where time is short that is worth more than a
fine-tuning at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from captions import Facts, caption
from configuration import Configuration, load_configuration, work_folder
from ddrep_core.training.loop import (
    Leg,
    MovingAverage,
    Stopwatch,
    Workers,
    add_leg_arguments,
    autocast,
    load_state,
    pick_device,
    run_workers,
    save_atomically,
)
from emoji import emoji_names
from mixture import Mixture
from muon import Muon, split_parameters
from prepare import load_part, parts
from tokenizer import load_or_build_tokenizer
from train_autoencoder import as_tensor, build_autoencoder

CAPTION_DROPOUT = 0.1


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise levels with v prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
        steps_offset=1,
    )


class Denoiser(nn.Module):
    """The three networks that train together."""

    def __init__(self, configuration: Configuration, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        channels = tuple(configuration.unet_channels)
        plain, depth = len(channels) - 2, configuration.image_size // configuration.latent_size
        heads = [max(1, width // 32) for width in channels]
        shared = {
            "in_channels": 4,
            "block_out_channels": channels,
            "layers_per_block": configuration.unet_layers,
            "norm_num_groups": 16,
            "cross_attention_dim": configuration.text_width,
            "attention_head_dim": heads,
        }
        # Attention only where the picture is small: that is most of its use at a fraction of its price.
        self.unet = UNet2DConditionModel(
            sample_size=configuration.latent_size,
            out_channels=4,
            down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * plain,
            **shared,
        )
        # What depth says needs no words: the ControlNet is all convolution, at two thirds of the price.
        self.controlnet = ControlNetModel(
            down_block_types=("DownBlock2D",) * len(channels),
            mid_block_type="UNetMidBlock2D",
            conditioning_embedding_out_channels=tuple(16 * 2**level for level in range(depth.bit_length())),
            **shared,
        )
        self.text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=configuration.text_width,
                intermediate_size=4 * configuration.text_width,
                num_hidden_layers=configuration.text_layers,
                num_attention_heads=configuration.text_width // 32,
                max_position_embeddings=configuration.text_length,
                projection_dim=configuration.text_width,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor, depth: torch.Tensor
    ) -> torch.Tensor:
        """Predict v for [B, 4, h, w]; depth [C, 3, S, S] belongs to the first C of the batch."""
        words = self.text(input_ids=tokens).last_hidden_state
        count = len(depth)
        down, middle = None, None
        if count:
            down, middle = self.controlnet(noisy[:count], timesteps[:count], words[:count], depth, return_dict=False)
            rest = len(noisy) - count
            down = [torch.cat([value, value.new_zeros(rest, *value.shape[1:])]) for value in down]
            middle = torch.cat([middle, middle.new_zeros(rest, *middle.shape[1:])])
        return self.unet(
            noisy, timesteps, words, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample


@dataclass
class Examples:
    """All pictures as latents, with their depths and facts, in one order."""

    latents: torch.Tensor
    depths: np.ndarray
    facts: list[Facts]
    scale: float


def encode_parts(configuration: Configuration, workers: Workers) -> None:
    """Latents of all parts, encoded once and kept beside the data; each worker takes its share of the parts."""
    device, folder = pick_device(), work_folder(configuration)
    (folder / "latents").mkdir(exist_ok=True)
    model = build_autoencoder(configuration).eval().to(device)
    model.load_state_dict(torch.load(folder / "autoencoder.pt", map_location="cpu", weights_only=True)["model"])
    for part in parts(configuration)[workers.rank :: workers.count]:
        path = folder / "latents" / f"{part}.pt"
        if path.exists():
            continue
        pictures, start, chunks = load_part(configuration, part)[0], time.monotonic(), []
        with torch.inference_mode(), autocast(device):
            for first in range(0, len(pictures), 64):
                chunks.append(
                    model.encode(as_tensor(pictures[first : first + 64], device)).latent_dist.mode().half().cpu()
                )
        save_atomically({"latents": torch.cat(chunks)}, path)
        print(f"encoded {part}: {len(pictures)} pictures in {time.monotonic() - start:.0f} s", flush=True)


def load_examples(configuration: Configuration) -> Examples:
    """All parts that are encoded; the scale that brings latents to unit deviation is measured once."""
    folder = work_folder(configuration)
    all_latents, all_depths, all_facts = [], [], []
    for part in parts(configuration):
        all_latents.append(torch.load(folder / "latents" / f"{part}.pt", weights_only=True)["latents"])
        _, depths, facts = load_part(configuration, part)
        all_depths.append(depths)
        all_facts.extend(facts)
    latents = torch.cat(all_latents)
    scale_file = folder / "scaling_factor.json"
    if not scale_file.exists():
        scale_file.write_text(json.dumps(1.0 / float(latents.float().std())))
    return Examples(
        latents,
        np.concatenate(all_depths),
        all_facts,
        json.loads(scale_file.read_text()),
    )


def make_batch(
    examples: Examples,
    mixture: Mixture,
    configuration: Configuration,
    tokenizer: CLIPTokenizer,
    step: int,
    workers: Workers,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """This worker's latents, tokens and depths of one step; the same step always draws the same pictures and words."""
    controlled, free = (rows[workers.rank :: workers.count] for rows in mixture.draw(configuration.batch, step))
    random = np.random.default_rng([configuration.seed, 8, step, workers.rank])
    indices = np.concatenate([controlled, free])
    captions = [
        "" if random.random() < CAPTION_DROPOUT else caption(examples.facts[index], random) for index in indices
    ]
    tokens = tokenizer(
        captions, padding="max_length", truncation=True, max_length=configuration.text_length, return_tensors="pt"
    ).input_ids
    depth = (
        torch.from_numpy(examples.depths[indices[: len(controlled)]]).float().div(255)[:, None].expand(-1, 3, -1, -1)
    )
    return examples.latents[torch.from_numpy(indices)].float() * examples.scale, tokens, depth


def build_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for matrices, AdamW for the rest; each group's `times` multiplies the scheduled rate."""

    def grouped(named: list[tuple[str, nn.Parameter]]) -> list[dict]:
        # Words reach the picture by way of cross-attention; at the convolutions' rate they are learned last.
        wordy = [value for name, value in named if name.startswith("text.") or "attn2" in name]
        others = [value for name, value in named if not (name.startswith("text.") or "attn2" in name)]
        return [{"params": others, "times": 1.0}, {"params": wordy, "times": 2.5}]

    matrices, rest = split_parameters(model)
    return [
        Muon(grouped(matrices), lr=0.0),
        torch.optim.AdamW(grouped(rest), lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True),
    ]


def spread_timesteps(count: int, levels: int, device: torch.device) -> torch.Tensor:
    """[count] timesteps, one in each of as many even stretches, in any order: less chance from step to step."""
    places = (torch.randperm(count) + torch.rand(count)) / count
    return (places * levels).long().clamp(max=levels - 1).to(device)


def train(configuration: Configuration, more: float, peak: float | None, workers: Workers) -> None:
    """Train for the configured seconds, going on from the last state; once that is done, `more` seconds beyond it."""
    device = pick_device()
    folder = work_folder(configuration)
    examples = load_examples(configuration)
    mixture = Mixture(examples.facts, set(emoji_names(configuration.emoji_objects)), configuration.seed)
    tokenizer = load_or_build_tokenizer(folder / "tokenizer", examples.facts, configuration.text_length)
    torch.manual_seed(configuration.seed)
    model = Denoiser(configuration, tokenizer).to(device)
    average = MovingAverage(model)  # kept by the first worker alone
    optimizers = build_optimizers(model)
    path, step, clock = folder / "denoiser.pt", 0, Stopwatch()
    state = load_state(path)
    leg = Leg.of(state, configuration.denoiser_seconds, peak or configuration.learning_rate, more)
    if state:
        model.load_state_dict(state["model"])
        step, clock = state["step"], Stopwatch(state["seconds"])
        average = MovingAverage(model)
        if clock.seconds > leg.start + 1.0:
            for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            average.shadow = {name: value.to(device) for name, value in state["average"].items()}
            average.updates = state["averaged"]
    if device.type == "cpu":
        # PyTorch's fused attention takes a quarter of a whole step here, in its backward pass; plain products are far
        # faster at 64 x 32.
        torch.backends.cuda.enable_flash_sdp(False)
    alphas = build_scheduler().alphas_cumprod.to(device)
    parameters = sum(value.numel() for value in model.unet.parameters()) / 1e6
    if workers.rank == 0:
        print(
            f"{len(examples.facts)} pictures, U-Net {parameters:.1f}M, scale {examples.scale:.3f}, from step {step}",
            flush=True,
        )

    def save() -> None:
        save_atomically(
            {
                "model": model.state_dict(),
                "average": average.shadow,
                "averaged": average.updates,
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "step": step,
                "seconds": clock.seconds,
                "leg": asdict(leg),
            },
            path,
        )

    run = torch.compile(model) if device.type == "cuda" else model  # on the CPU compiling cost more time than it saved
    log = (folder / "denoiser.jsonl").open("a")
    recent: list[torch.Tensor] = []
    saved, marked = clock.seconds, (clock.seconds, step)
    while (seconds := workers.agreed(clock.seconds)) < leg.end:
        clean, tokens, depth = (
            value.to(device) for value in make_batch(examples, mixture, configuration, tokenizer, step, workers)
        )
        torch.manual_seed(configuration.seed * 1_000_003 + 2 * step + workers.rank)
        noise = torch.randn_like(clean)
        timesteps = spread_timesteps(len(clean), len(alphas), device)
        alpha = alphas[timesteps].view(-1, 1, 1, 1)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = group["times"] * leg.learning_rate(seconds)
        with autocast(device):
            predicted = run(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, timesteps, tokens, depth)
        error = (predicted.float() - (alpha.sqrt() * noise - (1 - alpha).sqrt() * clean)).square().mean((1, 2, 3))
        # Min-SNR weighting (Hang et al. 2023) bounds what nearly clean latents count, gamma = 5; at high noise, where
        # the prompt decides colour and kind, v's own weight of 1 is kept: falling there, words were learned late.
        ratio = (alpha / (1 - alpha)).flatten()
        loss = (error * (5.0 / (ratio + 1.0)).clamp(max=1.0)).mean()
        model.zero_grad(set_to_none=True)
        loss.backward()
        workers.average_gradients(list(model.parameters()))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        if workers.rank:
            continue
        average.update(model)
        recent.append(error.detach().mean())
        if step % 50 == 0:
            rate = (step - marked[1]) * configuration.batch / (clock.seconds - marked[0])
            marked = (clock.seconds, step)
            entry = {
                "step": step,
                "seconds": round(clock.seconds, 1),
                "error": round(float(torch.stack(recent).mean()), 5),
                "pictures_per_second": round(rate, 1),
            }
            recent.clear()
            print(json.dumps(entry), flush=True)
            log.write(json.dumps(entry) + "\n")
            log.flush()
        if clock.seconds - saved > 240:
            saved = clock.seconds
            save()
    if workers.rank == 0:
        save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration")
    add_leg_arguments(parser)
    arguments = parser.parse_args()
    settings = load_configuration(arguments.configuration)
    # Latents and tokenizer are made once, before workers share them.
    run_workers(encode_parts, settings, processes=arguments.processes)
    load_or_build_tokenizer(work_folder(settings) / "tokenizer", load_examples(settings).facts, settings.text_length)
    run_workers(train, settings, arguments.more, arguments.peak, processes=arguments.processes)
