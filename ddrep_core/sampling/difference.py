"""Editing by the difference of two samplings: source and target side by side, under one noise.

At each level the prior is asked twice: about the target with its words, x = f + σ ε, and about the source with its own,
x_s = f_s + σ ε. Where both were sampled, each would step along its own ε̂; only the difference of these steps moves θ:

    f' − f = (σ' − σ)(ε̂ − ε̂_s),    which is Eq. 4 with  x̂0 := f_s + (x̂0 − x̂0_s)  for x̂0.

So it is a guide, finite at σ = ∞, and all of the loop holds for it: solvers, held views, weights, mini-batches. Equal
words change nothing, to rounding. Between Gaussians of one variance v it moves by Δm (1 − √(v / (v + σ_0²))),
whatever the noise: the first level σ_0 is how strong the edit is. It is DDS followed as an ODE instead of by descent,
at two evaluations a step.

Both branches share their noise, so it may be another in every step (η = 1): nothing drifts to pay for it, and what an
edit makes of one noise is averaged over all. On beds where each object changes in its own way that is the difference
between 30 % and 86 % that end as exactly their counterpart (docs/methods.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ddrep_core.sampling.guide import Decode, Guide
from ddrep_core.sampling.look import Ask, Look


@dataclass
class Difference(Guide):
    """x̂0 := f_s + (x̂0 − x̂0_s).

    Args:
        ask: of the run; it knows the source.
        until: below this level the target is sampled alone, so that what the views have made of the difference becomes
            one picture that the prior knows.
    """

    ask: Ask
    until: float = 0.0

    def bend(self, look: Look, decode: Decode) -> Tensor:
        if look.sigma < self.until:
            return look.clean
        source = self.ask.of_source(look)
        return source.render + (look.clean - source.clean)
