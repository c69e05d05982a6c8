"""DisCo-Diff: a denoiser that is told a few discrete codes of what it is to draw, and a law of these codes.

Xu et al., "DisCo-Diff: Enhancing Continuous Diffusion Models with Discrete Latents" (2024); Xu's thesis, ch. 4. An
encoder looks at a clean sample and says m codes out of k each; the denoiser hears them, and so has one mode at a time
to draw. What it draws from nothing needs codes of its own: an autoregressive network learns their law afterwards.

Where one object has many views, the encoder looks at another view than the denoiser does, or at all of them. So the
codes can say only what views have in common, and one draw of them is shared by all views of an object.

What a code says is what its encoder can see. With a look for each (`forms`, `colours`) one says the layout and another
the paint: the former may be kept and the latter drawn anew. The paper parts them by the resolution at which a U-Net
hears them, which leaves it to training who says what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ddrep_core.process import Diffusion, Process
from ddrep_core.training.denoiser import Denoiser, Lesson, ResidualNetwork

DrawSeen = Callable[[int, torch.Generator], tuple[Tensor, Tensor, Tensor]]
"""A number of clean samples [count, N], what the encoder looks at for each [count, M], and what else the denoiser is
told of it [count, K], after the codes: which view it is, say (K = 0: nothing)."""
Look = Callable[[Tensor], Tensor]
"""What of the encoder's samples [B, M] one code is read from [B, ·]."""
UNTOLD = 0.1
"""How often the denoiser is told no code, so that it can do without."""
USAGE = 0.05
"""How much the entropy of a code's shares over a batch counts, in nats: without it few choices are ever taken."""


def forms(pictures: Tensor) -> Tensor:
    """[B, P] light and dark of pictures [B, C, P], each in its own contrast: nothing of their colours."""
    light = pictures.sum(1)
    light = light - light.mean(1, keepdim=True)
    return light / light.square().mean(1, keepdim=True).add(1e-4).sqrt()


def colours(pictures: Tensor) -> Tensor:
    """[B, 3 C] mean, least and largest of each channel of pictures [B, C, P]: nothing of where they are."""
    return torch.cat([pictures.mean(2), pictures.amin(2), pictures.amax(2)], 1)


class Codes(nn.Module):
    """m codes out of k each: who reads them from a sample, and their law.

    Args:
        size: M, of what the encoder looks at.
        count, choices: m and k.
        looks: m of them, what each code is read from; all of it for all codes when not given.
    """

    def __init__(
        self, size: int, count: int, choices: int, width: int = 64, looks: Sequence[Look] | None = None
    ) -> None:
        super().__init__()
        self.count, self.choices = count, choices
        self.looks: Sequence[Look] = (_everything,) if looks is None else looks
        if looks is not None and len(looks) != count:
            raise ValueError(f"{len(looks)} looks for {count} codes")
        seen = torch.rand(1, size)
        self.encoder = nn.ModuleList(
            _encoder(look(seen).shape[1], width, count * choices // len(self.looks)) for look in self.looks
        )
        self.law = ResidualNetwork(count * choices, choices, count, width)  # told which code is next

    @property
    def size(self) -> int:
        """Of what a denoiser is told: m one-hot rows of k."""
        return self.count * self.choices

    def logits(self, seen: Tensor) -> Tensor:
        """[B, m, k] of samples [B, M]."""
        said = [encoder(look(seen)) for encoder, look in zip(self.encoder, self.looks, strict=True)]
        return torch.cat(said, 1).reshape(-1, self.count, self.choices)

    def soft(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """[B, m k] draws by logits [B, m, k], near one-hot, with a gradient (Gumbel-Softmax). Straight-through ones,
        one-hot, were worse: their gradient is not that of what is heard."""
        uniform = torch.rand(logits.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
        return (logits - (-uniform.log()).log()).softmax(2).flatten(1)

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
    codes: Codes | None,
    draw: DrawSeen,
    lesson: Lesson,
    generator: torch.Generator,
    process: Process | None = None,
) -> list[float]:
    """Stage 1 (Eq. 4.1): denoiser and encoder together, or a denoiser without codes; the loss of every step."""
    process = process or Diffusion()
    trained = [*denoiser.parameters(), *(() if codes is None else codes.encoder.parameters())]
    optimizer = torch.optim.Adam(trained, lesson.learning_rate)
    losses = []
    for step in range(lesson.steps):
        optimizer.param_groups[0]["lr"] = lesson.learning_rate * (1 - 0.9 * step / lesson.steps)
        clean, seen, told = draw(lesson.batch, generator)
        sigma = (lesson.level[0] + lesson.level[1] * torch.randn(lesson.batch, generator=generator)).exp().to(clean)
        x, _ = process.perturb(clean, sigma, generator)
        usage = torch.zeros(())
        if codes is not None:
            logits = codes.logits(seen)
            said = codes.soft(logits, generator) * (torch.rand(lesson.batch, 1, generator=generator) >= UNTOLD)
            told = torch.cat([said, told], 1)
            shares = logits.softmax(2).mean(0)
            usage = -(shares * shares.clamp_min(1e-9).log()).sum(1).mean()
        loss = denoiser.loss(x, sigma, clean, told)
        optimizer.zero_grad()
        (loss - USAGE * usage).backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def train_law(codes: Codes, draw: DrawSeen, lesson: Lesson, generator: torch.Generator) -> list[float]:
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


def _everything(seen: Tensor) -> Tensor:
    return seen


def _encoder(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs)
    )
