"""Batches that fit into memory: split, and halved and tried again when the device runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddrep_core.errors import RunError

CPU_ACTIVATION_BYTES = 1 << 30
"""How much one call may need for activations on a CPU. Larger batches are no faster there."""


class BatchLimit:
    """How many rows a network sees at once; learns from running out of memory.

    Args:
        rows: the most rows a call; None: all of them.
    """

    def __init__(self, rows: int | None = None) -> None:
        self.rows = rows

    def run(self, call: Callable[[slice], Tensor], count: int) -> Tensor:
        """Concatenate `call` over slices of 0..count-1.

        Raises:
            RunError: the device has no memory for a single row.
        """
        parts: list[Tensor] = []
        start = 0
        while start < count:
            rows = min(self.rows or count, count - start)
            part = self._try(call, slice(start, start + rows))
            if part is None:
                if rows == 1:
                    raise RunError(
                        "The device has no memory left for even one view.",
                        "Close other programs that use it, choose a smaller image size, or run with --device cpu.",
                    )
                self.rows = rows // 2
                continue
            parts.append(part)
            start += rows
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    def _try(call: Callable[[slice], Tensor], rows: slice) -> Tensor | None:
        """The result, or None when memory ran out. What the attempt held is freed on return, before a smaller one."""
        try:
            return call(rows)
        except torch.OutOfMemoryError:
            pass
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def free_bytes(device: torch.device) -> float:
    """How much memory of an accelerator could be taken now; infinite where nobody can say."""
    if device.type != "cuda":
        return float("inf")
    free, _ = torch.cuda.mem_get_info(device)
    # What PyTorch holds and does not use counts as free: it is given out again.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def default_limit(device: torch.device, row_bytes: float, max_batch: int | None) -> BatchLimit:
    """All rows at once on an accelerator, which says when it is full; a bounded number on a CPU, which does not."""
    if device.type != "cpu":
        return BatchLimit(max_batch)
    rows = max(1, int(CPU_ACTIVATION_BYTES // max(row_bytes, 1.0)))
    return BatchLimit(rows if max_batch is None else min(rows, max_batch))
