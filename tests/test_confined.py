"""Nothing that a mesh names is read outside of the folder that it must stay in."""

import json
import os
from pathlib import Path

import geometry_shapes as shapes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ddrep_core.confined import Confined, LeadsOut, links_below
from ddrep_core.errors import DdrepWarning, RequestError
from ddrep_core.geometry.glb import write_glb
from ddrep_core.geometry.gltf_document import GltfDocument
from ddrep_core.geometry.load import load_mesh

POSIX = pytest.mark.skipif(os.name == "nt", reason="links and pipes as POSIX has them")
names = st.lists(st.sampled_from(["..", ".", "in", "file", "out", "up", "a b", "é", "/"]), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    """A folder with a file, and links that lead inside and outside."""
    root = tmp_path_factory.mktemp("yard") / "root"
    (root / "in").mkdir(parents=True)
    (root / "in" / "file").write_bytes(b"inside")
    (root / "in" / "up").symlink_to(root)
    (root / "out").symlink_to(root.parent)
    (root.parent / "file").write_bytes(b"outside")
    (root.parent / "in").mkdir()
    (root.parent / "in" / "file").write_bytes(b"outside")
    return root


@POSIX
@given(parts=names)
def test_whatever_the_name_what_is_read_lies_inside(yard, parts):
    try:
        content = Confined(yard).read_bytes("/".join(parts))
    except (OSError, LeadsOut):
        return
    assert content == b"inside"


@POSIX
def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.obj")
    with pytest.raises(OSError):
        Confined(tmp_path).read_bytes("pipe.obj")
    with pytest.raises(RequestError, match="pipe or a device"):
        load_mesh(tmp_path / "pipe.obj")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises((LeadsOut, OSError)):
        Confined(tmp_path).read_bytes("round")
    assert links_below(tmp_path, ("pipe.obj", "round", "absent")) == [tmp_path / "pipe.obj", tmp_path / "round"]


@pytest.fixture
def secret(tmp_path):
    """A picture outside of the job, and words that must not come out."""
    path = tmp_path / "secret.png"
    Image.new("RGB", (3, 3), (12, 34, 56)).save(path)
    return path


def written(mesh, tmp_path):
    write_glb(mesh, {}, tmp_path / "out.glb")
    return (tmp_path / "out.glb").read_bytes()


WAYS_OUT = ("../../secret.png", "{absolute}", "link.png", "away/secret.png")


@POSIX
@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("what", ["library", "picture"])
def test_an_obj_reads_no_material_and_no_picture_outside(tmp_path, secret, way, what):
    inputs = tmp_path / "job" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "link.png").symlink_to(secret)
    (inputs / "away").symlink_to(tmp_path)
    name = way.format(absolute=secret)
    library = "newmtl skin\nKd 0.25 0.5 0.75\nmap_Kd {}\n"
    header = "mtllib cow.mtl\no Cube\nusemtl skin\n"
    if what == "picture":
        (inputs / "cow.mtl").write_text(library.format(name))
    else:
        (tmp_path / "secret.mtl").write_text(library.format("secret.png"))
        (inputs / "link.mtl").symlink_to(tmp_path / "secret.mtl")
        header = header.replace("cow.mtl", name.replace("png", "mtl"))
    path = shapes.cube_obj(inputs / "cow.obj", header=header)
    with pytest.warns(DdrepWarning, match="leads out"):
        mesh = load_mesh(path, root=tmp_path / "job")
    assert any("leads out" in note for note in mesh.warnings)
    content = written(mesh, tmp_path)
    assert secret.read_bytes() not in content
    assert (b"0.25" in content) == (what == "picture")


def test_an_obj_beside_its_material_keeps_its_picture(tmp_path, secret):
    (tmp_path / "cow.mtl").write_text("newmtl skin\nmap_Kd secret.png\n")
    path = shapes.cube_obj(tmp_path / "cow.obj", header="mtllib cow.mtl\no Cube\nusemtl skin\n")
    assert secret.read_bytes() in written(load_mesh(path), tmp_path)
    (tmp_path / "meshes").mkdir()
    lower = shapes.cube_obj(tmp_path / "meshes" / "cow.obj", header="mtllib ../cow.mtl\no Cube\nusemtl skin\n")
    assert secret.read_bytes() in written(load_mesh(lower, root=tmp_path), tmp_path)


@POSIX
@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("what", ["buffers", "images"])
def test_a_gltf_reads_no_buffer_and_no_picture_outside(tmp_path, secret, way, what):
    inputs = tmp_path / "job" / "inputs"
    inputs.mkdir(parents=True)
    document = GltfDocument.read(shapes.scene_glb(tmp_path / "scene.glb"))
    block = document.buffers[0]
    if what == "buffers":
        secret.write_bytes(block)
    (inputs / "link.png").symlink_to(secret)
    (inputs / "away").symlink_to(tmp_path)
    (inputs / "data.bin").write_bytes(block)
    uri = way.format(absolute=secret)
    data = {**document.data, "buffers": [{"uri": "data.bin", "byteLength": len(block)}]}
    data[what] = [{"uri": uri, "byteLength": len(block)}] if what == "buffers" else [{"uri": uri}]
    path = Path(inputs / "scene.gltf")
    path.write_text(json.dumps(data))
    with pytest.raises(RequestError, match="outside its own folder"):
        load_mesh(path, root=tmp_path / "job")


@POSIX
@pytest.mark.parametrize("way", ["texture.png", *WAYS_OUT])
def test_a_ply_reads_no_picture_outside_and_prints_no_traceback(tmp_path, secret, way, capfd):
    inputs = tmp_path / "job" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "link.png").symlink_to(secret)
    (inputs / "away").symlink_to(tmp_path)
    secret.write_bytes(b"no picture at all")
    (inputs / "cow.ply").write_text(
        f"ply\nformat ascii 1.0\ncomment TextureFile {way.format(absolute=secret)}\nelement vertex 3\n"
        "property float x\nproperty float y\nproperty float z\nproperty float s\nproperty float t\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
        "0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n3 0 1 2\n"
    )
    load_mesh(inputs / "cow.ply", root=tmp_path / "job")
    assert "Traceback" not in "".join(capfd.readouterr())


ODD = {"long": "a" * 300, "longer": "/etc/" + "b" * 5000, "nobody": "~nobody-of-that-name", "nul": "\0"}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_names_that_no_file_can_have_are_refused_in_words(odd):
    """At every door that a person's or a stranger's name comes through: what is not there is not there."""
    from ddrep_core.errors import RequestError
    from ddrep_core.geometry.load import load_mesh
    from ddrep_core.jobs.create import existing_file, kept_results
    from ddrep_core.jobs.wish import wish_of
    from ddrep_core.priors import load_prior

    doors = (
        load_prior, load_mesh, kept_results, lambda name: existing_file(name, "picture"),
        lambda name: wish_of("texture", {"mesh": name, "prompt": "x"}),
        lambda name: wish_of("restore", {"picture": name, "prompt": "x"}),
        lambda name: wish_of("edit", {"source": name, "prompt": "x"}),
    )  # fmt: skip
    for door in doors:
        with pytest.raises(RequestError):
            door(odd)
