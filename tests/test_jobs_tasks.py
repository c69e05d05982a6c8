"""A task is one line in `TASKS`: the job folder, the messages and the command line know it from there."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Annotated

import pytest
import torch
from pydantic import Field

import ddrep_core as dd
from ddrep_core import cli
from ddrep_core.errors import RequestError
from ddrep_core.jobs import run as run_module
from ddrep_core.jobs.block import JOB, Block, Later
from ddrep_core.jobs.request import TASKS, parse_request
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.task import Made, Stage


class DotsRequest(Block):
    """A row of dots."""

    count: Annotated[int, JOB] = Field(4, ge=1, le=64, description="How many dots.")
    blurred: Annotated[bool, JOB, Later()] = Field(False, description="Draw them soft.")


def start(session):
    count = session.request.settings(DotsRequest).count
    rep = dd.diffreps.LinearDiffrep(torch.eye(count), image_shape=(1, 1, count))
    return Stage(session.recipe(rep), finish)


def finish(session, result):
    path = session.outputs / "dots.json"
    path.write_text(json.dumps(result.diffrep.theta.tolist()))
    return Made({"dots": path})


@pytest.fixture(autouse=True)
def dots(monkeypatch):
    module = ModuleType("dots_task_of_a_test")
    module.start = start
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TASKS, "dots", (DotsRequest, f"{module.__name__}:start"))


def five_dots(request):
    return dd.priors.GaussianPrior(torch.zeros(1, 1, 5), 1.0)


def test_it_runs_from_a_job_folder(tmp_path):
    request = {"schema_version": 1, "task": "dots", "steps": 2, "schedule": "plain", "dots": {"count": 5}}
    (tmp_path / "job.json").write_text(json.dumps(request))
    result = json.loads(run_job(tmp_path, load_prior=five_dots).read_text())
    assert result["task"] == "dots" and result["nfe"] == 2
    assert len(json.loads((tmp_path / "outputs/dots.json").read_text())) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dots": {"count": 65}}, "'dots.count' must be at most 64, not 65"),
        ({"dots": {"cuont": 5}}, "unknown key 'dots.cuont' (did you mean 'count'?)"),
        ({"task": "dosts"}, "'vector', 'detail', 'edit', 'restore', 'from_image', 'motion' or 'dots'"),
        ({"image": {}}, "the task is 'dots', so the block 'image' must go"),
    ],
)
def test_what_is_wrong_with_it_is_told_in_words(changes, words):
    with pytest.raises(RequestError) as caught:
        parse_request({"schema_version": 1, "task": "dots", **changes})
    assert words in str(caught.value)


def test_a_later_key_is_written_only_where_it_is_used():
    plain, soft = (
        parse_request({"schema_version": 1, "task": "dots", "dots": block}) for block in ({}, {"blurred": True})
    )
    assert plain.to_json()["dots"] == {"count": 4} and soft.to_json()["dots"] == {"count": 4, "blurred": True}
    assert "loras" not in plain.to_json()


def test_it_is_a_command_with_its_fields_as_options(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli.app, "registered_commands", [*cli.app.registered_commands])
    monkeypatch.setattr(run_module, "load_request_prior", five_dots)
    cli.add_task_command("dots")

    def ddrep(*arguments):
        with pytest.raises(SystemExit) as ending:
            cli.main([str(each) for each in arguments])
        return ending.value.code or 0, capsys.readouterr().out

    assert "A row of dots." in ddrep("--help")[1]
    words = " ".join(ddrep("dots", "--help")[1].split())
    assert "--count" in words and "How many dots." in words and "[default: 4]" in words and "--cameras" not in words
    status, _ = ddrep("dots", "-p", "pearls", "--count", 5, "--steps", 2, "--out", tmp_path / "job")
    request = json.loads((tmp_path / "job/job.json").read_text())
    assert status == 0 and request["dots"] == {"count": 5} and request["prompt"] == "pearls"
    assert ddrep("dots", "-p", "pearls", "--count", 99, "--out", tmp_path / "other")[0] == 2
