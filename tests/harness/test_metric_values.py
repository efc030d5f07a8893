"""A metric that fails costs its own cells: wrong values, exceptions, code that changes its surroundings."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ganbench.harness.checkpoint import capture
from ganbench.harness.metric_values import apply
from ganbench.harness.serialization import fingerprint
from ganbench.metrics.frechet import FrechetInceptionDistance
from ganbench.metrics.manifold import Coverage
from ganbench.plugin.interfaces import Dataset, Evidence, Metric, MetricError, NotApplicable, Side
from ganbench.plugin.variant import Variant
from ganbench.utils.seeding import Settings, rng_state

DATASET = Dataset("cloud", (2,), budget_images=1, load=lambda split: (None, None))


class Given(Metric):
    """A metric of somebody else: what it does is an argument."""

    def __init__(self, act: Callable[[Evidence], Any], name: str = "mine", **about: Any) -> None:
        super().__init__(name, name, "min", **about)
        self.act = act

    def __call__(self, evidence: Evidence) -> Any:
        return self.act(evidence)


class Tiny(Variant):
    name = "tiny"

    def __init__(self) -> None:
        super().__init__(torch.Size([2]))
        self.layer = torch.nn.Linear(2, 2)
        self.memory = {"seen": torch.zeros(2)}
        self.optimizers = {"generator": torch.optim.Adam(self.layer.parameters())}


def evidence(rows: int = 50) -> Evidence:
    def side(seed: int) -> Side:
        points = np.random.RandomState(seed).randn(rows, 2).astype("float32")
        return Side(points, points.copy())

    train = side(2)
    return Evidence(side(0), side(1), lambda: train, DATASET, history=[{"step": 0}], variant=Tiny())


def raising(reason: BaseException) -> Callable[[Evidence], Any]:
    def act(evidence: Evidence) -> Any:
        raise reason

    return act


class Odd:
    def __float__(self) -> float:
        raise RuntimeError("no number")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (float("nan"), "returned nan"),
        (float("-inf"), "returned -inf"),
        (1e308, r"returned 1e\+308"),
        (np.float32("inf"), "returned inf"),
        (torch.tensor(float("nan")), "returned nan"),
        (None, "returned a value of type NoneType"),
        ("3.0", "returned '3.0'"),
        (b"3.0", "returned b'3.0'"),
        (2 + 1j, r"returned \(2\+1j\)"),
        (np.complex128(2 + 1j), "returned np.complex128"),
        ([1.0], "returned a value of type list"),
        (np.zeros(3), "returned a value of type ndarray"),
        (10**400, "returned a value of type int"),
        (Odd(), "returned a value of type Odd"),
        ({}, "returned a mapping of 0 values"),
        ({str(i): 1.0 for i in range(5000)}, "returned a mapping of 5,000 values"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_value_that_no_table_can_hold_is_an_empty_cell_with_a_reason(given: Any, told: str) -> None:
    found = apply([Coverage(), Given(lambda e: given), FrechetInceptionDistance()], evidence())
    alone = apply([Coverage(), FrechetInceptionDistance()], evidence())
    assert found.values == {**alone.values, "mine": None}
    assert list(found.faults) == ["mine"]
    assert re.match(told, found.faults["mine"])


@pytest.mark.parametrize(
    "reason",
    [KeyError("x"), MemoryError(), MetricError("too few"), SystemExit(3), RecursionError(), StopIteration()],
    ids=lambda reason: type(reason).__name__,
)
def test_what_it_raises_is_told_with_its_line(reason: BaseException) -> None:
    found = apply([Given(raising(reason)), Coverage()], evidence())
    assert found.values["mine"] is None and found.values["coverage"] is not None
    assert found.faults["mine"].startswith(f"raised {type(reason).__name__}")
    assert "(test_metric_values.py, line" in found.faults["mine"]


def test_an_interrupt_and_a_metric_that_does_not_apply_are_no_faults() -> None:
    assert apply([Given(raising(NotApplicable("no labels")))], evidence()).faults == {}
    with pytest.raises(KeyboardInterrupt):
        apply([Given(raising(KeyboardInterrupt()))], evidence())


def test_good_values_of_a_mapping_are_kept() -> None:
    found = apply([Given(lambda e: {"mine": 1.0, "f8": float("nan"), "f2": np.float32(2), 3: 1.0})], evidence())
    assert found.values == {"mine": 1.0, "mine.f8": None, "mine.f2": 2.0}
    assert found.faults["mine.f8"] == "returned nan" and "3 is not a text" in found.faults["mine"]


def test_too_few_samples_for_a_metric_of_ganbench_is_refused_where_that_is_asked_for() -> None:
    few = evidence(rows=3)
    assert "at least" in apply([Coverage()], few).faults["coverage"]
    with pytest.raises(MetricError):
        apply([Coverage()], few, refuse=True)
    assert apply([Given(raising(MetricError("some")))], few, refuse=True).values == {"mine": None}


def test_what_it_changes_reaches_nothing_else() -> None:
    def spoil(given: Evidence) -> float:
        for side in (given.fake, given.real, given.train()):
            side.features[:] = np.nan
            side.samples[:] = 7
        given.history.clear()
        np.random.rand(3), torch.rand(3), random.random()
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(True)
        np.seterr(all="raise")
        sys.setrecursionlimit(5000)
        return 1.0

    one, others = evidence(), apply([Coverage(), FrechetInceptionDistance()], evidence()).values
    states, settings = fingerprint(rng_state()), Settings.now()
    found = apply([Given(spoil), Coverage(), FrechetInceptionDistance()], one)
    assert found.values == {"mine": 1.0, **others}
    assert fingerprint(rng_state()) == states and Settings.now() == settings
    assert one.history == [{"step": 0}] and np.array_equal(one.fake.samples, evidence().fake.samples)


def test_a_variant_that_it_trains_is_put_back_and_its_cell_is_empty() -> None:
    def train(given: Evidence) -> float:
        with torch.enable_grad():
            given.variant.layer(torch.ones(2)).sum().backward()
        given.variant.optimizers["generator"].step()
        given.variant.memory["seen"] += 1
        given.variant.layer.requires_grad_(False)
        return 1.0

    one = evidence()
    before = fingerprint(capture(one.variant))
    found = apply([Given(train)], one)
    assert found.values == {"mine": None} and "changed the variant" in found.faults["mine"]
    assert fingerprint(capture(one.variant)) == before
    assert all(p.requires_grad and p.grad is None for p in one.variant.parameters())


def test_what_it_computes_of_the_real_side_is_kept_for_the_next_evaluation() -> None:
    calls = []

    def heavy(side: Side) -> int:
        calls.append(side)
        return 1

    one, metric = evidence(), Given(lambda given: given.real.once(heavy))
    assert [apply([metric], one).values["mine"] for _ in range(3)] == [1, 1, 1] and len(calls) == 1
