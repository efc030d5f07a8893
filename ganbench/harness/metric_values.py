"""Computes metrics for one evaluation, and checks that a table can hold their values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ganbench.plugin.interfaces import Evidence, Metric, NotApplicable
from ganbench.utils.names import check_column


class InvalidOutput(TypeError):
    """A variant or a metric returned what its contract does not allow."""


def apply(metrics: Sequence[Metric], evidence: Evidence) -> dict[str, float | None]:
    """Compute metrics: values by column name, None where a metric does not apply.

    The other keys of a mapping become ``<metric>.<key>``.
    """
    values: dict[str, float | None] = {}
    for metric in metrics:
        try:
            _require(metric, evidence)
            value = metric(evidence)
        except NotApplicable:
            values[metric.name] = None
            continue
        if isinstance(value, Mapping):
            for key, number in value.items():
                values[metric.name if key == metric.name else _column(metric, key)] = _finite(metric, number)
        else:
            values[metric.name] = _finite(metric, value)
    return values


def _require(metric: Metric, evidence: Evidence) -> None:
    if "probabilities" in metric.needs and evidence.fake.probabilities is None:
        raise NotApplicable("the extractor gives no class probabilities")
    if "labels" in metric.needs and evidence.real.labels is None:
        raise NotApplicable("the dataset has no labels")


def _column(metric: Metric, key: str) -> str:
    try:
        return check_column(f"{metric.name}.{key}")
    except ValueError as reason:
        raise InvalidOutput(f"metric {metric.name} returned a value that no table can hold: {reason}") from None


def _finite(metric: Metric, value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise InvalidOutput(f"metric {metric.name} returned {number}: raise NotApplicable where there is no value")
    return number
