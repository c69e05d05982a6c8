"""Fetch pictures and names with the npm client, by package name and pinned version, into the work folder."""

from __future__ import annotations

import argparse
import json
import subprocess

from configuration import load_configuration, work_folder
from prepare import packages_folder

PACKAGES = {"@lobehub/fluent-emoji-3d": "1.1.0", "emojibase-data": "17.0.0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration")
    configuration = load_configuration(parser.parse_args().configuration)
    folder = packages_folder(configuration)
    if all((folder / name / "package.json").exists() for name in PACKAGES):
        print("packages are there")
        return
    target = work_folder(configuration).parent / "npm"
    target.mkdir(parents=True, exist_ok=True)
    (target / "package.json").write_text(json.dumps({"private": True, "dependencies": PACKAGES}))
    subprocess.run(
        ["npm", "install", "--prefix", str(target), "--no-audit", "--no-fund", "--ignore-scripts"], check=True
    )


if __name__ == "__main__":
    main()
