"""Write a trained network, averaged, as `ddrep` reads it: of objects, or of motion."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from work import work_folder  # noqa: E402

from ddrep_core.forward_models import motion_prior, object_prior  # noqa: E402
from ddrep_core.forward_models.kept_network import save_network  # noqa: E402
from ddrep_core.forward_models.motion_network import MotionNetwork, MotionNetworkShape  # noqa: E402
from ddrep_core.forward_models.object_network import ObjectNetwork, ObjectNetworkShape  # noqa: E402
from ddrep_core.training.loop import load_state  # noqa: E402
from prepare import HELD_OUT  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="objects", choices=("objects", "motion"))
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="the model's own place when not given")
    arguments = parser.parse_args()
    of_objects = arguments.what == "objects"
    state = load_state(work_folder() / (f"objects_{arguments.size}/network.pt" if of_objects else "motion.pt"))
    if state is None:
        sys.exit("there is no trained network yet; train it first")
    if of_objects:
        network = ObjectNetwork(ObjectNetworkShape(**state["shape"]))
    else:
        network = MotionNetwork(MotionNetworkShape(**state["shape"]))
    network.load_state_dict(state["average"])
    about = {
        "steps": state["step"],
        "core_seconds": round(state["seconds"]),
        "begun_with": state["begun_with"],
        arguments.what if of_objects else "sprites": state["examples"],
        "kinds_held_out": list(HELD_OUT),
    }
    folder = arguments.folder or (object_prior.BUNDLED if of_objects else motion_prior.BUNDLED)
    save_network(network, network.shape, folder, about)
    print(f"{folder}: {about}")


if __name__ == "__main__":
    main()
