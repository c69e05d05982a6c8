"""Write the trained networks as Stable Diffusion's folder: fp16 safetensors, tokenizer, scheduler, checksums."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline

from captions import Facts
from configuration import BUNDLED, Configuration, load_configuration, work_folder
from directions import for_ddrep
from tokenizer import load_or_build_tokenizer
from train_autoencoder import build_autoencoder
from train_denoiser import Denoiser, build_scheduler

# Written by hand or by the evaluation; an export leaves them as they are.
PICTURES = ("samples.png", "samples_depth.png", "samples_guidance.png", "loss.png")
DOCUMENTS = ("README.md", "NOTICE", *PICTURES, "figures.json")


def trained_networks(configuration: Configuration) -> tuple[StableDiffusionPipeline, ControlNetModel, dict]:
    """The pipeline and ControlNet with averaged weights in float32, and what the training state says of itself."""
    folder = work_folder(configuration)
    tokenizer = load_or_build_tokenizer(folder / "tokenizer", [Facts("emoji", ())], configuration.text_length)
    state = torch.load(folder / "denoiser.pt", map_location="cpu", weights_only=True)
    denoiser = Denoiser(configuration, tokenizer)
    denoiser.load_state_dict(state["average"])
    autoencoder = build_autoencoder(configuration)
    better = folder / "decoder.pt"
    weights = torch.load(
        better if better.exists() else folder / "autoencoder.pt", map_location="cpu", weights_only=True
    )
    autoencoder.load_state_dict(weights["model"])
    autoencoder.register_to_config(scaling_factor=json.loads((folder / "scaling_factor.json").read_text()))
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.eval(),
        text_encoder=denoiser.text.eval(),
        tokenizer=tokenizer,
        unet=denoiser.unet.eval(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )
    return (
        pipeline,
        denoiser.controlnet.eval(),
        {"step": state["step"], "seconds": round(state["seconds"]), "autoencoder_seconds": round(weights["seconds"])},
    )


def write_checksums(folder: Path) -> None:
    """`checksums.json`: sha256 of every file but itself, by its path from the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "checksums.json")
    sums = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


def export(configuration: Configuration, folder: Path) -> dict:
    """Write the folder anew, keeping its documents; returns step and seconds of the training."""
    pipeline, controlnet, facts = trained_networks(configuration)
    kept = {name: (folder / name).read_bytes() for name in DOCUMENTS if (folder / name).exists()}
    if folder.exists():
        shutil.rmtree(folder)
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    controlnet.half().save_pretrained(folder / "controlnet", safe_serialization=True)
    for name in ("vocab.json", "merges.txt"):
        # Older versions of transformers read these two, newer ones tokenizer.json.
        shutil.copy(work_folder(configuration) / "tokenizer" / name, folder / "tokenizer" / name)
    for path in folder.rglob("*.json"):
        # The hub's bookkeeping (where a file came from on this machine) is of no use to others.
        settings = json.loads(path.read_text())
        if isinstance(settings, dict) and settings.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(settings, indent=2) + "\n")
    # transformers would load the text encoder in half precision and diffusers the rest in single: they must agree
    # when no precision is asked for.
    settings = json.loads((folder / "text_encoder" / "config.json").read_text()) | {"dtype": "float32"}
    (folder / "text_encoder" / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "ddrep.json").write_text(
        json.dumps({"guidance_scale": configuration.guidance_scale} | for_ddrep()) + "\n"
    )
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    write_checksums(folder)
    return facts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration")
    parser.add_argument("--folder", type=Path, default=BUNDLED)
    parser.add_argument("--checksums-only", action="store_true", help="after a document was changed")
    arguments = parser.parse_args()
    if arguments.checksums_only:
        write_checksums(arguments.folder)
    else:
        print(json.dumps(export(load_configuration(arguments.configuration), arguments.folder)))
