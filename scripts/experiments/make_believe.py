"""A make-believe graphics card: tensors that say they are on one, computed on the processor, and every wait counted.

What makes the processor wait for a card is the same whatever the card: a number that is read, a tensor that is copied
to main memory, a size that depends on values. So are launches: one for each operation that makes or changes a tensor.
What goes backwards through a graph (a SIREN's or a NeRF's products) is not for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from ddrep_core.priors import finite

CARD = torch.device("meta")  # which has no numbers of its own: whoever looks is told the truth by `OnCard`
NO_LAUNCH = {
    "view", "_unsafe_view", "reshape", "_reshape_alias", "as_strided", "expand", "permute", "transpose", "t",
    "squeeze", "unsqueeze", "select", "slice", "split", "split_with_sizes", "unbind", "detach", "alias", "unfold",
    "diagonal", "narrow", "view_as_real", "empty", "empty_strided", "empty_like", "new_empty", "lift_fresh",
    "crow_indices", "col_indices", "values", "_nnz", "is_same_size", "chunk",
}  # fmt: skip
"""Operations that make a new look at the same numbers, or none."""
SIZED_BY_VALUES = {"nonzero", "masked_select", "unique_dim", "_unique2", "unique_consecutive", "repeat_interleave"}


class OnCard(torch.Tensor):
    """A tensor of the card; `held` are its numbers."""

    held: torch.Tensor
    layout = property(lambda self: self.held.layout)  # torch makes no wrapper of sparse matrices
    is_cuda = property(lambda self: True)  # what asks whether to wait less often

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnCard:
        lies: dict[str, Any] = {}
        if held.layout == torch.strided:
            lies = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, dtype=held.dtype, device=CARD, **lies)
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def to_sparse_coo(self) -> Any:
        return OnCard(self.held.to_sparse_coo())

    def to_sparse_csr(self, *arguments: Any) -> Any:
        return OnCard(self.held.to_sparse_csr())

    def to_dense(self, *arguments: Any, **told: Any) -> Any:
        return OnCard(self.held.to_dense())

    def coalesce(self) -> Any:
        return OnCard(self.held.coalesce())

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_with_tensors(index), value)

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(Counter(), operation, args, kwargs or {})


def _with_tensors(index: Any) -> Any:
    """Lists of numbers as tensors of the processor, which torch would make on the device that only looks like one."""
    if isinstance(index, tuple):
        return tuple(_with_tensors(each) for each in index)
    return torch.tensor(index) if isinstance(index, list) else index


def run(counts: Counter[str], operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation on what is held, counted."""
    name = operation.overloadpacket.__name__
    flat = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    here = [each for each in flat if isinstance(each, OnCard)]
    device = kwargs.get("device")
    wanted = torch.device(device).type if device is not None else ("meta" if here else "cpu")
    bare_args, bare = tree_map_only(OnCard, lambda each: each.held, (args, kwargs))
    if device is not None:
        bare = {**bare, "device": torch.device("cpu")}
    bare.pop("pin_memory", None)
    found = operation(*bare_args, **bare)
    if here or wanted == "meta":
        into = flat[0] if name in ("copy_", "_to_copy") and flat else None
        if name in SIZED_BY_VALUES or (name == "index" and any(each.dtype == torch.bool for each in flat[1:])):
            counts["waits: sizes"] += 1
        if name in ("index", "index_put_"):
            for each in flat:
                if not isinstance(each, OnCard) and each.dtype == torch.int64:
                    counts["copies there"] += 1
                    counts["bytes there"] += each.numel() * each.element_size()
        if name in ("_local_scalar_dense", "equal", "item"):
            counts["waits: numbers"] += 1
        elif name == "_to_copy" and here and wanted == "cpu":
            counts["waits: copies"] += 1
            counts["bytes here"] += found.numel() * found.element_size()
        elif name == "_to_copy" and not here:
            counts["copies there"] += 1
            counts["bytes there"] += found.numel() * found.element_size()
        elif name == "copy_" and isinstance(into, OnCard) != isinstance(flat[1], OnCard):
            there = isinstance(into, OnCard)
            counts["copies there" if there else "waits: copies"] += 1
            counts["bytes there" if there else "bytes here"] += flat[1].numel() * flat[1].element_size()
        elif name not in NO_LAUNCH:
            counts["launches"] += 1
    if name in ("_local_scalar_dense", "equal", "item") or (name == "_to_copy" and wanted == "cpu"):
        return found
    if name.endswith("_") and not name.endswith("__") and flat:
        return args[0]
    return tree_map_only(torch.Tensor, OnCard, found) if wanted == "meta" else found


class Card(TorchDispatchMode):
    """While it lasts there is a card, and what is done on it is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(self.counts, operation, args, kwargs or {})


class Arrived:
    """An answer that came behind the work that makes it: nobody waited."""

    def __init__(self, yes: torch.Tensor) -> None:
        self._yes = bool(yes.held) if isinstance(yes, OnCard) else bool(yes)

    def arrived(self) -> bool:
        return True

    def read(self) -> bool:
        return self._yes


@contextmanager
def card() -> Iterator[Counter[str]]:
    mode = Card()
    with mode, patch.object(finite, "Sent", Arrived):
        yield mode.counts
