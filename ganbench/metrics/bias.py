"""Warnings of scores that are mostly bias, because there are too few samples for so many features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def bias_warnings(metrics: Iterable[Mapping[str, Any]], n: int, d: int) -> list[str]:
    """What to say of metrics that need more than ``n`` rows a side for ``d`` features.

    ``metrics`` are as ``Metric.about`` describes them; one without ``rows_per_feature`` is never warned of.
    """
    short: dict[int, list[str]] = {}
    for about in metrics:
        if n < (least := about.get("rows_per_feature", 0)) * d:
            short.setdefault(least, []).append(about["label"])
    return [
        f"n = {n:,} is below {least} d = {least * d:,}: {', '.join(labels)} {'is' if len(labels) == 1 else 'are'} "
        "mostly bias; compare only with the floor, and with scores at the same n"
        for least, labels in sorted(short.items())
    ]
