"""Vector drawings: real icons against resvg, files written again, derivatives against finite differences; sampled ones.

npm pack @twemoji/svg openmoji; pip install resvg_py        (into folders outside of the repository)
python scripts/experiments/vector.py --icons TWEMOJI OPENMOJI/color/svg              the tables of docs/vector.md
python scripts/experiments/vector.py --sample "a yellow duck" "a house" --paths 32   what the prior draws, and its cost
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fields_common import parser, report
from PIL import Image
from torch import Tensor

import ddrep_core as dd
from ddrep_core.diffreps.blobs import BlobsDiffrep
from ddrep_core.diffreps.encoded import EncodedDiffrep
from ddrep_core.schedules.parse import parse_schedule
from ddrep_core.vector import parse_svg, read_svg
from ddrep_core.vector.render import Numbers, Renderer
from ddrep_core.vector.writer import write_svg

WANTED = 2.0  # mean absolute difference in grey levels


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--icons", type=Path, nargs="+", default=[], help="folders of SVG files")
    arguments.add_argument("--count", type=int, default=200, help="icons, shared evenly between the folders")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[72, 128], help="pixels a side")
    arguments.add_argument("--derivatives", type=int, default=20, help="icons whose derivatives are measured")
    arguments.add_argument("--sample", nargs="+", default=[], help="prompts")
    arguments.add_argument("--paths", type=int, nargs="+", default=[32])
    arguments.add_argument("--schedule", nargs="+", default=["plain"])
    arguments.add_argument("--steps", type=int, default=20)
    options = arguments.parse_args()
    if options.icons:
        folders = {folder: sorted(folder.rglob("*.svg")) for folder in options.icons}
        shares = {folder: options.count // len(folders) for folder in folders}
        chosen = [path for folder in folders for path in random.Random(0).sample(folders[folder], shares[folder])]
        found = {
            "against_resvg": against_resvg(chosen, options.sizes, options.out),
            "written_again": written_again(chosen, 96),
            "derivatives": derivatives(chosen[:: max(1, len(chosen) // options.derivatives)], 32),
        }
        report("vector_icons", found, options.out)
    if options.sample:
        prior = dd.load_prior(options.prior, device=options.device)
        rows = [
            sampled(prior, options.sample, paths, name, options.steps, options.out)
            for paths in options.paths
            for name in options.schedule
        ]
        report("vector_sampled", {"rows": rows}, options.out)


def drawn(drawing: Any, size: int, numbers: Numbers | None = None) -> Tensor:
    """[3, size, size] on white."""
    with torch.no_grad():
        return Renderer(drawing, size, size).over(numbers or Numbers.of(drawing))


def by_resvg(text: str, size: int) -> np.ndarray[Any, Any]:
    """[size, size, 3] on white, in grey levels."""
    import resvg_py

    data = resvg_py.svg_to_bytes(svg_string=text, width=size, height=size, background="white", skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB")).astype(float)


def against_resvg(paths: Sequence[Path], sizes: Sequence[int], out: Path) -> dict[str, Any]:
    """How far our pictures are from resvg's, and both from their own at eight times the size, averaged."""
    table, rows = {}, []
    for size in sizes:
        for path in paths:
            drawing, _ = read_svg(path)
            text = path.read_text()
            started = time.process_time()
            ours = drawn(drawing, size).permute(1, 2, 0).numpy() * 255
            seconds = time.process_time() - started
            theirs = by_resvg(text, size)
            fine = by_resvg(text, 8 * size).reshape(size, 8, size, 8, 3).mean((1, 3))
            distances = {
                "difference": np.abs(ours - theirs).mean(),
                "ours_from_fine": np.abs(ours - fine).mean(),
                "theirs_from_fine": np.abs(theirs - fine).mean(),
            }
            rows.append(
                {"icon": path.name, "size": size, "seconds": seconds, "not_drawn": drawing.not_drawn} | distances
            )
        own = [row for row in rows if row["size"] == size]
        table[str(size)] = {
            "icons": len(own),
            "below": float(np.mean([row["difference"] < WANTED for row in own])),
            "median": float(np.median([row["difference"] for row in own])),
            **{name: float(np.mean([row[name] for row in own])) for name in (*distances, "seconds")},
        }
        print(size, table[str(size)], flush=True)
    above = [row for row in rows if row["difference"] >= WANTED]
    return {"table": table, "above": above, "worst": sorted(rows, key=lambda row: -row["difference"])[:10]}


