"""What the command line of a real Blender left behind, as a verdict.

judge_command.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

STATUSES = {
    "texture": 0,
    "seeds": 0,
    "generate": 0,
    "panorama": 0,
    "render": 0,
    "refused": 2,
    "open_file": 2,
    "help": 0,
}


def faults(folder: Path) -> list[str]:
    """What is not as it must be."""
    found = []
    statuses = dict(line.rsplit(" ", 1) for line in (folder / "statuses").read_text().splitlines())
    for name, expected in STATUSES.items():
        if statuses.get(name) != str(expected):
            tail = (folder / f"{name}.log").read_text().strip().splitlines()[-3:]
            found.append(f"{name} ended with {statuses.get(name)}, not {expected}: {' | '.join(tail)}")
    if (folder / "scene_before").read_text() != (folder / "scene_after").read_text():
        found.append("the .blend that was opened was written to")
    if found:
        return found
    told = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("texture", "generate", "panorama")}
    texture = told["texture"]
    if len(texture["materials"]) != 4:
        found.append(f"2 objects and 2 prompts gave {len(texture['materials'])} materials")
    written = [json.loads(path.read_text()) for path in sorted((folder / "jobs").glob("*/job.json"))]
    if sorted(job["seed"] for job in written) != [3, 4]:
        found.append(f"2 seeds, all objects together, wrote {len(written)} jobs")
    if texture["unpacked"]:
        found.append(f"not packed: {texture['unpacked']}")
    if not all(texture["slots"].get(name) for name in ("Figure", "Box")):
        found.append(f"the objects do not show a result: {texture['slots']}")
    if texture["prompt"]:
        found.append("the scene's own settings were changed")
    sizes = [max(size) for size in told["generate"]["sizes"].values()]
    if not any(abs(size - 0.5) < 0.01 for size in sizes):
        found.append(f"no generated object of half a metre: {told['generate']['sizes']}")
    if told["panorama"]["world"] not in told["panorama"]["worlds"]:
        found.append("the panorama is not the scene's world")
    renders = sorted((folder / "renders").glob("*.png"))
    if len(renders) != 8:
        found.append(f"4 results from 2 cameras gave {len(renders)} renders")
    pictures = {path: np.asarray(Image.open(path).convert("RGB"), np.float32) for path in renders}
    front = [picture for path, picture in pictures.items() if path.stem.endswith("-front")]
    alike = [i for i in range(len(front)) for j in range(i) if np.abs(front[i] - front[j]).mean() < 0.05]
    if len(alike) != 1:  # the last result of each object is what the scene shows: these two, and no others
        found.append(f"{len(alike)} pairs of renders are alike")
    return found


if __name__ == "__main__":
    verdict = faults(Path(sys.argv[1]))
    for fault in verdict:
        print("FAILED:", fault)
    sys.exit(1 if verdict else 0)
