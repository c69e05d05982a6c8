"""Write the trained network, averaged, as `load_object_prior` reads it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from work import work_folder  # noqa: E402

from ddrep_core.forward_models.kept_network import save_network  # noqa: E402
from ddrep_core.forward_models.object_network import ObjectNetwork, ObjectNetworkShape  # noqa: E402
from ddrep_core.forward_models.object_prior import BUNDLED  # noqa: E402
from ddrep_core.training.loop import load_state  # noqa: E402
from prepare import HELD_OUT  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=BUNDLED)
    arguments = parser.parse_args()
    state = load_state(work_folder() / f"objects_{arguments.size}" / "network.pt")
    if state is None:
        sys.exit("there is no trained network yet; run train.py")
    network = ObjectNetwork(ObjectNetworkShape(**state["shape"]))
    network.load_state_dict(state["average"])
    about = {
        "steps": state["step"],
        "core_seconds": round(state["seconds"]),
        "objects": state["examples"],
        "kinds_held_out": list(HELD_OUT),
    }
    save_network(network, network.shape, arguments.folder, about)
    print(f"{arguments.folder}: {about}")


if __name__ == "__main__":
    main()
