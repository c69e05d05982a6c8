"""What a build of the bundled prior is told: one TOML file, read once into one frozen object."""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
BUNDLED = REPOSITORY / "ddrep_core" / "priors" / "bundled"


@dataclass(frozen=True)
class Configuration:
    """Sizes, amounts and times of one build; every field is a key of the TOML file."""

    name: str
    image_size: int
    """Pixels along one side of a picture."""
    emoji_objects: int
    """How many of `emoji_objects.txt`, from its top, are learned: a short training knows a few objects or none."""
    emoji_variants: int
    """Pictures prepared of each emoji."""
    geometries_per_kind: int
    """Differently proportioned objects of each parametric kind, in one part of the data."""
    render_parts: int
    """Parts of rendered pictures, each with other objects."""
    views_per_geometry: int
    materials_per_view: int
    surface_pictures: int
    """Flat pictures of materials alone."""
    landscape_pictures: int
    """Views of procedural worlds, for panoramas."""
    autoencoder_channels: list[int]
    autoencoder_seconds: float
    autoencoder_batch: int
    decoder_seconds: float
    """Time for the decoder alone, with the perceptual term, after the encoder is frozen."""
    unet_channels: list[int]
    unet_layers: int
    text_width: int
    text_layers: int
    text_length: int
    batch: int
    learning_rate: float
    denoiser_seconds: float
    guidance_scale: float
    """The strength that suits the trained model: ddrep's default for it, and where fidelity, variety and directions are
    measured."""
    seed: int = 0

    @property
    def latent_size(self) -> int:
        """Latents are a quarter as wide as pictures for 64 pixels, an eighth for 128."""
        return self.image_size // 2 ** (len(self.autoencoder_channels) - 1)


def load_configuration(name: str) -> Configuration:
    """Read `configurations/NAME.toml` beside this file.

    Raises:
        SystemExit: there is none of that name; the message lists those that there are.
    """
    known = sorted(path.stem for path in (HERE / "configurations").glob("*.toml"))
    if name not in known:
        print(f"There is no configuration '{name}'. Use one of: {', '.join(known)}.", file=sys.stderr)
        raise SystemExit(2)
    with (HERE / "configurations" / f"{name}.toml").open("rb") as file:
        return Configuration(name=name, **tomllib.load(file))


def work_folder(configuration: Configuration) -> Path:
    """Where data and training states live: git-ignored, `DDREP_PRIOR_WORK` moves it."""
    root = Path(os.environ.get("DDREP_PRIOR_WORK", REPOSITORY / ".work" / "prior"))
    folder = root / configuration.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
