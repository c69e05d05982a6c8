"""The corpus of our own making: each file gives a mesh or words, and a slice of it is textured whole."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import mesh_corpus
import numpy as np
import pytest

from ddrep_core.errors import RequestError
from ddrep_core.geometry import load_mesh
from ddrep_core.jobs.create import side_files

CASES = {case.file: case for case in mesh_corpus.cases() if not case.large}
WHOLE = (
    "obj_loose_sorted_first.obj",
    "obj_materials.obj",
    "obj_ngon_500.obj",
    "obj_name_slashes.obj",
    "obj_normals_nowhere.obj",
    "obj_bad_index.obj",
    "obj_uv_100000.obj",
    "ply_lost_picture.ply",
    "glb_shared_vertices.glb",
    "glb_sparse.glb",
    "dae_nodes.dae",
    "3mf_twice.3mf",
)


@pytest.mark.parametrize("file", CASES)
def test_each_file_gives_a_mesh_or_words(file: str, tmp_path: Path) -> None:
    case = CASES[file]
    path = mesh_corpus.write_case(case, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert path.name in {side.name for side in side_files(path).values()}
            mesh = load_mesh(path)
        except RequestError as error:
            assert case.expected in ("refused", "either") and error.message.strip()
            return
    assert case.expected in ("textured", "either")
    assert np.isfinite(mesh.triangles).all()
    for part in mesh.parts:
        assert part.uv is not None and np.isfinite(part.uv).all()


def test_names_and_files_are_all_different() -> None:
    assert len(CASES) == sum(not case.large for case in mesh_corpus.cases()) >= 60


def test_a_slice_is_textured_whole(tmp_path: Path) -> None:
    for file in WHOLE:
        mesh_corpus.write_case(CASES[file], tmp_path)
    (tmp_path / mesh_corpus.EXPECTED).write_text(json.dumps({CASES[f].name: CASES[f].expected for f in WHOLE}))
    script = Path(__file__).parents[1] / "scripts" / "try_meshes"
    command = [sys.executable, str(script), str(tmp_path), "--cameras", "orbit:2", "--steps", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(WHOLE)} files: {len(WHOLE) - 2} textured, 2 refused, 0 failed" in run.stdout
