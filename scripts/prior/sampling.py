"""Pictures drawn with diffusers' own pipelines, from a folder or from networks in memory."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

Array = np.ndarray


def draw(
    pipeline: StableDiffusionPipeline,
    controlnet: ControlNetModel | None,
    prompts: list[str],
    depths: Array | None = None,
    *,
    guidance: float = 5.0,
    steps: int = 25,
    seed: int = 0,
    batch: int = 32,
) -> Array:
    """One picture a prompt, sRGB [N, S, S, 3] in [0, 1]; depths [N, S, S] in [0, 1] steer the ControlNet."""
    pipeline.set_progress_bar_config(disable=True)
    results = []
    for first in range(0, len(prompts), batch):
        chosen = prompts[first : first + batch]
        generators = [torch.Generator().manual_seed(seed + first + index) for index in range(len(chosen))]
        settings = {
            "prompt": chosen,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "generator": generators,
            "output_type": "np",
        }
        if depths is None:
            results.append(pipeline(**settings).images)
            continue
        assert controlnet is not None
        controlled = StableDiffusionControlNetPipeline(
            **pipeline.components, controlnet=controlnet, requires_safety_checker=False
        )
        controlled.set_progress_bar_config(disable=True)
        hints = torch.from_numpy(depths[first : first + batch]).float()[:, None].expand(-1, 3, -1, -1)
        results.append(controlled(image=hints, **settings).images)
    return np.concatenate(results)


def labelled_grid(pictures: Array, labels: list[str], columns: int, zoom: int = 1) -> Image.Image:
    """Pictures [N, S, S, 3] in rows, each with its words below."""
    size = pictures.shape[1] * zoom
    font = ImageFont.load_default(9)
    width, height = max(size, 92), size + 24
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = index % columns * width, index // columns * height
        tile = Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)).resize(
            (size, size), Image.Resampling.NEAREST
        )
        sheet.paste(tile, (left + (width - size) // 2, top))
        words, line = label.split(), ""
        lines: list[str] = []
        for word in words:
            if pen.textlength(f"{line} {word}".strip(), font=font) > width - 2:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        for number, text in enumerate([*lines, line][:2]):
            pen.text((left + 1, top + size + 1 + 11 * number), text, fill="black", font=font)
    return sheet
