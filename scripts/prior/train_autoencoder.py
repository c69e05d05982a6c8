"""Train the autoencoder: first both halves, then (`--decoder`) the decoder alone with a perceptual term.

Latents of the frozen encoder stay valid while the decoder improves, so the denoiser may train between the two.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from configuration import Configuration, load_configuration, work_folder
from ddrep_core.features import PerceptualDistance
from ddrep_core.training.loop import (
    Leg,
    Stopwatch,
    Workers,
    add_leg_arguments,
    autocast,
    load_state,
    pick_device,
    run_workers,
    save_atomically,
    shuffled_batches,
)
from prepare import load_part, parts


def build_autoencoder(configuration: Configuration) -> AutoencoderKL:
    channels = configuration.autoencoder_channels
    model = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=configuration.image_size,
        block_out_channels=tuple(channels),
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=16,
        mid_block_add_attention=False,
    )
    # Begin with a posterior of little noise (0.05): from 1, half of a short training would go into unlearning it.
    assert model.quant_conv is not None
    with torch.no_grad():
        model.quant_conv.weight[4:] = 0.0
        model.quant_conv.bias[4:] = -6.0  # type: ignore[index]
    return model


def load_pictures(configuration: Configuration) -> np.ndarray:
    """All parts there are, uint8 [N, S, S, 3]."""
    return np.concatenate([load_part(configuration, part)[0] for part in parts(configuration)])


def as_tensor(pictures: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 [B, S, S, 3] to [B, 3, S, S] in [-1, 1]."""
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def reconstruction_loss(result: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """L1 and L2 of pixels, L1 of their differences to neighbours (sharp edges) and of the colours of 4x4 patches.

    Without the last, a short training spends the four channels on light and dark and one axis of colour: red and
    green come out brown.
    """
    error = result - picture
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    tint = error - error.mean(1, keepdim=True)
    patches = functional.avg_pool2d(error, 4).abs().mean() + 2.0 * functional.avg_pool2d(tint, 4).abs().mean()
    return error.abs().mean() + error.square().mean() + 0.25 * edges + patches


def through_both(model: AutoencoderKL, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture encoded, sampled and decoded, and the small price of a posterior far from the unit normal."""
    posterior = model.encode(picture).latent_dist
    return model.decode(posterior.sample()).sample, 1e-6 * posterior.kl().float().mean()


def through_decoder(
    model: AutoencoderKL, latents: torch.Tensor, picture: torch.Tensor, perceptual: PerceptualDistance
) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture decoded from kept latents, a little disturbed as a denoiser's are, and its distance in features."""
    disturbed = latents + 0.05 * latents.std() * torch.randn_like(latents)
    result = model.decode(disturbed).sample
    return result, 0.25 * perceptual(result, picture).float()


def load_latents(configuration: Configuration) -> torch.Tensor:
    """What the frozen encoder made of all parts, in their order: [N, 4, h, w]."""
    folder = work_folder(configuration) / "latents"
    return torch.cat([torch.load(folder / f"{part}.pt", weights_only=True)["latents"] for part in parts(configuration)])


def train(configuration: Configuration, decoder_only: bool, more: float, peak: float | None, workers: Workers) -> None:
    """Train for the configured seconds, going on from the last state; once that is done, `more` seconds beyond it."""
    device = pick_device()
    folder = work_folder(configuration)
    path = folder / ("decoder.pt" if decoder_only else "autoencoder.pt")
    budget = configuration.decoder_seconds if decoder_only else configuration.autoencoder_seconds
    usual = 6e-4 if decoder_only else 1e-3
    model = build_autoencoder(configuration).to(device)
    parameters = list(model.parameters())
    latents = perceptual = None
    if decoder_only:
        model.load_state_dict(torch.load(folder / "autoencoder.pt", map_location="cpu", weights_only=True)["model"])
        parameters = [value for name, value in model.named_parameters() if "decoder" in name or "post_quant" in name]
        latents, perceptual = load_latents(configuration), PerceptualDistance().to(device)
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=1e-4, betas=(0.9, 0.99))
    state = load_state(path)
    step, clock = 0, Stopwatch()
    leg = Leg.of(state, budget, peak or usual, more)
    if state:
        model.load_state_dict(state["model"])
        step, clock = state["step"], Stopwatch(state["seconds"])
        if clock.seconds > leg.start + 1.0:
            optimizer.load_state_dict(state["optimizer"])

    def save() -> None:
        save_atomically(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "seconds": clock.seconds,
                "leg": asdict(leg),
            },
            path,
        )

    torch.manual_seed(configuration.seed + step + 1000 * workers.rank)
    pictures = load_pictures(configuration)
    batches = shuffled_batches(len(pictures), configuration.autoencoder_batch, configuration.seed, step)
    log = (folder / f"{path.stem}.jsonl").open("a")
    recent: list[float] = []
    saved = clock.seconds
    while (seconds := workers.agreed(clock.seconds)) < leg.end:
        rows = next(batches)[workers.rank :: workers.count]
        picture = as_tensor(pictures[rows], device)
        for group in optimizer.param_groups:
            group["lr"] = leg.learning_rate(seconds)
        with autocast(device):
            if latents is None or perceptual is None:
                result, penalty = through_both(model, picture)
            else:
                kept = latents[torch.from_numpy(rows)].float().to(device)
                result, penalty = through_decoder(model, kept, picture, perceptual)
            loss = reconstruction_loss(result.float(), picture) + penalty
        optimizer.zero_grad()
        loss.backward()
        workers.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        recent.append(float((result.detach().float().clamp(-1, 1) - picture).square().mean()) / 4.0)
        step += 1
        if workers.rank:
            continue
        if step % 100 == 0:
            decibels = -10.0 * np.log10(np.mean(recent))
            recent.clear()
            entry = {
                "step": step,
                "seconds": round(clock.seconds, 1),
                "loss": round(loss.item(), 4),
                "psnr": round(float(decibels), 2),
            }
            print(json.dumps(entry), flush=True)
            log.write(json.dumps(entry) + "\n")
            log.flush()
        if clock.seconds - saved > 120:
            saved = clock.seconds
            save()
    if workers.rank == 0:
        save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration")
    parser.add_argument("--decoder", action="store_true", help="train the decoder alone, with a perceptual term")
    add_leg_arguments(parser)
    arguments = parser.parse_args()
    settings = load_configuration(arguments.configuration)
    run_workers(train, settings, arguments.decoder, arguments.more, arguments.peak, processes=arguments.processes)
