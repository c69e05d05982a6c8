"""Model folders from strangers: nothing outside is read, no pickle is opened, what cannot be is refused in words."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ddrep_core.errors import RequestError, RunError
from ddrep_core.priors import load_prior
from ddrep_core.priors.model_files import is_plain_safetensors

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(tiny_sd: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_sd, tmp_path / "model"))


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def sharded(folder: Path, names: Callable[[int], str]) -> None:
    """Split a part's weights into two shards, whose names the index says."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    keys = sorted(weights)
    halves = [keys[::2], keys[1::2]]
    for number, half in enumerate(halves):
        path = folder / names(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: weights[key] for key in half}, path)
    told = {key: names(number) for number, half in enumerate(halves) for key in half}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": told}))


def test_shards_are_read(model: Path, tiny_sd: Path) -> None:
    sharded(model / "unet", lambda number: f"diffusion_pytorch_model-0000{number + 1}-of-00002.safetensors")
    whole, parts = (load_prior(folder, device="cpu") for folder in (tiny_sd, model))
    x = torch.ones(1, 4, 16, 16)
    noise = [prior.predict_noise(x, 1.0, prior.condition("cow")) for prior in (whole, parts)]
    assert torch.equal(noise[0], noise[1])


@pytest.mark.parametrize(
    "name",
    [
        "../vae/shard.safetensors",
        "deeper/shard.safetensors",
        "/tmp/shard.safetensors",
        "C:\\shard.safetensors",
        "..\\shard.safetensors",
        "shard.bin",
        "shard.safetensors.bin",
        ".safetensors",
        "",
        7,
        None,
        ["shard.safetensors"],
    ],
)
def test_an_index_names_safetensors_beside_it_only(model: Path, name: object) -> None:
    folder = model / "unet"
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(weights, name)}))
    with pytest.raises(RequestError, match=r"names .* which is no safetensors file beside it"):
        load_prior(model, device="cpu")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab./\\:~- \0%"), max_size=12))
def test_plain_names_lead_nowhere(text: str) -> None:
    for name in (text, f"{text}.safetensors"):
        if is_plain_safetensors(name):
            assert name.endswith(".safetensors") and not set(name) & set("/\\:~\0%")
            assert Path(name).name == name and not Path(name).is_absolute() and not name.startswith(".")


def pickled_index(folder: Path, mark: Path) -> None:
    weights = folder / "unet" / WEIGHTS
    torch.save({"conv_in.weight": Bomb(mark)}, folder / "unet" / "bomb.bin")
    weights.rename(folder / "unet" / "diffusion_pytorch_model-00001-of-00001.safetensors")
    told = {"weight_map": {"conv_in.weight": "bomb.bin"}}
    (folder / "unet" / f"{WEIGHTS}.index.json").write_text(json.dumps(told))


def pickle_under_the_weights_name(folder: Path, mark: Path) -> None:
    torch.save(Bomb(mark), folder / "unet" / WEIGHTS)


def old_pickle_under_the_weights_name(folder: Path, mark: Path) -> None:
    (folder / "vae" / WEIGHTS).write_bytes(pickle.dumps(Bomb(mark)))


def pickle_in_the_text_encoder(folder: Path, mark: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").unlink()
    torch.save(Bomb(mark), folder / "text_encoder" / "pytorch_model.bin")


@pytest.mark.parametrize(
    "spoil",
    [
        pickled_index,
        pickle_under_the_weights_name,
        old_pickle_under_the_weights_name,
        pickle_in_the_text_encoder,
    ],
)
def test_pickles_are_refused_by_name_and_by_content(
    model: Path, tmp_path: Path, spoil: Callable[[Path, Path], None]
) -> None:
    mark = tmp_path / "it ran"
    spoil(model, mark)
    with pytest.raises(RequestError, match="pickle"):
        load_prior(model, device="cpu")
    assert not mark.exists()


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "unet/config.json",
        f"unet/{WEIGHTS}",
        "vae/config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "scheduler/scheduler_config.json",
        "ddrep.json",
        "unet",
        "tokenizer",
        "vae",
    ],
)
def test_links_out_of_the_folder_are_refused(model: Path, tmp_path: Path, name: str) -> None:
    (model / "ddrep.json").write_text("{}")
    elsewhere = tmp_path / "elsewhere"
    (model / name).rename(elsewhere)
    (model / name).symlink_to(elsewhere)
    with pytest.raises(RequestError, match="link that leads out of the model's folder"):
        load_prior(model, device="cpu")


