"""What one run of the sampler needs, apart from who runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ddrep_core.diffreps.protocol import Diffrep
from ddrep_core.noise.fields import NoiseField
from ddrep_core.priors.protocol import Controls, Prior
from ddrep_core.sampling.given import Given
from ddrep_core.sampling.guide import Guide
from ddrep_core.sampling.sample import Result, SamplerState, StepReport, sample
from ddrep_core.schedules.steps import Plan
from ddrep_core.solvers.protocol import Solver
from ddrep_core.views.camera import Views


class Procedure(Protocol):
    """What a session can run: a `Recipe`, or a method's own (a mode-seeker's, an editor's)."""

    @property
    def rep(self) -> Diffrep:
        """What is made; it is copied, not changed."""
        ...

    @property
    def together(self) -> bool:
        """Whether all samples of a job are made in one run."""
        ...

    def run(
        self,
        prior: Prior,
        *,
        seed: int,
        samples: int,
        callback: Callable[[StepReport], None],
        state: SamplerState | None,
    ) -> Result:
        """All samples, side by side, in `Result.samples`; `callback` hears of each step and may end the run.

        Raises:
            StaleState: `state` is of another procedure or another version, and nothing was done yet.
        """
        ...


@dataclass(frozen=True)
class Recipe:
    """One run of `dd.sample`, as its arguments of the same names say, but for prior, seed and state.

    Attributes:
        together: make all samples of a job side by side, so that guides see them all. It counts for what they start
            from, the task's first stage; what a task makes of one sample is of that sample alone.
        in_turn: one after another instead, in one run all the same: guides see those that were made before.
    """

    rep: Diffrep
    views: Views | None = None
    prompt: str = ""
    negative_prompt: str = ""
    guidance_scale: float = 7.5
    schedule: Plan | None = None
    eta: float = 0.75
    solver: str | Solver = "auto"
    noise: NoiseField | None = None
    controls: Controls = field(default_factory=dict)
    views_per_step: int | None = None
    guides: tuple[Guide, ...] = ()
    given: Given | None = None
    from_scratch: bool = True
    source_prompt: str | None = None
    joint_below: float = 0.0
    together: bool = False
    in_turn: bool = False

    def run(
        self,
        prior: Prior,
        *,
        seed: int,
        samples: int,
        callback: Callable[[StepReport], None],
        state: SamplerState | None,
    ) -> Result:
        """As `Procedure.run`."""
        return sample(
            self.rep,
            prior,
            self.views,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            guidance_scale=self.guidance_scale,
            schedule=self.schedule,
            eta=self.eta,
            seed=seed,
            solver=self.solver,
            noise=self.noise,
            controls=self.controls,
            views_per_step=self.views_per_step,
            callback=callback,
            state=state,
            samples=samples,
            together=not self.in_turn,
            guides=self.guides,
            given=self.given,
            from_scratch=self.from_scratch,
            source_prompt=self.source_prompt,
            joint_below=self.joint_below,
        )


def guidance_of(prior: Prior, asked: float | None, least: float) -> float:
    """The guidance scale: what was asked for, else the prior's own, and then at least so much.

    A prior that was distilled to draw without guidance gets no more than its own.
    """
    if asked is not None:
        return asked
    own = getattr(prior, "default_guidance_scale", 7.5)
    return own if getattr(prior, "distilled", False) else max(own, least)
