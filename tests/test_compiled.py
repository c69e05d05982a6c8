"""--compile: the network is compiled where that works, and else runs as it is, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adapters_job import ddrep  # noqa: F401  (a fixture)

from ddrep_core.errors import DdrepWarning
from ddrep_core.priors import load_prior
from ddrep_core.priors.compiled import compile_network
from ddrep_core.priors.diffusers_prior import DiffusersPrior

X = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def answer(prior: DiffusersPrior) -> torch.Tensor:
    return prior.predict_noise(X, 3.0, prior.condition("a cow"))


def test_what_was_compiled_is_called(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def compiled(plain: Any) -> Any:
        return lambda *arguments, **told: (calls.append(plain), plain(*arguments, **told))[1]

    monkeypatch.setattr(torch, "compile", compiled)
    prior = load_prior(tiny_sd, device="cpu")
    wanted = answer(prior)
    compile_network(prior.network, prior.name)
    assert torch.equal(answer(prior), wanted) and len(calls) == 1


@pytest.mark.parametrize("late", [False, True])
def test_what_cannot_be_compiled_runs_as_it_is_and_says_so_once(
    tiny_sd: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    def fail(*arguments: Any, **told: Any) -> Any:
        raise RuntimeError("No compiler was found.\nA page of advice.")

    monkeypatch.setattr(torch, "compile", (lambda plain: fail) if late else fail)
    prior = load_prior(tiny_sd, device="cpu")
    wanted = answer(prior)
    with pytest.warns(DdrepWarning, match=r"could not be compiled here \(No compiler was found\.\)\. It runs") as told:
        compile_network(prior.network, prior.name)
        first = answer(prior)
        again = answer(prior)
    assert torch.equal(first, wanted) and torch.equal(again, wanted) and len(told) == 1


def test_memory_that_is_short_is_not_the_compilers_fault(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    def compiled(plain: Any) -> Any:
        def call(x: torch.Tensor, *arguments: Any, **told: Any) -> Any:
            rows.append(len(x))
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return plain(x, *arguments, **told)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    prior = load_prior(tiny_sd, device="cpu")
    wanted = answer(prior)
    compile_network(prior.network, prior.name)
    torch.testing.assert_close(answer(prior), wanted, atol=1e-3, rtol=1e-3)
    assert rows == [4, 2, 2]  # halved, and still compiled


def test_a_job_can_ask_for_it(
    ddrep: Any,  # noqa: F811
    tiny_sd: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(plain: Any) -> Any:
        raise RuntimeError("No compiler was found.")

    monkeypatch.setattr(torch, "compile", fail)
    common = ("image", "-p", "a cow", "--prior", tiny_sd, "--steps", 1, "--width", 16, "--height", 16)
    status, _, err = ddrep(*common, "--out", tmp_path / "job", "--compile")
    assert status == 0 and "could not be compiled here" in err, err
    assert json.loads((tmp_path / "job/job.json").read_text())["compile"] is True
    status, _, err = ddrep(*common, "--out", tmp_path / "plain")
    assert status == 0 and "compiled" not in err, err
    assert "compile" not in json.loads((tmp_path / "plain/job.json").read_text())
