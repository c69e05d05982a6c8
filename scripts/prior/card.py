"""Write the model card, its loss curve and its notice beside the weights, from the logs and from figures.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

from configuration import BUNDLED, HERE, Configuration, load_configuration, work_folder
from export import write_checksums
from prepare import packages_folder, parts

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def read_log(path: Path) -> list[dict]:
    """The last line wins where a resumed run wrote a step again."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [entry for _, entry in sorted({entry["step"]: entry for entry in lines}.items())]


def pictures_seen(log: list[dict]) -> int:
    """Pictures of the whole run, whatever its batches were, to the thousand."""
    times = [0.0, *(entry["seconds"] for entry in log)]
    seen = sum(
        entry["pictures_per_second"] * (entry["seconds"] - before) for entry, before in zip(log, times, strict=False)
    )
    return round(seen / 1000) * 1000


def draw_losses(configuration: Configuration, target: Path) -> None:
    folder = work_folder(configuration)
    denoiser, autoencoder = read_log(folder / "denoiser.jsonl"), read_log(folder / "autoencoder.jsonl")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), dpi=100)
    left.plot([entry["step"] for entry in autoencoder], [entry["psnr"] for entry in autoencoder])
    left.set(xlabel="step", ylabel="PSNR, dB", title="autoencoder")
    right.plot([entry["step"] for entry in denoiser], [entry["error"] for entry in denoiser])
    right.set(xlabel="step", ylabel="mean squared error of v", title="U-Net, text encoder, ControlNet", yscale="log")
    figure.tight_layout()
    figure.savefig(target)


def figure_rows(figures: dict) -> str:
    """The measured values as a table, beside the bars that weights trained on a GPU should pass."""
    fidelity, variety, reading, depth, speed = (
        figures[name] for name in ("fidelity", "variety", "directions", "depth", "speed")
    )
    rows = [
        (
            f"The named object is among the five nearest training pictures ({fidelity['names']} names, "
            f"{fidelity['pictures_each']} pictures each; EfficientNet-Lite0 features), "
            f"guidance {fidelity['guidance']:g}",
            "≥ 70 %",
            f"{fidelity['top5_share']:.0%}",
        ),
        *((f"… guidance {weight}", "", f"{share:.0%}") for weight, share in others(fidelity)),
        (
            "… of freshly augmented training pictures (the ceiling)",
            "",
            f"{fidelity['ceiling_augmented_training_pictures']:.0%}",
        ),
        ("… of pictures of another prompt (the floor)", "", f"{fidelity['floor_wrong_prompt']:.0%}"),
        (
            f"Spread within a prompt over spread within its category, guidance {variety['guidance']:g}",
            "≥ 0.5",
            f"{variety['spread_within_prompt_over_category']:.2f}",
        ),
        *((f"… guidance {weight}", "", f"{ratio:.2f}") for weight, ratio in others(variety)),
        (
            f"Direction read as asked for, by a classifier trained on renders ({', '.join(reading['by_kind'])}; "
            f"{reading['pictures']} pictures; chance 25 %)",
            "≥ 80 %",
            f"{reading['share_read_as_asked']:.0%}",
        ),
        (
            "… the left and the right side by name: a side, and the right one (chance 12 %)",
            "",
            f"{reading['left_and_right_read_as_asked']:.0%}",
        ),
        (
            "… by the same classifier on renders of objects it never saw, passed through the autoencoder",
            "",
            f"{reading['classifier_on_held_out_renders']:.0%}",
        ),
        (
            "Silhouette drawn over depth's mask, intersection over union (objects never trained on)",
            "≥ 0.8",
            f"{depth['iou_mean']:.2f}",
        ),
        ("… of the true renders (the ceiling)", "", f"{depth['iou_of_true_renders']:.2f}"),
        ("Seconds for one evaluation of batch 16, two CPU threads", "≤ 0.3", f"{speed['seconds_batch_16']:.2f}"),
    ]
    return "\n".join(
        ["| Measured | Bar | Value |", "|---|---|---|", *(f"| {name} | {bar} | {value} |" for name, bar, value in rows)]
    )


def others(measured: dict) -> list[tuple[str, float]]:
    """The same figure at the strengths of guidance that are not the first one's."""
    return [
        (weight, value) for weight, value in measured["by_guidance"].items() if float(weight) != measured["guidance"]
    ]


def guidance_rows(figures: dict) -> str:
    lines = ["| Guidance | Mean | Deviation | Deviation between pictures |", "|---|---|---|---|"]
    for weight, entry in figures["guidance"].items():
        lines.append(f"| {weight} | {entry['mean']} | {entry['deviation']} | {entry['deviation_between_pictures']} |")
    return "\n".join(lines)


def names_missed(figures: dict) -> str:
    """Names that no picture was recognised by."""
    return ", ".join(sorted(name for name, share in figures["fidelity"]["by_name"].items() if not share)) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration")
    parser.add_argument("--folder", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    configuration, folder = load_configuration(arguments.configuration), arguments.folder
    figures = json.loads((folder / "figures.json").read_text())
    work = work_folder(configuration)
    denoiser, autoencoder = read_log(work / "denoiser.jsonl"), read_log(work / "autoencoder.jsonl")
    decoder = read_log(work / "decoder.jsonl")
    counts = {"emoji": 0, "renders": 0, "surfaces": 0, "landscapes": 0}
    for part in parts(configuration):
        counts[part.split("_")[0]] += len(json.loads((work / "data" / f"{part}.json").read_text()))
    draw_losses(configuration, folder / "loss.png")
    settings = {
        "SIZE": configuration.image_size,
        "EMOJI": counts["emoji"],
        "OBJECTS": configuration.emoji_objects,
        "RENDERS": counts["renders"],
        "SURFACES": counts["surfaces"],
        "LANDSCAPES": counts["landscapes"],
        "CONFIGURATION": (HERE / "configurations" / f"{configuration.name}.toml").read_text().strip(),
        "DENOISER_MINUTES": round(denoiser[-1]["seconds"] / 60),
        "STEPS": denoiser[-1]["step"],
        "PICTURES": f"{pictures_seen(denoiser):,}",
        "AUTOENCODER_MINUTES": round(autoencoder[-1]["seconds"] / 60),
        "DECODER_MINUTES": round(decoder[-1]["seconds"] / 60) if decoder else 0,
        "DECIBELS": f"{np.mean([entry['psnr'] for entry in (decoder or autoencoder)[-3:]]):.1f}",
        "FIGURES": figure_rows(figures),
        "GUIDANCE": guidance_rows(figures),
        "MISSED": names_missed(figures),
        "STRENGTH": f"{configuration.guidance_scale:g}",
        "IOU_MEDIAN": f"{figures['depth']['iou_median']:.2f}",
    }
    card = (HERE / "card.md").read_text()
    for name, value in settings.items():
        card = card.replace("{{" + name + "}}", str(value))
    (folder / "README.md").write_text(card)
    packages = packages_folder(configuration)
    notice = (
        (HERE / "notice.txt")
        .read_text()
        .replace("{{EMOJIBASE}}", (packages / "emojibase-data" / "LICENSE").read_text().strip())
    )
    (folder / "NOTICE").write_text(notice)
    write_checksums(folder)


if __name__ == "__main__":
    main()
