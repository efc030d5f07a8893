"""Computes metrics for one evaluation: a metric that fails costs its own cells, and changes nothing for the others."""

from __future__ import annotations

import contextlib
import copy
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch

from ganbench.harness.checkpoint import capture, restore
from ganbench.harness.device_errors import device_fault
from ganbench.harness.serialization import Copy
from ganbench.plugin.interfaces import Evidence, Metric, MetricError, NotApplicable, Side
from ganbench.plugin.variant import Variant, device_of
from ganbench.results.schema import MOST_MEASURE
from ganbench.utils.errors import in_words, location
from ganbench.utils.names import check_column
from ganbench.utils.seeding import Settings, rng_state, set_rng_state

T = TypeVar("T")
MOST_VALUES = 100  # that one metric may return


class InvalidOutput(TypeError):
    """A variant returned what its contract does not allow."""


@dataclass(frozen=True)
class MetricValues:
    """What metrics gave for one evaluation.

    Attributes:
        values: by column name; None where a metric does not apply, and where it failed.
        faults: by column name, what a metric that failed did, as the predicate of a sentence: ``returned nan``.
        spreads: of a floor, its standard deviation over draws; empty for samples.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    spreads: dict[str, float] = field(default_factory=dict)


def is_own(metric: Metric) -> bool:
    """Whether a metric's code is ganbench's own: what it computes is tested, and it leaves its evidence alone."""
    return type(metric).__module__.partition(".")[0] == "ganbench"


def apply(metrics: Sequence[Metric], evidence: Evidence, refuse: bool = False) -> MetricValues:
    """Compute metrics. Any exception or ``sys.exit`` of one, and any value that no table can hold, is its fault alone.

    Args:
        refuse: raise the MetricError of one of ganbench's own metrics: there are too few samples for what was asked.
    """
    found = MetricValues()
    for metric in metrics:
        try:
            one = alone(metric, evidence, partial(call, metric))
        except (Exception, SystemExit) as reason:
            if refuse and is_own(metric) and isinstance(reason, MetricError):
                raise
            if (other := device_fault(reason)) is not None:
                raise other from reason
            one = MetricValues({metric.name: None}, {metric.name: fault(reason)})
        found.values.update(one.values)
        found.faults.update(one.faults)
    return found


def alone(metric: Metric, evidence: Evidence, compute: Callable[[Evidence], T]) -> T:
    """What a metric's code computes of the evidence, without a trace left of it.

    Code that is not ganbench's own reads copies, and what it changes of the variant, of random states and of the
    process's settings is put back: the training and other scores have the bits that they have without it.
    """
    if is_own(metric):
        return compute(evidence)
    with _undone(evidence.variant):
        return compute(_copy_for(metric, evidence))


def fault(reason: BaseException) -> str:
    """What a metric did that raised: the exception, and the line of its code."""
    if isinstance(reason, InvalidOutput):
        return str(reason)
    return f"raised {in_words(reason)}{location(reason)}"


def call(metric: Metric, evidence: Evidence) -> MetricValues:
    """What one metric returns; the other keys of a mapping become ``<metric>.<key>``. What it raises is raised."""
    try:
        _require(metric, evidence)
        value = metric(evidence)
    except NotApplicable:
        return MetricValues({metric.name: None})
    if not isinstance(value, Mapping):
        value = {metric.name: value}
    if not 0 < len(value) <= MOST_VALUES:
        raise InvalidOutput(f"returned a mapping of {len(value):,} values: expected 1 to {MOST_VALUES}")
    found = MetricValues()
    for key, given in value.items():
        column = metric.name
        try:
            if key != metric.name:
                column = _column(metric, key)
            found.values[column] = number(given)
        except InvalidOutput as reason:
            found.values.setdefault(column, None)
            found.faults[column] = str(reason)
    return found


def _require(metric: Metric, evidence: Evidence) -> None:
    if "probabilities" in metric.needs and evidence.fake.probabilities is None:
        raise NotApplicable("the extractor gives no class probabilities")
    if "labels" in metric.needs and evidence.real.labels is None:
        raise NotApplicable("the dataset has no labels")
    if "held_out" in metric.needs and not evidence.held_out:
        raise NotApplicable("samples are compared with training images")


def _column(metric: Metric, key: Any) -> str:
    try:
        if not isinstance(key, str):
            raise ValueError(f"{key!r:.80} is not a text")
        return check_column(f"{metric.name}.{key}")
    except ValueError as reason:
        raise InvalidOutput(f"returned a value that no table can hold: {reason}") from None


def number(value: Any) -> float:
    """A value as a table can hold it; raises InvalidOutput for any other."""
    if isinstance(value, str | bytes | bytearray) or (
        isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real)
    ):
        raise InvalidOutput(f"returned {value!r:.80}: expected a float")
    try:
        found = float(value)
    except Exception:  # an array of several, a thing that is no number, a number beyond float64
        raise InvalidOutput(f"returned a value of type {type(value).__name__}: expected a float") from None
    if not abs(found) <= MOST_MEASURE:  # NaN, infinity, and what overflows as soon as it is averaged
        raise InvalidOutput(f"returned {found}")
    return found


@contextlib.contextmanager
def _undone(variant: Variant | None) -> Iterator[None]:
    """A block after which random states, settings and the variant are as before; InvalidOutput if it changed that."""
    states = rng_state()
    gradients = [(p, p.requires_grad, p.grad) for p in variant.parameters()] if variant is not None else []
    before = Copy(capture(variant)) if variant is not None else None
    changed = False
    try:
        with Settings.now().hold(), torch.no_grad(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        set_rng_state(states)
        for parameter, needed, gradient in gradients:
            parameter.requires_grad_(needed)
            parameter.grad = gradient
        if variant is not None and before is not None and not before.equals(capture(variant)):
            changed = True
            restore(variant, before.value(device_of(variant)))
    if changed:
        raise InvalidOutput("changed the variant, which was put back")


def _copy_for(metric: Metric, evidence: Evidence) -> Evidence:
    """Evidence with arrays of the metric's own; those of real data are made once in a trial."""

    def own(side: Side) -> Side:
        return side._known.setdefault(("copy", metric.name), side.copy())

    return replace(
        evidence,
        fake=evidence.fake.copy(),
        real=own(evidence.real),
        train=lambda: own(evidence.train()),
        scores=copy.deepcopy(evidence.scores),
        history=copy.deepcopy(evidence.history),
        _known={},
    )
