"""DisCo-Diff: a denoiser that is told a few discrete codes of what it is to draw, and a law of these codes.

Xu et al., "DisCo-Diff: Enhancing Continuous Diffusion Models with Discrete Latents" (2024); Xu's thesis, ch. 4. An
encoder looks at a clean sample and says m codes out of k each; the denoiser hears them, and so has one mode at a time
to draw. What it draws from nothing needs codes of its own: an autoregressive network learns their law afterwards.

Where one object has many views, the encoder looks at another view than the denoiser does. So the codes can say only
what views have in common, and one draw of them is shared by all views of an object.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ddrep_core.process import Diffusion, Process
from ddrep_core.training.denoiser import Denoiser, Lesson, ResidualNetwork

DrawPairs = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""A number of clean samples [count, N], and what the encoder looks at for each [count, M]."""
UNTOLD = 0.1
"""How often the denoiser is told no code, so that it can do without."""


class Codes(nn.Module):
    """m codes out of k each: who reads them from a sample, and their law.

    Args:
        size: M, of what the encoder looks at.
        count, choices: m and k.
    """

    def __init__(self, size: int, count: int, choices: int, width: int = 64) -> None:
        super().__init__()
        self.count, self.choices = count, choices
        self.encoder = nn.Sequential(
            nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, count * choices)
        )
        self.law = ResidualNetwork(count * choices, choices, count, width)  # told which code is next

    @property
    def size(self) -> int:
        """Of what a denoiser is told: m one-hot rows of k."""
        return self.count * self.choices

    def logits(self, seen: Tensor) -> Tensor:
        """[B, m, k] of samples [B, M]."""
        return self.encoder(seen).reshape(-1, self.count, self.choices)

    def soft(self, seen: Tensor, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """[B, m k] near one-hot, with a gradient (Gumbel-Softmax)."""
        logits = self.logits(seen)
        uniform = torch.rand(logits.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
        return ((logits - (-uniform.log()).log()) / temperature).softmax(2).flatten(1)

    def read(self, seen: Tensor) -> Tensor:
        """[B, m] the codes of samples, the likeliest."""
        return self.logits(seen).argmax(2)

    def one_hot(self, codes: Tensor) -> Tensor:
        """[B, m] -> [B, m k]."""
        return nn.functional.one_hot(codes, self.choices).float().flatten(1)

    def next_logits(self, codes: Tensor, number: int) -> Tensor:
        """[B, k] of code `number`, given those before it in codes [B, m]."""
        known = self.one_hot(codes).reshape(-1, self.count, self.choices).clone()
        known[:, number:] = 0
        which = torch.zeros(len(codes), self.count)
        which[:, number] = 1
        return self.law(known.flatten(1), which)

    @torch.no_grad()
    def draw(self, count: int, generator: torch.Generator, fixed: Tensor | None = None) -> Tensor:
        """[count, m] codes by their law.

        Args:
            fixed: the first codes [f], which stay: "another paint, the same shape" where the first say the shape.
        """
        codes = torch.zeros(count, self.count, dtype=torch.long)
        begin = 0 if fixed is None else len(fixed)
        if fixed is not None:
            codes[:, :begin] = fixed
        for number in range(begin, self.count):
            shares = self.next_logits(codes, number).softmax(1)
            codes[:, number] = torch.multinomial(shares, 1, generator=generator)[:, 0]
        return codes


def train_with_codes(
    denoiser: Denoiser,
    codes: Codes,
    draw: DrawPairs,
    lesson: Lesson,
    generator: torch.Generator,
    process: Process | None = None,
) -> list[float]:
    """Stage 1 (Eq. 4.1): denoiser and encoder together; the loss of every step."""
    process = process or Diffusion()
    trained = [*denoiser.parameters(), *codes.encoder.parameters()]
    optimizer = torch.optim.Adam(trained, lesson.learning_rate)
    losses = []
    for step in range(lesson.steps):
        optimizer.param_groups[0]["lr"] = lesson.learning_rate * (1 - 0.9 * step / lesson.steps)
        clean, seen = draw(lesson.batch, generator)
        sigma = (lesson.level[0] + lesson.level[1] * torch.randn(lesson.batch, generator=generator)).exp().to(clean)
        x, _ = process.perturb(clean, sigma, generator)
        told = codes.soft(seen, generator) * (torch.rand(lesson.batch, 1, generator=generator) >= UNTOLD)
        loss = (denoiser.weight(sigma) * (denoiser(x, sigma, told) - clean).square().mean(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def train_law(codes: Codes, draw: DrawPairs, lesson: Lesson, generator: torch.Generator) -> list[float]:
    """Stage 2 (Eq. 4.2): the law of the codes that the encoder reads; its loss in nats of every step."""
    optimizer = torch.optim.Adam(codes.law.parameters(), lesson.learning_rate)
    losses = []
    for _ in range(lesson.steps):
        with torch.no_grad():
            read = codes.read(draw(lesson.batch, generator)[1])
        terms = [
            nn.functional.cross_entropy(codes.next_logits(read, number), read[:, number])
            for number in range(codes.count)
        ]
        loss = torch.stack(terms).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()
