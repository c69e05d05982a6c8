"""The parts of a model: tokenizers and networks, made from files that have passed `model_files`.

Only classes named here are made, so that no folder can ask for code of its own; they are made from checked
configurations, and given weights that have been read, so that no library looks for further files.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from ddrep_core.errors import RequestError
from ddrep_core.priors.families import SUPPORTED
from ddrep_core.priors.model_config import checked_config
from ddrep_core.priors.model_files import ModelFiles, read_weights

CLASSES = {
    "UNet2DConditionModel": "diffusers",
    "SD3Transformer2DModel": "diffusers",
    "FluxTransformer2DModel": "diffusers",
    "PixArtTransformer2DModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "ControlNetModel": "diffusers",
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "CLIPVisionModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
    "CLIPTokenizer": "transformers",
    "CLIPTokenizerFast": "transformers",
    "T5Tokenizer": "transformers",
    "T5TokenizerFast": "transformers",
}


def load_tokenizer(files: ModelFiles, folder: str, class_name: str) -> Any:
    """A tokenizer of a model.

    Raises:
        RequestError: a class that is not known, or files that are damaged or lead elsewhere.
    """
    library = _library(files, folder, class_name)
    files.check_tokenizer(folder)
    with _told(files, folder):
        tokenizer = getattr(library, class_name).from_pretrained(files.root / folder, local_files_only=True)
        length = tokenizer.model_max_length
        if isinstance(length, bool) or not isinstance(length, int | float) or length < 2:
            raise ValueError(f"model_max_length is {length!r}")
        tokenizer("a", padding="max_length", max_length=2, truncation=True)
    return tokenizer


def load_network(files: ModelFiles, folder: str, class_name: str, dtype: torch.dtype) -> Any:
    """A network of a model, its weights in `dtype`, in main memory.

    Raises:
        RequestError: a class that is not known, a configuration that cannot be, weights that are missing, foreign,
            damaged or pickled.
    """
    library = _library(files, folder, class_name)
    config = files.json(f"{folder}/config.json")
    weights = read_weights(files.weight_files(folder, half=dtype in (torch.float16, torch.bfloat16)), None, files.name)
    return make_network(getattr(library, class_name), config, weights, dtype, folder, files.name)


def make_network(
    kind: Any, config: dict[str, Any], weights: dict[str, torch.Tensor], dtype: torch.dtype, part: str, name: str
) -> Any:
    """A network of a class, with a configuration and weights as read. `weights` is emptied.

    Raises:
        RequestError: they do not go together.
    """
    with _told(None, part, name):
        make = _make_transformers if hasattr(kind, "config_class") and kind.config_class else _make_diffusers
        network, missing, foreign, unlike = make(kind, config, weights, dtype, part, name)
    if missing:
        raise RequestError(
            f"The part '{part}' of the model '{name}' lacks {len(missing)} of its weights ({missing[0]}, …).",
            "Download the model again.",
        )
    if unlike:
        raise RequestError(
            f"The part '{part}' of the model '{name}' has weights of another shape than its configuration says "
            f"({unlike[0]}, …).",
            "Download the model again.",
        )
    if foreign:
        raise RequestError(
            f"The part '{part}' of the model '{name}' has {len(foreign)} weights that a {kind.__name__} does not "
            f"know ({foreign[0]}, …): it is of another kind than it says.",
            f"Choose another model. ddrep knows {SUPPORTED}.",
        )
    return network


HARMLESS = re.compile(r"(^|\.)position_ids$|(^|\.)num_batches_tracked$|^(text_model\.)?text_projection\.")
"""Weights that older files carry along and no network of today needs."""


def _make_diffusers(
    kind: Any, config: dict[str, Any], weights: dict[str, torch.Tensor], dtype: torch.dtype, part: str, name: str
) -> tuple[Any, list[str], list[str], list[str]]:
    from accelerate import init_empty_weights

    settings = checked_config(config, kind, part, name)
    with init_empty_weights():  # no memory and no random numbers for what is read from files anyway
        network = kind.from_config(settings)
    network._fix_state_dict_keys_on_load(weights)
    wanted = network.state_dict()
    exact = kind._keep_in_fp32_modules or [] if dtype == torch.float16 else []

    def cast(key: str, weight: torch.Tensor) -> torch.Tensor:
        return weight.to(torch.float32 if any(word in key.split(".") for word in exact) else dtype)

    unlike = sorted(key for key, weight in weights.items() if key in wanted and wanted[key].shape != weight.shape)
    foreign = sorted(key for key in weights if key not in wanted and not HARMLESS.search(key))
    missing = sorted(wanted.keys() - weights.keys())
    if not (unlike or missing):
        found = {key: cast(key, weight) for key, weight in weights.items() if key in wanted}
        weights.clear()
        network.load_state_dict(found, assign=True)
        for _, buffer in network.named_buffers():  # those that are computed, not read
            if buffer.is_floating_point() and buffer.dtype != dtype and not exact:
                buffer.data = buffer.data.to(dtype)
    return network.eval(), missing, foreign, unlike


def _make_transformers(
    kind: Any, config: dict[str, Any], weights: dict[str, torch.Tensor], dtype: torch.dtype, part: str, name: str
) -> tuple[Any, list[str], list[str], list[str]]:
    settings = kind.config_class(**checked_config(config, kind.config_class, part, name))
    network, report = kind.from_pretrained(
        None, config=settings, state_dict=weights, dtype=dtype, output_loading_info=True
    )
    if report.get("error_msgs"):
        raise ValueError(str(report["error_msgs"][0]))
    unlike = sorted(str(key) for key in report["mismatched_keys"])
    foreign = sorted(key for key in report["unexpected_keys"] if not HARMLESS.search(key))
    return network.eval(), sorted(report["missing_keys"]), foreign, unlike


def _library(files: ModelFiles, folder: str, class_name: str) -> Any:
    if class_name not in CLASSES:
        raise RequestError(
            f"The part '{folder}' of the model '{files.name}' is a {class_name}, which ddrep does not know.",
            f"It knows {SUPPORTED}.",
        )
    return import_module(CLASSES[class_name])


@contextmanager
def _told(files: ModelFiles | None, part: str, name: str = "") -> Iterator[None]:
    """What the libraries raise, in words. They raise OSError, ValueError, KeyError, TypeError, RecursionError, …, and
    the tokenizers' own panic, which is no `Exception`."""
    try:
        with _quiet():
            yield
    except (RequestError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines()
        reason = lines[0][:200] if lines else type(error).__name__
        name = files.name if files else name
        raise RequestError(
            f"The part '{part}' of the model '{name}' cannot be read: {reason}", "Download the model again."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and load reports from the libraries: what matters of them is raised as an error."""
    import diffusers.utils.logging as of_diffusers
    import transformers.utils.logging as of_transformers

    loggers = [of_diffusers.get_logger("diffusers"), of_transformers.get_logger("transformers")]
    levels = [logger.level for logger in loggers]
    bar = of_transformers.is_progress_bar_enabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        of_transformers.disable_progress_bar()
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bar:
            of_transformers.enable_progress_bar()