def test_links_inside_and_into_the_hubs_cache_are_followed(model: Path, tmp_path: Path) -> None:
    (model / "unet" / WEIGHTS).rename(model / "weights")
    (model / "unet" / WEIGHTS).symlink_to("../weights")
    load_prior(model, device="cpu")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    shutil.copytree(model, snapshot)
    for number, path in enumerate(sorted(p for p in snapshot.rglob("*") if p.is_file())):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    load_prior(snapshot, device="cpu")
    linked = tmp_path / "by another name"
    linked.symlink_to(model)
    load_prior(linked, device="cpu")


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", f"unet/{WEIGHTS}", "tokenizer/vocab.json"])
def test_nobody_waits_for_a_pipe(model: Path, name: str) -> None:
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)
    with pytest.raises(RequestError, match="is no file"):
        load_prior(model, device="cpu")


@pytest.mark.parametrize("named", ["/etc/passwd", "../../vocab.json", "sub/merges.txt"])
def test_a_tokenizer_names_no_file_elsewhere(model: Path, named: str) -> None:
    path = model / "tokenizer" / "tokenizer_config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"special_tokens_map_file": "/old/map.json", "tokenizer_file": None}))
    load_prior(model, device="cpu")  # as old files have it
    path.write_text(json.dumps(told | {"vocab_file": named}))
    with pytest.raises(RequestError, match="names a file outside the model: vocab_file"):
        load_prior(model, device="cpu")


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", "tokenizer/tokenizer_config.json"])
def test_json_that_nobody_should_read(model: Path, name: str) -> None:
    for text, message in (
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 80 + "1" + "}" * 80, "nested too deeply"),
        ('{"a": NaN}', "not finite"),
        ('{"a": 1e999}', "not finite"),
        ('{"lambda_min_clipped": Infinity}', "not finite"),
        ('{"a": ' + "9" * 400 + "}", "400 digits"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read"),
        ("[]", "does not hold an object"),
        ('{"a": "\xff', "cannot be read"),
    ):
        (model / name).write_bytes(text.encode("latin-1"))
        with pytest.raises(RequestError, match=message):
            load_prior(model, device="cpu")


CONFIGURATIONS = (
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
    "scheduler/scheduler_config.json",
    "controlnet/config.json",
    "ddrep.json",
)
WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 1.5, 10**9, -1e308, 1e308, 10**30, "", "text", "0.5", "\ud800", [], [1], ["a"], [[]],
    [None], {}, {"a": 1},
)  # fmt: skip


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inside:
        yield (*path, key)
        yield from nodes(child, (*path, key))


