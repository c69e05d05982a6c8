"""What a session runs: samples side by side, guided or not; procedures of a method's own; old checkpoints."""

import io
import json
from dataclasses import dataclass, fields, replace
from inspect import signature

import pytest
import torch
from job_outputs import outputs_of
from rich.console import Console
from test_jobs_run import StopAfter, Toy, events_of, make_job, play, prior  # noqa: F401  (fixtures)

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.distillation import SCORE_DISTILLATION, distill
from ddrep_core.errors import Cancelled
from ddrep_core.jobs import recipe as recipe_module
from ddrep_core.jobs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ddrep_core.jobs.events import ProgressLine
from ddrep_core.jobs.recipe import Recipe
from ddrep_core.jobs.run import run_job
from ddrep_core.jobs.task import Made, Stage
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.sample import sample


class Apart(Guide):
    """Each sample a little away from the mean of all."""

    def bend(self, look, decode):
        return look.clean + 0.5 * (look.clean - look.clean.mean(0, keepdim=True))


class Together(Toy):
    """All shapes in one run; each is coloured by itself."""

    def __init__(self, *guides):
        self.guides = guides

    def recipe(self, session, rep):
        return replace(session.recipe(rep), together=True, guides=self.guides)


def test_a_recipe_says_all_that_sample_can_be_told(monkeypatch):
    recipe = Recipe(*(object() for _ in fields(Recipe)))
    told = {}
    monkeypatch.setattr(recipe_module, "sample", lambda rep, _, views, **rest: told.update(rest, rep=rep, views=views))
    recipe.run("prior", seed=1, samples=2, callback="callback", state="state")
    own = {"seed": 1, "samples": 2, "callback": "callback", "state": "state", "together": False}
    mine = {each.name: getattr(recipe, each.name) for each in fields(Recipe) if each.name != "in_turn"}
    assert told == mine | own
    replace(recipe, in_turn=False).run("prior", seed=1, samples=2, callback="callback", state="state")
    assert told["together"] is True
    assert told.keys() | {"prior", "depth"} == signature(sample).parameters.keys()  # depth is short for a control


def thetas(folder):
    files = sorted(folder.outputs.glob("*/theta.bin"))
    return [torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.float64) for file in files]


def steps_of(folder):
    return [event for event in events_of(folder) if event["event"] == "step"]