def written_again(paths: Sequence[Path], size: int) -> dict[str, Any]:
    """Every number is moved at random, the file is written, read and drawn again, by us and by resvg."""
    torch.manual_seed(0)
    largest, differing, theirs, untouched = [], [], [], 0
    for path in paths:
        drawing, markup = read_svg(path)
        numbers = Numbers.of(drawing)
        untouched += write_svg(drawing, markup, numbers) == markup.text
        units = torch.tensor(drawing.units)
        moved = Numbers(
            numbers.coordinates + 0.01 * units * torch.randn_like(numbers.coordinates),
            numbers.colours + 0.1 * torch.randn_like(numbers.colours),
            numbers.opacities + 0.1 * torch.randn_like(numbers.opacities),
            numbers.widths * (1 + 0.1 * torch.randn_like(numbers.widths)),
        )
        text = write_svg(drawing, markup, moved)
        again, _ = parse_svg(text)
        before, after = drawn(drawing, size, moved), drawn(again, size)
        difference = (before - after).abs() * 255
        largest.append(float(difference.max()))
        differing.append(float((difference > 0.5).float().mean()))
        theirs.append(float(np.abs(by_resvg(text.decode(), size) - 255 * after.permute(1, 2, 0).numpy()).mean()))
    found = {
        "icons": len(paths),
        "unmoved_to_the_byte": untouched,
        "same_to_half_a_grey_level": float(np.mean([each < 0.5 for each in largest])),
        "largest": max(largest),
        "pixels_that_differ": float(np.mean(differing)),
        "from_resvg": float(np.mean(theirs)),
    }
    print(found, flush=True)
    return found


def derivatives(paths: Sequence[Path], size: int) -> dict[str, float]:
    """The worst relative error of a derivative along a random direction, in float64, for each kind of number."""
    torch.manual_seed(0)
    worst: dict[str, float] = {}
    for path in paths:
        drawing, _ = read_svg(path)
        renderer = Renderer(drawing, size, size, dtype=torch.float64)
        file = Numbers.of(drawing, torch.float64)
        unit = torch.tensor(drawing.units, dtype=torch.float64)
        numbers = Numbers(  # off the borders of pixels, and inside of all limits
            file.coordinates + 1e-3 * unit * torch.randn_like(file.coordinates),
            file.colours * 0.8 + 0.1,
            file.opacities * 0.8 + 0.1,
            file.widths * 1.013,
        )
        wanted = torch.randn(3, size, size, dtype=torch.float64)

        def loss(kind: str, values: Tensor) -> Tensor:
            return (renderer.over(replace(numbers, **{kind: values})) * wanted).sum()  # noqa: B023 (used at once)

        for kind in ("coordinates", "colours", "opacities", "widths"):
            values: Tensor = getattr(numbers, kind)
            if not len(values):
                continue
            leaf, direction, small = values.clone().requires_grad_(True), torch.randn_like(values), 1e-6
            (gradient,) = torch.autograd.grad(loss(kind, leaf), leaf)
            told = float((gradient * direction).sum())
            with torch.no_grad():
                ends = loss(kind, values + small * direction) - loss(kind, values - small * direction)
            measured = float(ends) / (2 * small)
            worst[kind] = max(worst.get(kind, 0.0), abs(told - measured) / max(abs(measured), 1e-6))
    print(worst, flush=True)
    return worst | {"icons": len(paths)}


def sampled(prior: Any, prompts: Sequence[str], paths: int, name: str, steps: int, out: Path) -> dict[str, Any]:
    """One drawing a prompt, as `ddrep vector` draws it."""
    pictures, errors, seconds = [], [], []
    side, evaluations = prior.image_size, 0.0
    for prompt in prompts:
        rep = EncodedDiffrep(BlobsDiffrep(paths, side, side), prior)
        last: list[Tensor] = []

        def keep(step: Any, last: list[Tensor] = last) -> None:
            if step.clean is not None:
                last[:] = [step.clean]

        result = dd.sample(
            rep,
            prior,
            prompt=prompt,
            guidance_scale=prior.default_guidance_scale,
            schedule=parse_schedule(name, prior.sigmas, steps),
            callback=keep,
        )
        with torch.no_grad():
            drawn_small = result.diffrep.pictures.render()
            errors.append(float((drawn_small - prior.decode(last[-1])).square().mean()))
        text = result.diffrep.pictures.svg(prompt)
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{prompt.replace(' ', '_')}_{paths}_{name}.svg").write_text(text)
        pictures.append(drawn(parse_svg(text)[0], 192))
        seconds.append(result.seconds)
        evaluations = result.nfe
    strip = (torch.cat(pictures, 2).clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(strip).save(out / f"vector_{paths}_{name}.png")
    parts = {part: float(np.mean([each[part] for each in seconds])) for part in ("prior", "pullback", "total")}
    row = {
        "paths": paths,
        "schedule": name,
        "evaluations": evaluations,
        "left_of_clean": float(np.mean(errors)),
    } | parts
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