@pytest.fixture(scope="module")
def spoiled(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A model with a ControlNet and settings of its own, and its configurations as they were."""
    folder = Path(shutil.copytree(tiny_sd, tmp_path_factory.mktemp("mutated") / "model"))
    tiny_models.build_controlnet(folder / "controlnet", tiny_models.unet())
    directions = {"around": ["front", "back"], "from_above": "above"}
    (folder / "ddrep.json").write_text(json.dumps({"guidance_scale": 3, "directions": directions, "image_size": 32}))
    return folder, {name: (folder / name).read_text() for name in CONFIGURATIONS}


def load_mutated(spoiled: tuple[Path, dict[str, str]], name: str, path: tuple[Any, ...], value: Any) -> None:
    """A model with one value of one configuration replaced is loaded, and answers in numbers, or is refused in
    words."""
    folder, texts = spoiled
    told = json.loads(texts[name])
    parent = told
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    (folder / name).write_text(json.dumps(told))
    try:
        prior = load_prior(folder, device="cpu")
        conditioning = prior.condition("a cow", guidance_scale=3.0, controls={"depth": torch.zeros(1, 1, 32, 32)})
        assert prior.predict_noise(torch.ones(1, *prior.image_shape), 1.0, conditioning).isfinite().all()
    except (RequestError, RunError) as error:
        assert error.message and "Traceback" not in error.message
    finally:
        (folder / name).write_text(texts[name])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_any_wrong_value_in_a_configuration_is_refused_in_words(
    spoiled: tuple[Path, dict[str, str]], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(CONFIGURATIONS))
    path = data.draw(st.sampled_from(list(nodes(json.loads(spoiled[1][name])))))
    load_mutated(spoiled, name, path, data.draw(st.sampled_from(WRONG)))


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("unet/config.json", "block_out_channels", ["a", "b"], "block_out_channels = .* cannot be"),
        ("scheduler/scheduler_config.json", "_class_name", [], "a noise schedule of the kind '.*', which is not known"),
        ("unet/config.json", "norm_num_groups", "4", "norm_num_groups = '4', which cannot be"),
        ("unet/config.json", "layers_per_block", 10**6, "layers_per_block = 1000000, which cannot be"),
        ("unet/config.json", "layers_per_block", 2, "lacks .* of its weights"),
        ("unet/config.json", "sample_size", "64", "sample_size = '64'"),
        ("unet/config.json", "out_channels", 8, "weights of another shape|answers with 8 channels"),
        ("vae/config.json", "scaling_factor", 0, "scaling_factor = 0, which cannot be"),
        ("vae/config.json", "scaling_factor", "0.18", "scaling_factor = '0.18'"),
        ("vae/config.json", "latents_std", [1, 1, 1, 0], "latents_std = 0"),
        ("vae/config.json", "latents_mean", [0, 0], "4 channels and 2 latents_mean"),
        ("text_encoder/config.json", "hidden_size", "wide", "hidden_size = 'wide'"),
        ("scheduler/scheduler_config.json", "beta_start", "small", "beta_start = 'small'"),
        ("scheduler/scheduler_config.json", "beta_end", -1, "beta_end = -1"),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 10**12, "num_train_timesteps = 10+, which"),
        ("scheduler/scheduler_config.json", "trained_betas", [2], "trained_betas"),
        ("scheduler/scheduler_config.json", "timestep_type", "continuous", "continuous numbers"),
        ("scheduler/scheduler_config.json", "_class_name", "OwnScheduler", "kind 'OwnScheduler', which is not known"),
        ("ddrep.json", "image_size", "big", "image_size of 'big'"),
    ],
)
def test_what_is_said_of_wrong_values(
    spoiled: tuple[Path, dict[str, str]], name: str, key: str, value: Any, message: str
) -> None:
    folder, texts = spoiled
    (folder / name).write_text(json.dumps(json.loads(texts[name]) | {key: value}))
    try:
        with pytest.raises(RequestError, match=message):
            load_prior(folder, device="cpu")
    finally:
        (folder / name).write_text(texts[name])


def test_weights_that_are_no_numbers_are_refused(model: Path) -> None:
    path = model / "vae" / WEIGHTS
    weights = load_file(path)
    weights["decoder.conv_out.bias"][:] = torch.nan
    save_file(weights, path)
    with pytest.raises(RequestError, match="the pictures that it decodes are not finite numbers"):
        load_prior(model, device="cpu")


def test_foreign_weights_are_refused(model: Path) -> None:
    path = model / "unet" / WEIGHTS
    save_file(load_file(path) | {"image_proj.weight": torch.zeros(2)}, path)
    with pytest.raises(RequestError, match=r"1 weights that a UNet2DConditionModel does not know \(image_proj"):
        load_prior(model, device="cpu")