def test_samples_together_are_the_samples_one_by_one(make_job, play):  # noqa: F811
    alone, together = make_job("alone", samples=3), make_job("together", samples=3)
    run_job(alone.path)
    play(Together())
    run_job(together.path, preview_seconds=0)
    for one, other in zip(thetas(alone), thetas(together), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    assert len(steps_of(together)) == 6 + 3 * 6  # one run for the shapes, one for each one's colours
    assert [event.get("together") for event in steps_of(together)] == [3] * 6 + [None] * 18
    shown = {event["sample"] for event in events_of(together) if event["event"] == "preview"}
    assert shown == {0, 1, 2}
    entries = [json.loads(folder.result_file.read_text())["samples"] for folder in (alone, together)]
    assert [[entry["nfe"] for entry in each] for each in entries] == [[12, 12, 12]] * 2


def test_guides_see_all_samples_of_the_job(make_job, play):  # noqa: F811
    plain, guided = make_job("plain", samples=3), make_job("guided", samples=3)
    play(Together())
    run_job(plain.path)
    play(Together(Apart()))
    run_job(guided.path)
    pairs = list(zip(thetas(plain), thetas(guided), strict=True))
    assert all((one - other).abs().max() > 1e-3 for one, other in pairs)


def test_a_step_that_samples_take_together_is_told_as_one():
    words = io.StringIO()
    line = ProgressLine(Console(file=words))
    line.seconds_between_plain_lines = 0
    line({"event": "started", "samples": 3})
    for rest in ({"sample": 0, "together": 3}, {"sample": 1}):
        line({"event": "step", "index": 1, "of": 6, **rest})
    assert words.getvalue().splitlines() == ["samples 1 to 3/3 · step 1/6", "sample 2/3 · step 1/6"]


@pytest.mark.parametrize("steps", [3, 9, 14])  # among the shapes, in the colour of the first, of the second
def test_samples_together_go_on_to_the_same_bytes(make_job, play, steps):  # noqa: F811
    play(Together(Apart()))
    whole, parts = make_job("whole", samples=2), make_job("parts", samples=2)
    run_job(whole.path)
    with pytest.raises(Cancelled):
        run_job(parts.path, listeners=(StopAfter(steps, parts.cancel_file.touch),))
    run_job(parts.path, resume=True)
    assert outputs_of(parts) == outputs_of(whole)
    assert len(steps_of(parts)) == 6 + 2 * 6  # no step was done twice


@dataclass(frozen=True)
class Descent:
    """A mode-seeker's run."""

    rep: Diffrep
    together: bool

    def run(self, prior, *, seed, samples, callback, state):  # noqa: F811
        method = replace(SCORE_DISTILLATION, steps=5, learning_rate=0.05)
        return distill(self.rep, prior, method=method, seed=seed, samples=samples, callback=callback, state=state)


class Seeking(Toy):
    def __init__(self, together):
        self.together = together

    def start(self, session):
        return Stage(Descent(super().start(session).recipe.rep, self.together), self.written)

    def written(self, session, result):
        path = session.outputs / "theta.bin"
        path.write_bytes(result.diffrep.theta.detach().numpy().tobytes())
        return Made({"image": path})


@pytest.mark.parametrize("together", [False, True])
def test_a_mode_seeker_is_a_procedure_with_checkpoints(make_job, play, together):  # noqa: F811
    play(Seeking(together))
    whole, parts = make_job("whole", samples=2), make_job("parts", samples=2)
    run_job(whole.path)
    with pytest.raises(Cancelled):
        run_job(parts.path, listeners=(StopAfter(3, parts.cancel_file.touch),))
    run_job(parts.path, resume=True)
    assert outputs_of(parts) == outputs_of(whole)
    assert len(steps_of(parts)) == 5 * (1 if together else 2)


def an_older_state(tensors):
    """As the first version wrote it: θ and noise without a particle's name, counts that are no lists, no format."""
    named = {name.removeprefix("particle.0."): tensor for name, tensor in tensors.items()}
    numbers = {
        "sample": 0, "position": 3, "evaluations": 3.0, "passes": 3, "disagreement": 0.5, "queue": [],
        "seconds": {"prior": 0.1, "pullback": 0.1, "render": 0.1, "total": 0.3}, "walk": {"position": 3},
    }  # fmt: skip
    return named, numbers


def a_newer_state(tensors):
    return tensors, {"format": 99, "sample": 0}


@pytest.mark.parametrize("other", [an_older_state, a_newer_state])
def test_a_checkpoint_of_another_version_is_passed_over_in_words(make_job, other):  # noqa: F811
    whole, parts = make_job("whole", samples=2), make_job("parts", samples=2)
    run_job(whole.path)
    with pytest.raises(Cancelled):
        run_job(parts.path, listeners=(StopAfter(12 + 3, parts.cancel_file.touch),))  # the first sample is finished
    state = parts.checkpoints / "state"
    found, _ = read_checkpoint(state)
    tensors, numbers = other(found.tensors)
    write_checkpoint(state, Checkpoint(tensors, found.numbers | {"state": numbers}))
    run_job(parts.path, resume=True)
    words = [event["message"] for event in events_of(parts) if event["event"] == "warning"]
    assert len(words) == 1 and "another version of ddrep" in words[0] and "starts anew" in words[0]
    assert outputs_of(parts) == outputs_of(whole)
    assert len(steps_of(parts)) == 24 + 3  # what was finished is not made again
