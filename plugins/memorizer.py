"""The baseline that copies: it keeps training data and shows them again, each once before any a second time.

Its samples are as good as real ones, so its scores say what a metric that ignores copying can reach; a
metric that looks for copies (``authenticity``) must find nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Generator, Tensor

from ganbench.plugin import Batch, Clock, Range, Variant, hookimpl


class Place(NamedTuple):
    """How far ``sample`` has come with one generator.

    Attributes:
        state: of the generator at the end of the last call; another one means that it was seeded or used since.
        order: the permutation that is shown, int64 ``(m,)``.
        shown: rows of it shown so far.
    """

    state: Tensor
    order: Tensor
    shown: int


# An evaluation draws its samples in chunks, and a variant may not change while it is evaluated.
PLACES: WeakKeyDictionary[Generator, Place] = WeakKeyDictionary()


class Memorizer(Variant):
    """Baseline that copies: it keeps the first ``capacity`` different training samples and shows them again, shuffled.

    Each is shown once before any a second time. Before the first batch it shows zeros.

    Attributes:
        kept: what is remembered, uint8 images or float32 points ``(m, *shape)``.
        hashes: int64 ``(m,)``, one for each of them.
    """

    name = "memorizer"
    role = "baseline"
    capacity: int
    kept: Tensor
    hashes: Tensor
    multipliers: Tensor

    def __init__(
        self,
        shape: torch.Size,
        capacity: Annotated[int, Range(1, 1_000_000, log=True), "different samples kept, the first seen"] = 10_000,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(shape, capacity=capacity, **hyperparameters)
        kind = torch.uint8 if len(shape) == 3 else torch.float32
        # Odd, so that a change in one number alone always changes the hash; the same in every trial.
        multipliers = torch.randint(2**62, (shape.numel(),), generator=Generator().manual_seed(0)) * 2 + 1
        self.register_buffer("multipliers", multipliers)
        self.register_buffer("kept", torch.empty(0, *shape, dtype=kind))
        self.register_buffer("hashes", torch.empty(0, dtype=torch.int64))

    def hash(self, rows: Tensor) -> Tensor:
        """Multilinear hash modulo 2^64 (Carter and Wegman 1979) of uint8 or float32 rows, int64 ``(n,)``.

        Rows that differ collide with a probability of about 2^-57 (images).
        """
        words = rows.flatten(1)
        words = words.view(torch.int32) if words.is_floating_point() else words
        return (words.to(torch.int64) * self.multipliers).sum(1)

    def train_step(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        if len(self.kept) < self.capacity:
            rows = batch.data
            if self.kept.dtype == torch.uint8:  # exact: the harness made [-1, 1] of 8 bits
                rows = ((rows + 1) * 127.5).round().to(torch.uint8)
            hashes = self.hash(rows)
            known = torch.isin(hashes, self.hashes) | (hashes[:, None] == hashes).tril(-1).any(1)
            new = (~known).nonzero()[: self.capacity - len(self.kept), 0]
            self.kept = torch.cat([self.kept, rows[new]])
            self.hashes = torch.cat([self.hashes, hashes[new]])
        return {}

    def values(self, rows: Tensor) -> Tensor:
        """Rows as they were handed over: images float32 in [-1, 1], or points."""
        return rows.float() / 127.5 - 1 if rows.dtype == torch.uint8 else rows

    def sample(self, n: int, rng: Generator | None = None) -> Tensor:
        """Rows in an order drawn from ``rng``; the next call with the same generator goes on where this one ended.

        When all were shown it begins again with the first, in the same order. A generator that was seeded or used by
        others in between starts with a new order.
        """
        if not len(self.kept):
            return torch.zeros(n, *self.shape, device=self.kept.device)
        place = PLACES.get(rng) if rng else None
        if not (rng and place and len(place.order) == len(self.kept) and torch.equal(place.state, rng.get_state())):
            key = int(torch.randint(2**31, (), generator=rng, device=rng.device if rng else self.kept.device))
            order = torch.randperm(len(self.kept), generator=Generator().manual_seed(key))
            place = Place(torch.empty(0), order, 0)
        rows = place.order[torch.arange(place.shown, place.shown + n) % len(place.order)]
        if rng:
            PLACES[rng] = Place(rng.get_state(), place.order, place.shown + n)
        return self.values(self.kept[rows.to(self.kept.device)])


@hookimpl
def ganbench_variants() -> list[type[Variant]]:
    return [Memorizer]
